"""The pen against recorded steps of MuJoCo 2.1.0, formulas worked out by hand, and gymnasium-robotics' own.

Every joint of the pen slides or turns about a fixed axis, and the integrator is semi-implicit: the positions
that a step ends with lie one substep's velocity behind. So observation and reward follow from qpos and qvel
by hand, without a simulator.
"""

from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest

from bench.envs import load_model, make_simulator
from bench.envs.model_files import model_tree, robotics_assets
from bench.envs.pen import MODEL_FILES, PEN, Pen, target_quaternion
from bench.envs.rules import States
from bench.errors import BenchError

RECORDED = np.load(Path(__file__).parent / "mujoco210" / "pen.npz")
ROWS = len(RECORDED["qpos"])
PLACE = np.array([0.0, -0.2, 0.25])
SUBSTEP = 0.002
NATIVE = int(getattr(mujoco.mjtDisableBit, "mjDSBL_NATIVECCD", 0))


def turned(axis, angles):
    """Rotation matrices (N, 3, 3) about one coordinate axis."""
    first, second = [(1, 2), (2, 0), (0, 1)]["xyz".index(axis)]
    matrices = np.tile(np.eye(3), (len(angles), 1, 1))
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angles)
    matrices[:, second, first] = np.sin(angles)
    matrices[:, first, second] = -np.sin(angles)
    return matrices


def pen_pose(qpos):
    """Position and direction (N, 3) of the pen: three slides along the axes of a body turned by 1.57 about y,
    then hinges about x, y and z, each carried by the one before."""
    start = turned("y", np.full(len(qpos), 1.57))
    position = PLACE + (start @ qpos[:, 24:27, None])[..., 0]
    axes = start @ turned("x", qpos[:, 27]) @ turned("y", qpos[:, 28]) @ turned("z", qpos[:, 29])
    return position, axes[:, :, 2]


def direction_of(quaternions):
    """The z axis (N, 3) that quaternions (N, 4), w first, turn to."""
    w, x, y, z = quaternions.T
    return np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x**2 + y**2)], axis=1)


def derived_observation(qpos, qvel, quaternions):
    """(N, 45) after a step that ended in `qpos`, `qvel`."""
    position, direction = pen_pose(qpos - SUBSTEP * qvel)
    target = direction_of(quaternions)
    return np.hstack(
        [qpos[:, :24], position, qvel[:, 24:], direction, target, position - PLACE, direction - target]
    )


def derived_reward(observation):
    """Of one step, from the observation (45,) that it led to."""
    position, direction, target = observation[24:27], observation[33:36], observation[36:39]
    distance = float(np.sqrt(((position - PLACE) ** 2).sum()))
    cosine = float(direction @ target)
    reward = cosine - distance
    if distance < 0.075:
        reward += 60 if cosine > 0.95 else 10 if cosine > 0.9 else 0
    return reward - 5 if position[2] < 0.075 else reward


def recorded_step(change=lambda model: None):
    """One step of all recorded rows: error of the state (N,), observations (N, 45), rewards (N,)."""
    with make_simulator("pen", "d4rl", ROWS) as simulator:
        change(simulator.model)
        simulator.reset(range(ROWS))
        target = {"target": RECORDED["target_quat"]}
        simulator.set_state(RECORDED["qpos"], RECORDED["qvel"], memory=target)
        step = simulator.step(RECORDED["action"])
        gaps = (simulator.qpos - RECORDED["next_qpos"], simulator.qvel - RECORDED["next_qvel"])
    return np.abs(np.hstack(gaps)).max(axis=1), step.observations, step.rewards


def test_observation_and_reward_of_every_recorded_step_come_out():
    _, observations, rewards = recorded_step()
    seen = np.abs(observations - RECORDED["next_obs"]).max(axis=1)
    assert np.median(seen) <= 1e-9
    assert np.quantile(seen, 0.99) <= 1e-6
    assert np.abs(rewards - RECORDED["reward"]).max() <= 1e-9
    assert (rewards > 55).any()
    assert (rewards < 15).any()


def test_the_recorded_observations_are_those_derived_by_hand():
    target = RECORDED["target_quat"]
    for prefix, names in (("", ("qpos", "qvel", "obs")), ("next_", ("qpos", "qvel", "obs"))):
        qpos, qvel, recorded = (RECORDED[prefix + name] for name in names)
        np.testing.assert_allclose(derived_observation(qpos, qvel, target), recorded, rtol=0, atol=1e-13)
    rewards = [derived_reward(observation) for observation in RECORDED["next_obs"]]
    np.testing.assert_allclose(rewards, RECORDED["reward"], rtol=0, atol=1e-13)


def test_a_state_that_is_set_is_observed_as_it_is():
    """Its positions do not lag, and all else is as recorded."""
    with make_simulator("pen", "d4rl", ROWS) as simulator:
        target = {"target": RECORDED["target_quat"]}
        simulator.set_state(RECORDED["qpos"], RECORDED["qvel"], memory=target)
        observations = simulator.observations
    standing = derived_observation(RECORDED["qpos"], np.zeros((ROWS, 30)), RECORDED["target_quat"])
    standing[:, 27:33] = RECORDED["qvel"][:, 24:]
    np.testing.assert_allclose(observations, standing, rtol=0, atol=1e-13)
    positions = [*range(24, 27), *range(33, 36), *range(39, 45)]
    others = np.setdiff1d(np.arange(45), positions)
    np.testing.assert_allclose(observations[:, others], RECORDED["obs"][:, others], rtol=0, atol=1e-13)
    assert np.median(np.abs(observations - RECORDED["obs"]).max(axis=1)) > 1e-3


def test_episodes_follow_the_formulas():
    """Lengths, ends, observations and rewards of 12 episodes, from a hand at rest to one in a frenzy."""
    generator = np.random.default_rng(3)
    sizes = 1.3 * np.linspace(0, 1, 12)[:, None] ** 2
    with make_simulator("pen", "d4rl", 12) as simulator:
        simulator.reset(range(12))
        target = simulator.memory["target"]
        lengths = np.zeros(12, dtype=int)
        dropped, cut_off = np.zeros(12, dtype=bool), np.zeros(12, dtype=bool)
        while not simulator.finished.all():
            active = ~simulator.finished
            step = simulator.step(sizes * generator.uniform(-1, 1, (12, 24)))
            lengths += active
            expected = derived_observation(simulator.qpos, simulator.qvel, target)
            np.testing.assert_allclose(step.observations[active], expected[active], rtol=0, atol=1e-12)
            rewards = [derived_reward(observation) for observation in expected]
            np.testing.assert_allclose(step.rewards[active], np.array(rewards)[active], rtol=0, atol=1e-12)
            assert not step.rewards[~active].any()
            np.testing.assert_array_equal(step.terminated, active & (expected[:, 26] < 0.075))
            dropped |= step.terminated
            cut_off |= step.truncated
    assert (dropped | cut_off).all()
    assert dropped.sum() >= 3
    assert cut_off.sum() >= 3
    assert (lengths[cut_off] == 100).all()
    assert (lengths[dropped & ~cut_off] < 100).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_gymnasium_robotics_until_the_pen_drops(seed):
    """That package's own pen environment has no end, and turns the target in its model."""
    from gymnasium_robotics.envs.adroit_hand.adroit_pen import AdroitHandPenEnv

    reference = AdroitHandPenEnv()
    reference.model.opt.disableflags |= NATIVE
    generator = np.random.default_rng(seed)
    with make_simulator("pen", "d4rl", 1) as simulator:
        observations = simulator.reset([seed])
        np.testing.assert_allclose(reference.reset(seed=seed)[0], observations[0], rtol=0, atol=1e-14)
        for taken in range(1, 101):
            action = generator.uniform(-1.2, 1.2, (1, 24))
            step = simulator.step(action)
            expected, reward, *_ = reference.step(action[0])
            np.testing.assert_allclose(step.observations[0], expected, rtol=0, atol=1e-9)
            assert step.rewards[0] == pytest.approx(reward, abs=1e-9)
            assert step.terminated[0] == (expected[26] < 0.075)
            assert step.truncated[0] == (taken == 100)
            if step.terminated[0]:
                break
    assert taken > 20


def test_the_first_observation_by_hand():
    with make_simulator("pen", "d4rl", 1) as simulator:
        simulator.reset([0])
        target = target_quaternion(0.27392, -0.46043)
        simulator.set_state(np.zeros((1, 30)), np.zeros((1, 30)), memory={"target": target[None]})
        (observation,) = simulator.observations
    expected = [*[0] * 24, 0, -0.2, 0.25, *[0] * 6, 1, 0, 0.0008, -0.4443, -0.2423, 0.8625]
    expected += [0, 0, 0, 1.4443, 0.2423, -0.8617]
    np.testing.assert_allclose(observation, expected, rtol=0, atol=6e-5)


def test_the_target_by_hand():
    expected = [0.95803258, 0.24462588, -0.14479246, -0.03697159]
    np.testing.assert_allclose(target_quaternion(0.5, -0.3), expected, rtol=0, atol=5e-9)
    # (sin b, -sin a cos b, cos a cos b): about x by a, then about the turned y by b.
    a, b = np.random.default_rng(0).uniform(-1, 1, (2, 50))
    directions = np.stack([np.sin(b), -np.sin(a) * np.cos(b), np.cos(a) * np.cos(b)], axis=1)
    quaternions = np.array([target_quaternion(*angles) for angles in zip(a, b, strict=True)])
    np.testing.assert_allclose(direction_of(quaternions), directions, rtol=0, atol=1e-15)


def test_targets_cover_the_square_of_angles_and_come_with_the_episode():
    with make_simulator("pen", "d4rl", 200) as simulator:
        first = simulator.reset(range(200))
        x, y, z = first[:, 36:39].T
        angles = np.stack([np.arctan2(-y, z), np.arcsin(x)])
        np.testing.assert_array_equal(simulator.reset(range(200), goal_seeds=[7] * 200), first)
    assert (np.abs(angles) < 1).all()
    assert (angles.min(axis=1) < -0.95).all()
    assert (angles.max(axis=1) > 0.95).all()
    assert (np.abs(angles.mean(axis=1)) < 4 * np.sqrt(1 / 3 / 200)).all()
    np.testing.assert_allclose(first[:, :24], 0)
    np.testing.assert_allclose(first[:, 24:27], np.tile(PLACE, (200, 1)))
    np.testing.assert_allclose(first[:, 27:33], 0)


def test_every_environment_keeps_its_own_target():
    with make_simulator("pen", "d4rl", 4, threads=2) as simulator:
        first = simulator.reset([3, 4, 5, 6])[:, 36:39]
        np.testing.assert_allclose(first, direction_of(simulator.memory["target"]), rtol=0, atol=1e-14)
        assert len(np.unique(first.round(6), axis=0)) == 4
        for _ in range(3):
            step = simulator.step(np.zeros((4, 24)))
            np.testing.assert_allclose(step.observations[:, 36:39], first, rtol=0, atol=1e-14)
        again = simulator.reset([8], [2])[:, 36:39]
        assert np.abs(again[2] - first[2]).max() > 1e-3
        np.testing.assert_array_equal(again[[0, 1, 3]], first[[0, 1, 3]])
        later = simulator.step(np.zeros((4, 24))).observations[:, 36:39]
        np.testing.assert_allclose(later, again, rtol=0, atol=1e-14)


def test_the_target_collides_as_it_does_when_the_model_holds_it():
    """The pen laid upon the target, 0.2 m aside: the package's own file, turned as D4RL turns it."""
    quaternion = target_quaternion(0.4, -0.7)
    original = mujoco.MjModel.from_xml_path(str(robotics_assets() / next(iter(MODEL_FILES))))
    original.opt.disableflags |= NATIVE
    original.body_quat[original.body("target").id] = quaternion
    data = mujoco.MjData(original)
    qpos = np.zeros((1, 30))
    qpos[0, 26], qpos[0, 24] = 0.2, -0.02  # z slides along the world's x, x down along its z
    data.qpos[:] = qpos[0]
    ranges = original.actuator_ctrlrange
    data.ctrl[:] = ranges.mean(axis=1)
    mujoco.mj_forward(original, data)
    touched = {original.geom(geom).name for contact in data.contact for geom in contact.geom}
    assert {"target", "pen"} <= touched
    mujoco.mj_step(original, data, nstep=5)
    with make_simulator("pen", "d4rl", 1) as simulator:
        simulator.reset([0])
        simulator.set_state(qpos, np.zeros((1, 30)), memory={"target": quaternion[None]})
        simulator.step(np.zeros((1, 24)))
        np.testing.assert_allclose(simulator.qpos[0], data.qpos, rtol=0, atol=1e-10)
        np.testing.assert_allclose(simulator.qvel[0], data.qvel, rtol=0, atol=1e-10)
        simulator.set_state(qpos, np.zeros((1, 30)), memory={"target": target_quaternion(0, 0)[None]})
        simulator.step(np.zeros((1, 24)))
        assert np.abs(simulator.qvel[0] - data.qvel).max() > 1e-3


def outcome_of(position, cosine):
    """Reward and end where the pen is at `position` and as far from the target's direction as `cosine`."""
    points = np.zeros((1, 6, 3))
    points[0, 0], points[0, 1] = position, PLACE
    points[0, 2] = points[0, 0] + (0, 0, 0.065)
    points[0, 3] = points[0, 0] - (0, 0, 0.065)
    target = np.array([np.sqrt(1 - cosine**2), 0, cosine])
    points[0, 4], points[0, 5] = 0.065 * target, -0.065 * target
    none = np.zeros((1, 30))
    states = States(none, none, points, np.zeros(1, dtype=int), np.zeros((1, 45)))
    rewards, ends = PEN.outcome(none, states, np.zeros((1, 24)))
    return rewards[0], ends[0]


@pytest.mark.parametrize(
    ("distance", "cosine", "reward"),
    [
        (0.0, -0.5, -0.5),
        (0.0749, 0.8999, 0.8999 - 0.0749),
        (0.0749, 0.9001, 0.9001 - 0.0749 + 10),
        (0.0749, 0.9499, 0.9499 - 0.0749 + 10),
        (0.0749, 0.9501, 0.9501 - 0.0749 + 60),
        (0.0751, 0.9501, 0.9501 - 0.0751),
        (0.1749, 0.9501, 0.9501 - 0.1749),
        (0.1751, 0.9501, 0.9501 - 0.1751 - 5),
    ],
)
def test_reward_by_hand(distance, cosine, reward):
    found, ended = outcome_of(PLACE - (0, 0, distance), cosine)
    assert found == pytest.approx(reward, abs=1e-12)
    assert ended == (distance > 0.175)


def test_a_dropped_pen_costs_five_and_ends_the_episode():
    qpos, qvel = np.zeros((3, 30)), np.zeros((3, 30))
    qpos[:, 24] = 0.16, 0.18, 0.40  # along the body's x axis, which points down
    with make_simulator("pen", "d4rl", 3) as simulator:
        simulator.reset([0, 1, 2])
        simulator.set_state(qpos, qvel)
        step = simulator.step(np.zeros((3, 24)))
        assert step.terminated.tolist() == [False, True, True]
        assert not step.truncated.any()
        np.testing.assert_allclose(step.observations[:, 26], [0.09, 0.07, -0.15], atol=2e-3)
        cosines = (step.observations[:, 33:36] * step.observations[:, 36:39]).sum(axis=1)
        expected = cosines - np.array([0.16, 0.18, 0.40]) - [0, 5, 5]
        np.testing.assert_allclose(step.rewards, expected, atol=2e-3)
        assert not simulator.step(np.zeros((3, 24))).rewards[1:].any()


def test_an_episode_is_cut_off_after_100_steps():
    with make_simulator("pen", "d4rl", 1) as simulator:
        assert simulator.horizon == 100
        simulator.reset([0])
        for taken in range(1, 101):
            simulator.set_state(np.zeros((1, 30)), np.zeros((1, 30)))  # the pen is never dropped
            step = simulator.step(np.zeros((1, 24)))
            assert step.truncated.tolist() == [taken == 100]
            assert not step.terminated.any()


def test_actions_span_the_servos_ranges_and_are_clipped():
    low_and_high = {"A_WRJ1": (-0.524, 0.175), "A_FFJ2": (0, 1.6), "A_THJ0": (-1.571, 0)}
    places = {"A_WRJ1": 0, "A_FFJ2": 3, "A_THJ0": 23}
    model = load_model("pen", "d4rl")
    actions = np.array([-1.0, 0, 0.5, 1, 7, -7])[:, None] * np.ones(24)
    given = actions.copy()
    controls = PEN.control(actions, None)
    np.testing.assert_array_equal(actions, given)
    for name, (low, high) in low_and_high.items():
        assert model.actuator(name).id == places[name]
        expected = [low, (low + high) / 2, low + 0.75 * (high - low), high, high, low]
        np.testing.assert_allclose(controls[:, places[name]], expected, rtol=0, atol=1e-15)
    with make_simulator("pen", "d4rl", 2) as simulator:
        simulator.reset([5, 5])
        step = simulator.step(np.stack([np.ones(24), np.full(24, 7.0)]))
    np.testing.assert_array_equal(*step.observations)


@pytest.mark.skipif(not NATIVE, reason="this version of MuJoCo has no native collision by default")
def test_native_collision_would_be_found():
    def default(model):
        model.opt.disableflags &= ~NATIVE

    errors, observations, _ = recorded_step(default)
    assert np.mean(errors > 1e-6) > 0.85
    assert np.median(errors) > 1e-3
    assert errors.max() == pytest.approx(PEN.proof.largest_by_default, rel=0.05)
    assert np.median(np.abs(observations - RECORDED["next_obs"]).max(axis=1)) > 1e-3


def test_a_forward_pass_after_the_substeps_would_be_found(monkeypatch):
    step = mujoco.mj_step

    def tidied(model, data, nstep):
        step(model, data, nstep=nstep)
        mujoco.mj_forward(model, data)

    monkeypatch.setattr(mujoco, "mj_step", tidied)
    errors, observations, rewards = recorded_step()
    assert errors.max() < 1e-9  # the states stay right; what is seen of them does not
    assert np.median(np.abs(observations - RECORDED["next_obs"]).max(axis=1)) > 1e-3
    assert np.median(np.abs(rewards - RECORDED["reward"])) > 1e-4


def test_a_target_not_recalled_would_be_found(monkeypatch):
    monkeypatch.setattr(Pen, "recall", lambda self, data, memory: None)
    _, observations, rewards = recorded_step()
    assert np.median(np.abs(observations - RECORDED["next_obs"]).max(axis=1)) > 0.1
    assert np.median(np.abs(rewards - RECORDED["reward"])) > 0.1


def test_length_and_places_are_the_models():
    model = load_model("pen", "d4rl")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    for which in ("object", "target"):
        ends = data.site(f"{which}_top").xpos, data.site(f"{which}_bottom").xpos
        assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(0.13, abs=1e-15)
    np.testing.assert_allclose(data.site("eps_ball").xpos, PLACE)
    assert (model.nq, model.nv, model.nu, model.nbody) == (30, 30, 24, 30)
    assert model.opt.timestep == SUBSTEP
    assert model.body_mass[model.body("Object").id] == pytest.approx(0.18204, abs=5e-6)


def test_modern_physics_is_refused_because_there_is_none():
    """No body whose inertia is derived from its shapes holds a capsule, whose formula alone has changed."""
    tree = model_tree(MODEL_FILES)
    default = {one.get("class"): one.find("geom") for one in tree.iter("default")}
    for body in tree.iter("body"):
        shapes = [(geom, default.get(geom.get("class"))) for geom in body.findall("geom")]
        kinds = {one.get("type") for pair in shapes for one in pair if isinstance(one, ElementTree.Element)}
        assert "capsule" not in kinds or body.find("inertial") is not None, body.get("name")
    for refused in (lambda: load_model("pen", "modern"), lambda: make_simulator("pen", "modern", 1)):
        with pytest.raises(BenchError) as told:
            refused()
        assert str(told.value).splitlines() == [
            "physics modern for pen",
            "It differs from d4rl in the inertia of capsules, by which this robot's step is not judged.",
            "Leave it away, or type d4rl.",
        ]


def test_an_action_of_nan_is_refused():
    with make_simulator("pen", "d4rl", 2) as simulator:
        simulator.reset([0, 1])
        actions = np.zeros((2, 24))
        actions[1, 5] = np.nan
        with pytest.raises(BenchError, match="action 5 of environment 1 is nan"):
            simulator.step(actions)


def test_an_absent_package_is_told_when_a_simulator_is_made(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"Type pip install gymnasium-robotics==1\.4\.2"):
        make_simulator("pen", "d4rl", 1)
