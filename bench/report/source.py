"""Reads what a report shows out of a store, with what today's catalog and presets know about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import pandas as pd

from bench.catalog import Catalog
from bench.errors import BenchError
from bench.presets import Preset, PresetFiles, preset_of
from bench.records import TimingRecord
from bench.report.gathering import gather, tasks_of_suites
from bench.report.measured import LearningCurve, ReportData, Schedules, TrainingSchedule
from bench.report.origins import load_configurations, load_origins
from bench.report.speed_table import LATENCY
from bench.report.stored_durations import trial_durations
from bench.report.stored_illustrations import load_illustrations
from bench.store.database import Store
from bench.store.frames import learning_curves, timings_frame
from bench.store.progress import datasets, failures
from bench.store.queries import final_episodes, trials
from bench.store.runs import runs


def load_report_data(store: Store, catalog: Catalog) -> ReportData:
    """Everything in `store` that reports are made of; each cell with its trials gathered."""
    stored, durations = trials(store), timings_frame(store)
    timings = tuple(_timings(durations))
    presets = _presets(timings, catalog)
    curves = _curves(learning_curves(store))
    evaluations = {trial_id: curve.scores for trial_id, curve in curves.items()}
    return ReportData(
        measured=tuple(gather(stored, catalog, evaluations)),
        timings=timings,
        schedules=_schedules(presets),
        durations=tuple(trial_durations(stored, durations)),
        curves=tuple(curves.values()),
        runs=tuple(runs(store)),
        failures=tuple(failure.record for failure in failures(store) if failure.current),
        illustrations=load_illustrations(store, catalog),
        origins=load_origins(store),
        configurations=load_configurations(store),
        phase_iterations={key: _phase_iterations(preset) for key, preset in presets.items()},
        latencies=_latencies(durations),
        final_episodes=final_episodes(store),
        suites=tasks_of_suites(catalog),
        datasets=tuple(datasets(store)),
    )


def _timings(frame: pd.DataFrame) -> Iterable[TimingRecord]:
    names = ("quantity", "value", "algorithm", "variant", "task", "stack_size", "concurrent_stacks",
             "device", "threads", "runner", "exclusive")  # fmt: skip
    # The others enter no table, and a large grid leaves tens of thousands.
    for row in frame[frame["exclusive"].astype(bool)].to_dict("records"):
        measured_at = row["measured_at"]
        moment = measured_at.to_pydatetime() if isinstance(measured_at, pd.Timestamp) else measured_at
        yield TimingRecord(
            **{name: row[name] for name in names},
            trial=None,
            measured_at=moment if isinstance(moment, datetime) else None,
        )


def _latencies(frame: pd.DataFrame) -> dict[int, float]:
    """Of a trial that was measured again, the latest."""
    of_trials = frame[(frame["quantity"] == LATENCY) & frame["trial_id"].notna()]
    return {
        int(trial): float(value)
        for trial, value in zip(of_trials["trial_id"], of_trials["value"], strict=True)
    }


def _presets(timings: Iterable[TimingRecord], catalog: Catalog) -> dict[tuple[str, str, str], Preset]:
    files, found = PresetFiles(), {}
    for algorithm, variant, name in {(t.algorithm, t.variant, t.task) for t in timings}:
        if name not in catalog.tasks:
            continue
        try:
            found[algorithm, variant, name] = preset_of(files[algorithm], catalog.tasks[name], variant)
        except BenchError:
            # Timed with hand-made settings: there is no preset to compute epochs and hours from.
            continue
    return found


def _schedules(presets: Mapping[tuple[str, str, str], Preset]) -> Schedules:
    counts = {key: preset.values for key, preset in presets.items()}
    return {
        key: TrainingSchedule(int(values["pretrain_iterations"]), int(values["train_iterations"]))
        for key, values in counts.items()
        if {"pretrain_iterations", "train_iterations"} <= values.keys()
    }


def _phase_iterations(preset: Preset) -> dict[str, int]:
    # BDPO's warm-up is the beginning of a phase, not one of its own.
    names = [
        name for name in preset.step_counts if name.endswith("_iterations") and name != "warm_up_iterations"
    ]
    return {name.removesuffix("_iterations"): int(preset.values[name]) for name in names}


def _curves(points: pd.DataFrame) -> dict[int, LearningCurve]:
    """The curve of every trial, by its number."""
    trial = ["trial_id", "task", "algorithm", "variant", "config_hash", "seed"]
    gathered = points.groupby(trial, sort=False)[["step", "mean_score"]].agg(tuple)
    return {
        names[0]: LearningCurve(**dict(zip(trial[1:], names[1:], strict=True)), steps=steps, scores=scores)
        for names, steps, scores in gathered.itertuples(name=None)
    }
