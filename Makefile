# make demo       install, collect a small dataset, train, report: a first result in minutes
# make test       what continuous integration runs; no root, no system packages
# make test-slow  the rest; run `make system-deps` (as root) first
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow lint system-deps clean

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

test: $(INSTALLED) lint
	$(BIN)/python -m pytest -q

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -q -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

system-deps:
	apt-get update
	apt-get install --yes --no-install-recommends chromium texlive-latex-base texlive-latex-recommended lmodern

clean:
	rm -rf $(VENV) demo
