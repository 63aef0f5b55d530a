"""Freezing a baseline: scores of the canary's finished trials, fingerprints, timings, a person's reason."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from bench.catalog import RunDefaults, load_catalog
from bench.errors import WorkFailedError
from bench.nightly.canary import CanaryCell, baseline_seeds
from bench.nightly.config import Canary, NightlyFile
from bench.nightly.exact import Fingerprints
from bench.nightly.pace import Pace
from bench.nightly.timing import pace_as_json
from bench.nightly_records import BaselineRecord, BaselineScore
from bench.records import FAILED, FINISHED, TrialKey
from bench.store.database import Store
from bench.store.location import without_password
from bench.store.queries import stored_scores

FEW = 5


@dataclass(frozen=True)
class Gathered:
    """The trials of a baseline to be, by what the store says of them."""

    scores: tuple[BaselineScore, ...]
    failed: tuple[TrialKey, ...]
    without_score: tuple[TrialKey, ...]
    """Finished, but the protocol gives no score (`rat` with fewer than ten evaluations), or one that is not
    finite: against such a baseline every night would be red."""
    left: tuple[TrialKey, ...]
    """Not run, or not to their end."""

    @property
    def complete(self) -> bool:
        """Whether a baseline can be frozen."""
        return not (self.failed or self.without_score or self.left)


def gather(store: Store | None, cells: Sequence[CanaryCell], seeds: Sequence[int]) -> Gathered:
    """Look up the trials of the canary under its present configuration; None is a store nobody has made."""
    keys = [cell.key.trial(seed) for cell in cells for seed in seeds]
    stored = {} if store is None else stored_scores(store, keys)
    scores, failed, without_score, left = [], [], [], []
    for key in keys:
        state, score = stored.get(key, (None, None))
        if state == FAILED:
            failed.append(key)
        elif state != FINISHED:
            left.append(key)
        elif score is None or not math.isfinite(score):
            without_score.append(key)
        else:
            scores.append(BaselineScore(key, score))
    return Gathered(tuple(scores), tuple(failed), tuple(without_score), tuple(left))


def require_complete(gathered: Gathered, file: NightlyFile, store: str) -> None:
    """Refuse a baseline that lacks trials: which are missing, and what makes them.

    Raises
    ------
    WorkFailedError : names some of them and the commands.
    """
    if gathered.complete:
        return
    commands = [
        run_command(grid, baseline_seeds(file), store, retry=not gathered.left and bool(gathered.failed))
        for grid in file.settings.canary
    ]
    why = [
        f"{len(keys)} {what}: {_some(keys)}."
        for keys, what in (
            (gathered.left, "have not been run to their end"),
            (gathered.failed, "failed (`bench status` says why)"),
            (gathered.without_score, "have no score under their protocol, or none that is finite"),
        )
        if keys
    ]
    missing = len(gathered.left) + len(gathered.failed) + len(gathered.without_score)
    raise WorkFailedError(
        f"{missing} of {missing + len(gathered.scores)} trials of the baseline are missing",
        " ".join(why),
        "Freeze with --run, or run them:\n    " + "\n    ".join(commands),
    )


def frozen(
    name: str,
    reason: str,
    author: str,
    file: NightlyFile,
    gathered: Gathered,
    fingerprints: Fingerprints,
    pace: Sequence[Pace],
) -> BaselineRecord:
    """The record of a baseline that is frozen now."""
    return BaselineRecord(
        name=name,
        frozen_at=datetime.now(UTC),
        reason=reason,
        author=author,
        configuration=file.settings.model_dump(mode="json"),
        fingerprints=fingerprints.as_json(),
        scores=gathered.scores,
        pace=pace_as_json(pace),
    )


def run_command(grid: Canary, seeds: Sequence[int], store: str, *, retry: bool = False) -> str:
    """The `bench run` that makes the trials of one grid of the canary, as typed."""
    words = ["bench", "run", *_tasks(grid)]
    words += ["--algos", ",".join(grid.algorithms), "--seeds", seeds_text(seeds)]
    defaults = Canary(tasks=("any",), algorithms=("any",))
    for option, value, default in (
        ("--variant", grid.variant, defaults.variant),
        ("--budget", grid.budget, defaults.budget),
        ("--evals", grid.evaluations, None),
        ("--episodes", grid.episodes, None),
        ("--physics", grid.physics, None),
    ):
        if value != default:
            words += [option, str(value)]
    for algorithm, settings in grid.settings.items():
        words += [f"--set={algorithm}.{name}={value}" for name, value in settings.items()]
    return shlex.join([*words, *(["--retry", "failed"] if retry else []), "--store", without_password(store)])


def _tasks(grid: Canary) -> list[str]:
    if grid.suite is None:
        return ["--tasks", ",".join(grid.tasks or ())]
    suite = load_catalog().suite(grid.suite)
    if suite.defaults == RunDefaults():
        return ["--suite", grid.suite]
    # The canary does not follow what the suite sets where the command line says nothing.
    return ["--tasks", ",".join(task.name for task in suite.tasks)]


def seeds_text(seeds: Iterable[int]) -> str:
    """Seeds as typed after --seeds: `0-4`, `0,2-3`."""
    runs = groupby(enumerate(sorted(seeds)), key=lambda pair: pair[1] - pair[0])
    bounds = [[seed for _, seed in run] for _, run in runs]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in bounds)


def _some(keys: Sequence[TrialKey]) -> str:
    named = ", ".join(f"{key.algorithm} {key.task} seed {key.seed}" for key in keys[:FEW])
    return named + (f" and {len(keys) - FEW} more" if len(keys) > FEW else "")
