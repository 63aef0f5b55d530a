"""A store as full as one gets: all four methods on all of D4RL's domains, what failed, 2D problems, nights.

Its numbers are drawn from what the papers print, but for some planted deviations. The page and the page of
nights are looked at with it, and their tests hold how high and how wide they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from bench.bandit2d.stored import Illustrations
from bench.catalog import Catalog, load_catalog
from bench.records import (
    BaselineRecord,
    BaselineScoreRecord,
    CellComparison,
    CellKey,
    FailureRecord,
    NightRecord,
    Outcome,
    PrintedNumber,
    TrialKey,
    TrialRecord,
    hash_of,
)
from bench.report.margins import load_margins
from bench.report.measured import ReportData
from bench.store.database import Store, open_store
from bench.store.queries import trials
from bench.store.writer import Writer
from benchmarks.full_store import dataset_of
from benchmarks.synthetic_study import Design, Study, draw_study, study_cells
from tests.bandit2d.clouds import (
    corner_clouds,
    diffusion_clouds,
    illustration,
    moving_clouds,
    store_trial,
    toy_run,
)
from tests.report.synthetic import write_store
from tests.store.samples import evaluation_record, failure_record, finished_record, run_record, timing_record

DOMAINS = ("d4rl-locomotion", "d4rl-antmaze-v0", "d4rl-antmaze-v2", "d4rl-adroit", "d4rl-kitchen")
PROBLEMS = ("bandit-25gaussians-far", "bandit-25gaussians-near")
PLANTED = {
    ("SRPO", "srpo", "hopper-medium-v2", "last"): -12.0,
    ("BDPO", "bdpo", "walker2d-medium-replay-v2", "last"): -12.0,
    ("DTQL", "dtql", "halfcheetah-medium-expert-v2", "last"): 12.0,
}
"""Deviations beyond the margin, in standard deviations of a seed's score."""
FIRST_NIGHT = date(2026, 11, 1)
WATCHED = (
    *(("dtql", f"{robot}-medium-v2") for robot in ("halfcheetah", "hopper", "walker2d")),
    *(("edp-td3", f"{robot}-medium-v2") for robot in ("halfcheetah", "hopper")),
    *(("srpo", f"{robot}-medium-v2") for robot in ("halfcheetah", "hopper", "walker2d")),
)
"""Methods and tasks of the nights' cells."""


def made_up_study(catalog: Catalog, suites: Sequence[str]) -> Study:
    """Five seeds of every number of the papers' main tables on these suites."""
    cells = study_cells(catalog, suites)
    design = Design(printed_anew=False, planted=PLANTED)
    return draw_study(cells, design, load_margins(), catalog, np.random.default_rng(1))


def whole_data() -> ReportData:
    """What a report is made of where everything was measured, without a store."""
    data = made_up_study(load_catalog(), DOMAINS).data
    evaluations = {
        trial.trial_id: len(trial.evaluations) for entry in data.measured for trial in entry.trials
    }
    key = TrialKey("dtql", "released", "hopper-medium-v2", 7, "ab" * 32)
    clouds = [illustration(algorithm, task) for task in PROBLEMS for algorithm in ("dtql", "srpo", "bdpo")]
    return replace(
        data,
        steps={trial: tuple(range(1000, 1000 * count + 1, 1000)) for trial, count in evaluations.items()},
        runs=(run_record(), run_record("run-2")),
        failures=(failure_record(key),),
        illustrations=Illustrations(
            (*clouds, illustration("bdpo", "bandit-energy-moons", diffusion_clouds()))
        ),
    )


def write_whole_store(path: Path, nights: int = 20) -> Path:
    """A new store at `path` with every kind of result that a page shows."""
    catalog = load_catalog()
    write_store(path, made_up_study(catalog, DOMAINS), catalog)
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(replace(run_record("run-2"), hardware={"hostname": "another-machine", "gpus": []}))
        _failed_and_reduced(writer, store)
        writer.end_run("run-2")
        writer.begin_run(replace(toy_run(), run_id="run-3"))
        for task in PROBLEMS:
            for algorithm in ("dtql", "srpo", "bdpo"):
                store_trial(writer, store.folder, algorithm, task, corner_clouds())
        store_trial(writer, store.folder, "bdpo", "bandit-energy-moons", diffusion_clouds())
        store_trial(writer, store.folder, "srpo-points", "bandit-energy-moons", moving_clouds())
        writer.end_run("run-3")
        if nights:
            write_nights(writer, nights)
    return path


def _failed_and_reduced(writer: Writer, store: Store) -> None:
    """Two methods' cells once more far below the budget, one seed of each diverged; and timings."""
    dataset = dataset_of(load_catalog().task("hopper-medium-v2"))
    for stored in [
        found for found in trials(store, tasks=["hopper-medium-v2"]) if found.record.key.seed == 0
    ]:
        config = {**stored.record.config, "budget": 0.001}
        for seed in (0, 1):
            key = replace(stored.record.key, config_hash=hash_of(config), seed=seed)
            reduced = TrialRecord(key, config, dataset, 1, "d4rl", 0.001, "last", 10, ("budget 0.001",))
            writer.plan([reduced])
            writer.claim(key.cell, {seed}, 1)
            if seed:
                writer.record(
                    FailureRecord(key, 1234, "diverged", "critic_loss is NaN", "Traceback: made up")
                )
            else:
                writer.record(evaluation_record(key), finished_record(key, 12.5))
    for algorithm, seconds in (("dtql", 8.5), ("edp-td3", 21.0)):
        writer.record(replace(timing_record(None, seconds), algorithm=algorithm, task="antmaze-umaze-v0"))


# Nights


def write_nights(writer: Writer, count: int) -> None:
    """So many nights against one baseline: the first cell falls on the way, and a verdict on it turns."""
    cells = [CellKey(algorithm, "released", task, "ab" * 32) for algorithm, task in WATCHED]
    random = np.random.default_rng(2)
    level = {cell: float(random.uniform(40, 100)) for cell in cells}
    scores = tuple(
        BaselineScoreRecord(cell.trial(seed), float(random.normal(level[cell], 2.0)))
        for cell in cells
        for seed in range(20)
    )
    writer.begin_run(run_record("baseline", "bench baseline freeze first"))
    writer.freeze(
        BaselineRecord("first", datetime(2026, 10, 31, tzinfo=UTC), "the release", "Ada", {}, {}, scores)
    )
    for number in range(count):
        falling = -1.2 * max(0, number - count // 2)
        held = tuple(
            _compared(cell, level[cell], scores, float(random.normal(0, 1.4)) + (falling if not place else 0))
            for place, cell in enumerate(cells)
        )
        _write_night(writer, number, held, count)


def _compared(
    cell: CellKey, level: float, scores: Sequence[BaselineScoreRecord], difference: float
) -> CellComparison:
    own = [score.score for score in scores if score.trial.cell == cell]
    mean, deviation = float(np.mean(own)), float(np.std(own, ddof=1))
    tonight, alarm = level + difference, mean - 3 * deviation / np.sqrt(2)
    below = tonight < alarm
    return CellComparison(
        cell=cell,
        status="below" if below else "as expected",
        reason="",
        baseline_seeds=len(own),
        baseline_mean=mean,
        baseline_sd=deviation,
        seeds=2,
        lost=0,
        mean=tonight,
        p_below=0.0001 if below else 0.4,
        alarm_below=float(alarm),
        confirmation_seeds=6 if below else 0,
        confirmation_mean=tonight if below else None,
        confirmed=True if below else None,
        drift=0.0,
        drifting=False,
    )


def _write_night(writer: Writer, number: int, held: tuple[CellComparison, ...], count: int) -> None:
    """One night; the verdict on the first cell turns in the last third."""
    day, run_id = FIRST_NIGHT + timedelta(days=number), f"night-{number}"
    started = datetime.combine(day, datetime.min.time(), UTC)
    writer.begin_run(replace(run_record(run_id, "bench nightly"), started_at=started))
    seeds = (1000 * number, 1000 * number + 1)
    night = NightRecord(run_id, day, "first", "ef" * 32, seeds, started, None, None, None, (), {})
    writer.begin_night(night)
    first = held[0].cell
    turned: Outcome = "below" if number > 2 * count // 3 else "reproduced"
    verdicts: dict[PrintedNumber, Outcome] = {
        ("DTQL", first.algorithm, first.task, "last"): turned,
        ("DTQL", "dtql", "walker2d-medium-v2", "last"): "reproduced",
    }
    red = any(cell.status == "below" for cell in held) or turned == "below"
    writer.end_night(
        replace(
            night,
            ended_at=started + timedelta(hours=3),
            outcome="red" if red else "green",
            report={"problems": []},
            cells=held,
            verdicts=verdicts,
        )
    )
    writer.end_run(run_id)
