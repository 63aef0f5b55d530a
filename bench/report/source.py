"""Reads what a report shows out of a store, with what today's catalog and presets know about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import pandas as pd

from bench.catalog import Catalog
from bench.errors import BenchError
from bench.presets import Preset, PresetFiles, preset_of
from bench.records import TimingRecord
from bench.report.measured import LearningCurve, Measured, ReportData, Schedules, SeedScore, TrainingSchedule
from bench.report.origins import load_configurations, load_origins
from bench.report.speed_table import LATENCY
from bench.report.stored_durations import trial_durations
from bench.report.stored_illustrations import load_illustrations
from bench.store.database import Store
from bench.store.progress import failures
from bench.store.queries import StoredTrial, final_episodes, learning_curves, timings_frame, trials
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
        suites=_suites(catalog),
    )


def load_judged_data(store: Store, catalog: Catalog) -> ReportData:
    """What verdicts need of `store`, and nothing that only a report shows."""
    evaluations = {trial_id: curve.scores for trial_id, curve in _curves(learning_curves(store)).items()}
    return ReportData(
        measured=tuple(gather(trials(store), catalog, evaluations)),
        final_episodes=final_episodes(store),
        suites=_suites(catalog),
    )


def gather(
    stored: Iterable[StoredTrial], catalog: Catalog, evaluations: Mapping[int, tuple[float, ...]]
) -> list[Measured]:
    """Cells from trials: those that differ in the seed alone belong together.

    `evaluations` holds the mean scores of the evaluations during training, by number of the trial.
    """
    groups: dict[tuple[str, str, str, str], list[StoredTrial]] = {}
    for trial in stored:
        key = trial.record.key
        groups.setdefault((key.algorithm, key.variant, key.task, key.config_hash), []).append(trial)
    return [_measured(group, catalog, evaluations) for group in groups.values()]


def _measured(
    group: Sequence[StoredTrial], catalog: Catalog, evaluations: Mapping[int, tuple[float, ...]]
) -> Measured:
    record = group[0].record
    task = catalog.tasks.get(record.key.task)
    seeds = (
        SeedScore(
            trial.trial_id,
            trial.record.key.seed,
            trial.state,
            trial.score,
            evaluations.get(trial.trial_id, ()),
        )
        for trial in group
    )
    started = [trial.started_at for trial in group if trial.started_at is not None]
    finished = [trial.finished_at for trial in group if trial.finished_at is not None]
    return Measured(
        algorithm=record.key.algorithm,
        variant=record.key.variant,
        task=record.key.task,
        config_hash=record.key.config_hash,
        task_version=record.task_version,
        physics=record.physics,
        budget=record.budget,
        protocol=record.protocol,
        episodes=record.episodes,
        reduced=record.reduced,
        dataset=record.dataset.name,
        verification=record.dataset.verification,
        replay=record.dataset.replay,
        trials=tuple(sorted(seeds, key=lambda trial: trial.seed)),
        twin_of=task.twin_of if task else None,
        current_task_version=task.version if task else None,
        started_at=min(started, default=None),
        finished_at=max(finished, default=None),
    )


def _suites(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    return {name: tuple(task.name for task in suite.tasks) for name, suite in catalog.suites.items()}


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
