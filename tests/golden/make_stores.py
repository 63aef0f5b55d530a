"""Made stores/study.sqlite.xz and stores/rough.sqlite.xz; kept to show what is in them.

It belongs to the code of commit e5847bc ("golden: what the code does is recorded before it is reshaped"), was
run there (`python -m tests.golden.make_stores`) and calls what later code no longer has. The stores are never
made again, so that later code opens the same ones.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bench.benchmarks.full_store import Size, make_store
from bench.benchmarks.synthetic_study import Design, draw_study, study_cells

from bench.catalog import load_catalog
from bench.cli import main as bench
from bench.records import TrialKey, TrialRecord, hash_of
from bench.report.margins import load_margins
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.golden.files import STORES, pack
from tests.report.synthetic import write_store
from tests.store import samples

COLLECT = "data collect bandit-25gaussians-far --transitions 2000"
BANDIT = (
    "run --tasks bandit-25gaussians-far --algos dtql,srpo --seeds 0-1 --budget 0.0005 --evals 2 "
    "--episodes 50 --executor local --set batch_size=64 --store"
)
FROZEN = (50.0, 52.0, 48.0, 51.0, 49.0, 50.5, 49.5, 51.5, 48.5, 50.0)


def main() -> None:
    """Both stores."""
    for name, make in (("study", study), ("rough", rough)):
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.sqlite"
            make(path)
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("VACUUM")
            pack(path, STORES / f"{name}.sqlite.xz")


def study(path: Path) -> None:
    """The papers' main tables, judged: all is reproduced but for planted deviations."""
    catalog = load_catalog()
    planted = {
        ("SRPO", "srpo", "hopper-medium-v2", "last"): -12.0,
        ("BDPO", "bdpo", "walker2d-medium-replay-v2", "last"): -12.0,
        ("DTQL", "dtql", "halfcheetah-medium-expert-v2", "last"): 12.0,
    }
    design = Design(printed_anew=False, planted=planted)
    drawn = draw_study(study_cells(catalog), design, load_margins(), catalog, np.random.default_rng(1))
    write_store(path, drawn, catalog)


def rough(path: Path) -> None:
    """Whatever a store may hold besides: see the functions called."""
    make_store(path, Size(tasks=4, seeds=3, evaluations=12, episodes=3))
    os.environ["BENCH_DATA_DIR"] = str(path.parent / "data")
    done(bench, COLLECT.split())
    done(bench, [*BANDIT.split(), str(path)])
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-odd", "bench run --suite odd"))
        odd_trials(writer)
        nights(writer)
        writer.end_run("run-odd")
    with open_store(path) as store, Writer(store) as writer:  # cut off, without an end
        writer.begin_run(samples.run_record("run-cut", "bench run --suite cut"))
        cut_off(writer)
    with closing(sqlite3.connect(path)) as connection:
        noon = samples.NOON.replace(tzinfo=None).isoformat(" ", "microseconds")
        connection.execute("UPDATE claims SET claimed_at = ?, heartbeat_at = ?", (noon, noon))
        connection.commit()
    shutil.rmtree(path.parent / "drivers", ignore_errors=True)


def done(command: Callable[[list[str]], object], arguments: list[str]) -> None:
    """Run a command; end with its exit code if it failed."""
    try:
        command(arguments)
    except SystemExit as stop:
        if stop.code:
            sys.exit(stop.code)


def trial(method: str, variant: str, task: str, seed: int, **changes: object) -> TrialRecord:
    """A trial at the paper's full budget on a verified dataset, unless changed."""
    config = {"task": task, "made": variant, "for": sorted(map(str, changes.items()))}
    record = TrialRecord(
        TrialKey(method, variant, task, seed, hash_of(config)),
        config,
        samples.verified_dataset(task),
        1,
        "d4rl",
        1.0,
        "last",
        10,
        (),
    )
    return replace(record, **changes)


def finish(writer: Writer, record: TrialRecord, scores: tuple[float, ...]) -> None:
    """All that a finished trial leaves."""
    key = record.key
    writer.plan([record])
    writer.claim(key.cell, {key.seed}, 1)
    writer.begin_execution([key], samples.execution_record((key.seed,)))
    for number in (1, 2):
        evaluation = samples.evaluation_record(key, number, tuple(30 * score for score in scores))
        writer.record(replace(evaluation, physics=record.physics))
    writer.finish(
        samples.finished_record(key, float(np.mean(scores))),
        samples.weights_record(key),
        [samples.timing_record(key), replace(samples.timing_record(key), quantity="evaluation_seconds")],
    )


def odd_trials(writer: Writer) -> None:
    """Variants, other data, other physics, NaN, failures, retries, speed."""
    random = np.random.default_rng(2)
    unchecked = replace(samples.DATASET, verification="content fits")
    kinds = {
        ("dtql", "paper", "walker2d-medium-v2"): {},
        ("dtql", "released", "antmaze-umaze-v0"): {},
        ("edp-td3", "released", "hopper-medium-v2"): {"protocol": "rat"},
        ("edp-iql", "released", "antmaze-umaze-v0"): {"task_version": 0},
        ("srpo", "released", "hopper-medium-v2"): {"physics": "modern"},
        ("srpo", "paper", "hopper-medium-v2"): {"dataset": unchecked},
        ("bdpo", "released", "hopper-medium-v2"): {"budget": 0.5, "reduced": ("budget 0.5",)},
        ("bdpo", "paper", "hopper-medium-replay-v2"): {"episodes": 3, "reduced": ("episodes 3",)},
        ("dtql-kl", "released", "hopper-medium-v2"): {},
        ("dtql", "released", "kitchen-mixed-v0"): {},
        ("edp-iql", "released", "pen-human-v1"): {},
        ("bdpo-gaussian", "released", "hopper-medium-v2"): {},
        ("bc", "released", "collected-hopper-medium"): {
            "dataset": replace(unchecked, verification="unverified")
        },
    }
    for (method, variant, task), changes in kinds.items():
        for seed in range(4):
            scores = tuple(random.normal(70, 5, int(changes.get("episodes", 10))).round(3).tolist())
            finish(writer, trial(method, variant, task, seed, **changes), scores)
    failing = [trial("srpo", "released", "walker2d-medium-v2", seed) for seed in range(3)]
    writer.plan(failing)
    for record in failing:
        writer.claim(record.key.cell, {record.key.seed}, 1)
        writer.begin_execution([record.key], samples.execution_record((record.key.seed,)))
        writer.record(samples.evaluation_record(record.key, 1, (float("nan"), float("inf"), 1.0)))
        writer.record(samples.failure_record(record.key))
    writer.retry([failing[0].key])
    for quantity in ("training_seconds_per_1k_iterations", "action_latency_median_seconds"):
        for method, value in (("dtql", 3.5), ("srpo", 2.25), ("edp-iql", 0.015)):
            alone = replace(samples.timing_record(None, value), quantity=quantity, algorithm=method)
            writer.record(replace(alone, task="antmaze-umaze-v0", stack_size=1))


def nights(writer: Writer) -> None:
    """A baseline with notes, and a night whose seeds fell below it."""
    frozen = [
        samples.BaselineScoreRecord(samples.trial_record(seed).key, score)
        for seed, score in enumerate(FROZEN)
    ]
    configuration = {"scores": {"family_rate": 0.02}, "seeds": {"confirmation": 6}}
    planned = [samples.trial_record(seed) for seed in (100, 101)]
    writer.plan(planned)
    for record, score in zip(planned, (40.0, 41.0), strict=True):
        writer.claim(record.key.cell, {record.key.seed}, 1)
        writer.record(samples.finished_record(record.key, score))
    writer.freeze(samples.baseline_record(configuration=configuration, scores=tuple(frozen)))
    writer.annotate(samples.note_record(fingerprints={"losses": {"dtql released": "cd" * 32}}))
    writer.annotate(samples.note_record("a remark", 2))
    night = samples.night_record("run-odd")
    writer.begin_night(samples.begun(night))
    writer.end_night(night)


def cut_off(writer: Writer) -> None:
    """Trials begun and never ended, one stopped with its state saved, one never begun."""
    records = [trial("dtql", "released", "hopper-medium-expert-v2", seed) for seed in range(5)]
    keys = [record.key for record in records]
    writer.plan(records)
    writer.claim(keys[0].cell, {0, 1}, 2)
    writer.begin_execution(keys[:2], samples.execution_record())
    for key in keys[:2]:
        writer.record(samples.evaluation_record(key, 1))
    writer.stop(keys[:2], 500)
    writer.claim(keys[2].cell, {2, 3}, 2)
    writer.begin_execution(keys[2:4], samples.execution_record((2, 3)))
    writer.record(samples.evaluation_record(keys[2], 1))
    writer.annotate(samples.note_record("after the cut", int(timedelta(hours=1).total_seconds() // 60)))


if __name__ == "__main__":
    main()
