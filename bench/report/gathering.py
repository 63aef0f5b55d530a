"""Stored trials gathered into measured cells: all that verdicts need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.catalog import Catalog
from bench.data.manifest import Manifest, load_manifest, verification_of
from bench.report.measured import Measured, ReportData, SeedScore
from bench.store.database import Store
from bench.store.queries import StoredTrial, evaluation_means, final_episodes, trials


def load_judged_data(store: Store, catalog: Catalog) -> ReportData:
    """What verdicts need of `store`, and nothing that only a report shows."""
    return ReportData(
        measured=tuple(gather(trials(store), catalog, evaluation_means(store))),
        final_episodes=final_episodes(store),
        suites=tasks_of_suites(catalog),
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
    manifest = load_manifest()
    return [_measured(group, catalog, manifest, evaluations) for group in groups.values()]


def _measured(
    group: Sequence[StoredTrial],
    catalog: Catalog,
    manifest: Manifest,
    evaluations: Mapping[int, tuple[float, ...]],
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
        # Against the preset of the day on which each was planned.
        reduced=tuple(dict.fromkeys(text for trial in group for text in trial.record.reduced)),
        dataset=record.dataset.name,
        verification=verification_of(record.dataset, manifest),
        replay=record.dataset.replay,
        trials=tuple(sorted(seeds, key=lambda trial: trial.seed)),
        twin_of=task.twin_of if task else None,
        current_task_version=task.version if task else None,
        started_at=min(started, default=None),
        finished_at=max(finished, default=None),
    )


def tasks_of_suites(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Names of the tasks of every suite."""
    return {name: tuple(task.name for task in suite.tasks) for name, suite in catalog.suites.items()}
