"""Rules of Hopper-v4, Walker2d-v4 and HalfCheetah-v4: observation, reward, termination, initial state.

Pure NumPy over N environments at once, in gymnasium's order of operations, so that every value is equal to
gymnasium's bit for bit (source: gymnasium/envs/mujoco/{hopper,walker2d,half_cheetah}_v4.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.envs.model_files import gymnasium_model
from bench.envs.rules import Beginning, Proof, Robot, States
from bench.records import Physics

if TYPE_CHECKING:
    import mujoco


@dataclass(frozen=True, kw_only=True)
class Locomotion(Robot):
    """The rules of one robot that walks along x; qpos[0] is x, qpos[1] the height, qpos[2] the pitch."""

    asset: str
    """File name of gymnasium's model."""
    sha256: str
    """Of that file."""
    timestep: float
    """Seconds of a physics step; the model's own."""
    median_height: tuple[float, float]
    """Where the median height of the torso lies in any data (m, the cheetah's relative to its start)."""
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
    physics: tuple[Physics, ...] = ("d4rl", "modern")
    travelled: int = 1

    @property
    def seconds(self) -> float:
        """Of one environment step."""
        return self.timestep * self.frame_skip

    @property
    def reward_per_metre(self) -> float:
        """The reward is a speed."""
        return 1 / self.seconds

    def load_model(self, physics: Physics) -> mujoco.MjModel:
        """Gymnasium's v4 model; under `d4rl` with the capsule inertia of MuJoCo up to 2.1.0."""
        import mujoco

        from bench.envs.physics import restore_capsule_inertia, switch_off_native_collision

        model = mujoco.MjModel.from_xml_string(gymnasium_model(self.asset, self.sha256).decode())
        if physics == "d4rl":
            restore_capsule_inertia(model, "old", total_mass=self.total_mass)
            switch_off_native_collision(model)
        return model

    def begin(
        self, model: mujoco.MjModel, episode: np.random.Generator, goal: np.random.Generator
    ) -> Beginning:
        """The model's own state with noise added, in gymnasium's order of draws."""
        scale = self.reset_scale
        qpos = model.qpos0 + episode.uniform(low=-scale, high=scale, size=model.nq)
        if self.normal_reset_velocity:
            return Beginning(qpos, scale * episode.standard_normal(model.nv))
        return Beginning(qpos, episode.uniform(low=-scale, high=scale, size=model.nv))

    def observe(self, states: States) -> np.ndarray:
        """(N, nq - 1 + nv): all but x."""
        return self.observation(states.qpos, states.qvel)

    def control(self, actions: np.ndarray, states: States) -> np.ndarray:
        """The actions themselves; the model clips them."""
        return actions

    def outcome(
        self, qpos_before: np.ndarray, states: States, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rewards and falls."""
        rewards = self.reward(qpos_before[:, 0], states.qpos[:, 0], actions)
        return rewards, self.terminated(states.qpos, states.qvel)

    def misfit(self, observations: np.ndarray) -> str:
        """By the torso's height, the first observation."""
        lowest, highest = self.median_height
        height = float(np.median(observations[:, 0]))
        if lowest <= height <= highest:
            return ""
        return (
            f"The median torso height (observation 0) is {height:.3f}; it is within {lowest} and {highest} "
            "in any data of this robot."
        )

    def observed_between(self, qpos: np.ndarray, qvel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All but x."""
        seen = self.observation(qpos, qvel)
        return seen, seen

    def recorded_outcome(
        self,
        qpos_before: np.ndarray,
        qpos: np.ndarray,
        qvel: np.ndarray,
        observations: np.ndarray,
        actions: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The environment's own rewards and falls."""
        return self.reward(qpos_before[:, 0], qpos[:, 0], actions), self.terminated(qpos, qvel)

    def observation(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """(N, nq) and (N, nv) -> (N, nq - 1 + nv): all but x."""
        if self.velocity_limit is not None:
            qvel = np.clip(qvel, -self.velocity_limit, self.velocity_limit)
        return np.concatenate((qpos[:, 1:], qvel), axis=1)

    def reward(self, x_before: np.ndarray, x_after: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """(N,): speed along x (m/s), plus the reward for standing, minus the cost of control.

        The cost is taken in the precision of `actions` (N, A), as gymnasium does.
        """
        reward = (x_after - x_before) / self.seconds
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


WALKERS = {
    "hopper": Locomotion(
        asset="hopper.xml",
        sha256="3ce93a055ffdcd83c0c701d2400768e40d2cbb9532f3c4ae33377c27f8b39f9e",
        frame_skip=4,
        timestep=0.002,
        median_height=(0.7, 2.0),
        proof=Proof(("hopper",), steps=300, largest=1e-14, largest_by_default=0.11),
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
        sha256="ac13373c7ac9003a5311c4704b314ed11149b3dd7600bbc02770487300f9ad2d",
        frame_skip=4,
        timestep=0.002,
        median_height=(0.8, 2.0),
        proof=Proof(("walker2d",), steps=300, largest=1e-12, largest_by_default=2.5),
        control_cost_weight=1e-3,
        reset_scale=5e-3,
        velocity_limit=10.0,
        healthy_reward=1.0,
        healthy_height=(0.8, 2.0),
        healthy_angle=(-1.0, 1.0),
    ),
    "halfcheetah": Locomotion(
        asset="half_cheetah.xml",
        sha256="11797a5d69e8ac955e89ca6fdd3a0087f1c990094fda401ac51420de1b6c5494",
        frame_skip=5,
        timestep=0.01,
        median_height=(-0.7, 0.7),
        proof=Proof(("half_cheetah",), steps=300, largest=1e-11, largest_by_default=1.0),
        control_cost_weight=0.1,
        reset_scale=0.1,
        normal_reset_velocity=True,
        total_mass=14.0,
    ),
}
