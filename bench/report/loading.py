"""Reads what a report shows out of a store, with what today's catalog and presets know about it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import select

from algorithms.registry import methods
from bench.bandit2d.stored import load_illustrations
from bench.catalog import Catalog
from bench.data.manifest import Manifest, load_manifest, verification_of
from bench.errors import BenchError
from bench.evaluation.protocols import BEST_CANDIDATES, BY_METRICS
from bench.presets import PresetFiles, preset_of
from bench.records import (
    DECLARED,
    FINISHED,
    FOREIGN,
    IMPORTED,
    CellKey,
    Declaration,
    PhaseRecord,
    Precision,
    TimingRecord,
)
from bench.report.measured import (
    LATENCY,
    Configuration,
    Measured,
    Origin,
    Phases,
    ReportData,
    SeedScore,
    TrialDuration,
)
from bench.store.damage import restored
from bench.store.database import Store
from bench.store.models import Trial
from bench.store.queries import (
    StoredTrial,
    datasets,
    evaluation_means,
    evaluation_metrics,
    failures,
    final_episodes,
    learning_curves,
    precisions,
    runs,
    timings_frame,
    trials,
)
from bench.store.views import PROVENANCE

if TYPE_CHECKING:
    import pandas as pd

_Kind = TypeVar("_Kind")


def load_report_data(store: Store, catalog: Catalog) -> ReportData:
    """Everything in `store` that reports are made of; each cell with its trials gathered."""
    stored, durations = trials(store), timings_frame(store)
    timings = tuple(_timings(durations))
    points = learning_curves(store)
    return ReportData(
        measured=tuple(
            gather(
                stored,
                catalog,
                _by_trial(points, "mean_score"),
                evaluation_metrics(store, BY_METRICS),
                precisions(store),
            )
        ),
        timings=timings,
        phases=_phases(timings, catalog),
        durations=tuple(trial_durations(stored, durations)),
        steps=_by_trial(points, "step"),
        runs=tuple(runs(store)),
        failures=tuple(failure.record for failure in failures(store) if failure.current),
        illustrations=load_illustrations(store, catalog),
        origins=load_origins(store),
        configurations=load_configurations(store),
        latencies=_latencies(durations),
        final_episodes=final_episodes(store),
        suites=tasks_of_suites(catalog),
        datasets=tuple(datasets(store)),
    )


def _by_trial(points: pd.DataFrame, column: str) -> dict[int, tuple[Any, ...]]:
    """What a column says of the evaluations of every trial, by its number."""
    gathered = points.groupby("trial_id", sort=False)[column].agg(tuple)
    return dict(zip(gathered.index, gathered, strict=True))


def load_judged_data(store: Store, catalog: Catalog) -> ReportData:
    """What verdicts need of `store`, and nothing that only a report shows."""
    return ReportData(
        measured=tuple(
            gather(
                trials(store),
                catalog,
                evaluation_means(store),
                evaluation_metrics(store, BY_METRICS),
                precisions(store),
            )
        ),
        final_episodes=final_episodes(store),
        suites=tasks_of_suites(catalog),
    )


def gather(
    stored: Iterable[StoredTrial],
    catalog: Catalog,
    evaluations: Mapping[int, tuple[float, ...]],
    metrics: Mapping[int, tuple[Mapping[str, float], ...]],
    precisions: Mapping[int, Set[str]],
) -> list[Measured]:
    """Cells from trials: those that differ in the seed alone belong together.

    By number of the trial `evaluations` holds the mean scores of the evaluations during training, `metrics`
    what else was noted of them, of trials whose protocol chooses by it, and `precisions` in which precision
    matrices were multiplied.
    """
    groups: dict[CellKey, list[StoredTrial]] = {}
    for trial in stored:
        groups.setdefault(trial.record.key.cell, []).append(trial)
    manifest = load_manifest()
    return [
        _measured(group, catalog, manifest, evaluations, metrics, precisions) for group in groups.values()
    ]


def _measured(
    group: Sequence[StoredTrial],
    catalog: Catalog,
    manifest: Manifest,
    evaluations: Mapping[int, tuple[float, ...]],
    metrics: Mapping[int, tuple[Mapping[str, float], ...]],
    precisions: Mapping[int, Set[str]],
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
            metrics.get(trial.trial_id, ()),
            _setting(trial, "selected_rank", int),
        )
        for trial in group
    )
    started = [trial.started_at for trial in group if trial.started_at is not None]
    finished = [trial.finished_at for trial in group if trial.finished_at is not None]
    cell = Measured(
        algorithm=record.key.algorithm,
        variant=record.key.variant,
        task=record.key.task,
        config_hash=record.key.config_hash,
        task_version=record.task_version,
        physics=record.physics,
        budget=record.budget,
        protocol=record.protocol,
        episodes=record.episodes,
        # Against the preset of the day on which each was planned.
        reduced=tuple(dict.fromkeys(text for trial in group for text in trial.record.reduced)),
        dataset=record.dataset.name,
        verification=verification_of(record.dataset, manifest),
        replay=record.dataset.replay,
        trials=tuple(sorted(seeds, key=lambda trial: trial.seed)),
        twin_of=task.twin_of if task else None,
        foreign=FOREIGN in record.config or (task is not None and task.foreign),
        preset_of=_preset_of(record.config),
        current_task_version=task.version if task else None,
        started_at=min(started, default=None),
        finished_at=max(finished, default=None),
        precision=", ".join(sorted({name for trial in group for name in precisions.get(trial.trial_id, ())})),
        dataset_sha256=record.dataset.sha256,
        goals=_setting(group[0], "goals", str),
        declared=_declared(group[0]),
    )
    # Which number of candidates is best, all seeds tell together.
    return cell.under(BEST_CANDIDATES) if cell.protocol == BEST_CANDIDATES else cell


def _declared(trial: StoredTrial) -> Declaration | None:
    if trial.record.key.variant != IMPORTED:
        return None
    said = trial.record.config.get(DECLARED)
    return restored(Declaration, said, f"the declarations of trial {trial.trial_id}")


def _preset_of(config: Mapping[str, object]) -> str | None:
    foreign = config.get(FOREIGN)
    named = foreign.get("preset_of") if isinstance(foreign, Mapping) else None
    return named if isinstance(named, str) else None


def _setting(trial: StoredTrial, name: str, kind: type[_Kind]) -> _Kind | None:
    """A setting of a trial's evaluation; None where it has none."""
    settings = trial.record.config.get("evaluation")
    value = settings.get(name) if isinstance(settings, Mapping) else None
    return value if isinstance(value, kind) else None


def tasks_of_suites(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Names of the tasks of every suite."""
    return {name: tuple(task.name for task in suite.tasks) for name, suite in catalog.suites.items()}


# Timings and phases


def _timings(frame: pd.DataFrame) -> Iterable[TimingRecord]:
    names = ("quantity", "value", "algorithm", "variant", "task", "stack_size", "concurrent_stacks",
             "device", "threads", "runner", "exclusive")  # fmt: skip
    import pandas as pd  # not waited for by those that ask for verdicts alone

    # The others enter no table, and a large grid leaves tens of thousands.
    for row in frame[frame["exclusive"].astype(bool)].to_dict("records"):
        measured_at = row["measured_at"]
        moment = measured_at.to_pydatetime() if isinstance(measured_at, pd.Timestamp) else measured_at
        yield TimingRecord(
            **{name: row[name] for name in names},
            matmul_precision=_noted(row["matmul_precision"]),
            trial=None,
            measured_at=moment if isinstance(moment, datetime) else None,
        )


def _noted(precision: object) -> Precision | None:
    """What a frame says of a precision: where nobody noted it, pandas may have made a number that is none."""
    return cast(Precision, precision) if isinstance(precision, str) else None


def _latencies(frame: pd.DataFrame) -> dict[int, float]:
    """Of a trial that was measured again, the latest."""
    of_trials = frame[(frame["quantity"] == LATENCY) & frame["trial_id"].notna()]
    return {
        int(trial): float(value)
        for trial, value in zip(of_trials["trial_id"], of_trials["value"], strict=True)
    }


def _phases(timings: Iterable[TimingRecord], catalog: Catalog) -> Phases:
    """The stages of the presets of what was timed."""
    files, found = PresetFiles(), {}
    for algorithm, variant, name in {(t.algorithm, t.variant, t.task) for t in timings}:
        if name not in catalog.tasks:
            continue
        try:
            preset = preset_of(files[algorithm], catalog.tasks[name], variant)
        except BenchError:
            # Timed with hand-made settings: there is no preset to compute epochs and hours from.
            continue
        found[algorithm, variant, name] = declared_phases(algorithm, preset.values)
    return found


def declared_phases(algorithm: str, values: Mapping[str, object]) -> tuple[PhaseRecord, ...]:
    """The stages that a method declares, with these hyper-parameters; none of a method that is not here.

    For what no trial tells its phases of: timings, and trials that were planned before trials did.
    """
    declared = methods().get(algorithm)
    if declared is None:
        return ()
    return tuple(
        PhaseRecord(phase, iterations, phase == declared.evaluated)
        for phase, count in declared.phases.items()
        if type(iterations := values.get(count)) is int
    )


# Origins and configurations


def load_origins(store: Store) -> dict[int, Origin]:
    """The circumstances of every trial, by its number."""
    columns = [PROVENANCE.c[field.name] for field in fields(Origin)]
    with store.connect() as connection:
        return {row.trial_id: Origin(*row) for row in connection.execute(select(*columns))}


def load_configurations(store: Store) -> dict[str, Configuration]:
    """The configuration behind every hash; where seeds noted its sources differently, the latest."""
    chosen = select(Trial.config_hash, Trial.config).order_by(Trial.id)
    with store.connect() as connection:
        return {row.config_hash: row.config for row in connection.execute(chosen)}


# Whole trials that were trained alone


def trial_durations(stored: Iterable[StoredTrial], timings: pd.DataFrame) -> list[TrialDuration]:
    """Those of finished trials at full budget that were trained alone, in the order of `stored`.

    Parameters
    ----------
    timings : the store's view of that name, whole.
    """
    alone = timings[
        (timings["quantity"] == "evaluation_seconds")
        & timings["trial_id"].notna()
        & (timings["stack_size"] == 1)
        & (timings["concurrent_stacks"] <= 1)
    ]
    # Where a trial was repeated, the row of its last attempt.
    circumstances = {int(row["trial_id"]): row for row in alone.to_dict("records")}
    return [
        _duration(trial, circumstances[trial.trial_id])
        for trial in stored
        if trial.trial_id in circumstances and trial.state == FINISHED and not trial.record.reduced
    ]


def _duration(trial: StoredTrial, row: Mapping[Hashable, object]) -> TrialDuration:
    key = trial.record.key
    evaluated = [phase.iterations for phase in _phases_of(trial) if phase.evaluated]
    return TrialDuration(
        trial_id=trial.trial_id,
        algorithm=key.algorithm,
        variant=key.variant,
        task=key.task,
        seconds=(trial.training_seconds or 0.0) + (trial.evaluation_seconds or 0.0),
        training_iterations=evaluated[0] if evaluated else None,
        device=str(row["device"]),
        threads=int(str(row["threads"])),
        runner=str(row["runner"]),
        matmul_precision=_noted(row["matmul_precision"]),
        exclusive=bool(row["exclusive"]),
    )


def _phases_of(trial: StoredTrial) -> tuple[PhaseRecord, ...]:
    if trial.record.phases is not None:
        return trial.record.phases
    return declared_phases(trial.record.key.algorithm, trial.record.config.get("hyperparameters", {}))
