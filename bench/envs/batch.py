"""Many environments stepped together, each exactly as gymnasium steps one.

One `MjData` per environment, because the solver's warm start belongs to the trajectory. Threads step chunks
of environments: `mj_step` releases the interpreter lock. The task's rules are NumPy over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import mujoco
import numpy as np

from bench.envs.locomotion import Locomotion
from bench.errors import BenchError


@dataclass(frozen=True)
class Step:
    """What one step of N environments gave; the flags are true only at the step that ended an episode."""

    observations: np.ndarray
    """(N, O) float64."""
    rewards: np.ndarray
    """(N,) float64; 0 where the environment was finished already."""
    terminated: np.ndarray
    """(N,) bool: the robot fell."""
    truncated: np.ndarray
    """(N,) bool: the horizon was reached."""


class BatchedSimulator:
    """N environments of one robot, equal to gymnasium's v4 environment wrapped in its time limit.

    A finished environment (and one never reset) is left out of `step`: it earns nothing and keeps its last
    observation until it is reset, alone or with others.
    """

    def __init__(
        self, rules: Locomotion, model: mujoco.MjModel, physics: str, count: int, threads: int = 1
    ) -> None:
        if count < 1 or threads < 1:
            raise BenchError(
                f"a simulator of {count} environments on {threads} threads", "", "Ask for 1 or more of each."
            )
        self.physics = physics
        self.count = count
        self.horizon = rules.horizon
        self.observation_dim = model.nq - 1 + model.nv
        self.action_dim = int(model.nu)
        self._rules = rules
        self._model = model
        self._seconds = model.opt.timestep * rules.frame_skip
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="simulator") if threads > 1 else None
        self._data = [mujoco.MjData(model) for _ in range(count)]
        # Asking MjData for an array makes a new view each time; in the inner loop that is worth avoiding.
        self._views = [(data, data.ctrl, data.qpos, data.qvel) for data in self._data]
        self._initial = self._data[0].qpos.copy(), self._data[0].qvel.copy()
        self._qpos = np.tile(self._initial[0], (count, 1))
        self._qvel = np.tile(self._initial[1], (count, 1))
        self._elapsed = np.zeros(count, dtype=np.int64)
        self._finished = np.ones(count, dtype=bool)

    @property
    def qpos(self) -> np.ndarray:
        """Positions (N, nq), a copy."""
        return self._qpos.copy()

    @property
    def qvel(self) -> np.ndarray:
        """Velocities (N, nv), a copy."""
        return self._qvel.copy()

    @property
    def finished(self) -> np.ndarray:
        """(N,) bool, a copy: environments that wait for a reset."""
        return self._finished.copy()

    @property
    def observations(self) -> np.ndarray:
        """(N, O) float64 of the present state."""
        return self._rules.observation(self._qpos, self._qvel)

    def reset(self, seeds: Sequence[int], slots: Sequence[int] | None = None) -> np.ndarray:
        """Start new episodes in `slots` (default: all), one seed each, as gymnasium's `reset(seed=...)` does.

        Returns the observations of all environments (N, O).
        """
        slots = self._slots(slots, len(seeds), "seeds")
        for slot, seed in zip(slots, seeds, strict=True):
            generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed))))
            mujoco.mj_resetData(self._model, self._data[slot])
            self._place(slot, *self._rules.initial_state(generator, *self._initial))
            self._elapsed[slot] = 0
            self._finished[slot] = False
        return self.observations

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray, slots: Sequence[int] | None = None) -> None:
        """Put `slots` (default: all) into the states `qpos` (K, nq), `qvel` (K, nv); clocks go on."""
        for row, slot in enumerate(self._slots(slots, len(qpos), "states")):
            self._place(slot, qpos[row], qvel[row])

    def stop(self, slots: Sequence[int]) -> None:
        """Leave `slots` out of further steps until they are reset."""
        self._finished[slots] = True

    def step(self, actions: np.ndarray) -> Step:
        """Step every unfinished environment once with `actions` (N, A)."""
        if actions.shape != (self.count, self.action_dim):
            raise ValueError(f"actions of shape {actions.shape}, expected {(self.count, self.action_dim)}")
        active = ~self._finished
        x_before = self._qpos[:, 0].copy()
        self._step_physics(np.flatnonzero(active), actions)
        self._elapsed += active
        rewards = self._rules.reward(x_before, self._qpos[:, 0], actions, self._seconds)
        terminated = self._rules.terminated(self._qpos, self._qvel) & active
        truncated = (self._elapsed >= self.horizon) & active
        self._finished |= terminated | truncated
        return Step(self.observations, np.where(active, rewards, 0.0), terminated, truncated)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _slots(self, slots: Sequence[int] | None, given: int, what: str) -> Sequence[int]:
        slots = range(self.count) if slots is None else slots
        if len(slots) != given:
            raise ValueError(f"{given} {what} for {len(slots)} environments")
        return slots

    def _place(self, slot: int, qpos: np.ndarray, qvel: np.ndarray) -> None:
        data, _, data_qpos, data_qvel = self._views[slot]
        data_qpos[:] = qpos
        data_qvel[:] = qvel
        mujoco.mj_forward(self._model, data)
        self._qpos[slot] = data_qpos
        self._qvel[slot] = data_qvel

    def _step_physics(self, slots: np.ndarray, actions: np.ndarray) -> None:
        # The threads do nothing but mj_step, and this thread takes a share: every line of Python between two
        # physics steps waits for the interpreter lock (measured: 1.4 times the rate on two cores).
        stepped = slots.tolist()
        for slot in stepped:
            self._views[slot][1][:] = actions[slot]
        shares = [stepped[first :: self._threads] for first in range(self._threads)]
        waiting = [self._pool.submit(self._step_share, share) for share in shares[1:]] if self._pool else []
        self._step_share(shares[0])
        for share in waiting:
            share.result()
        for slot in stepped:
            _, _, qpos, qvel = self._views[slot]
            self._qpos[slot] = qpos
            self._qvel[slot] = qvel

    def _step_share(self, slots: list[int]) -> None:
        model, frame_skip = self._model, self._rules.frame_skip
        for slot in slots:
            mujoco.mj_step(model, self._views[slot][0], nstep=frame_skip)
