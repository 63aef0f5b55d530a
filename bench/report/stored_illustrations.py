"""Reads what training on the 2D problems left in a store: files of point clouds, and numbers about them."""

from __future__ import annotations

import math
import re
from dataclasses import MISSING, fields

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from bench.catalog import Catalog
from bench.records import FINISHED
from bench.report.illustrations import Clouds, Illustration, Illustrations
from bench.store.database import Store
from bench.store.queries import StoredTrial, evaluations, trials, weights_by_role
from bench.store.weight_files import read_verified

ROLE = "illustration"
"""Role of the stored file among a trial's weights."""

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
"""Arrays of `Clouds`; what has one letter has one length."""
_VALUE_AT_STEP = re.compile(r"diffusion_value_(\d+)")


def load_illustrations(store: Store, catalog: Catalog) -> Illustrations:
    """Illustrations of the finished trials on 2D problems; a file's hash is checked before it is read."""
    tasks = [name for name, task in catalog.tasks.items() if task.generated]
    found, unreadable = [], []
    records = weights_by_role(store, ROLE)
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
    known = {name: array for name, array in arrays.items() if name in Clouds.__dataclass_fields__}
    required = {field.name for field in fields(Clouds) if field.default is field.default_factory is MISSING}
    if lacking := sorted(required - known.keys()):
        raise ValueError(f"it has no {', '.join(lacking)}")
    clouds = Clouds(**known, diffusion_values=dict(sorted(values.items())))
    _require_shapes(clouds)
    return clouds


def _require_shapes(clouds: Clouds) -> None:
    """Hold every array against the shape that `Clouds` gives it; the letters are those there."""
    sizes: dict[str, int] = {}
    arrays = {name: getattr(clouds, name) for name in _SHAPES}
    arrays |= {f"diffusion_value_{step}": values for step, values in clouds.diffusion_values.items()}
    for name, array in arrays.items():
        if array is None:
            continue
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
