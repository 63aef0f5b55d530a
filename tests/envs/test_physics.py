"""The restored capsule inertia against compiled models, published factors and a hand-computed capsule."""

import gymnasium
import mujoco
import numpy as np
import pytest

from bench.envs import load_model
from bench.envs.physics import capsule_inertia, capsule_mass, restore_capsule_inertia
from bench.errors import BenchError

IDS = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "halfcheetah": "HalfCheetah-v4"}
# Old over new body masses, from the two formulas and the sizes in the XML.
FACTORS = {
    "hopper": ([0.9643, 0.9677, 0.9759, 0.9574], 0.96492),
    "walker2d": ([0.9643, 0.9677, 0.9759, 0.9286, 0.9677, 0.9759, 0.9286], 0.95865),
    "halfcheetah": ([1.0176, 0.9946, 0.9959, 0.9761, 0.9913, 0.9817, 0.9608], 1.0),
}


def arrays(model):
    values = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray) and value.size}


def inertia_tensors(model):
    tensors = []
    for moments, quaternion in zip(model.body_inertia, model.body_iquat, strict=True):
        axes = np.empty(9)
        mujoco.mju_quat2Mat(axes, quaternion)
        tensors.append(axes.reshape(3, 3) @ np.diag(moments) @ axes.reshape(3, 3).T)
    return np.array(tensors)


@pytest.mark.parametrize("environment", IDS)
def test_modern_is_gymnasiums_model_field_by_field(environment):
    ours = arrays(load_model(environment, "modern"))
    gymnasiums = arrays(gymnasium.make(IDS[environment]).unwrapped.model)
    assert len(ours) > 150
    assert ours.keys() == gymnasiums.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, gymnasiums[name], err_msg=name)


@pytest.mark.parametrize("environment", IDS)
def test_the_solver_is_gymnasiums(environment):
    ours, gymnasiums = (
        load_model(environment, "d4rl").opt,
        gymnasium.make(IDS[environment]).unwrapped.model.opt,
    )
    for name in ("timestep", "integrator", "solver", "iterations", "tolerance", "cone", "impratio"):
        assert getattr(ours, name) == getattr(gymnasiums, name), name


@pytest.mark.parametrize("environment", IDS)
def test_exact_formula_reproduces_the_compiled_model(environment):
    compiled = load_model(environment, "modern")
    rebuilt = load_model(environment, "modern")
    total = 14.0 if environment == "halfcheetah" else None
    rebuilt.body_inertia[1:] = rebuilt.body_ipos[1:] = np.nan  # so that nothing is merely left as it was
    restore_capsule_inertia(rebuilt, "exact", total_mass=total)
    np.testing.assert_allclose(inertia_tensors(rebuilt), inertia_tensors(compiled), rtol=0, atol=1e-12)
    expected = arrays(compiled)
    for name, value in arrays(rebuilt).items():
        if name not in ("body_inertia", "body_iquat"):  # principal axes may come in another order
            np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("environment", IDS)
def test_old_formula_gives_the_known_factors(environment):
    old, modern = load_model(environment, "d4rl").body_mass, load_model(environment, "modern").body_mass
    per_body, total = FACTORS[environment]
    np.testing.assert_allclose((old / modern)[1:], per_body, atol=5e-5)
    assert old.sum() / modern.sum() == pytest.approx(total, abs=5e-6)


def test_a_capsule_by_hand():
    # r = 1, h = 1, density 3 / pi: cylinder 6 kg, sphere 4 kg; the old formula's cylinder is 3 m long.
    assert capsule_mass(1, 1, 3 / np.pi, "exact") == pytest.approx(10)
    assert capsule_mass(1, 1, 3 / np.pi, "old") == pytest.approx(9)
    exact_across = 6 * 7 / 12 + 4 * (0.4 + 0.75 + 1)
    np.testing.assert_allclose(
        capsule_inertia(1, 1, 3 / np.pi, "exact"), [exact_across, exact_across, 3 + 1.6]
    )
    np.testing.assert_allclose(capsule_inertia(1, 1, 3 / np.pi, "old"), [9.0, 9.0, 4.5])


def test_a_body_of_another_shape_keeps_its_inertia():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body name='ball'><freejoint/><geom size='.1'/></body></worldbody></mujoco>"
    )
    before = model.body_inertia.copy()
    restore_capsule_inertia(model, "old")
    np.testing.assert_array_equal(model.body_inertia, before)


def test_a_body_of_capsules_and_other_shapes_is_refused():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body name='club'><freejoint/><geom size='.1'/>"
        "<geom type='capsule' size='.1 .1'/></body></worldbody></mujoco>"
    )
    with pytest.raises(ValueError, match="club"):
        restore_capsule_inertia(model, "old")


def test_unknown_names_are_refused():
    with pytest.raises(BenchError, match="d4rl"):
        load_model("hopper", "d4r")
    with pytest.raises(BenchError, match="hopper"):
        load_model("hoper", "d4rl")
