"""`bench import` as typed by a person: what is stored, shown and refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bench.store.database import open_store
from bench.store.queries import trials
from tests.cli.test_check import HOPPER, PRINTED, WOBBLE, make_store

DECLARED = ["--data", "d4rl", "--protocol", "last", "--episodes", "10", "--physics", "d4rl"]
TASKS = {HOPPER: 99.0, "walker2d-medium-v2": 90.0}


def csv_of(path: Path, tasks=TASKS, seeds=5, name="mine", shift=0.0) -> Path:
    """Scores of seeds around a mean per task."""
    rows = [
        f"{name},{task},{seed},{mean + shift + WOBBLE[seed % 5]:.2f}"
        for task, mean in tasks.items()
        for seed in range(seeds)
    ]
    path.write_text("\n".join(["algorithm,task,seed,score", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def scores(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return csv_of(tmp_path / "scores.csv")


def stored(path="results/bench.sqlite"):
    with open_store(path, read_only=True) as store:
        return trials(store)


def test_scores_come_in_once(bench, scores):
    code, output, _ = bench("import", scores, "--as", "mine", *DECLARED)
    assert code == 0
    assert "Imported as mine: 10 scores of 2 tasks." in output
    assert "Next: bench compare mine --against paper" in output
    (first, *_) = found = stored()
    assert len(found) == 10
    assert (first.record.key.algorithm, first.record.key.variant) == ("mine", "imported")
    assert (first.record.physics, first.record.protocol, first.record.episodes) == ("d4rl", "last", 10)
    assert first.record.dataset.sha256 == ""
    _, output, _ = bench("import", scores, "--as", "mine", *DECLARED)
    assert "all 10 scores of 2 tasks were stored already" in output
    assert stored() == found


def test_other_scores_under_the_same_name_are_refused_until_they_may_replace(bench, scores):
    bench("import", scores, "--as", "mine", *DECLARED)
    before = stored()
    csv_of(scores, {HOPPER: 50.0}, seeds=3)
    code, _, errors = bench("import", scores, "--as", "mine", *DECLARED)
    assert code == 2
    assert "mine hopper-medium-v2 seed 0 is stored with the score 98.6" in errors
    assert "The file says 49.6." in errors
    assert stored() == before
    code, output, _ = bench("import", scores, "--as", "mine", *DECLARED, "--replace")
    assert "3 scores of 1 task, 5 earlier ones gave way" in output
    of_task = [trial.score for trial in stored() if trial.record.key.task == HOPPER]
    assert sorted(of_task) == pytest.approx([49.6, 49.8, 50.0])
    assert len(stored()) == 8  # the other task's stay
    code, _, errors = bench("import", scores, "--as", "mine", "--protocol", "rat")
    assert code == 2
    assert "other declarations" in errors or "is stored with the score" in errors


def test_further_seeds_join(bench, scores):
    bench("import", scores, "--as", "mine", *DECLARED)
    csv_of(scores, seeds=8)
    _, output, _ = bench("import", scores, "--as", "mine", *DECLARED)
    assert "6 scores of 2 tasks, 10 were there already" in output
    assert len(stored()) == 16


def test_they_are_taken_out_again(bench, scores):
    make_store(Path("results/bench.sqlite"), ("dtql", HOPPER, PRINTED["dtql", HOPPER] + WOBBLE))
    before = stored()
    bench("import", scores, "--as", "mine")
    code, _, errors = bench("import", "--as", "min", "--remove")
    assert code == 2
    assert "Did you mean mine?" in errors
    _, output, _ = bench("import", "--as", "mine", "--remove")
    assert "Removed mine: 10 imported scores" in output
    assert stored() == before


def test_what_is_not_declared_is_said_and_stored_as_such(bench, scores):
    _, output, _ = bench("import", scores, "--as", "mine")
    assert "Not declared: --data, --protocol, --episodes, --physics." in output
    record = stored()[0].record
    assert (record.physics, record.protocol, record.episodes) == ("not declared", "not declared", 0)
    _, output, _ = bench("db", "info", "--check")
    assert "Every cell holds what bench writes there." in output
    code, output, errors = bench("report", "--tables", "combined")
    assert (code, "Imported, as declared by their owners" in output) == (0, True), errors


def test_a_nan_is_a_seed_that_diverged(bench, scores):
    scores.write_text(scores.read_text().replace("98.60", "nan"))
    _, output, _ = bench("import", scores, "--as", "mine", *DECLARED)
    assert "1 of 10 scores are no finite numbers: stored as seeds that diverged" in output
    assert math.isnan(stored()[0].score)
    _, output, _ = bench("report")
    assert "1 of 5 seeds with a score that is no finite number" in output
    _, output, _ = bench("import", scores, "--as", "mine", *DECLARED)
    assert "were stored already" in output


def test_curves_give_the_score_of_the_protocol(bench, scores):
    rows = [f"{HOPPER},{seed},{1000 * step},{50 + step}" for seed in (0, 1) for step in range(1, 13)]
    scores.write_text("\n".join(["task,seed,step,score", *rows]))
    bench("import", scores, "--as", "mine", "--protocol", "rat")
    assert stored()[0].score == pytest.approx(np.mean(range(53, 63)))
    bench("import", scores, "--as", "mine", "--replace")
    assert stored()[0].score == 62
    assert stored()[0].record.protocol == "last"
    _, output, _ = bench("report", "--format", "figures", "--figures", "learning-curves", "--out", "figures")
    assert Path("figures/curves-d4rl-locomotion.pdf").is_file(), output


def test_returns_are_normalised_by_the_tasks_reference(bench, scores):
    scores.write_text(f"task,seed,score\n{HOPPER},0,3234.3\n{HOPPER},1,-20.272305\n")
    _, output, _ = bench("import", scores, "--as", "mine", *DECLARED)
    assert "if these are returns, import them again with --returns --replace" in output
    bench("import", scores, "--as", "mine", *DECLARED, "--returns", "--replace")
    assert [trial.score for trial in stored()] == pytest.approx([100, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        ("hoper-medium-v2,0,1", [], "Did you mean hopper-medium-v2"),
        ("bandit-25gaussians-far,0,1", [], "is a 2D problem"),
        (f"{HOPPER},0,1\n{HOPPER},0,2", [], "line 2 and line 3: seed 0 of hopper-medium-v2 twice"),
        ("collected-hopper-medium,0,1", ["--data", "d4rl"], "D4RL has no such task"),
        (f"{HOPPER},0,1", ["--as", "dtql"], "the name is taken"),
        (f"{HOPPER},0,1", ["--as", "edp"], "the name is taken"),
        (f"{HOPPER},0,1", ["--as", "My Method+"], "For example: --as my-method"),
        (f"{HOPPER},0,1", ["--as", ""], "Name it: bench import scores.csv --as NAME"),
        (f"{HOPPER},0,1", ["--episodes", "0"], "not in the range"),
        (f"{HOPPER},0,1", ["--protocol", "best"], "unknown protocol"),
    ],
)
def test_what_is_wrong_leaves_nothing_behind(bench, scores, rows, options, told):
    scores.write_text(f"task,seed,score\n{rows}\n")
    code, _, errors = bench("import", scores, "--as", "mine", *options)
    assert code == 2
    assert told in " ".join(errors.split())
    assert not Path("results").exists()


def test_episodes_must_agree_with_what_is_said_of_them(bench, scores):
    scores.write_text(f"task,seed,score,episode_returns\n{HOPPER},0,99.0,3234.3 3234.3\n")
    code, _, errors = bench("import", scores, "--as", "mine")
    assert code == 2
    assert "line 2: score 99.00, but its episodes' returns give 100.00" in errors
    scores.write_text(f"task,seed,episode_returns\n{HOPPER},0,3234.3 3234.3\n")
    code, _, errors = bench("import", scores, "--as", "mine", *DECLARED)
    assert "--episodes says 10" in errors
    bench("import", scores, "--as", "mine")
    assert stored()[0].record.episodes == 2


def test_a_name_that_bench_trained_is_refused(bench, scores, monkeypatch):
    make_store(Path("results/bench.sqlite"), ("dtql", HOPPER, [1.0, 2.0]))
    monkeypatch.setattr("bench.cli.importing.method_names", lambda: ())
    code, _, errors = bench("import", scores, "--as", "dtql")
    assert code == 2
    assert "that bench trained" in errors


def test_an_imported_score_is_nowhere_taken_for_a_measured_one(bench, scores):
    make_store(Path("results/bench.sqlite"), ("dtql", HOPPER, PRINTED["dtql", HOPPER] + WOBBLE))
    for command in (["check", "--format", "json"], ["report", "--tables", "dtql-1"]):
        before = bench(*command)[1]
        if command[0] == "check":
            before = json.loads(before)["cells"]
        bench("import", scores, "--as", "mine", *DECLARED)
        after = bench(*command)[1]
        assert (json.loads(after)["cells"] if command[0] == "check" else after) == before
        bench("import", "--as", "mine", "--remove")
    bench("import", scores, "--as", "mine", *DECLARED)
    _, text, _ = bench("report", "--tables", "combined")
    heading = "### Imported, as declared by their owners: Gym"
    assert text.count("mine") == text.partition(heading)[2].count("mine") == 1
    assert "imported; its owner declares: data d4rl, protocol last, 10 episodes, physics d4rl" in text
    assert "2 rows imported" in text
    _, only, _ = bench("report", "--tables", "combined", "--algos", "mine")
    assert "Imported, as declared" in only
    assert "dtql" not in only
    _, csv, _ = bench("report", "--tables", "combined", "--format", "csv")
    assert all(",imported," in line for line in csv.splitlines() if ",mine," in line)
    _, latex, _ = bench("report", "--tables", "combined", "--format", "latex")
    assert "Imported, as declared by their owners" in latex
    bench("report", "--format", "html", "--out", "page")
    page = Path("page/report.html").read_text()
    assert "Imported, as declared by their owners: Gym" in page
    assert "10 imported scores" in page
    _, status, _ = bench("status")
    assert "Imported as mine, not measured here: 10 scores of 2 tasks." in status
    assert status.startswith("5/5 trials")
    _, explained, _ = bench("explain", "6")
    assert "imported, not measured here" in explained
    assert "Simulator" not in explained


def test_stores_with_imports_are_merged(bench, scores):
    bench("import", scores, "--as", "mine", *DECLARED, "--store", "a.sqlite")
    bench("db", "merge", "b.sqlite", "a.sqlite")
    assert [trial.score for trial in stored("b.sqlite")] == [trial.score for trial in stored("a.sqlite")]
    csv_of(scores, shift=1.0)
    bench("import", scores, "--as", "mine", *DECLARED, "--replace", "--store", "a.sqlite")
    code, _, errors = bench("db", "merge", "b.sqlite", "a.sqlite")
    assert code == 2
    assert "score" in errors


@pytest.mark.slow
def test_they_come_into_a_server_too(bench, scores, postgres_url):
    command = ["import", scores, "--as", "mine", *DECLARED, "--store", postgres_url]
    assert "10 scores of 2 tasks" in bench(*command)[1]
    assert "were stored already" in bench(*command)[1]
    assert bench("compare", "mine", "--against", "paper:td3bc", "--store", postgres_url)[0] == 0
    csv_of(scores, shift=1.0)
    assert "10 earlier ones gave way" in bench(*command, "--replace")[1]
    assert (
        "Removed mine: 10 imported scores"
        in bench(*command[:1], "--as", "mine", "--remove", *command[-2:])[1]
    )


def test_weights_of_an_import_are_asked_for_in_vain(bench, scores):
    bench("import", scores, "--as", "mine", *DECLARED)
    code, _, errors = bench("evaluate", "1")
    assert code == 2
    assert errors.startswith("bench: ")
