"""Stochastic episodes of a behaviour policy, many at once, handed out in the order of their numbers.

Which rows come out depends on the seed, the policy, the physics and the number of environments, and on
nothing else: not on threads or on which episode ends first. Every episode has its own randomness.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from bench.data.policies import BehaviourPolicy
from bench.envs import BatchedSimulator


@dataclass(frozen=True)
class Rows:
    """K consecutive rows; a state is the one before the row's action, as in D4RL's files."""

    observations: np.ndarray
    """(K, O) float32."""
    actions: np.ndarray
    """(K, A) float32."""
    rewards: np.ndarray
    """(K,) float32."""
    terminals: np.ndarray
    """(K,) bool: the robot fell at this row, and the horizon had not come."""
    timeouts: np.ndarray
    """(K,) bool: the episode was cut at this row."""
    qpos: np.ndarray
    """(K, nq) float64."""
    qvel: np.ndarray
    """(K, nv) float64."""
    action_log_probs: np.ndarray
    """(K,) float32."""

    def __len__(self) -> int:
        return len(self.rewards)

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """One after the other."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def roll_out(
    policy: BehaviourPolicy, simulator: BatchedSimulator, seeds: np.random.SeedSequence, rows: int
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
    first = Rows(**{field.name: getattr(episode, field.name)[:length] for field in fields(Rows)})
    timeouts = first.timeouts.copy()
    timeouts[-1] = not first.terminals[-1]
    return replace(first, timeouts=timeouts)


class _Batch:
    """The episodes under way, one per environment, and what they have recorded so far."""

    def __init__(
        self, policy: BehaviourPolicy, simulator: BatchedSimulator, seeds: np.random.SeedSequence
    ) -> None:
        self._policy, self._simulator, self._seeds = policy, simulator, seeds
        shape = (simulator.count, simulator.horizon)
        self._noise = np.zeros((*shape, simulator.action_dim), dtype=np.float32)
        state = simulator.qpos.shape[1:], simulator.qvel.shape[1:]
        self._record = Rows(
            observations=np.empty((*shape, simulator.observation_dim), dtype=np.float32),
            actions=np.empty((*shape, simulator.action_dim), dtype=np.float32),
            rewards=np.empty(shape, dtype=np.float32),
            terminals=np.empty(shape, dtype=bool),
            timeouts=np.empty(shape, dtype=bool),
            qpos=np.empty((*shape, *state[0])),
            qvel=np.empty((*shape, *state[1])),
            action_log_probs=np.empty(shape, dtype=np.float32),
        )
        self._observations = simulator.observations
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
        self._observations = self._simulator.reset(resets, free)

    def stop_what_is_enough(self, wanted: dict[int, int]) -> dict[int, Rows]:
        """Stop episodes that are as long as wanted, and return what they hold."""
        running = self._running()
        enough = [slot for slot in running if self._length[slot] >= wanted[self._number[slot]]]
        self._simulator.stop(enough)
        return self._take(enough)

    def step(self) -> dict[int, Rows]:
        """Step every episode under way once; return those that ended, by number."""
        running = self._running()
        at = running, self._length[running]
        observations = self._observations.astype(np.float32)
        noise = self._noise[np.arange(len(self._length)), self._length]
        actions, log_probabilities = self._policy.sample_with_log_probability(observations, noise)
        record = self._record
        record.observations[at] = observations[running]
        record.actions[at] = actions[running]
        record.action_log_probs[at] = log_probabilities[running]
        record.qpos[at] = self._simulator.qpos[running]
        record.qvel[at] = self._simulator.qvel[running]
        step = self._simulator.step(actions)
        record.rewards[at] = step.rewards[running]
        record.terminals[at] = (step.terminated & ~step.truncated)[running]
        record.timeouts[at] = step.truncated[running]
        self._observations = step.observations
        self._length[running] += 1
        return self._take(np.flatnonzero(step.terminated | step.truncated))

    def _running(self) -> np.ndarray:
        return np.flatnonzero(self._number >= 0)

    def _take(self, slots: np.ndarray | list[int]) -> dict[int, Rows]:
        """Copy the episodes out of `slots`, which are free afterwards."""
        episodes = {}
        for slot in slots:
            length = self._length[slot]
            columns = {
                field.name: getattr(self._record, field.name)[slot, :length].copy() for field in fields(Rows)
            }
            episodes[int(self._number[slot])] = Rows(**columns)
            self._number[slot], self._length[slot] = -1, 0
        return episodes
