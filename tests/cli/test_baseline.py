"""`bench baseline`: frozen from finished trials alone, listed, annotated; mistakes told before any work."""

from __future__ import annotations

import shlex
import sqlite3
import subprocess

import pytest

from bench.nightly import canary as canary_module
from bench.nightly import night as night_module
from tests.execute.tiny import TASK
from tests.nightly.tiny_nights import STORE, few_fingerprints, write_canary

FREEZE = ("baseline", "freeze", "first", "--reason", "the release", "--config", "tiny.yaml")
LOCAL = ("--executor", "local", "--seeds-per-stack", "4")


@pytest.fixture
def bench(bench, tiny_data, tmp_path, monkeypatch):
    """Runs a command in a folder with a tiny canary."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(night_module, "fingerprints", few_fingerprints)
    write_canary(tmp_path)
    return bench


def rows(sql):
    with sqlite3.connect(STORE) as connection:
        return connection.execute(sql).fetchall()


def test_missing_trials_are_named_with_the_command_that_makes_them(bench, tmp_path):
    code, _, errors = bench(*FREEZE)
    assert code == 1
    assert "8 of 8 trials of the baseline are missing" in errors
    assert f"8 have not been run to their end: dtql {TASK} seed 0," in errors
    assert not (tmp_path / STORE).exists()
    (command,) = (line.strip() for line in errors.splitlines() if line.strip().startswith("bench run"))
    assert bench(*shlex.split(command)[1:], *LOCAL)[0] == 0
    code, out, errors = bench(*FREEZE, "--by", "Ada")
    assert (code, "Frozen 'first': 2 cells, 8 scores, exact layers." in out) == (0, True), errors
    assert rows("SELECT name, reason, author FROM baselines") == [("first", "the release", "Ada")]
    assert rows("SELECT seed, score FROM baseline_scores WHERE algorithm = 'bc' ORDER BY seed") == rows(
        "SELECT seed, score FROM scores WHERE algorithm = 'bc' ORDER BY seed"
    )


def test_scores_that_older_code_made_are_told(bench, monkeypatch):
    out = bench(*FREEZE, "--run", *LOCAL)[1]
    assert "other code" not in out
    monkeypatch.setattr(canary_module, "code_fingerprint", lambda trained: "f" * 64)
    code, out, _ = bench("baseline", "freeze", "second", *FREEZE[3:])
    assert (code, "8 trials were made by other code than is here now" in out) == (0, True), out


def test_a_trial_that_failed_must_be_run_again_first(bench):
    bench(*FREEZE, "--run", *LOCAL)
    with sqlite3.connect(STORE) as connection:
        connection.execute("DELETE FROM baseline_scores")
        connection.execute("DELETE FROM baselines")
        connection.execute("UPDATE trials SET state = 'failed', score = NULL WHERE seed = 2")
    code, _, errors = bench(*FREEZE, "--run", *LOCAL)
    assert code == 1
    assert "2 of 8 trials of the baseline are missing" in errors
    assert f"2 failed (`bench status` says why): dtql {TASK} seed 2, bc {TASK} seed 2." in errors
    assert "--retry failed" in errors
    assert rows("SELECT * FROM baselines") == []


def test_a_score_that_is_not_finite_makes_no_baseline(bench):
    bench(*FREEZE, "--run", *LOCAL)
    with sqlite3.connect(STORE) as connection:
        connection.execute("UPDATE trials SET score = -9e999, score_is_nan = 1 WHERE seed = 2")
    code, _, errors = bench("baseline", "freeze", "second", *FREEZE[3:])
    assert (code, "2 have no score under their protocol, or none that is finite" in errors) == (1, True), (
        errors
    )


def test_baselines_are_listed_with_their_notes(bench):
    code, _, errors = bench("baseline", "list", "--store", STORE)
    assert (code, "there is no results database" in errors) == (2, True)
    bench(*FREEZE, "--run", "--by", "Ada", *LOCAL)
    assert (
        bench("baseline", "annotate", "first", "a new mujoco since", "--by", "Ben", "--store", STORE)[0] == 0
    )
    code, out, _ = bench("baseline", "list", "--store", STORE)
    assert code == 0
    assert [word in out for word in ("first", "Ada", "the release", "Ben", "a new mujoco since")] == [
        True
    ] * 5
    # A name is never given twice, which is told before anything is run.
    code, _, errors = bench(*FREEZE, "--run", *LOCAL)
    assert (code, "baseline 'first' exists" in errors) == (2, True)
    code, _, errors = bench("baseline", "annotate", "frist", "x", "--store", STORE)
    assert (code, "Did you mean first" in errors) == (2, True)


def test_who_types_is_taken_from_git(bench, tmp_path):
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "config", "user.name", "Grace"], check=True)
    assert bench(*FREEZE, "--run", *LOCAL)[0] == 0
    assert rows("SELECT author FROM baselines") == [("Grace",)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["freeze", "first"], "--reason"),
        (["freeze", "first", "--reason", " "], "--reason is empty"),
        (["freeze", " ", "--reason", "why"], "NAME is empty"),
        (["freeze", "first", "--reason", "why", "--config", "none.yaml"], "none.yaml"),
        (["annotate", "first", " "], "TEXT is empty"),
        (["annotate", "first", "x", "--store", STORE], "no results database"),
    ],
)
def test_wrong_requests_are_told(bench, tmp_path, arguments, told):
    code, _, errors = bench("baseline", *arguments)
    assert (code, told in errors) == (2, True), errors
    assert not (tmp_path / STORE).exists()
