"""What a domain declares of a robot: `Rules`, by which it is simulated, and `Robot`, its data besides.

Nothing here or in the domains' modules imports MuJoCo before a model is loaded, so that a list of tasks can
say how each simulator was proven.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.records import Physics

if TYPE_CHECKING:
    import mujoco


@dataclass
class States:
    """The present of N environments, as their rules see it."""

    qpos: np.ndarray
    """(N, nq) positions of the joints."""
    qvel: np.ndarray
    """(N, nv) velocities."""
    points: np.ndarray
    """(N, P, 3) metres: positions of the rules' `points`, as the simulator holds them. After a step they are
    those at the start of its last substep, as in D4RL, which computes nothing anew afterwards."""
    elapsed: np.ndarray
    """(N,) steps since the reset."""
    observations: np.ndarray
    """(N, O) as returned last."""
    memory: dict[str, np.ndarray] = field(default_factory=dict)
    """What the rules keep of each episode besides (a goal, what is done already), by name, (N, ...)."""


@dataclass(frozen=True)
class Beginning:
    """The first state of one episode."""

    qpos: np.ndarray
    """(nq,); a quaternion may have any length, the simulator normalises it."""
    qvel: np.ndarray
    """(nv,)"""
    memory: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What `States.memory` holds of the episode, by name."""


@dataclass(frozen=True)
class Proof:
    """How a robot's step was held against recorded steps of the genuine MuJoCo 2.1.0 library."""

    fixtures: tuple[str, ...]
    """Names of the recordings."""
    steps: int
    """Environment steps compared, each from its recorded state."""
    largest: float
    """Largest absolute error of any position or velocity after a step (m, rad, m/s, rad/s)."""
    largest_by_default: float
    """The same with today's MuJoCo as it comes: its own capsule inertia and collision code."""
    velocities: bool = True
    """False where only positions were held against the recordings."""
    own_inertia: bool = True
    """False where the simulator's capsules are meant to be other than MuJoCo 2.1.0's, and had its old inertia
    for the comparison alone."""


@dataclass(frozen=True, kw_only=True)
class View:
    """From where a robot is filmed: by a camera of its model, or around a point."""

    camera: str = ""
    """Name of the model's; empty: around `at`."""
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Metres."""
    distance: float = 1.0
    """Metres from there."""
    azimuth: float = 90.0
    elevation: float = -30.0
    """Degrees; -90 looks down."""


@dataclass(frozen=True, kw_only=True)
class Rules(ABC):
    """All that a simulator must know of one robot: model, reset, action, observation, reward, end."""

    horizon: int
    """Steps after which an episode is cut off."""
    frame_skip: int
    """Physics steps per environment step."""
    points: tuple[str, ...] = ()
    """Bodies and sites whose positions the rules read: `body Object`, `site eps_ball`."""
    view: View = View(camera="track")
    """For pictures; no number depends on it."""
    recorded: Mapping[str, str] = field(default_factory=dict)
    """What a dataset's file keeps of the memory: column (`infos/goal`) -> name in the memory."""

    @abstractmethod
    def load_model(self, physics: Physics) -> mujoco.MjModel:
        """The compiled model; raises BenchError where `physics` or the model's file is not to be had."""

    @abstractmethod
    def begin(
        self, model: mujoco.MjModel, episode: np.random.Generator, goal: np.random.Generator
    ) -> Beginning:
        """The first state of an episode: what is random is drawn from `episode`, but a goal from `goal`."""

    def recall(  # noqa: B027, most robots have nothing to write
        self, data: mujoco.MjData, memory: Mapping[str, np.ndarray]
    ) -> None:
        """Write into `data` what of an episode's memory the physics must know (a target that is drawn)."""

    @abstractmethod
    def observe(self, states: States) -> np.ndarray:
        """(N, O) float64 of the present state."""

    @abstractmethod
    def control(self, actions: np.ndarray, states: States) -> np.ndarray:
        """(N, nu) what the actuators get for `actions` (N, A); neither is changed."""

    @abstractmethod
    def outcome(
        self, qpos_before: np.ndarray, states: States, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rewards (N,) float64 and ends (N,) bool of a step that led from `qpos_before` to `states`.

        It may update the memory. An environment that is finished is asked again with an unchanged state.
        """


@dataclass(frozen=True, kw_only=True)
class Robot(Rules):
    """All that a domain declares of one robot: its rules, how they were proven, and what its data hold."""

    proof: Proof
    """What shows that the simulator is the one that made the data."""
    physics: tuple[Physics, ...]
    """The physics that it can be simulated with, D4RL's first."""
    travelled: int = 0
    """How many of the first positions are distances travelled, which grow along an episode."""
    terminals_end: bool = True
    """Whether an episode ends where D4RL's files hold a terminal."""

    @property
    def reward_per_metre(self) -> float:
        """By how much a reward changes with the first position, which a file may hold rounded (1/m)."""
        return 0.0

    @abstractmethod
    def misfit(self, observations: np.ndarray) -> str:
        """Why observations (N, O) of a file cannot be of this environment, in a sentence; empty if they may.

        It tells environments apart whose dimensions are equal.
        """

    @abstractmethod
    def observed_between(self, qpos: np.ndarray, qvel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest observation (N, O) of a state (N, nq), (N, nv) that a file holds.

        Equal but for noise; infinite where an observation does not follow from the state alone.
        """

    def seen_memory(self, observations: np.ndarray) -> Mapping[str, np.ndarray]:
        """What of the memory that the physics must know is told by observations (N, O) of a file.

        Nothing, unless a robot says otherwise.
        """
        return {}

    @abstractmethod
    def recorded_outcome(
        self,
        qpos_before: np.ndarray,
        qpos: np.ndarray,
        qvel: np.ndarray,
        observations: np.ndarray,
        actions: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray | None] | str:
        """Rewards (N,) and terminals (N,) that D4RL's files hold of steps to states and observations.

        A reward is NaN where the rounding of a file decides it; terminals are None where D4RL's files do not
        follow the environment's own ends. A sentence says why nothing follows, where D4RL made its rewards
        otherwise than the environment.
        """

    def earned(self, returns: np.ndarray, largest: np.ndarray) -> np.ndarray:
        """Returns (E,) as the environment counts them, of episodes of a file.

        Parameters
        ----------
        returns, largest : (E,) sum and largest of each episode's rewards in the file.
        """
        return returns

    def jumps(self, observations: np.ndarray, next_observations: np.ndarray) -> int | None:
        """How many transitions (N, O) lead further than any step does; None where that cannot be told.

        D4RL's v0 files cut episodes at wrong rows.
        """
        return None


@dataclass(frozen=True)
class Step:
    """What one step of N environments gave; the flags are true only at the step that ended an episode."""

    observations: np.ndarray
    """(N, O) float64."""
    rewards: np.ndarray
    """(N,) float64; 0 where the environment was finished already."""
    terminated: np.ndarray
    """(N,) bool: the task ended the episode: the robot fell, or the goal was reached."""
    truncated: np.ndarray
    """(N,) bool: the horizon was reached."""
