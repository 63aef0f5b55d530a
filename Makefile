# make demo       install, check a claim, clone a dataset, train all four methods, report: five minutes
# make test       what continuous integration runs; no root, no system packages
# make test-slow  the rest; run `make system-deps` (as root) first
# make pictures   the documents' pictures
# make methods    docs/methods: a page for each method, of presets and printed tables
# make architecture  docs/images/architecture.svg, from the imports
# make constraints  write constraints.txt anew from what is installed, after the tests have passed with it
# make published  train what reports/published holds, going on where it was stopped (a day or more), and write it
# make published-page  write reports/published from what has been trained
# make fuzz       20,000 damaged, hostile and odd inputs; none may end in a traceback, a hang or a wrong result
# make gpu-check  on a machine with a GPU: all that only a GPU can tell, in at most eight minutes
# make soak       ten minutes of killed workers and drivers; every number must come out the same
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := demo/bench.sqlite
TRAINED := results/published.sqlite
PUBLISHED := reports/published

.PHONY: demo test test-slow published published-page published-merged gpu-check fuzz soak constraints architecture methods pictures lint system-deps clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: export BENCH_DATA_DIR := demo/data
demo: $(INSTALLED)
	@mkdir -p demo
	@echo "== 1/4 Collect 40,000 transitions of Hopper with the shipped behaviour policies"
	@$(BIN)/bench data collect collected-hopper-quickstart
	@echo "== 2/4 Check a claim of SRPO on a 2D problem; clone all of the data, and its best tenth (5 seeds)"
	@# Through pipes both tell how far they are in lines; two sets of bars would overwrite each other.
	@rm -f demo/failed
	@{ $(BIN)/bench run --suite demo-claim --seeds-per-stack 5 --store $(DEMO) 2>&1 || touch demo/failed; } | cat & \
	{ $(BIN)/bench run --suite demo-scores --seeds-per-stack 5 --store $(DEMO) 2>&1 || touch demo/failed; } | cat; \
	wait; test ! -e demo/failed
	@echo "== 3/4 Train and evaluate DTQL, SRPO, EDP and BDPO at a two-thousandth of the papers'"
	@echo "       budgets, one seed each: it shows that everything works, and says nothing about the methods"
	@$(BIN)/bench run --suite quickstart --seeds 0 --budget 0.0005 --store $(DEMO)
	@echo "== 4/4 The page, and what was found"
	@$(BIN)/bench report --store $(DEMO) --format html --out demo
	@$(BIN)/bench report --store $(DEMO) --format summary
	@echo "The page: demo/report.html. To try next:"
	@echo "  export BENCH_STORE=$(DEMO)"
	@echo "  $(BIN)/bench query 'select algorithm, task, seed, score from scores'"
	@echo "  $(BIN)/bench explain 1"

test: $(INSTALLED) lint
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -q -m slow

# What is published already is neither trained again nor lost.
published-merged: $(INSTALLED)
	@mkdir -p results
	$(BIN)/bench db merge $(TRAINED) $(PUBLISHED)/bench.sqlite

published: published-merged
	$(BIN)/bench data collect collected-locomotion
	$(BIN)/bench run --suite bandit2d --algos srpo,srpo-points --executor ray --store $(TRAINED)
	$(BIN)/bench run --suite collected-locomotion --algos bc,td3bc,iql --seeds 0-4 --seeds-per-stack 5 \
		--budget 0.1 --evals 10 --store $(TRAINED)
	$(BIN)/bench run --suite bandit2d --algos dtql,dtql-kl --executor ray --store $(TRAINED)
	$(BIN)/bench baseline freeze published --reason "published results" --run --config $(PUBLISHED)/nightly.yaml
	$(BIN)/bench nightly --config $(PUBLISHED)/nightly.yaml
	$(MAKE) published-page

published-page: published-merged
	$(BIN)/bench report --format html --out $(PUBLISHED) --store $(TRAINED)
	$(BIN)/bench report --suite collected-locomotion,bandit2d --format markdown --out $(PUBLISHED) --store $(TRAINED)
	$(BIN)/bench db export $(PUBLISHED)/bench.sqlite --force --store $(TRAINED)

# Without the environment where there is none: a machine with a GPU has its own torch. GPU_CHECK=--device=cpu tries it.
gpu-check:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu_check $(GPU_CHECK)

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz

soak: $(INSTALLED)
	$(BIN)/python -m tests.soak --minutes 10

# PyTorch stays a range, because its versions carry the kind of GPU; what it brings along for one is left out.
constraints: $(INSTALLED)
	{ sed '/^[^#]/,$$d' constraints.txt; \
	  $(BIN)/python -m pip --disable-pip-version-check freeze --exclude-editable --all \
		| grep -Ev '^(pip|wheel|triton|nvidia-|cuda-)' \
		| sed 's/^torch==.*/torch>=2.11,<2.14/' ; } > constraints.new
	mv constraints.new constraints.txt

architecture: $(INSTALLED)
	$(BIN)/python -m tests.architecture docs/images/architecture.svg

methods: $(INSTALLED)
	$(BIN)/python -m tests.method_pages docs/methods

pictures: $(INSTALLED)
	$(BIN)/python -m tests.pictures --out docs/images

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

system-deps:
	apt-get update
	apt-get install --yes --no-install-recommends \
		chromium texlive-latex-base texlive-latex-recommended texlive-latex-extra texlive-publishers \
		texlive-fonts-recommended lmodern poppler-utils postgresql sshfs openssh-sftp-server

clean:
	rm -rf $(VENV) demo
