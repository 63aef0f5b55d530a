"""What training on the 2D problems left in the store for figures and numbers: point clouds and landscapes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from bench.catalog import Catalog
from bench.files import sha256_of
from bench.records import FINISHED, WeightsRecord
from bench.store.database import Store
from bench.store.queries import StoredTrial, evaluations, trials, weights_of

DOMAIN = "bandit"
"""Domain of the tasks that are 2D problems."""
ROLE = "illustration"
"""Role of the stored file among a trial's weights."""

Array = NDArray[np.floating]
_VALUE_AT_STEP = re.compile(r"diffusion_value_(\d+)")


@dataclass(frozen=True, eq=False)
class Clouds:
    """Arrays of one trained seed; what its method does not have is None or empty.

    M points each; G*G grid points; T diffusion steps; K temperatures; P target points.
    """

    actions: Array
    """(M, 2) actions of the trained policy."""
    data: Array
    """(M, 2) points of the dataset."""
    data_reward: Array
    """(M,) their rewards."""
    truth: Array
    """(M, 2) the data exactly re-weighted by exp(reward / eta), or those on the best modes."""
    grid: Array
    """(G*G, 2) where landscapes are given."""
    behaviour: Array | None = None
    """(M, 2) samples of the behaviour model."""
    path: Array | None = None
    """(T+1, M', 2) generation of samples: path[n] is noise level n, path[0] the actions."""
    action_value: Array | None = None
    """(G*G,) value of an action."""
    diffusion_values: Mapping[int, Array] = field(default_factory=dict)
    """By step n, (G*G,) diffusion value V_n."""
    value_test: Array | None = None
    """(2,) mean V_T at noise, and eta log mean exp(Q / eta) over behaviour samples."""
    targets: Array | None = None
    """(P, 2) points of highest value, one problem each."""
    betas: Array | None = None
    """(K,) temperatures."""
    points: Array | None = None
    """(K, P, 2) optimised action for each temperature and target."""


@dataclass(frozen=True, eq=False)
class Illustration:
    """One finished trial on a 2D problem."""

    trial_id: int
    algorithm: str
    variant: str
    task: str
    seed: int
    config_hash: str
    budget: float
    reduced: tuple[str, ...]
    clouds: Clouds
    numbers: Mapping[str, float]
    """What was measured on the clouds when training ended, by name."""
    mean_return: float
    """Mean reward of the policy in its last evaluation; NaN without one."""


@dataclass(frozen=True)
class Illustrations:
    """All that a store holds, and what could not be read."""

    items: tuple[Illustration, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Sentences that name files which are missing or not what was stored."""


def load_illustrations(store: Store, catalog: Catalog) -> Illustrations:
    """Illustrations of the finished trials on 2D problems; a file's hash is checked before it is read."""
    tasks = [name for name, task in catalog.tasks.items() if task.domain == DOMAIN]
    found, unreadable = [], []
    for trial in trials(store, states=[FINISHED], tasks=tasks) if tasks else ():
        record = weights_of(store, trial.trial_id).get(ROLE)
        if record is None:
            continue
        fault = _fault(store.folder / record.path, record)
        if fault:
            unreadable.append(f"The figures of trial {trial.trial_id} are left out: {record.path} {fault}.")
        else:
            found.append(_illustration(store, trial, read_clouds(store.folder / record.path)))
    return Illustrations(tuple(found), tuple(unreadable))


def read_clouds(path: Path) -> Clouds:
    """The arrays of a stored illustration, in double precision."""
    arrays = {name: array.astype(np.float64) for name, array in load_file(path).items()}
    values = {
        int(match[1]): arrays.pop(name) for name in list(arrays) if (match := _VALUE_AT_STEP.fullmatch(name))
    }
    known = {name: array for name, array in arrays.items() if name in Clouds.__dataclass_fields__}
    return Clouds(**known, diffusion_values=dict(sorted(values.items())))


def representative(items: Sequence[Illustration], algorithm: str, task: str) -> Illustration | None:
    """The trial that a figure shows: largest budget, released before paper, latest settings, lowest seed."""
    cell = [item for item in items if (item.algorithm, item.task) == (algorithm, task)]
    if not cell:
        return None
    newest = {item.config_hash: item.trial_id for item in sorted(cell, key=lambda item: item.trial_id)}
    return max(
        cell, key=lambda i: (i.budget, i.variant == "released", newest[i.config_hash], -i.seed, i.trial_id)
    )


def _fault(path: Path, record: WeightsRecord) -> str:
    if not path.is_file():
        return "is missing"
    return "" if sha256_of(path) == record.sha256 else "is not what was stored (its SHA-256 differs)"


def _illustration(store: Store, trial: StoredTrial, clouds: Clouds) -> Illustration:
    made = [entry for entry in evaluations(store, trial.trial_id) if entry.number >= 1]
    key = trial.record.key
    return Illustration(
        trial_id=trial.trial_id,
        algorithm=key.algorithm,
        variant=key.variant,
        task=key.task,
        seed=key.seed,
        config_hash=key.config_hash,
        budget=trial.record.budget,
        reduced=trial.record.reduced,
        clouds=clouds,
        numbers=made[-1].metrics if made else {},
        mean_return=float(np.mean(made[-1].returns)) if made else math.nan,
    )
