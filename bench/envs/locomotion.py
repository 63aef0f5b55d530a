"""Rules of Hopper-v4, Walker2d-v4 and HalfCheetah-v4: observation, reward, termination, initial state.

Pure NumPy over N environments at once, in gymnasium's order of operations, so that every value is equal to
gymnasium's bit for bit (source: gymnasium/envs/mujoco/{hopper,walker2d,half_cheetah}_v4.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.errors import unknown_name


@dataclass(frozen=True)
class Locomotion:
    """The rules of one robot that walks along x; qpos[0] is x, qpos[1] the height, qpos[2] the pitch."""

    asset: str
    """File name of gymnasium's model."""
    frame_skip: int
    """Physics steps per environment step."""
    control_cost_weight: float
    reset_scale: float
    """Half-width of the uniform noise on the initial state."""
    normal_reset_velocity: bool = False
    """Initial velocities are normal with deviation `reset_scale` instead of uniform."""
    velocity_limit: float | None = None
    """Velocities in the observation are clipped to +- this."""
    healthy_reward: float | None = None
    """Paid every step; None where a robot cannot fall."""
    healthy_height: tuple[float, float] = (-np.inf, np.inf)
    """Metres, exclusive."""
    healthy_angle: tuple[float, float] = (-np.inf, np.inf)
    """Radians, exclusive."""
    healthy_state: float | None = None
    """Bound on every other coordinate and velocity, exclusive."""
    total_mass: float | None = None
    """`settotalmass` of the model (kg)."""
    horizon: int = 1000
    """Steps after which an episode is truncated."""

    def initial_state(
        self, generator: np.random.Generator, qpos: np.ndarray, qvel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """First state of an episode: `qpos` (nq,) and `qvel` (nv,) of the model with noise added."""
        scale = self.reset_scale
        first_qpos = qpos + generator.uniform(low=-scale, high=scale, size=qpos.size)
        if self.normal_reset_velocity:
            return first_qpos, qvel + scale * generator.standard_normal(qvel.size)
        return first_qpos, qvel + generator.uniform(low=-scale, high=scale, size=qvel.size)

    def observation(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """(N, nq) and (N, nv) -> (N, nq - 1 + nv): all but x."""
        if self.velocity_limit is not None:
            qvel = np.clip(qvel, -self.velocity_limit, self.velocity_limit)
        return np.concatenate((qpos[:, 1:], qvel), axis=1)

    def reward(
        self, x_before: np.ndarray, x_after: np.ndarray, actions: np.ndarray, seconds: float
    ) -> np.ndarray:
        """(N,): speed along x (m/s), plus the reward for standing, minus the cost of control.

        The cost is taken in the precision of `actions` (N, A), as gymnasium does.
        """
        reward = (x_after - x_before) / seconds
        if self.healthy_reward is not None:
            reward = reward + self.healthy_reward
        return reward - self.control_cost_weight * np.sum(np.square(actions), axis=1)

    def terminated(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """(N,) bool: the robot has fallen. A state of NaN counts as fallen where a robot can fall."""
        if self.healthy_reward is None:
            return np.zeros(len(qpos), dtype=bool)
        healthy = _within(qpos[:, 1], self.healthy_height) & _within(qpos[:, 2], self.healthy_angle)
        if self.healthy_state is not None:
            bound = self.healthy_state
            healthy &= (np.abs(qpos[:, 2:]) < bound).all(axis=1) & (np.abs(qvel) < bound).all(axis=1)
        return ~healthy


def _within(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (limits[0] < values) & (values < limits[1])


ROBOTS = {
    "hopper": Locomotion(
        asset="hopper.xml",
        frame_skip=4,
        control_cost_weight=1e-3,
        reset_scale=5e-3,
        velocity_limit=10.0,
        healthy_reward=1.0,
        healthy_height=(0.7, np.inf),
        healthy_angle=(-0.2, 0.2),
        healthy_state=100.0,
    ),
    "walker2d": Locomotion(
        asset="walker2d.xml",
        frame_skip=4,
        control_cost_weight=1e-3,
        reset_scale=5e-3,
        velocity_limit=10.0,
        healthy_reward=1.0,
        healthy_height=(0.8, 2.0),
        healthy_angle=(-1.0, 1.0),
    ),
    "halfcheetah": Locomotion(
        asset="half_cheetah.xml",
        frame_skip=5,
        control_cost_weight=0.1,
        reset_scale=0.1,
        normal_reset_velocity=True,
        total_mass=14.0,
    ),
}


def robot_named(environment: str) -> Locomotion:
    """The rules of `environment`; a BenchError names the known ones."""
    if environment not in ROBOTS:
        raise unknown_name("simulator", environment, ROBOTS, "bench list tasks")
    return ROBOTS[environment]
