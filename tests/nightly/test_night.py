"""A night without a grid: what is carried from night to night, what is said, where it stops, what turns."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.nightly import night as night_module
from bench.nightly.alarms import CellScores, compare_night, confirm_night
from bench.nightly.baseline import compare_with_baseline
from bench.nightly.config import load_nightly
from bench.nightly.exact import ExactFinding
from bench.nightly.findings import FEW, Drift, Findings, as_json, html, junit, summary
from bench.nightly.history import verdict_changes
from bench.nightly.night import (
    NightRequest,
    Work,
    drift_after,
    ended,
    margins_of,
    run_night,
    verdicts_of,
)
from bench.records import BaselineScoreRecord
from bench.report.margins import load_margins
from bench.store.database import open_store
from bench.store.nights import nights
from bench.store.writer import Writer
from benchmarks.synthetic_study import Design, draw_study, study_cells
from tests.nightly.tiny_nights import few_fingerprints, write_canary
from tests.report.synthetic import refill, write_store
from tests.store import samples

DAY = date(2026, 11, 21)
CATALOG = load_catalog()
SEEDS = (20261121000, 20261121001)
BASELINE = (50.0, 52.0, 48.0, 51.0, 49.0, 50.5, 49.5, 50.0)
CELL = samples.trial_record().key.cell
NAME = str(CELL)


def baseline_of(scores=BASELINE):
    copies = tuple(BaselineScoreRecord(CELL.trial(seed), score) for seed, score in enumerate(scores))
    return samples.baseline_record(scores=copies)


def compared(*tonight, scores=BASELINE):
    return compare_night([CellScores(CELL, tuple(scores), tonight)], 0.01)


def found(comparison, **more):
    return Findings(DAY, "first", SEEDS, comparison=comparison, **more)


def test_the_sums_go_on_from_the_last_night_and_the_limit_is_red(tmp_path):
    settings = load_nightly(write_canary(tmp_path, drift={"nights": 5, "rate": 0.01})).settings
    # Somewhat low every night: never enough for an alarm of its own.
    low = compared(48.6, 48.7)
    assert low.alarms == ()
    history, reds = [], []
    for number in range(12):
        drift = drift_after(history, low, settings)
        findings = found(low, drift=drift)
        reds.append(findings.outcome)
        begun = samples.begun(samples.night_record(f"night-{number}", date(2026, 11, 1 + number)))
        history.append(ended(begun, findings))
    sums = [night.cells[0].drift for night in history]
    assert sums == sorted(sums)
    assert sums[1] == pytest.approx(2 * sums[0])
    assert (reds[0], reds[-1]) == ("green", "red")
    assert history[-1].cells[0].drifting
    # One that stopped at the exact layers changes nothing.
    stopped = samples.night_record(cells=())
    assert drift_after([history[0], stopped], low, settings) == drift_after(history[:1], low, settings)


def test_a_night_that_ends_after_the_next_one_counts_in_the_sums(tmp_path):
    settings = load_nightly(write_canary(tmp_path, drift={"nights": 5, "rate": 0.01})).settings

    def held(number, comparison, earlier):
        findings = found(comparison, drift=drift_after(earlier, comparison, settings))
        begun = samples.begun(samples.night_record(f"night-{number}", date(2026, 11, 1 + number)))
        return ended(begun, findings)

    low, lower = compared(48.6, 48.7), compared(48.4, 48.5)
    first = held(0, low, [])
    second = held(1, lower, [first])
    hurried = held(2, low, [first])
    in_order = held(2, low, [first, second])
    assert hurried.cells[0].drift < in_order.cells[0].drift
    fourth = [drift_after([first, second, third], low, settings) for third in (hurried, in_order)]
    assert fourth[0] == fourth[1]


def test_the_record_of_a_night_says_what_fired_and_what_was_confirmed():
    first = compared(20.0, 21.0)
    second = confirm_night(first, [CellScores(CELL, BASELINE, (20.5, None, 19.5))], 0.05)
    begun = samples.begun(samples.night_record())
    (cell,) = ended(begun, found(first, confirmation=second)).cells
    assert (cell.cell, cell.status, cell.seeds, cell.lost, cell.mean) == (CELL, "below", 2, 0, 20.5)
    assert (cell.confirmation_seeds, cell.confirmation_mean, cell.confirmed) == (2, 20.0, None)
    # A fresh seed that failed settles nothing, so it is red too.
    assert found(first, confirmation=second).outcome == "red"
    assert '<td class="red">below, then missing</td>' in html(found(first, confirmation=second))
    whole = confirm_night(first, [CellScores(CELL, BASELINE, (20.5, 20.0, 19.5))], 0.05)
    (cell,) = ended(begun, found(first, confirmation=whole)).cells
    assert cell.confirmed is True


@pytest.mark.parametrize("tonight", [(math.nan, 50.0), (None, 50.0), (math.inf, 50.0), (None, None)])
def test_a_seed_without_a_usable_score_is_red_and_no_nan_is_written(tonight):
    findings = found(compared(*tonight), drift=Drift({NAME: 0.0}, 5.0))
    assert findings.outcome == "red"
    assert "1 missing" in summary(findings)
    text = json.dumps(as_json(findings), allow_nan=False)
    assert json.loads(text)["outcome"] == "red"
    for shown in (text, summary(findings), html(findings), junit(findings, datetime.now(UTC))):
        assert "nan" not in shown.lower()
        assert "inf" not in shown.lower().replace("information", "")


def test_many_problems_of_one_kind_are_told_in_a_few_lines():
    exact = tuple(ExactFinding("losses", f"method-{number}", "differs", True) for number in range(40))
    findings = Findings(DAY, "my first", SEEDS, exact)
    text = summary(findings)
    assert "RED: 40 problems" in text
    assert f"and {40 - FEW} more, in the report" in text
    assert text.count("bench baseline annotate 'my first'") == 1
    assert len(as_json(findings)["problems"]) == 40


def test_commands_that_are_told_ask_the_nights_own_store():
    drift = Drift({NAME: 5.0}, 5.0, (NAME,))
    (problem,) = found(compared(50.0, 51.0), drift=drift, store="my nights.sqlite").problems()
    assert problem.do_this.endswith("--store 'my nights.sqlite'")


def test_names_and_sentences_are_escaped_in_the_page():
    exact = (ExactFinding("losses", "<b>&", 'a "quoted" <script>', True),)
    page = html(Findings(DAY, "first", SEEDS, exact))
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;" in page


def test_the_baseline_is_compared_without_running_anything(tmp_path):
    path = tmp_path / "bench.sqlite"
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        trials = [samples.trial_record(seed) for seed in SEEDS]
        writer.plan(trials)
        for trial, score in zip(trials, (49.0, 51.5), strict=True):
            writer.record(samples.finished_record(trial.key, score))
    with open_store(path, read_only=True) as store:
        comparison = compare_with_baseline(store, baseline_of(), SEEDS, 0.01)
        (cell,) = comparison.cells
        assert (cell.status, cell.mean, cell.seeds, cell.baseline_seeds) == ("as expected", 50.25, 2, 8)
        lost = compare_with_baseline(store, baseline_of(), (*SEEDS, 7), 0.01)
        assert (lost.cells[0].status, lost.red) == ("missing", (NAME,))


@pytest.fixture
def request_(tmp_path, monkeypatch):
    """A request for a night in a store whose baseline is of the tiny canary's fingerprints."""
    monkeypatch.setattr(night_module, "fingerprints", few_fingerprints)
    monkeypatch.setattr(night_module, "canary_tasks", lambda file: ())
    monkeypatch.setattr(night_module, "canary_cells", lambda file, obtain: ())
    monkeypatch.setattr(night_module, "changed_cells", lambda *_: [])
    path = tmp_path / "bench.sqlite"
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.freeze(samples.baseline_record(fingerprints=few_fingerprints(()).as_json()))
    return NightRequest(load_nightly(write_canary(tmp_path)), DAY, str(path), "bench nightly")


def test_a_note_does_not_accept_what_was_not_there_when_it_was_written(request_, monkeypatch):
    now = few_fingerprints(())
    gone = replace(now, simulators={})
    moved = {name: replace(recording, sha256=64 * "f") for name, recording in now.simulators.items()}
    monkeypatch.setattr(night_module, "fingerprints", lambda *_, **__: replace(now, simulators=moved))
    with open_store(request_.store) as store, Writer(store) as writer:
        writer.annotate(samples.note_record(fingerprints=gone.as_json()))
    found = run_night(request_, Work(lambda cells, seeds: None, lambda task: None, "cpu"))
    assert (found.stopped, found.excused) == (True, ())


def test_what_the_code_of_a_method_from_outside_raises_is_a_finding_of_the_night(request_, monkeypatch):
    name = "acme released hopper-medium-v2 float64"

    def taken(tasks, *, on_failure):
        on_failure(name, ValueError("no such head\nand more"))
        return few_fingerprints(tasks)

    monkeypatch.setattr(night_module, "fingerprints", taken)
    before = few_fingerprints(()).as_json() | {"losses": {name: {"sha256": 64 * "a", "kept": {}}}}
    with open_store(request_.store) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.freeze(replace(samples.baseline_record(fingerprints=before), name="with acme"))
    work = Work(
        lambda cells, seeds: None, lambda task: None, "cpu", keep_traceback=lambda error: "it is here"
    )
    found = run_night(replace(request_, baseline="with acme"), work)
    sentence = "the method's own code raised ValueError: no such head; it is here"
    assert found.exact == (ExactFinding("losses", name, sentence, True),)
    assert (found.stopped, found.outcome) == (True, "red")


def test_a_night_whose_grid_was_stopped_has_no_outcome(request_):
    class Stopped:
        left = 3

    assert run_night(request_, Work(lambda cells, seeds: Stopped(), lambda task: None, "cpu")) is None
    with open_store(request_.store, read_only=True) as store:
        assert nights(store) == []


def test_without_a_store_or_a_baseline_it_is_told_how_to_freeze_one(request_, tmp_path):
    work = Work(lambda cells, seeds: None, lambda task: None, "cpu")
    for store in ("none.sqlite", "empty.sqlite"):
        place = str(tmp_path / store)
        if store == "empty.sqlite":
            open_store(place).close()
        with pytest.raises(BenchError) as refused:
            run_night(replace(request_, store=place), work)
        assert "bench baseline freeze" in refused.value.do_this
    assert not (tmp_path / "none.sqlite").exists()


# The papers: a planted fall turns a verdict, and only a turn from reproduced fails the night


def night(verdicts, **changes):
    """A night that ended with these verdicts."""
    return samples.night_record(verdicts=verdicts, **changes)


@pytest.fixture(scope="module")
def printed_cells():
    chosen = [cell for cell in study_cells(CATALOG) if cell.key[:2] == ("BDPO", "bdpo")]
    return tuple(chosen[:3])


def drawn(printed_cells, **design):
    random = np.random.default_rng(3)
    design = Design(seeds=20, printed_anew=False, **design)
    return draw_study(printed_cells, design, load_margins(), CATALOG, random)


def test_a_fall_in_the_store_turns_its_verdict_and_no_other(tmp_path, printed_cells):
    file = load_nightly(write_canary(tmp_path))
    path = write_store(tmp_path / "bench.sqlite", drawn(printed_cells), CATALOG)
    with open_store(path, read_only=True) as store:
        before = verdicts_of(store, CATALOG, margins_of(file))
    assert before == {cell.key: "reproduced" for cell in printed_cells}
    fallen = printed_cells[1].key
    refill(path, drawn(printed_cells, planted={fallen: -10.0}), CATALOG)
    with open_store(path, read_only=True) as store:
        after = verdicts_of(store, CATALOG, margins_of(file))
    (change,) = verdict_changes([night(before)], after)
    assert (change.key, change.before, change.after, change.fails) == (fallen, "reproduced", "below", True)


def test_margins_are_those_that_the_configuration_names(tmp_path, printed_cells):
    (tmp_path / "wide.yaml").write_text(
        "declared: 2025-01-01\ncell: {points: 60, deviations: 2}\nsuite: {points: 60}\n"
    )
    study = drawn(printed_cells, planted={printed_cells[1].key: -10.0})
    path = write_store(tmp_path / "bench.sqlite", study, CATALOG)
    with open_store(path, read_only=True) as store:
        assert verdicts_of(store, CATALOG, load_margins())[printed_cells[1].key] == "below"
        wide = load_nightly(write_canary(tmp_path, margins="wide.yaml"))
        assert verdicts_of(store, CATALOG, margins_of(wide))[printed_cells[1].key] == "reproduced"
