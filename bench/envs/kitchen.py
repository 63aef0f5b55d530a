"""Rules of D4RL's kitchen tasks complete, partial and mixed (v0): a Franka arm, four elements, noisy sight.

Every observation carries fresh uniform noise, and both the controller and the reward go by the noisy
observation that was returned, not by the state. The noise of a whole episode is drawn at its reset, so an
observation is a function of the episode and the step (source: d4rl/kitchen of d4rl 1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

import numpy as np

from bench.catalog import Physics
from bench.envs.model_files import model_tree
from bench.envs.rules import Beginning, Proof, States
from bench.errors import BenchError

if TYPE_CHECKING:
    import mujoco

MUJOCO_RANGE = ((3, 1, 6), (3, 3, 7))
"""Oldest and newest MuJoCo that takes the recorded steps. 3.4.0 doubled the contact distance of two boxes,
which moves the kettle by 1.4 cm within one demonstration."""

JOINTS = 9
"""Of the robot: seven of the arm (rad) and two fingers (m)."""
STEP_SECONDS = 0.08
"""Of an environment step: 40 physics steps of 0.002 s."""
LARGEST_SPEED = 2.0
"""Joint velocity of an action of 1 (rad/s, of the fingers m/s)."""
BOUNDS = np.array(
    [(-2.9, 2.9), (-1.8, 1.8), (-2.9, 2.9), (-3.1, 0.0), (-2.9, 2.9), (0.0, 3.8), (-2.9, 2.9)]
    + [(0.0, 0.04)] * 2
)
"""(9, 2) targets of the joints are clipped to these, before the actuators clip to their own ranges."""
NOISE = np.array(
    [0.01] * 9  # arm and fingers
    + [0.0005] * 2  # knob and burner 1
    + [0.00005] * 6  # knobs and burners 2 to 4
    + [0.0005] * 3  # light switch, light, slide cabinet
    + [0.01] * 3  # hinge cabinets, microwave
    + [0.0005] * 3  # kettle: position
    + [0.01] * 3  # quaternion w, x, y
    + [0.0005]  # quaternion z
)
"""(30,) the noise of an observed position is uniform within +- this (rad, m)."""
START = np.array(
    [
        *(0.148388023, -1.76848573, 1.84390296, -2.47685760, 0.260252026, 0.712533105, 1.59515394),  # arm
        *(0.0479267505, 0.0371350919),  # fingers
        *(-2.66279850e-4, -5.18043486e-5, 3.12877220e-5, -4.51199853e-5),  # knobs and burners 1 and 2
        *(-3.90842156e-6, -4.22629655e-5, 6.28065475e-5, 4.04984708e-5),  # 3 and 4
        *(4.62730939e-4, -2.26906415e-4),  # light switch, light
        -4.65501369e-4,  # slide cabinet
        *(-6.44129196e-3, -1.77048263e-3),  # hinge cabinets
        1.08009684e-3,  # microwave
        *(-0.269397440, 0.350383255, 1.61944683),  # kettle: position
        *(1.00618764, 4.06395120e-3, -6.62095997e-3, -2.68278933e-4),  # quaternion
    ]
)
"""(30,) every episode's first positions; the kettle's quaternion is not normalised, for D4RL took one of its
own noisy observations."""
NEAR = 0.3
"""An element is complete when its entries of the observation are nearer to the goal than this."""


class Element(NamedTuple):
    """Something to be done: entries of the positions and the values that they should have."""

    entries: slice
    goal: tuple[float, ...]


ELEMENTS: Mapping[str, Element] = {
    "bottom burner": Element(slice(11, 13), (-0.88, -0.01)),
    "light switch": Element(slice(17, 19), (-0.69, -0.05)),
    "slide cabinet": Element(slice(19, 20), (0.37,)),
    "microwave": Element(slice(22, 23), (-0.75,)),
    "kettle": Element(slice(23, 30), (-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06)),
}


@dataclass(frozen=True)
class Kitchen:
    """The rules of one choice of elements."""

    elements: tuple[str, ...]
    """What is to be done, in D4RL's order: keys of `ELEMENTS`."""
    proof: Proof

    frame_skip: int = 40
    horizon: int = 280
    points: tuple[str, ...] = ()
    physics: tuple[Physics, ...] = ("d4rl",)
    """It has modern inertia already, and the old collision code."""
    travelled: int = 0
    recorded: Mapping[str, str] = field(default_factory=dict)
    reward_per_metre: float = 0.0

    @property
    def goal(self) -> np.ndarray:
        """(30,) goal entries of an observation; zero where nothing is asked for."""
        goal = np.zeros(len(START))
        for element in self.elements:
            goal[ELEMENTS[element].entries] = ELEMENTS[element].goal
        return goal

    def load_model(self, physics: Physics) -> mujoco.MjModel:
        """The model of gymnasium-robotics as D4RL's: its pedestal does not collide.

        Capsules have their exact inertia: D4RL's kitchen runs on MuJoCo since 2.2, in the papers too.
        """
        import mujoco

        from bench.envs.physics import switch_off_native_collision

        _require_mujoco()
        model = mujoco.MjModel.from_xml_string(
            ElementTree.tostring(model_tree("kitchen"), encoding="unicode")
        )
        pedestal = model.geom_bodyid == model.body("panda0_link0").parentid
        model.geom_contype[pedestal] = model.geom_conaffinity[pedestal] = 0
        switch_off_native_collision(model)
        return model

    def begin(
        self, model: mujoco.MjModel, episode: np.random.Generator, goal: np.random.Generator
    ) -> Beginning:
        """Always the same state, at rest; of an episode only the noise is random."""
        noise = NOISE * episode.uniform(-1.0, 1.0, (self.horizon + 1, len(NOISE)))
        memory = {"noise": noise, "done": np.zeros(len(self.elements), dtype=bool)}
        return Beginning(START, np.zeros(model.nv), memory)

    def recall(self, data: mujoco.MjData, memory: Mapping[str, np.ndarray]) -> None:
        """The physics knows nothing of noise or what is done."""

    def observe(self, states: States) -> np.ndarray:
        """(N, 60): the 30 positions with their noise, the goal entries."""
        count = len(states.qpos)
        noise = states.memory["noise"][np.arange(count), states.elapsed]
        return np.concatenate((states.qpos + noise, np.tile(self.goal, (count, 1))), axis=1)

    def control(self, actions: np.ndarray, states: States) -> np.ndarray:
        """Targets of the servos: from where the joints were *seen* last, on at the asked velocity."""
        velocities = LARGEST_SPEED * np.clip(actions.astype(np.float64, copy=False), -1.0, 1.0)
        return np.clip(states.observations[:, :JOINTS] + velocities * STEP_SECONDS, *BOUNDS.T)

    def outcome(
        self, qpos_before: np.ndarray, states: States, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """1 for every element that is seen complete for the first time; the end when all have been."""
        done = states.memory["done"]
        new = self.complete(states.observations) & ~done
        done |= new
        return new.sum(axis=1, dtype=np.float64), done.all(axis=1)

    def misfit(self, observations: np.ndarray) -> str:
        """By the goal entries, which tell the choices of elements apart."""
        other = (np.abs(observations[:, len(START) :] - self.goal) > 1e-3).any(axis=1).mean()
        return f"{other:.0%} of its rows have goals of other elements." if other else ""

    def observed_between(self, qpos: np.ndarray, qvel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positions, each give or take its noise, and the goal entries."""
        goal = np.tile(self.goal, (len(qpos), 1))
        return np.concatenate((qpos - NOISE, goal), axis=1), np.concatenate((qpos + NOISE, goal), axis=1)

    def seen_memory(self, observations: np.ndarray) -> Mapping[str, np.ndarray]:
        """The physics knows nothing of noise or what is done."""
        return {}

    def recorded_outcome(
        self,
        qpos_before: np.ndarray,
        qpos: np.ndarray,
        qvel: np.ndarray,
        observations: np.ndarray,
        actions: np.ndarray,
    ) -> str:
        """D4RL's rewards count otherwise than the environment's."""
        return "They count what was complete, which goes by rows before, not by one step."

    def complete(self, observations: np.ndarray) -> np.ndarray:
        """(N, 4) bool: which elements `observations` (N, 60) show complete now, undone ones no longer."""
        gaps = observations[:, : len(START)] - self.goal
        squares = [np.square(gaps[:, ELEMENTS[name].entries]).sum(axis=1) for name in self.elements]
        return np.sqrt(np.stack(squares, axis=1)) < NEAR


def _require_mujoco() -> None:
    import mujoco

    oldest, newest = MUJOCO_RANGE
    if not oldest <= tuple(map(int, mujoco.__version__.split(".")[:3])) <= newest:
        low, high = (".".join(map(str, version)) for version in MUJOCO_RANGE)
        raise BenchError(
            f"the kitchen on MuJoCo {mujoco.__version__}",
            f"Its steps are D4RL's on MuJoCo {low} to {high} only; later ones collide boxes differently.",
            f"Type `pip install 'mujoco>={low},<={high}'`.",
        )


_PROOF = Proof(
    ("kitchen",),
    steps=400,
    largest=2e-5,
    largest_by_default=1.3e-2,
    velocities=False,
    own_inertia=False,
)

KITCHENS = {
    "kitchen": Kitchen(("microwave", "kettle", "light switch", "slide cabinet"), _PROOF),
    "kitchen-mixed": Kitchen(("microwave", "kettle", "bottom burner", "light switch"), _PROOF),
}
