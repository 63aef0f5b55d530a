"""Rules of D4RL's Adroit pen: a hand of 24 joints turns a pen until it lies as a target does.

pen-human and pen-cloned, -v0 and -v1, share them (source: d4rl/hand_manipulation_suite/pen_v0.py of d4rl
1.1). The model comes from gymnasium-robotics, whose own pen environment has another horizon and no end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike

from bench.envs.model_files import model_tree, under
from bench.envs.rules import Beginning, Proof, Robot, States, View
from bench.records import Physics

if TYPE_CHECKING:
    import mujoco

MODEL_FILES = under(
    "adroit_hand",
    {
        "adroit_pen.xml": "20d5b6b4a24dc25fddca593d1f61107953a9e21ff2982c8065b0ba28b3250bdf",
        "adroit_assets.xml": "29f9f05bf6d738b44c3927ec01aa30c259db388dd115ed9597930be119f3ac79",
        "adroit_model.xml": "680af02828ee4fe9ef5a56f8a4d9020d2ea15a99768b2bda770d22e67e187a02",
    },
)
"""SHA-256 of what decides how the hand and the pen move, by path within the assets; the model comes first."""

HAND_JOINTS = 24
"""They come first in a state; six of the pen follow."""
PEN_LENGTH = 0.13
"""Metres between the sites at the ends of the pen, and of the target."""
LARGEST_ANGLE = 1.0
"""Of either rotation of the target (rad)."""
CLOSE = 0.075
"""Distance of the pen from its place below which the bonuses are paid (m)."""
BONUSES = ((0.9, 10.0), (0.95, 50.0))
"""The cosine of pen and target above which each is paid, one on top of the other."""
DROPPED = 0.075
"""Height below which the pen counts as dropped (m)."""
DROPPING_COST = 5.0
PLACE = (0.0, -0.2, 0.25)
"""Where the pen belongs (m)."""
ROUNDING = 1e-6
"""Of numbers that a file holds in single precision."""


_VIEW = View(camera="fixed")


@dataclass(frozen=True, kw_only=True)
class Pen(Robot):
    """The rules; an episode remembers `target`, the quaternion (w x y z) of the orientation to reach."""

    physics: tuple[Physics, ...] = ("d4rl",)
    """Its inertia is written in its model, so there is no other."""
    recorded: Mapping[str, str] = field(default_factory=lambda: {"infos/desired_orien": "target"})
    horizon: int = 100
    frame_skip: int = 5
    view: View = _VIEW
    points: tuple[str, ...] = (
        "body Object",
        "site eps_ball",
        "site object_top",
        "site object_bottom",
        "site target_top",
        "site target_bottom",
    )

    def load_model(self, physics: Physics) -> mujoco.MjModel:
        """The model of gymnasium-robotics, its target moved from the model into each environment's data."""
        return _model()

    def begin(
        self, model: mujoco.MjModel, episode: np.random.Generator, goal: np.random.Generator
    ) -> Beginning:
        """An open hand at rest with the pen above it, and a target drawn with the episode, as D4RL does."""
        about_x, about_y = episode.uniform(low=-LARGEST_ANGLE, high=LARGEST_ANGLE, size=2)
        target = target_quaternion(about_x, about_y)
        return Beginning(np.zeros(model.nq), np.zeros(model.nv), {"target": target})

    def recall(self, data: mujoco.MjData, memory: Mapping[str, np.ndarray]) -> None:
        """Turn the target, which the pen can touch."""
        model = data.model
        data.mocap_quat[model.body_mocapid[model.body("target").id]] = memory["target"]

    def observe(self, states: States) -> np.ndarray:
        """(N, 45): hand joints; the pen's position, velocities, direction; the target's; two differences."""
        pen, place, direction, target = _read(states)
        joints, velocities = states.qpos[:, :HAND_JOINTS], states.qvel[:, HAND_JOINTS:]
        return np.concatenate(
            (joints, pen, velocities, direction, target, pen - place, direction - target), axis=1
        )

    def control(self, actions: np.ndarray, states: States) -> np.ndarray:
        """Joint angles (N, 24) that the servos aim at: actions from -1 to 1 span each one's range."""
        middle, half_width = _servo_ranges()
        return middle + np.clip(actions, -1.0, 1.0) * half_width

    def outcome(
        self, qpos_before: np.ndarray, states: States, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The cosine of pen and target less the pen's distance (m), with bonuses; a dropped pen ends it."""
        pen, place, direction, target = _read(states)
        return _outcome(np.linalg.norm(pen - place, axis=1), np.sum(direction * target, axis=1), pen[:, 2])

    def misfit(self, observations: np.ndarray) -> str:
        """By where the pen belongs, which is its position less the difference to it."""
        place = np.median(observations[:, 24:27] - observations[:, 39:42], axis=0)
        if np.allclose(place, PLACE, atol=1e-3):
            return ""
        return f"Its pen belongs at ({', '.join(f'{value:.3f}' for value in place)}), not at {PLACE}."

    def observed_between(self, qpos: np.ndarray, qvel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joints and velocities; the positions seen are those before the last substep, and of the target."""
        least, greatest = np.full((len(qpos), 45), -np.inf), np.full((len(qpos), 45), np.inf)
        for bound in (least, greatest):
            bound[:, :HAND_JOINTS] = qpos[:, :HAND_JOINTS]
            bound[:, 27:33] = qvel[:, HAND_JOINTS:]
        return least, greatest

    def seen_memory(self, observations: np.ndarray) -> Mapping[str, np.ndarray]:
        """The target, which is seen: its direction leaves open only how it turns about itself."""
        x, y, z = observations[:, 36:39].T
        return {"target": target_quaternion(np.arctan2(-y, z), np.arcsin(np.clip(x, -1, 1)))}

    def recorded_outcome(
        self,
        qpos_before: np.ndarray,
        qpos: np.ndarray,
        qvel: np.ndarray,
        observations: np.ndarray,
        actions: np.ndarray,
    ) -> tuple[np.ndarray, None]:
        """Rewards follow from the observation; D4RL's demonstrations go on when the pen is dropped."""
        distance = np.linalg.norm(observations[:, 39:42].astype(np.float64), axis=1)
        cosine = np.sum(observations[:, 33:36].astype(np.float64) * observations[:, 36:39], axis=1)
        height = observations[:, 26].astype(np.float64)
        rewards, _ = _outcome(distance, cosine, height)
        limits = ((distance, CLOSE), (height, DROPPED), *((cosine, least) for least, _ in BONUSES))
        near = np.any([np.abs(values - limit) < ROUNDING for values, limit in limits], axis=0)
        return np.where(near, np.nan, rewards), None


def _outcome(distance: np.ndarray, cosine: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rewards (N,) and drops (N,) by the pen's distance (m), the cosine of pen and target, and height (m)."""
    rewards = cosine - distance
    for least, bonus in BONUSES:
        rewards += bonus * ((distance < CLOSE) & (cosine > least))
    dropped = height < DROPPED
    return rewards - DROPPING_COST * dropped, dropped


def target_quaternion(about_x: ArrayLike, about_y: ArrayLike) -> np.ndarray:
    """(..., 4) w x y z of a rotation about x, then about the y axis so turned (rad)."""
    x, y = np.divide(about_x, 2), np.divide(about_y, 2)
    parts = np.cos(x) * np.cos(y), np.sin(x) * np.cos(y), np.cos(x) * np.sin(y), np.sin(x) * np.sin(y)
    return np.stack(parts, axis=-1)


def _read(states: States) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(N, 3) each: position of the pen (m), where it belongs, its direction and the target's."""
    pen, place, top, bottom, target_top, target_bottom = np.moveaxis(states.points, 1, 0)
    return pen, place, (top - bottom) / PEN_LENGTH, (target_top - target_bottom) / PEN_LENGTH


def _model() -> mujoco.MjModel:
    import mujoco

    from bench.envs.physics import switch_off_native_collision

    tree = model_tree(MODEL_FILES)
    # D4RL turns the target in the model, which all environments of a simulator share: each has its own as
    # the pose of a mocap body. It collides as before.
    target = tree.find(".//body[@name='target']")
    assert target is not None, "a file of another hash was read"
    target.set("mocap", "true")
    model = mujoco.MjModel.from_xml_string(ElementTree.tostring(tree, encoding="unicode"))
    switch_off_native_collision(model)
    return model


@cache
def _servo_ranges() -> tuple[np.ndarray, np.ndarray]:
    """Middle and half the width (24,) of each actuator's range (rad)."""
    low, high = _model().actuator_ctrlrange.T
    return (low + high) / 2, (high - low) / 2


PEN = Pen(proof=Proof(("pen",), steps=300, largest=1e-9, largest_by_default=1.8))
