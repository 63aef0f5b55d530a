"""Rules of D4RL's kitchen tasks complete, partial and mixed (v0): a Franka arm, four elements, noisy sight.

Every observation carries fresh uniform noise, and both the controller and the reward go by the noisy
observation that was returned, not by the state. The noise of a whole episode is drawn at its reset, so an
observation is a function of the episode and the step (source: d4rl/kitchen of d4rl 1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

import numpy as np

from bench.envs.model_files import model_tree, under
from bench.envs.rules import Beginning, Proof, Robot, States, View
from bench.errors import BenchError
from bench.records import Physics

if TYPE_CHECKING:
    import mujoco

MUJOCO_RANGE = ((3, 1, 6), (3, 3, 7))
"""Oldest and newest MuJoCo that takes the recorded steps. 3.4.0 doubled the contact distance of two boxes,
which moves the kettle by 1.4 cm within one demonstration."""

MODEL_FILES = (
    under(
        "kitchen_franka/kitchen_assets",
        {
            "kitchen_env_model.xml": "890ebb55ed1f1e2dcb2d0c3374f88d21e1e11a1b3688049ade44aa7b1df379c3",
            "basic_scene.xml": "00a84e1e30f0c63c900455428cdc9f34df90f4eb1afed33ccb523ebf5beb308c",
        },
    )
    | under(
        "kitchen_franka/kitchen_assets/item_assets",
        {
            "backwall_asset.xml": "e31467a54e82f1076457bb1e997742ecb49b7f6b2d878464f3585bc5532be86a",
            "backwall_chain.xml": "62fe7a0a24c7ccdd80a9ee1cceda483007ada77c17a4476b5693e1b08f908d3c",
            "counters_asset.xml": "faca68c31d4b8bdb551a43922168c1585f08cca73a6994886c98adb3f3046281",
            "counters_chain.xml": "8d98e1c2aab79fac86f70bdf4e995159592439584e68096529c8bc8e0d579cc2",
            "hingecabinet_asset.xml": "8d2feebfc9f5b4eef8fb7f06313f970bc84b081263f49a42eb1622a24f4bb26d",
            "hingecabinet_chain.xml": "110b6890c1c62baf60c63b898a948517f523432ea0d6c0a334b8b857ff6aa0b1",
            "kettle_asset.xml": "57eb2d4977209c56aa204b94f819c8ca4aadfc1f8b38b012a102422a154a7051",
            "kettle_chain.xml": "4c05abe7f15f478633c3115ecd1087715802b3cf24a4b9eaa6ebbc0ce2dd9ba4",
            "microwave_asset.xml": "5b840bc1f9c47b1913a65d813bc26bafd214b06b28c9a864231529542a7de777",
            "microwave_chain.xml": "00142e4105290e86ef9f77bde0554ec83ba2f7ee53eb7a213bc44bd73ccdfdd3",
            "oven_asset.xml": "73ec926d98a8a0a6342a575a55ef5e60e76f69d5ee8d427655469d97b1d1f466",
            "oven_chain.xml": "5628cc2f5d04b358c05bbf0d47aafda2319cc7f4abec6c11b0da13701f055237",
            "slidecabinet_asset.xml": "d56ed49206371d26f0c486c28826ee519f26815d52a51d090e51ec37127d6a81",
            "slidecabinet_chain.xml": "7340c05ba0c5c044f820e4f720cb79e9a2d94ae691f285a5dcd43448da4f7aad",
        },
    )
    | under(
        "kitchen_franka/franka_assets",
        {
            "actuator.xml": "11f2bcc7b3c237742f3207bf02193620def92421f2e334754ef46845c30c940b",
            "assets.xml": "b6d2adc309f01d338c28a3dfb2a854240d421a6834177dcfc4e2de505f5760ad",
            "chain.xml": "34a7638a492ed942ab2c8204855181f3d419601c0a2235fc5fef9cacf8323458",
            "meshes/collision/hand.stl": "94493e94f30fe940f2c8ca2f155c3bbe67bbff406d3edf5e261670d2f0f6e2ed",
            "meshes/collision/link0.stl": "dfc6d94330de8ddb005b311bfdba9f3b8e1aa7c256b71592ee7ff32cb9a9a5aa",
            "meshes/collision/link1.stl": "e41a39a94108fcf56aacff603fc91ec80541f4c1af17b51a0de5617f5566e6d2",
            "meshes/collision/link2.stl": "370f7605a0fae3529db169ded50f52f171024aa792d4d773bc84197301f6a039",
            "meshes/collision/link3.stl": "0a8d638b9349c6c0eefc4e888636ac4838c4b27170f18a51699321118af709c1",
            "meshes/collision/link4.stl": "0180ebb5772ec9840cb049750cffb29a9ddc90311752a16ea34757782ef9e48d",
            "meshes/collision/link5.stl": "dd17e688c7870e722283525879643d53a74c0024d328b0e14b034b54c8b6c31a",
            "meshes/collision/link6.stl": "20b768e99a0e0440b5754dcca108016434e57937cc356acd9c352ccd3cb27f77",
            "meshes/collision/link7.stl": "92ac6afcf7574c034d3170d8a68e95ac9048ab9d0dd5bbd8311b86e551b9ab1c",
        },
    )
)
"""SHA-256 of what decides how arm and objects move, by path within the assets; the model comes first."""

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


_VIEW = View(at=(-0.2, 0.5, 2.0), distance=2.2, azimuth=70.0, elevation=-35.0)


@dataclass(frozen=True, kw_only=True)
class Kitchen(Robot):
    """The rules of one choice of elements."""

    elements: tuple[str, ...]
    """What is to be done, in D4RL's order: keys of `ELEMENTS`."""

    frame_skip: int = 40
    horizon: int = 280
    view: View = _VIEW
    physics: tuple[Physics, ...] = ("d4rl",)
    """It has modern inertia already, and the old collision code."""

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
            ElementTree.tostring(model_tree(MODEL_FILES), encoding="unicode")
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
        return new.sum(axis=1, dtype=np.float64), np.all(done, axis=1)

    def misfit(self, observations: np.ndarray) -> str:
        """By the goal entries, which tell the choices of elements apart."""
        other = (np.abs(observations[:, len(START) :] - self.goal) > 1e-3).any(axis=1).mean()
        return f"{other:.0%} of its rows have goals of other elements." if other else ""

    def observed_between(self, qpos: np.ndarray, qvel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positions, each give or take its noise, and the goal entries."""
        goal = np.tile(self.goal, (len(qpos), 1))
        return np.concatenate((qpos - NOISE, goal), axis=1), np.concatenate((qpos + NOISE, goal), axis=1)

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

    def earned(self, returns: np.ndarray, largest: np.ndarray) -> np.ndarray:
        """The most that was complete: D4RL's files hold at each row the number of elements that are."""
        return largest

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
    "kitchen": Kitchen(elements=("microwave", "kettle", "light switch", "slide cabinet"), proof=_PROOF),
    "kitchen-mixed": Kitchen(elements=("microwave", "kettle", "bottom burner", "light switch"), proof=_PROOF),
}
