"""Stochastic episodes of a behaviour policy, many at once, handed out in the order of their numbers.

Which rows come out depends on the seed, the policy, the physics and the number of environments, and on
nothing else: not on threads or on which episode ends first. Every episode has its own randomness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from bench.data.behaviours import Behaviour
from bench.envs.batch import BatchedSimulator
from bench.envs.rules import States


@dataclass(frozen=True)
class Rows:
    """K consecutive rows by column, as D4RL's files hold them; a state is the one before the row's action."""

    columns: Mapping[str, np.ndarray]
    """`observations` (K, O), `actions` (K, A), `rewards` (K,), `infos/action_log_probs` (K,), float32;
    `terminals` (K,) bool: the task ended the episode at this row, and the horizon had not come; `timeouts`
    (K,) bool: it was cut; `infos/qpos` (K, nq), `infos/qvel` (K, nv) and what the rules record, float64."""

    def __len__(self) -> int:
        return len(self.columns["rewards"])

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]

    def changed(self, **columns: np.ndarray) -> Rows:
        """The same with other values in some columns."""
        return Rows({**self.columns, **columns})

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """One after the other."""
        return cls({name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns})


def roll_out(
    policy: Behaviour, simulator: BatchedSimulator, seeds: np.random.SeedSequence, rows: int
) -> Iterator[Rows]:
    """Yield episodes 0, 1, 2, ... until `rows` rows have come; the last one is cut to fit, with a timeout.

    Taking episodes by number, not as they end, keeps the share of long ones right.
    """
    batch = _Batch(policy, simulator, seeds)
    given = number = 0
    ended: dict[int, Rows] = {}
    while True:
        while number in ended:
            episode = ended.pop(number)
            left = rows - given
            yield _cut(episode, left) if len(episode) >= left else episode
            given, number = given + len(episode), number + 1
            if given >= rows:
                return
        lengths = {**{number: len(episode) for number, episode in ended.items()}, **batch.lengths()}
        if given + sum(lengths.values()) < rows:
            batch.start_where_free()
        else:
            ended |= batch.stop_what_is_enough(_rows_wanted(lengths, rows - given))
        ended |= batch.step()


def _rows_wanted(lengths: dict[int, int], rows: int) -> dict[int, int]:
    """Rows that each episode can still be wanted for, if those before it grow no further."""
    wanted = {}
    for number in sorted(lengths):
        wanted[number] = max(rows, 0)
        rows -= lengths[number]
    return wanted


def _cut(episode: Rows, length: int) -> Rows:
    first = Rows({name: values[:length] for name, values in episode.columns.items()})
    timeouts = first["timeouts"].copy()
    timeouts[-1] = not first["terminals"][-1]
    return first.changed(timeouts=timeouts)


class _Batch:
    """The episodes under way, one per environment, and what they have recorded so far."""

    def __init__(self, policy: Behaviour, simulator: BatchedSimulator, seeds: np.random.SeedSequence) -> None:
        self._policy, self._simulator, self._seeds = policy, simulator, seeds
        shape = (simulator.count, simulator.horizon)
        self._noise = np.zeros((*shape, policy.noise_dim), dtype=np.float32)
        # Only what is recorded of an episode has a column; made when the first step is.
        self._record: dict[str, np.ndarray] = {}
        self._number = np.full(simulator.count, -1)
        self._length = np.zeros(simulator.count, dtype=np.int64)
        self._started = 0

    def lengths(self) -> dict[int, int]:
        """Episode number -> steps so far, of those under way."""
        running = self._running()
        return dict(zip(self._number[running].tolist(), self._length[running].tolist(), strict=True))

    def start_where_free(self) -> None:
        """Begin the next episodes in all environments that wait."""
        free = np.flatnonzero(self._number < 0)
        if not len(free):
            return
        resets = []
        for slot in free:
            reset, noise = np.random.SeedSequence(
                self._seeds.entropy, spawn_key=(*self._seeds.spawn_key, self._started)
            ).spawn(2)
            resets.append(int(reset.generate_state(1, np.uint64)[0]))
            np.random.default_rng(noise).standard_normal(dtype=np.float32, out=self._noise[slot])
            self._number[slot] = self._started
            self._length[slot] = 0
            self._started += 1
        self._simulator.reset(resets, free.tolist())

    def stop_what_is_enough(self, wanted: dict[int, int]) -> dict[int, Rows]:
        """Stop episodes that are as long as wanted, and return what they hold."""
        running = self._running()
        enough = [slot for slot in running if self._length[slot] >= wanted[self._number[slot]]]
        self._simulator.stop(enough)
        return self._take(enough)

    def step(self) -> dict[int, Rows]:
        """Step every episode under way once; return those that ended, by number."""
        running = self._running()
        length = self._length
        noise = self._noise[np.arange(len(length)), length]
        states = self._simulator.states
        before = {name: values.copy() for name, values in self._recorded(states).items()}
        actions, log_probabilities = self._policy.act(states, noise)
        step = self._simulator.step(actions)
        columns = {
            "observations": before.pop("observations").astype(np.float32),
            "actions": actions,
            "rewards": step.rewards.astype(np.float32),
            "terminals": step.terminated & ~step.truncated,
            "timeouts": step.truncated,
            **before,
            "infos/action_log_probs": log_probabilities,
        }
        for name, values in columns.items():
            if name not in self._record:
                shape = (*self._noise.shape[:2], *values.shape[1:])
                self._record[name] = np.empty(shape, dtype=values.dtype)
            self._record[name][running, length[running]] = values[running]
        self._length[running] += 1
        return self._take(np.flatnonzero(step.terminated | step.truncated))

    def _recorded(self, states: States) -> dict[str, np.ndarray]:
        """What is written down before a step."""
        kept = {name: states.memory[memory] for name, memory in self._simulator.rules.recorded.items()}
        return {
            "observations": states.observations,
            "infos/qpos": states.qpos,
            "infos/qvel": states.qvel,
            **kept,
        }

    def _running(self) -> np.ndarray:
        return np.flatnonzero(self._number >= 0)

    def _take(self, slots: np.ndarray | list[int]) -> dict[int, Rows]:
        """Copy the episodes out of `slots`, which are free afterwards."""
        episodes = {}
        for slot in slots:
            length = self._length[slot]
            columns = {name: values[slot, :length].copy() for name, values in self._record.items()}
            episodes[int(self._number[slot])] = Rows(columns)
            self._number[slot], self._length[slot] = -1, 0
        return episodes
