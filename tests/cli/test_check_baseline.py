"""`bench check --against baseline` on a store with a baseline and nights written by hand."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples
from tests.store.samples import (
    baseline_record,
    begun,
    finished_record,
    night_record,
    run_record,
    trial_record,
)

FROZEN = (50.0, 52.0, 48.0, 51.0, 49.0, 50.5, 49.5, 51.5, 48.5, 50.0)
NIGHT_SEEDS = (100, 101)
CONFIGURATION = {"scores": {"family_rate": 0.02}, "seeds": {"confirmation": 6}}
FRESH = {"confirmed": None, "confirmation_seeds": 0}


def make_store(path, scores, **night):
    """A store whose baseline is `FROZEN`, and whose last night had these scores of its two seeds."""
    cell = replace(night_record().cells[0], **(FRESH | night))
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(run_record())
        trials = [trial_record(seed) for seed in NIGHT_SEEDS]
        writer.plan(trials)
        for trial, score in zip(trials, scores, strict=True):
            if score is not None:
                writer.claim(trial.key.cell, {trial.key.seed}, 1)
                writer.record(finished_record(trial.key, score))
        frozen = [
            samples.BaselineScoreRecord(trial_record(seed).key, score) for seed, score in enumerate(FROZEN)
        ]
        writer.freeze(baseline_record(configuration=CONFIGURATION, scores=tuple(frozen)))
        record = night_record(cells=(cell,))
        writer.begin_night(begun(record))
        writer.end_night(record)
        writer.end_run("run-1")
    return path


def against_baseline(bench, path, *arguments):
    """Exit code, output, errors."""
    return bench("check", "--against", "baseline", "--store", path, *arguments)


@pytest.mark.parametrize(
    ("scores", "night", "verdict", "code"),
    [
        ((50.0, 51.0), {}, "as expected", 0),
        ((60.0, 61.0), {}, "above", 0),
        ((40.0, 41.0), {}, "below", 1),
        ((40.0, 41.0), {"confirmed": True, "confirmation_seeds": 6}, "below", 1),
        ((40.0, 41.0), {"confirmed": False, "confirmation_seeds": 6}, "below, cleared by fresh seeds", 0),
        # Fresh seeds that were lost clear nothing.
        ((40.0, 41.0), {"confirmed": None, "confirmation_seeds": 5}, "below", 1),
        # That night was configured to have fewer of them than nights had when the baseline was frozen.
        ((40.0, 41.0), {"confirmed": False, "confirmation_seeds": 3}, "below, cleared by fresh seeds", 0),
        ((50.0, None), {}, "missing", 1),
    ],
)
def test_the_last_nights_scores_against_the_frozen_ones(bench, tmp_path, scores, night, verdict, code):
    path = make_store(tmp_path / "s.sqlite", scores, **night)
    found, out, err = against_baseline(bench, path)
    (line,) = (line for line in out.splitlines() if line.startswith("dtql hopper-medium-v2  "))
    assert line.split("  ")[1] == verdict
    assert "50.0 ± 1.3 (n=10)" in line
    assert (found, bool(err)) == (code, bool(code))
    assert "A false alarm in 2.0% of nights" in out
    _, text, _ = against_baseline(bench, path, "--format", "junit")
    assert ElementTree.fromstring(text).get("failures") == str(code)


def test_json_has_the_numbers_of_the_prediction_interval(bench, tmp_path):
    path = make_store(tmp_path / "s.sqlite", (40.0, 41.0))
    _, out, _ = against_baseline(bench, path, "--format", "json")
    found = json.loads(out)
    (cell,) = found["cells"]
    # The baseline has variance 15 / 9, so the error of the difference is sqrt(15 / 9 (1 / 2 + 1 / 10)) = 1.
    assert cell["t"] == pytest.approx(-9.5)
    assert (found["failed"], found["seeds"], found["family_rate"]) == (True, [100, 101], 0.02)


def test_text_goes_into_a_file_and_a_suite_chooses_cells(bench, tmp_path):
    path = make_store(tmp_path / "s.sqlite", (50.0, 51.0))
    _, printed, _ = against_baseline(bench, path, "--suite", "d4rl-locomotion")
    against_baseline(bench, path, "--out", tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text() == printed
    code, _, err = against_baseline(bench, path, "--suite", "d4rl-kitchen")
    assert code == 2
    assert "has no cell of d4rl-kitchen" in err


def test_wrong_requests(bench, tmp_path):
    open_store(tmp_path / "s.sqlite").close()
    code, _, err = against_baseline(bench, tmp_path / "s.sqlite")
    assert code == 2
    assert "bench baseline freeze" in err
    code, _, err = against_baseline(bench, tmp_path / "s.sqlite", "--explain", "dtql")
    assert code == 2
    assert "--explain with --against baseline" in err
