"""`reports/published`: its documents say what its store holds, and training again comes to the same."""

import re
import sqlite3
import statistics
import subprocess
import sys
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.cli import main
from bench.provenance import package_versions

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "reports" / "published"
METHODS = ("bc", "td3bc", "iql")
SEEDS = 5
BLANK = "none"


class _Rows(HTMLParser):
    """The cells of every row of a page's tables, as text."""

    def __init__(self, text):
        super().__init__()
        self.rows, self._inside = [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.rows[-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A copy of the published store: opening one leaves files beside it."""
    copy = tmp_path_factory.mktemp("published") / "bench.sqlite"
    copy.write_bytes((PUBLISHED / "bench.sqlite").read_bytes())
    return copy


def asked(store, query, *values):
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(query, values).fetchall()


def scores_by_cell(store):
    """(task, algorithm) -> scores of the seeds, straight from the rows."""
    rows = asked(
        store, "SELECT task, algorithm, seed, score FROM trials WHERE state = 'finished' ORDER BY seed"
    )
    found = {}
    for task, algorithm, seed, score in rows:
        found.setdefault((task, algorithm), {})[seed] = score
    return found


def mean_and_deviation(scores):
    return f"{statistics.mean(scores):.1f} ± {statistics.stdev(scores):.1f}"


def test_the_store_holds_whole_trials_of_committed_code_and_names_no_machine_s_folder(store):
    assert {state for (state,) in asked(store, "SELECT state FROM trials")} <= {
        "finished",
        "running",
        "planned",
    }
    assert asked(store, "SELECT count(*) FROM failures") == [(0,)]
    assert asked(store, "SELECT DISTINCT code_dirty FROM runs") == [(0,)]
    commands = [command for (command,) in asked(store, "SELECT DISTINCT command FROM runs")]
    assert [command for command in commands if re.search(r"(^|[ =])[/~]", command)] == []


def test_a_score_follows_from_the_stored_episodes(store):
    """By the protocol in the stored settings; the arithmetic is here, apart from the code's."""
    rows = asked(
        store,
        "SELECT trials.id, trials.protocol, trials.score, evaluations.number, avg(episodes.score) "
        "FROM trials "
        "JOIN evaluations ON evaluations.trial_id = trials.id AND evaluations.number > 0 "
        "JOIN episodes ON episodes.evaluation_id = evaluations.id GROUP BY evaluations.id ORDER BY 1, 4",
    )
    means = {}
    for trial, protocol, score, _, mean in rows:
        means.setdefault((trial, protocol, score), []).append(mean)
    assert means
    for (_, protocol, score), evaluations in means.items():
        expected = {"last": evaluations[-1], "rat": statistics.mean(evaluations[-10:])}[protocol]
        assert score == pytest.approx(expected, rel=1e-9)


def twins_in_the_readme():
    """Twin -> method -> what stands there."""
    text = (PUBLISHED / "README.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| collected-")]
    return {row[0]: dict(zip(METHODS, row[2:], strict=True)) for row in rows}


def test_the_readme_s_numbers_are_those_of_the_store(store):
    found = scores_by_cell(store)
    told = twins_in_the_readme()
    assert len(told) == 9
    for task, row in told.items():
        for algorithm, text in row.items():
            scores = found.get((task, algorithm), {})
            whole = sorted(scores) == list(range(SEEDS))
            assert text == (mean_and_deviation(scores.values()) if whole else BLANK), (task, algorithm)


def test_the_page_shows_every_mean_of_the_store(store):
    rows = _Rows((PUBLISHED / "report.html").read_text()).rows
    for (task, algorithm), scores in scores_by_cell(store).items():
        if not task.startswith("bandit-"):
            shown = mean_and_deviation(scores.values())
            assert any(task in row[0] and any(shown in cell for cell in row) for row in rows), (
                task,
                algorithm,
            )


def test_the_tables_are_what_the_store_says_now(capsys, monkeypatch, tmp_path):
    """Their claims too: written again from the store, they are the same to the letter."""
    for name in ("bench.sqlite", *(f"weights/{path.name}" for path in (PUBLISHED / "weights").glob("*"))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PUBLISHED / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["report", "--suite", "collected-locomotion,bandit2d", "--format", "markdown", "--out", ".",
              "--store", "bench.sqlite"])  # fmt: skip
    assert end.value.code == 0
    assert (tmp_path / "report.md").read_text() == (PUBLISHED / "report.md").read_text()


def steps_of(target):
    """What `make` would have bench do."""
    command = ["make", "--no-print-directory", "--dry-run", "INSTALLED=", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = re.sub(r"\\\n\s*", "", done.stdout).splitlines()
    return [line.split("/bin/bench ")[1] for line in lines if "/bin/bench " in line]


@pytest.mark.parametrize("target", ["published", "published-page"])
def test_what_is_published_is_trained_no_second_time_and_not_lost(target):
    assert steps_of(target)[0] == "db merge results/published.sqlite reports/published/bench.sqlite"


def test_the_commands_that_train_are_those_that_the_readme_names():
    named = re.findall(r"`bench (run [^`]*)`", (PUBLISHED / "README.md").read_text())
    steps = steps_of("published")
    runs = [re.sub(r" --(store|executor) \S+", "", step) for step in steps if step.startswith("run ")]
    assert sorted(runs) == sorted(named)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "task", "options"),
    [
        (
            "bc",
            "collected-halfcheetah-medium-replay",
            ("--seeds", "0-4", "--seeds-per-stack", "5", "--budget", "0.1", "--evals", "10"),
        ),
    ],
)
def test_training_again_comes_to_the_published_scores(algorithm, task, options, store, tmp_path):
    """To the last digit on the same processor and PyTorch; elsewhere rounding parts two runs of a seed."""
    published = scores_by_cell(store)[task, algorithm]
    run = [sys.executable, "-m", "bench", "run", "--tasks", task, "--algos", algorithm, "--executor", "local"]
    subprocess.run([*run, *options, "--device", "cpu", "--store", "again.sqlite"], cwd=tmp_path, check=True)
    again = scores_by_cell(tmp_path / "again.sqlite")[task, algorithm]
    assert again.keys() == published.keys()
    ((machine, packages),) = asked(
        store,
        "SELECT DISTINCT executions.cpu, json_extract(executions.packages, '$.torch') FROM executions "
        "JOIN trials ON trials.id = executions.trial_id WHERE algorithm = ? AND task = ?", algorithm, task,
    )  # fmt: skip
    ((here,),) = asked(tmp_path / "again.sqlite", "SELECT DISTINCT cpu FROM executions")
    if (here, package_versions()["torch"]) == (machine, packages):
        assert again == published
    else:
        spread = statistics.pstdev(published.values())
        assert abs(statistics.mean(again.values()) - statistics.mean(published.values())) <= 3 * spread
