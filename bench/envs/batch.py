"""Many environments stepped together, each exactly as the original steps one.

One `MjData` per environment, because the solver's warm start belongs to the trajectory. Threads step chunks
of environments: `mj_step` releases the interpreter lock. What is particular to a robot are its domain's
`Rules`, NumPy over all environments at once; the simulator knows nothing of robots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import mujoco
import numpy as np

from bench.envs.rules import Rules, States, Step
from bench.errors import BenchError
from bench.records import Physics


class BatchedSimulator:
    """N environments of one robot under its time limit.

    A finished environment (and one never reset) is left out of `step`: it earns nothing and keeps its last
    observation until it is reset, alone or with others.
    """

    def __init__(self, rules: Rules, physics: Physics, count: int, threads: int = 1) -> None:
        if count < 1 or threads < 1:
            raise BenchError(
                f"a simulator of {count} environments on {threads} threads", "", "Ask for 1 or more of each."
            )
        model = rules.load_model(physics)
        self.rules = rules
        self.model = model
        self.physics = physics
        self.count = count
        self.horizon = rules.horizon
        self.action_dim = int(model.nu)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="simulator") if threads > 1 else None
        self.data = [mujoco.MjData(model) for _ in range(count)]
        # Asking MjData for an array makes a new view each time; in the inner loop that is worth avoiding.
        self._views = [_Views(data, rules.points) for data in self.data]
        first = self.data[0]
        self._states = States(
            qpos=np.tile(first.qpos, (count, 1)),
            qvel=np.tile(first.qvel, (count, 1)),
            points=np.zeros((count, len(rules.points), 3)),
            elapsed=np.zeros(count, dtype=np.int64),
            observations=np.empty((count, 0)),
        )
        self._finished = np.ones(count, dtype=bool)
        self.reset([0] * count)
        self._finished[:] = True
        self.observation_dim = self._states.observations.shape[1]

    @property
    def states(self) -> States:
        """The present, to be read and not changed; the next step changes it."""
        return self._states

    @property
    def qpos(self) -> np.ndarray:
        """Positions (N, nq), a copy."""
        return self._states.qpos.copy()

    @property
    def qvel(self) -> np.ndarray:
        """Velocities (N, nv), a copy."""
        return self._states.qvel.copy()

    @property
    def finished(self) -> np.ndarray:
        """(N,) bool, a copy: environments that wait for a reset."""
        return self._finished.copy()

    @property
    def observations(self) -> np.ndarray:
        """(N, O) float64 as returned last, a copy."""
        return self._states.observations.copy()

    @property
    def memory(self) -> dict[str, np.ndarray]:
        """What the rules keep of each episode, by name, copies."""
        return {name: values.copy() for name, values in self._states.memory.items()}

    def reset(
        self,
        seeds: Sequence[int],
        slots: Sequence[int] | None = None,
        goal_seeds: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Start new episodes in `slots` (default: all), one seed each, as gymnasium's `reset(seed=...)` does.

        Episodes with the same of `goal_seeds` have the same goal, where the task has one; without them, each
        episode has its own. Returns the observations of all environments (N, O).
        """
        slots = self._slots(slots, len(seeds), "seeds")
        # A stream of its own: a goal drawn from the episode's would repeat the numbers of its start.
        goals: list[int | tuple[int, ...]] = (
            [(int(seed), 1) for seed in seeds] if goal_seeds is None else [int(seed) for seed in goal_seeds]
        )
        self._slots(slots, len(goals), "seeds of goals")
        for slot, seed, goal in zip(slots, seeds, goals, strict=True):
            mujoco.mj_resetData(self.model, self.data[slot])
            beginning = self.rules.begin(self.model, _generator(int(seed)), _generator(goal))
            self._place(slot, beginning.qpos, beginning.qvel, beginning.memory)
            self._states.elapsed[slot] = 0
            self._finished[slot] = False
        self._states.observations = self.rules.observe(self._states)
        return self.observations

    def set_state(
        self,
        qpos: np.ndarray,
        qvel: np.ndarray,
        slots: Sequence[int] | None = None,
        memory: Mapping[str, np.ndarray] | None = None,
        observations: np.ndarray | None = None,
    ) -> None:
        """Put `slots` (default: all) into the states `qpos` (K, nq), `qvel` (K, nv); clocks go on.

        `memory` (K, ...) by name replaces the rules' memory. `observations` (K, O) count as those returned
        last; without them the rules observe the states.
        """
        slots = self._slots(slots, len(qpos), "states")
        for row, slot in enumerate(slots):
            remembered = {name: values[row] for name, values in (memory or {}).items()}
            self._place(slot, qpos[row], qvel[row], remembered)
        self._states.observations = self.rules.observe(self._states)
        if observations is not None:
            self._states.observations[slots] = observations

    def stop(self, slots: Sequence[int]) -> None:
        """Leave `slots` out of further steps until they are reset."""
        self._finished[slots] = True

    def step(self, actions: np.ndarray) -> Step:
        """Step every unfinished environment once with `actions` (N, A).

        Raises
        ------
        BenchError : an action of an unfinished environment is not finite.
        """
        if actions.shape != (self.count, self.action_dim):
            raise ValueError(f"actions of shape {actions.shape}, expected {(self.count, self.action_dim)}")
        active = ~self._finished
        self._require_finite(actions, active)
        before = self._states.qpos.copy()
        self.step_physics(np.flatnonzero(active), self.rules.control(actions, self._states))
        self._states.elapsed += active
        self._states.observations = self.rules.observe(self._states)
        rewards, ended = self.rules.outcome(before, self._states, actions)
        terminated = ended & active
        truncated = (self._states.elapsed >= self.horizon) & active
        self._finished |= terminated | truncated
        return Step(self.observations, np.where(active, rewards, 0.0), terminated, truncated)

    def step_physics(self, slots: np.ndarray, controls: np.ndarray) -> None:
        """Let the time of one environment step go by in `slots`, whose actuators get `controls` (N, nu).

        No clock goes on, and nothing is observed or earned.
        """
        # The threads do nothing but mj_step, and this thread takes a share: every line of Python between two
        # physics steps waits for the interpreter lock (measured: 1.4 times the rate on two cores).
        stepped = slots.tolist()
        for slot in stepped:
            self._views[slot].ctrl[:] = controls[slot]
        shares = [stepped[first :: self._threads] for first in range(self._threads)]
        waiting = [self._pool.submit(self._step_share, share) for share in shares[1:]] if self._pool else []
        self._step_share(shares[0])
        for share in waiting:
            share.result()
        for slot in stepped:
            self._read(slot)

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

    def _require_finite(self, actions: np.ndarray, active: np.ndarray) -> None:
        wrong = ~np.isfinite(actions) & active[:, None]
        if wrong.any():
            environment, number = np.argwhere(wrong)[0]
            raise BenchError(
                f"action {number} of environment {environment} is {actions[environment, number]}",
                "A simulator takes finite numbers.",
                "Look for what the policy divides by, or for the NaN in its weights.",
            )

    def _place(self, slot: int, qpos: np.ndarray, qvel: np.ndarray, memory: Mapping[str, np.ndarray]) -> None:
        data, states = self.data[slot], self._states
        for name, value in memory.items():
            if name not in states.memory:
                value = np.asarray(value)
                states.memory[name] = np.zeros((self.count, *value.shape), dtype=value.dtype)
            states.memory[name][slot] = value
        data.qpos[:] = qpos
        data.qvel[:] = qvel
        self.rules.recall(data, {name: values[slot] for name, values in states.memory.items()})
        # MuJoCo up to 3.1 normalises in place as it goes forward; later versions leave qpos as it is.
        mujoco.mj_normalizeQuat(self.model, data.qpos)
        mujoco.mj_forward(self.model, data)
        self._read(slot)

    def _read(self, slot: int) -> None:
        views, states = self._views[slot], self._states
        states.qpos[slot] = views.qpos
        states.qvel[slot] = views.qvel
        for index, point in enumerate(views.points):
            states.points[slot, index] = point

    def _step_share(self, slots: list[int]) -> None:
        model, frame_skip = self.model, self.rules.frame_skip
        for slot in slots:
            mujoco.mj_step(model, self.data[slot], nstep=frame_skip)


class _Views:
    """The arrays of one `MjData` that are read or written at every step."""

    def __init__(self, data: mujoco.MjData, points: Sequence[str]) -> None:
        self.ctrl, self.qpos, self.qvel = data.ctrl, data.qpos, data.qvel
        self.points = [_position(data, point) for point in points]


def _position(data: mujoco.MjData, point: str) -> np.ndarray:
    kind, name = point.split(" ", 1)
    return data.site(name).xpos if kind == "site" else data.body(name).xpos


def _generator(seed: int | tuple[int, ...]) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
