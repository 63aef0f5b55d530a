"""Reads sets of Minari's layout, without Minari: one group per episode becomes ready-made transitions.

A set is a folder below `MINARI_DATASETS_PATH`, or ~/.minari/datasets, with `data/main_data.hdf5`: of each
episode `observations` (T + 1, O), `actions` (T, A), `rewards`, `terminations` and `truncations` (T,). The
last observation follows the last action, so that no transition is lost, whether an episode ended or was cut.
Layout: Minari 0.4 and 0.5, `minari/dataset/_storages/hdf5_storage.py`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from numpy.typing import NDArray

from bench.data.hdf5 import DatasetFile, opened
from bench.errors import BenchError, unknown_name
from bench.files import typed_path
from bench.visible_text import quoted, shortened

SCHEME = "minari:"
VARIABLE = "MINARI_DATASETS_PATH"
_FILE = PurePosixPath("data/main_data.hdf5")
_DESCRIPTION = "metadata.json"
_EPISODE = "episode_"
_LONGEST_DESCRIPTION = 1_000_000
_LONGEST_NAME = 60
_REMEDY = "Get the set again: minari download NAME --force"


@dataclass(frozen=True)
class Conversion:
    """What a set became."""

    episodes: int
    empty: int
    """Episodes without a step, which are left out."""
    environment: str | None
    """In which it was made, as Gymnasium calls it (`Hopper-v5`); None where the set does not say."""


def is_minari(file: DatasetFile) -> bool:
    """Whether a file is the main one of a Minari set."""
    return "observations" not in file.members() and bool(_episodes(file))


def file_of(name: str) -> Path:
    """The main file of a set by its name, such as `mujoco/hopper/medium-v0`.

    Raises
    ------
    BenchError : it is not here, or is stored in another format than HDF5.
    """
    folder, parts = _folder(), PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise BenchError(
            f"{SCHEME}{shortened(name, 160)} names no set", "", "For example: minari:mujoco/hopper/medium-v0"
        )
    path = folder / name / _FILE
    if path.is_file():
        return path
    if (path.parent / _DESCRIPTION).is_file():
        form = _described(path.parent).get("data_format")
        raise BenchError(
            f"{SCHEME}{name} cannot be read",
            f"{path.parent} holds no {path.name}; its data_format is {quoted(form)}.",
            "Sets are read where they are stored as HDF5, Minari's default.",
        )
    # Sets lie at most three folders deep: `D4RL/pen/human-v2`.
    found = (path for depth in ("*", "*/*", "*/*/*") for path in folder.glob(f"{depth}/{_FILE}"))
    there = [path.parent.parent.relative_to(folder).as_posix() for path in found]
    near = unknown_name("Minari set", name, there, f"ls {folder}") if there else None
    hint = f"{near.do_this} Or get" if near else "Get"
    raise BenchError(
        f"there is no Minari set {quoted(name)} in {folder}",
        "",
        f"{hint} it: pip install minari, then minari download {name}. {VARIABLE} names another folder.",
    )


def convert(source: Path, target: Path) -> Conversion:
    """Write a set as a file of ready-made transitions; the same set gives the same bytes everywhere.

    Raises
    ------
    BenchError : the set cannot be read, an episode lacks something or contradicts itself, or its observations
        are no plain rows of numbers.
    """
    with opened(source, _REMEDY) as file:
        episodes = [_episode(file, name) for name in _episodes(file)]
    columns = [episode for episode in episodes if len(episode["rewards"])]
    if not columns:
        raise BenchError(f"{source} holds no transition", f"It has {len(episodes)} episodes.", _REMEDY)
    _require_alike(columns, source)
    environment = _environment(source.parent)
    # Not compressed: what the compression makes of it depends on its version.
    with h5py.File(target, "w") as written:
        for name in columns[0]:
            written[name] = np.concatenate([episode[name] for episode in columns])
        written["metadata/environment"] = environment or "not stated"
    return Conversion(len(columns), len(episodes) - len(columns), environment)


def _folder() -> Path:
    named = os.environ.get(VARIABLE)
    return typed_path(named or "~/.minari/datasets")


def _episodes(file: DatasetFile) -> list[str]:
    """Names of the episodes' groups, in the order of their numbers."""
    numbers = (name.removeprefix(_EPISODE) for name in file.members() if name.startswith(_EPISODE))
    return [f"{_EPISODE}{number}" for number in sorted((n for n in numbers if n.isdecimal()), key=int)]


def _episode(file: DatasetFile, name: str) -> dict[str, NDArray[np.generic]]:
    """The transitions of one episode, by column."""
    if parts := file.members(f"{name}/observations"):
        told = ", ".join(shortened(part, _LONGEST_NAME) for part in parts)
        raise BenchError(
            f"the observations of {file.path} are in parts: {told}",
            "No robot here observes so: those of Minari's mazes and kitchen are other ones than D4RL's, on "
            "which this suite evaluates.",
            "Use a set with plain observations, such as those of MuJoCo's robots.",
        )
    names = ("observations", "actions", "rewards", "terminations", "truncations")
    missing = [column for column in names if f"{name}/{column}" not in file]
    if missing:
        raise BenchError(f"{name} of {file.path} lacks {', '.join(missing)}", "", _REMEDY)
    found = {column: file.read(f"{name}/{column}") for column in names}
    lengths = {column: len(values) if values.ndim else 0 for column, values in found.items()}
    steps = lengths["rewards"]
    wanted = dict.fromkeys(names, steps) | {"observations": steps + 1}
    if lengths != wanted:
        told = ", ".join(f"{column} {length:,}" for column, length in lengths.items())
        raise BenchError(
            f"{name} of {file.path} has columns of lengths that do not fit",
            f"Rows: {told}. Of T steps there are T + 1 observations, and T of everything else.",
            _REMEDY,
        )
    with np.errstate(over="ignore", invalid="ignore"):
        observations, actions = (found[column].astype(np.float32) for column in names[:2])
        rewards = found["rewards"].astype(np.float32)
    return {
        "observations": observations[:-1],
        "actions": actions,
        "rewards": rewards,
        "next_observations": observations[1:],
        "terminals": found["terminations"],
    }


def _require_alike(episodes: list[dict[str, NDArray[np.generic]]], source: Path) -> None:
    for column in episodes[0]:
        shapes = {episode[column].shape[1:] for episode in episodes}
        if len(shapes) > 1:
            raise BenchError(
                f"{source} has episodes with {column} of different sizes",
                f"Sizes: {sorted(shapes)}.",
                _REMEDY,
            )


def _environment(folder: Path) -> str | None:
    """The environment's name in a set's description; None where it does not say."""
    specification = _described(folder).get("env_spec")
    try:
        if isinstance(specification, str):
            specification = json.loads(specification)
    except ValueError:
        return None
    name = specification.get("id") if isinstance(specification, dict) else None
    return shortened(name, _LONGEST_NAME) if isinstance(name, str) else None


def _described(folder: Path) -> dict[str, object]:
    """A set's description; empty of older sets, which have none."""
    path = folder / _DESCRIPTION
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            content = json.loads(file.read(_LONGEST_DESCRIPTION))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read", f"{error}", _REMEDY) from error
    return content if isinstance(content, dict) else {}
