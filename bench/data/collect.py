"""Collects a dataset in D4RL's own HDF5 layout, by D4RL's recipes.

As in D4RL's files: rows in the order of time, one episode after the other; `observations`, `infos/qpos` and
`infos/qvel` are those before the action; reaching the horizon is a timeout and never a terminal. Otherwise
than there: `infos/qpos` and `infos/qvel` are float64, so that a replay is exact; the cut at the end of each
policy's share is flagged as a timeout; `next_observations` is left out, for it repeats the rows; and
`metadata/` holds a digest of every column, by which `bench data verify` finds one that was altered.

The recipes: `medium`, `medium-replay`, `medium-expert` and `cloned` are stochastic episodes of the task
itself. `antmaze` follows D4RL's generator: the robot is led from way point to way point, reaching a goal ends
nothing, and all rewards are made afterwards against one goal. `demonstrations` are the kitchen's: a reward
counts the elements that are complete, and the last row of each is terminal whether or not it succeeded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import gymnasium
import h5py
import mujoco
import numpy as np
from threadpoolctl import threadpool_limits

from bench.catalog import CollectedDataset, PolicyShare, Task
from bench.data.behaviours import Behaviour, KitchenBehaviour, Noisy, WayPoints, load_policy
from bench.data.rollouts import Rows, roll_out
from bench.envs import physics_under, robot_of
from bench.envs.antmaze import AntMaze, at_goal
from bench.envs.batch import BatchedSimulator
from bench.envs.kitchen import Kitchen
from bench.envs.rules import Rules
from bench.errors import BenchError
from bench.files import sha256_of, written_whole
from bench.hardware import usable_cores
from bench.records import Physics, Progress

ENVIRONMENTS = 64
"""Environments stepped together at most. The bytes depend on it, so it does not follow the machine."""
BLOCK = 16_384
"""Rows per write."""

DIGEST = "sha256_"
"""What the name of a column's digest in `metadata/` begins with; the column's name follows."""


GOAL_STREAM = 1_000
"""Of the seed of a collection; no policy's number comes so high."""


def collect(
    task: Task,
    path: Path,
    transitions: int | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
    physics: str | None = None,
    threads: int | None = None,
) -> str:
    """Roll out the behaviour policies of a collected task into `path`; return the file's SHA-256.

    `transitions`, `seed` and `physics` default to the task's, `threads` to the cores this process may use.
    `progress` is called with the rows done and the rows asked for.
    Equal task, transitions, seed and physics give equal bytes on one machine, on any number of threads.

    Raises
    ------
    BenchError : the task is not a collected one, a policy's share of `transitions` is no row, or the file
        cannot be written.
    """
    recipe = task.dataset
    if not isinstance(recipe, CollectedDataset):
        twin = f" `bench data collect {task.twin}` makes its twin." if task.twin else ""
        raise BenchError(f"{task.name} is not collected", "", f"Its data is D4RL's own file.{twin}")
    transitions = recipe.transitions if transitions is None else transitions
    sizes = shares(recipe, transitions)
    seed = recipe.seed if seed is None else seed
    under = cast(Physics, physics_under(task, physics))  # what is collected has one
    made = recipe_of(task, seed)
    try:
        with written_whole(path) as temporary:
            with h5py.File(temporary, "w") as file:
                _describe(file, _origin(task, recipe, under, seed, sizes) | made.notes)
                writer = _Writer(file, transitions, progress)
                for part, (policy, (_, rows)) in enumerate(zip(recipe.policies, sizes, strict=True)):
                    seeds = np.random.SeedSequence(seed, spawn_key=(part,))
                    for block in _blocks(_episodes(made, policy, under, seeds, rows, threads)):
                        writer.append(block)
                _describe(file, writer.digests())
            return sha256_of(temporary)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be written", str(error), "Make room, or choose another place with --out."
        ) from error


def shares(recipe: CollectedDataset, transitions: int) -> list[tuple[str, int]]:
    """(name, rows) of each policy, in the order of collection; the rows add up to `transitions`."""
    ends = np.cumsum([policy.share for policy in recipe.policies])
    bounds = [0, *(round(transitions * end) for end in ends[:-1]), transitions]
    sizes = [
        (policy.name, stop - start)
        for policy, start, stop in zip(recipe.policies, bounds, bounds[1:], strict=False)
    ]
    for name, rows in sizes:
        if rows < 1:
            raise BenchError(
                f"{transitions} transitions are too few",
                f"The {name} policy's share of them is no row.",
                "Ask for more, such as --transitions 10000.",
            )
    return sizes


def _episodes(
    made: Recipe,
    policy: PolicyShare,
    physics: Physics,
    seeds: np.random.SeedSequence,
    rows: int,
    threads: int | None,
) -> Iterator[Rows]:
    # More environments than whole episodes fit would mostly roll out rows that nobody wants.
    count = min(ENVIRONMENTS, max(1, rows // made.rules.horizon))
    threads = threads or usable_cores()
    simulator = BatchedSimulator(made.rules, physics, count, min(threads, count))
    # BLAS threads wait by spinning, on the cores that the simulator's threads need: 1.5 times slower.
    with simulator, threadpool_limits(1, "blas"):
        for episode in roll_out(made.behaviour(policy), simulator, seeds, rows):
            yield made.written(episode)


def _blocks(episodes: Iterator[Rows]) -> Iterator[Rows]:
    """Join episodes to blocks of about BLOCK rows."""
    waiting: list[Rows] = []
    rows = 0
    for episode in episodes:
        waiting.append(episode)
        rows += len(episode)
        if rows >= BLOCK:
            yield Rows.joined(waiting)
            waiting, rows = [], 0
    if waiting:
        yield Rows.joined(waiting)


class _Writer:
    """Appends rows to datasets whose final size is known."""

    def __init__(self, file: h5py.File, transitions: int, progress: Progress | None) -> None:
        self._file, self._transitions, self._progress = file, transitions, progress
        self._rows = 0
        self._hashes: dict[str, hashlib._Hash] = {}

    def append(self, rows: Rows) -> None:
        """Write `rows` after those before."""
        end = self._rows + len(rows)
        for place, values in rows.columns.items():
            if place not in self._hashes:
                shape = (self._transitions, *values.shape[1:])
                self._file.create_dataset(place, shape, values.dtype, track_times=False)
                self._hashes[place] = hashlib.sha256()
            self._file[place][self._rows : end] = values
            self._hashes[place].update(_plain(values))
        self._rows = end
        if self._progress:
            self._progress(end, self._transitions)

    def digests(self) -> dict[str, str]:
        """Digest of every column, as `digest_of` finds it in the file."""
        return {digest_name(place): found.hexdigest() for place, found in self._hashes.items()}


def digest_name(column: str) -> str:
    """Name of a column's digest in `metadata/`."""
    return DIGEST + column.removeprefix("infos/")


def digest_of(column: np.ndarray) -> str:
    """SHA-256 of a column's values, whatever type of number holds them."""
    return hashlib.sha256(_plain(column)).hexdigest()


def _plain(values: np.ndarray) -> memoryview:
    # Other tools store the same numbers big-endian, in double precision or flags as integers.
    return np.ascontiguousarray(values, dtype="<f8").data


def _origin(
    task: Task, recipe: CollectedDataset, physics: Physics, seed: int, sizes: list[tuple[str, int]]
) -> dict[str, str | int]:
    """What the data came from. No time or host, for the same request must give the same bytes."""
    return {
        "algorithm": "behaviour policies, stochastic",
        "environment": task.environment,
        "recipe": recipe.recipe,
        "policies": ", ".join(f"{name}: {rows} rows" for name, rows in sizes),
        "physics": physics,
        "seed": seed,
        "mujoco_version": mujoco.__version__,
        "gymnasium_version": gymnasium.__version__,
    }


def _describe(file: h5py.File, metadata: Mapping[str, str | int]) -> None:
    for name, value in metadata.items():
        # Fixed-length text, as D4RL's files hold it; variable-length text would go through HDF5's heap.
        stored = np.bytes_(value) if isinstance(value, str) else value
        file.create_dataset(f"metadata/{name}", data=stored, track_times=False)


STANDARD_COLUMNS = (
    "observations",
    "actions",
    "rewards",
    "terminals",
    "timeouts",
    "infos/qpos",
    "infos/qvel",
    "infos/action_log_probs",
)


@dataclass(frozen=True)
class Recipe:
    """What collects one task's data."""

    rules: Rules
    """Of the environment as the generator ran it."""
    behaviour: Callable[[PolicyShare], Behaviour]
    written: Callable[[Rows], Rows]
    """An episode as the file holds it."""
    notes: dict[str, str]
    """What the file says of the recipe besides, by name."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that the file has."""
        return (*STANDARD_COLUMNS, *self.rules.recorded)


def recipe_of(task: Task, seed: int) -> Recipe:
    """The recipe of a collected task; `seed` is that of the collection."""
    rules = robot_of(task.environment)
    dataset = cast(CollectedDataset, task.dataset)
    if dataset.recipe == "antmaze":
        return _antmaze(cast(AntMaze, rules), dataset, seed)
    if dataset.recipe == "demonstrations":
        return Recipe(rules, lambda policy: _hand(cast(Kitchen, rules), policy), _demonstration, {})
    return Recipe(rules, lambda policy: _sampled(task.environment, policy), lambda episode: episode, {})


def _sampled(environment: str, policy: PolicyShare) -> Behaviour:
    behaviour = load_policy(environment, policy.role)
    return Noisy(behaviour, policy.noise) if policy.noise else behaviour


def _hand(rules: Kitchen, policy: PolicyShare) -> Behaviour:
    """`ordered`: the task's four elements, as D4RL lists them; `scripted`: four of all five, in any order."""
    if policy.role == "ordered":
        return KitchenBehaviour(policy.noise, rules.elements, shuffled=False)
    return KitchenBehaviour(policy.noise)


def _antmaze(rules: AntMaze, dataset: CollectedDataset, seed: int) -> Recipe:
    # Drawn as the task draws it; the data of a play set is not collected for this goal.
    goal = rules.draw_goal(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(GOAL_STREAM,))))
    policy = load_policy("antmaze", "goal")
    return Recipe(
        rules=rules.collecting(dataset.multistart, dataset.multigoal),
        behaviour=lambda share: WayPoints(policy, rules.maze, share.noise),
        written=lambda episode: _relabelled(episode, goal, dataset.single_reward),
        notes={"goal": f"{goal[0]:.9f}, {goal[1]:.9f}", "rewards": "relabelled against this goal"},
    )


def _relabelled(episode: Rows, goal: np.ndarray, single: bool) -> Rows:
    reached = relabelled(episode["infos/qpos"][:, :2], goal, single=single)
    return episode.changed(rewards=reached.astype(np.float32), terminals=reached)


def _demonstration(episode: Rows) -> Rows:
    ended = np.zeros(len(episode), dtype=bool)
    ended[-1] = True
    return episode.changed(
        rewards=np.cumsum(episode["rewards"], dtype=np.float32),
        terminals=ended,
        timeouts=np.zeros(len(episode), dtype=bool),
    )


def relabelled(positions: np.ndarray, goal: np.ndarray, *, single: bool = False) -> np.ndarray:
    """Rows (T,) bool of one episode whose reward and terminal D4RL's relabelling set; `positions` (T, 2).

    Those after which the robot is within the radius of `goal`; never the last, whose successor is not known.
    A robot that lingers is rewarded at every row, with `single` only at the first of each stay.
    """
    reached = np.append(at_goal(positions[1:], goal), False)
    if single:
        reached[1:] &= ~reached[:-1]
    return reached
