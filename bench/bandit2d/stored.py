"""What training on the 2D problems left in a store: point clouds, landscapes, and numbers about them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from bench.catalog import Catalog
from bench.records import FINISHED, ILLUSTRATION
from bench.store.database import Store
from bench.store.queries import StoredTrial, evaluations, trials, weights_by_role
from bench.store.weight_files import read_verified

Array = NDArray[np.floating]

SHOWN_INTERVALS = (50, 30, 15, 5)
"""BDPO Figs. 4 and 11 begin an interval at each of these of 50 steps; other lengths scale them."""

_SHAPES = {
    "actions": ("actions", 2),
    "data": ("data", 2),
    "data_reward": ("data",),
    "truth": ("truth", 2),
    "grid": ("G*G", 2),
    "behaviour": ("behaviour", 2),
    "path": ("T+1", "M'", 2),
    "action_value": ("G*G",),
    "value_test": (2,),
    "targets": ("P", 2),
    "betas": ("K",),
    "points": ("K", "P", 2),
}
"""Of the stored arrays; what has one letter has one length."""
_VALUE_AT_STEP = re.compile(r"diffusion_value_(\d+)")


@dataclass(frozen=True, eq=False)
class FreePoints:
    """Actions optimised one by one, each from its target on (SRPO Fig. 3); K temperatures, P targets."""

    targets: Array
    """(P, 2) points of highest value, one problem each."""
    betas: Array
    """(K,) temperatures."""
    points: Array
    """(K, P, 2) optimised action for each temperature and target."""

    def greedy_first(self) -> list[int]:
        """Places of the temperatures, from the highest to the lowest."""
        return np.argsort(-self.betas, kind="stable").tolist()


@dataclass(frozen=True, eq=False)
class Clouds:
    """Arrays of one trained seed; what its method does not have is None or empty.

    M points each; G*G grid points; T diffusion steps.
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
    free_points: FreePoints | None = None
    """Of the method that has these instead of a policy."""


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
    tasks = [name for name, task in catalog.tasks.items() if task.generated]
    found, unreadable = [], []
    records = weights_by_role(store, ILLUSTRATION)
    for trial in trials(store, states=[FINISHED], tasks=tasks) if tasks and records else ():
        record = records.get(trial.trial_id)
        if record is None:
            continue
        content, fault = read_verified(store.folder, record)
        try:
            clouds = None if fault else read_clouds(content)
        except (SafetensorError, ValueError) as error:
            clouds, fault = None, f"is no illustration: {error}"
        if clouds is None:
            unreadable.append(f"The figures of trial {trial.trial_id} are left out: {record.path} {fault}.")
        else:
            found.append(_illustration(store, trial, clouds))
    return Illustrations(tuple(found), tuple(unreadable))


def read_clouds(content: bytes) -> Clouds:
    """The arrays of a stored illustration, in double precision.

    Raises
    ------
    SafetensorError : it is no safetensors file.
    ValueError : an array that every illustration has is missing, or one has another shape.
    """
    try:
        stored = load(content)
    except KeyError as error:  # of a kind of number that NumPy does not have
        raise ValueError(f"it holds numbers of kind {error}") from error
    if odd := sorted(name for name, array in stored.items() if array.dtype.kind not in "fiub"):
        raise ValueError(f"{odd[0]} holds {stored[odd[0]].dtype} numbers")
    arrays = {name: array.astype(np.float64) for name, array in stored.items()}
    values = {
        int(match[1]): arrays.pop(name) for name in list(arrays) if (match := _VALUE_AT_STEP.fullmatch(name))
    }
    required = {field.name for field in fields(Clouds) if field.default is field.default_factory is MISSING}
    if "points" in arrays:
        required |= {field.name for field in fields(FreePoints)}
    if lacking := sorted(required - arrays.keys()):
        raise ValueError(f"it has no {', '.join(lacking)}")
    _require_shapes(arrays, values)
    known = {name: array for name, array in arrays.items() if name in Clouds.__dataclass_fields__}
    moved = {name: array for name, array in arrays.items() if name in FreePoints.__dataclass_fields__}
    return Clouds(
        **known,
        diffusion_values=dict(sorted(values.items())),
        free_points=FreePoints(**moved) if "points" in moved else None,
    )


def _require_shapes(arrays: Mapping[str, Array], diffusion_values: Mapping[int, Array]) -> None:
    """Hold every array against the shape that it is to have; the letters are those of `Clouds`."""
    sizes: dict[str, int] = {}
    present = {name: arrays[name] for name in _SHAPES if name in arrays}
    present |= {f"diffusion_value_{step}": values for step, values in sorted(diffusion_values.items())}
    for name, array in present.items():
        wanted = _SHAPES.get(name, ("G*G",))
        found = tuple(sizes.setdefault(size, length) if isinstance(size, str) else size
                      for size, length in zip(wanted, array.shape, strict=False))  # fmt: skip
        if array.shape != found or len(found) != len(wanted) or 0 in found:
            shape = ", ".join(map(str, wanted))
            raise ValueError(f"{name} has the shape {array.shape}, which is to be ({shape})")


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


def representative(items: Sequence[Illustration], algorithm: str, task: str) -> Illustration | None:
    """The trial that a figure shows: largest budget, released before paper, latest settings, lowest seed."""
    cell = [item for item in items if (item.algorithm, item.task) == (algorithm, task)]
    if not cell:
        return None
    newest = {item.config_hash: item.trial_id for item in sorted(cell, key=lambda item: item.trial_id)}

    def rank(item: Illustration) -> tuple[float, bool, int, int, int]:
        latest = newest[item.config_hash]
        return item.budget, item.variant == "released", latest, -item.seed, item.trial_id

    return max(cell, key=rank)


def interval_bounds(clouds: Clouds) -> list[int]:
    """Steps at which the shown intervals begin, noise first, then 0: (50, 30, 15, 5, 0) scaled to T.

    Only steps of which the value landscape is stored: the nearest ones, each once.
    """
    last = 0 if clouds.path is None else len(clouds.path) - 1
    stored = [step for step in clouds.diffusion_values if step <= last]
    wanted = [last * step / SHOWN_INTERVALS[0] for step in SHOWN_INTERVALS] if stored else []
    nearest = {min((abs(step - aim), step) for step in stored)[1] for aim in wanted}
    return [*sorted(nearest, reverse=True), 0]
