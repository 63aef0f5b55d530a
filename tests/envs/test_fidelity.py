"""Every simulator against recorded steps of the genuine MuJoCo 2.1.0 library.

The recordings in `mujoco210/` are single environment steps from given states, most of them in contact. They
were made from D4RL's own model files, so they know nothing of this project's models or rules.
"""

from functools import cache
from pathlib import Path

import mujoco
import numpy as np
import pytest

from bench.envs import ROBOTS, make_simulator
from tests.envs.old_inertia import restore_in_the_kitchen

FIXTURES = Path(__file__).parent / "mujoco210"
CASES = [(environment, name) for environment, robot in ROBOTS.items() for name in robot.proof.fixtures]

# Acceptance of any robot. Of 400 steps of the kitchen's contacts between boxes, a few repeat less closely.
MEDIAN, PERCENTILE_99, LARGEST = 1e-9, 1e-6, 1e-4


@cache
def one_step_errors(environment: str, name: str, physics: str = "d4rl", model_change=None) -> np.ndarray:
    """Largest absolute error of any position or velocity (K,) after one step from each recorded state.

    Of what the robot's own proof speaks of: not velocities where it holds positions only, and with the old
    inertia where the simulator is meant to have another than the recordings.
    """
    proof = ROBOTS[environment].proof
    recorded = np.load(FIXTURES / f"{name}.npz")
    count = len(recorded["qpos"])
    with make_simulator(environment, physics, count) as simulator:
        if not proof.own_inertia:
            restore_in_the_kitchen(simulator.model)
        if model_change:
            model_change(simulator.model)
        memory = {"target": recorded["target_quat"]} if "target_quat" in recorded else None
        simulator.reset(range(count))
        simulator.set_state(recorded["qpos"], recorded["qvel"], memory=memory)
        if "ctrl" in recorded:
            step_controls(simulator, recorded["ctrl"])
        else:
            simulator.step(recorded["action"])
        positions = np.abs(simulator.qpos - recorded["next_qpos"]).max(axis=1)
        velocities = np.abs(simulator.qvel - recorded["next_qvel"]).max(axis=1)
    return np.maximum(positions, velocities) if proof.velocities else positions


def step_controls(simulator, controls: np.ndarray) -> None:
    """Step with what the actuators got, as a recording without actions holds it."""
    simulator.step_physics(np.arange(simulator.count), controls)


@pytest.mark.parametrize(("environment", "name"), CASES)
def test_takes_the_step_of_mujoco_2_1_0(environment, name):
    errors = one_step_errors(environment, name)
    assert np.median(errors) <= MEDIAN
    assert np.quantile(errors, 0.99) <= PERCENTILE_99
    assert errors.max() <= LARGEST
    assert len(errors) >= 300


@pytest.mark.parametrize("environment", ROBOTS)
def test_states_its_own_proof_rightly(environment):
    proof = ROBOTS[environment].proof
    errors = np.concatenate([one_step_errors(environment, name) for name in proof.fixtures])
    assert len(errors) == proof.steps
    assert errors.max() <= proof.largest


@pytest.mark.parametrize("environment", ["hopper", "walker2d", "halfcheetah"])
def test_modern_capsule_inertia_would_be_found(environment):
    proof = ROBOTS[environment].proof
    errors = one_step_errors(environment, proof.fixtures[0], physics="modern")
    assert np.median(errors) > 1e-3
    assert errors.max() == pytest.approx(proof.largest_by_default, rel=0.05)


def test_native_collision_is_switched_off_in_every_d4rl_model():
    bit = getattr(mujoco.mjtDisableBit, "mjDSBL_NATIVECCD", None)
    if bit is None:
        pytest.skip("MuJoCo before 3.3.0 has no such bit: its old collision code is the default")
    for environment, robot in ROBOTS.items():
        assert robot.load_model("d4rl").opt.disableflags & bit, environment
