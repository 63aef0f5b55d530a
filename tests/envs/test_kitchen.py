"""The kitchen against a demonstration by a human, recorded steps of MuJoCo 2.1.0, and derivations by hand."""

import math
import tomllib
from pathlib import Path

import mujoco
import numpy as np
import pytest

from bench.envs import ROBOTS, load_model, make_simulator
from bench.errors import BenchError
from tests.envs.old_inertia import CAPSULES, restore_in_the_kitchen
from tests.envs.test_fidelity import FIXTURES, one_step_errors, step_controls

DEMONSTRATION = Path("../shared/data/real/kitchen_human_demo.npz")

# Observed values in D4RL's order, with names, the most that noise changes each, and the goals in complete
# and partial, and in mixed.
OBSERVED = [
    *[(f"joint {number}", 0.01, 0, 0) for number in range(1, 8)],
    *[(f"finger {number}", 0.01, 0, 0) for number in (1, 2)],
    ("knob 1", 0.0005, 0, 0),
    ("burner 1", 0.0005, 0, 0),
    ("knob 2", 0.00005, 0, -0.88),
    ("burner 2", 0.00005, 0, -0.01),
    ("knob 3", 0.00005, 0, 0),
    ("burner 3", 0.00005, 0, 0),
    ("knob 4", 0.00005, 0, 0),
    ("burner 4", 0.00005, 0, 0),
    ("light switch", 0.0005, -0.69, -0.69),
    ("light", 0.0005, -0.05, -0.05),
    ("slide cabinet", 0.0005, 0.37, 0),
    ("left hinge cabinet", 0.01, 0, 0),
    ("right hinge cabinet", 0.01, 0, 0),
    ("microwave", 0.01, -0.75, -0.75),
    ("kettle x", 0.0005, -0.23, -0.23),
    ("kettle y", 0.0005, 0.75, 0.75),
    ("kettle z", 0.0005, 1.62, 1.62),
    ("kettle w", 0.01, 0.99, 0.99),
    ("kettle i", 0.01, 0, 0),
    ("kettle j", 0.01, 0, 0),
    ("kettle k", 0.0005, -0.06, -0.06),
]
NAMES = [name for name, *_ in OBSERVED]
AMPLITUDES = np.array([amplitude for _, amplitude, *_ in OBSERVED])
GOALS = {
    "kitchen": np.array([goal for *_, goal, _ in OBSERVED], dtype=float),
    "kitchen-mixed": np.array([goal for *_, goal in OBSERVED], dtype=float),
}
ELEMENTS = {
    "microwave": ["microwave"],
    "kettle": [name for name in NAMES if name.startswith("kettle")],
    "light switch": ["light switch", "light"],
    "slide cabinet": ["slide cabinet"],
    "bottom burner": ["knob 2", "burner 2"],
}
TASKS = {
    "kitchen": ["microwave", "kettle", "light switch", "slide cabinet"],
    "kitchen-mixed": ["microwave", "kettle", "bottom burner", "light switch"],
}
JOINT_BOUNDS = [(-2.9, 2.9), (-1.8, 1.8), (-2.9, 2.9), (-3.1, 0), (-2.9, 2.9), (0, 3.8), (-2.9, 2.9)]
BOUNDS = [*JOINT_BOUNDS, (0, 0.04), (0, 0.04)]
STILL = np.zeros((1, 9))
NATIVE_COLLISION = int(getattr(mujoco.mjtDisableBit, "mjDSBL_NATIVECCD", 0))
needs_native_collision = pytest.mark.skipif(
    not NATIVE_COLLISION, reason="this MuJoCo has no other collision code"
)


def native_collision(model):
    model.opt.disableflags &= ~NATIVE_COLLISION


def colliding_pedestal(model):
    (pedestal,) = np.flatnonzero((model.geom_size[:, 0] == 0.12) & (model.geom_size[:, 1] == 0.9))
    assert model.geom_contype[pedestal] == model.geom_conaffinity[pedestal] == 0
    model.geom_contype[pedestal] = model.geom_conaffinity[pedestal] = 1


def without_noise(simulator, qpos, qvel=None, done=(False,) * 4):
    """Put one environment into a state with every observation of it exact."""
    memory = {"noise": np.zeros((1, 281, 30)), "done": np.array([done])}
    simulator.set_state(qpos[None], np.zeros((1, 29)) if qvel is None else qvel[None], memory=memory)


@pytest.fixture(scope="module")
def demonstration():
    if not DEMONSTRATION.is_file():
        pytest.skip("the recorded demonstration of the kitchen is not beside the project")
    return dict(np.load(DEMONSTRATION))


def replay(demonstration, change=None, between=None, follow=True):
    """Errors (231, 30) and rewards (231,) along the demonstration, whose noise was off.

    With `follow`, the controller goes by the recorded observations, else by the simulator's own.
    """
    observations, actions = demonstration["observations"], demonstration["actions"]
    errors, rewards = [], []
    with make_simulator("kitchen", "d4rl", 1) as simulator:
        if change:
            change(simulator.model)
        simulator.reset([0])
        without_noise(simulator, demonstration["init_qpos"], demonstration["init_qvel"])
        for number in range(len(actions) - 1):
            if follow:
                simulator.states.observations[0] = observations[number]
            step = simulator.step(actions[[number]])
            if between:
                between(simulator.model, simulator.data[0])
            errors.append(np.abs(step.observations[0, :30] - observations[number + 1, :30]))
            rewards.append(step.rewards[0])
    return np.array(errors), np.array(rewards)


@pytest.fixture(scope="module")
def replayed(demonstration):
    return replay(demonstration)


def test_repeats_a_human_demonstration(replayed):
    errors, _ = replayed
    assert errors.shape == (231, 30)
    assert errors.max() <= 1e-7


def test_repeats_it_on_its_own_observations_too(demonstration):
    errors, _ = replay(demonstration, follow=False)
    assert errors.max() <= 1e-6


def test_pays_for_what_the_demonstration_does(demonstration, replayed):
    """It moves the kettle and opens the slide cabinet; when, the recorded positions tell."""
    _, rewards = replayed
    recorded = demonstration["observations"][1:, :30]
    expected = np.zeros(231)
    for element in TASKS["kitchen"]:
        entries = [NAMES.index(name) for name in ELEMENTS[element]]
        near = np.linalg.norm(recorded[:, entries] - GOALS["kitchen"][entries], axis=1) < 0.3
        expected[np.flatnonzero(near)[:1]] += 1
    np.testing.assert_array_equal(rewards, expected)
    assert rewards.sum() == 2


@needs_native_collision
def test_the_demonstration_finds_native_collision(demonstration):
    errors, _ = replay(demonstration, native_collision)
    assert errors.max() > 1e-3


def test_a_forward_between_steps_changes_nothing(demonstration, replayed):
    """Unlike the pen's, the kitchen's observations hold joint positions alone, which do not lag."""
    np.testing.assert_array_equal(replay(demonstration, between=mujoco.mj_forward)[0], replayed[0])


def kitchen_errors(restored, change=None):
    """Errors of positions (400,), one step from each recorded state."""
    recorded = np.load(FIXTURES / "kitchen.npz")
    with make_simulator("kitchen", "d4rl", 400) as simulator:
        if restored:
            restore_in_the_kitchen(simulator.model)
        if change:
            change(simulator.model)
        simulator.reset(range(400))
        simulator.set_state(recorded["qpos"], recorded["qvel"])
        step_controls(simulator, recorded["ctrl"])
        return np.abs(simulator.qpos - recorded["next_qpos"]).max(axis=1)


def test_the_recorded_steps_have_the_old_inertia():
    assert np.median(kitchen_errors(restored=True)) <= 1e-9
    assert 1e-7 <= np.median(kitchen_errors(restored=False)) <= 1e-6


def test_the_demonstration_has_the_exact_inertia(demonstration, replayed):
    assert replayed[0].max() <= 1e-7
    assert replay(demonstration, restore_in_the_kitchen)[0].max() == pytest.approx(2.5e-3, rel=0.05)


@pytest.mark.parametrize("body", CAPSULES)
def test_the_old_inertia_has_the_known_factors(body):
    exact, old = load_model("kitchen", "d4rl"), load_model("kitchen", "d4rl")
    restore_in_the_kitchen(old)
    known = {"microdoorroot": [0.99936, 0.99938, 0.99666], "kettleroot": [0.99897, 0.99746, 0.99871]}
    np.testing.assert_allclose(old.body(body).inertia / exact.body(body).inertia, known[body], atol=6e-6)
    np.testing.assert_array_equal(old.body_mass, exact.body_mass)


@needs_native_collision
def test_states_rightly_what_todays_mujoco_would_do():
    proof = ROBOTS["kitchen"].proof
    errors = kitchen_errors(restored=False, change=native_collision)
    assert errors.max() == pytest.approx(proof.largest_by_default, rel=0.05)


def test_a_colliding_pedestal_would_be_found():
    assert np.quantile(one_step_errors("kitchen", "kitchen", model_change=colliding_pedestal), 0.9) > 1e-2


def test_joint_6_has_d4rls_range_not_its_own():
    """Its own is -1.6573 to 2.1127; the demonstration stays between 0.5 and 2.1 and cannot tell."""
    with make_simulator("kitchen", "d4rl", 1) as simulator:
        simulator.reset([0])
        downwards = np.zeros((1, 9))
        downwards[0, 5] = -1
        for _ in range(30):
            simulator.step(downwards)
            states = simulator.states
            assert simulator.rules.control(downwards, states)[0, 5] >= 0
        assert simulator.rules.control(downwards, states)[0, 5] == 0
        states.observations[0, 5] = 3.75
        assert simulator.rules.control(-downwards, states)[0, 5] == 3.8


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_the_controller_by_hand(precision):
    generator = np.random.default_rng(3)
    actions = generator.uniform(-1.5, 1.5, (50, 9)).astype(precision)
    with make_simulator("kitchen", "d4rl", 50) as simulator:
        simulator.reset(range(50))
        observed = simulator.states.observations
        observed[:, :9] = generator.uniform(
            np.array(BOUNDS)[:, 0] - 0.2, np.array(BOUNDS)[:, 1] + 0.2, (50, 9)
        )
        targets = simulator.rules.control(actions, simulator.states)
    clipped = 0
    for row in range(50):
        for joint, (low, high) in enumerate(BOUNDS):
            asked = max(-1.0, min(1.0, float(actions[row, joint])))
            target = float(observed[row, joint]) + 0.16 * asked  # 2 rad/s for 0.08 s
            clipped += not low <= target <= high
            assert targets[row, joint] == pytest.approx(max(low, min(high, target)), abs=1e-15)
    assert clipped > 50
    assert targets.dtype == np.float64


def test_the_arm_moves_from_where_it_was_seen_not_from_where_it_is():
    """Noise shows in the controls: two environments in one state, seen differently, part."""
    with make_simulator("kitchen", "d4rl", 2) as simulator:
        first = simulator.reset([4, 5])
        np.testing.assert_array_equal(simulator.qpos[0], simulator.qpos[1])
        controls = []
        step_physics = simulator.step_physics
        simulator.step_physics = lambda slots, control: (
            controls.append(control),
            step_physics(slots, control),
        )
        actions = np.full((2, 9), 0.25)
        second = simulator.step(actions).observations
        third = simulator.step(actions).observations
    for seen, control in zip((first, second), controls, strict=True):
        expected = np.clip(seen[:, :9] + 0.04, *np.array(BOUNDS).T)
        np.testing.assert_allclose(control, expected, rtol=0, atol=1e-15)
        assert (control[0, :7] != control[1, :7]).all()
    assert (third[0] != third[1]).any()


D4RLS_START = """
    0.148388023, -1.76848573, 1.84390296, -2.47685760, 0.260252026, 0.712533105, 1.59515394,
    0.0479267505, 0.0371350919, -2.66279850e-4, -5.18043486e-5, 3.12877220e-5, -4.51199853e-5,
    -3.90842156e-6, -4.22629655e-5, 6.28065475e-5, 4.04984708e-5, 4.62730939e-4, -2.26906415e-4,
    -4.65501369e-4, -6.44129196e-3, -1.77048263e-3, 1.08009684e-3, -0.269397440, 0.350383255,
    1.61944683, 1.00618764, 4.06395120e-3, -6.62095997e-3, -2.68278933e-4"""


def test_starts_where_d4rl_starts():
    expected = np.array([float(number) for number in D4RLS_START.split(",")])
    expected[26:] /= math.sqrt(sum(number**2 for number in expected[26:]))
    with make_simulator("kitchen", "d4rl", 3) as simulator:
        observations = simulator.reset([0, 1, 2])
        np.testing.assert_allclose(simulator.qpos, np.tile(expected, (3, 1)), rtol=0, atol=1e-15)
        assert not simulator.qvel.any()
    for environment, goal in GOALS.items():
        for name, distance in {
            "microwave": 0.75,
            "kettle": 0.41,
            "light switch": 0.69,
            "slide cabinet": 0.37,
            "bottom burner": 0.88,
        }.items():
            if name in TASKS[environment]:
                entries = [NAMES.index(entry) for entry in ELEMENTS[name]]
                gap = observations[:, entries] - goal[entries]
                np.testing.assert_allclose(np.linalg.norm(gap, axis=1), distance, atol=0.02)


@pytest.mark.parametrize("environment", GOALS)
def test_an_observation_ends_with_the_goal(environment):
    with make_simulator(environment, "d4rl", 2) as simulator:
        observations = simulator.reset([0, 1])
        stepped = simulator.step(np.ones((2, 9))).observations
        assert simulator.observation_dim == 60
    for seen in (*observations, *stepped):
        np.testing.assert_array_equal(seen[30:], GOALS[environment])


def test_noise_is_uniform_within_its_amplitude():
    """100 episodes of 281 observations: 28,100 draws of each entry.

    Of uniform draws the largest would fall short of 0.998 of the amplitude with probability
    0.999^28100 = 6e-13, and the mean of their squares is a third; 5 % are 9 standard errors of it.
    """
    rules, model = ROBOTS["kitchen"], load_model("kitchen", "d4rl")
    episodes = [
        rules.begin(model, np.random.default_rng(seed), np.random.default_rng()) for seed in range(100)
    ]
    noise = np.concatenate([episode.memory["noise"] for episode in episodes]) / AMPLITUDES
    assert noise.shape == (28_100, 30)
    assert np.abs(noise).max() <= 1 + 1e-12
    assert (noise.max(axis=0) > 0.998).all()
    assert (noise.min(axis=0) < -0.998).all()
    np.testing.assert_allclose(np.square(noise).mean(axis=0), 1 / 3, rtol=0.05)
    assert np.abs(np.corrcoef(noise.T) - np.eye(30)).max() < 0.05  # entries are drawn apart
    following = (noise[1:] * noise[:-1]).mean(axis=0) * 3
    assert np.abs(following).max() < 0.05  # and so are steps


def test_what_is_observed_is_the_state_with_new_noise_at_every_step():
    with make_simulator("kitchen", "d4rl", 2) as simulator:
        noises = np.empty((21, 2, 30))
        noises[0] = simulator.reset([8, 9])[:, :30] - simulator.qpos
        for number in range(1, 21):
            noises[number] = simulator.step(np.zeros((2, 9))).observations[:, :30] - simulator.qpos
    assert (np.abs(noises) <= AMPLITUDES + 1e-12).all()
    assert np.abs(noises).max(axis=(0, 1)) == pytest.approx(AMPLITUDES, rel=0.3)
    assert (noises[1:] != noises[:-1]).all()
    assert (noises[:, 0] != noises[:, 1]).all()


def test_a_look_draws_nothing():
    """Observing again, as a reset of a neighbour does, shows the same."""
    with make_simulator("kitchen", "d4rl", 2) as simulator:
        simulator.reset([0, 1])
        before = simulator.step(np.zeros((2, 9))).observations
        np.testing.assert_array_equal(simulator.reset([2], [1])[0], before[0])
        np.testing.assert_array_equal(simulator.rules.observe(simulator.states)[0], before[0])


def test_a_finished_environment_is_seen_unchanged():
    with make_simulator("kitchen", "d4rl", 2) as simulator:
        simulator.reset([0, 1])
        simulator.stop([0])
        before = simulator.observations
        step = simulator.step(np.ones((2, 9)))
    np.testing.assert_array_equal(step.observations[0], before[0])
    assert (step.observations[1, :30] != before[1, :30]).any()


def test_the_same_seed_gives_the_same_numbers_on_any_number_of_threads():
    actions = np.random.default_rng(1).uniform(-1, 1, (10, 4, 9))
    runs = []
    for threads, seeds in ((1, [5, 6, 7, 8]), (3, [5, 6, 7, 8]), (1, [8, 6, 7, 5])):
        with make_simulator("kitchen", "d4rl", 4, threads) as simulator:
            simulator.reset(seeds)
            runs.append(np.array([simulator.step(action).observations for action in actions]))
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0][:, 1:3], runs[2][:, 1:3])
    assert (runs[0][:, 0] != runs[2][:, 0]).any()


@pytest.mark.parametrize(
    ("environment", "element"), [(task, element) for task, elements in TASKS.items() for element in elements]
)
def test_an_element_pays_once_and_stays_done(environment, element):
    with make_simulator(environment, "d4rl", 1) as simulator:
        simulator.reset([0])
        untouched = simulator.qpos[0]
        reached = untouched.copy()
        for name in ELEMENTS[element]:
            reached[NAMES.index(name)] = GOALS[environment][NAMES.index(name)]
        without_noise(simulator, reached)
        step = simulator.step(STILL)
        expected = [name == element for name in TASKS[environment]]
        assert (step.rewards[0], step.terminated[0]) == (1, False)
        assert simulator.memory["done"][0].tolist() == expected
        assert simulator.step(STILL).rewards[0] == 0
        for positions in (untouched, reached):  # undone, and done again
            simulator.set_state(positions[None], np.zeros((1, 29)))
            step = simulator.step(STILL)
            assert (step.rewards[0], step.terminated[0]) == (0, False)
        assert simulator.memory["done"][0].tolist() == expected


def test_two_elements_of_one_step_pay_two_and_the_fourth_ends_the_episode():
    with make_simulator("kitchen", "d4rl", 1) as simulator:
        simulator.reset([0])
        reached = simulator.qpos[0]
        for name in ("microwave", "slide cabinet"):
            reached[NAMES.index(name)] = GOALS["kitchen"][NAMES.index(name)]
        without_noise(simulator, reached)
        step = simulator.step(STILL)
        assert (step.rewards[0], step.terminated[0]) == (2, False)
        without_noise(simulator, reached, done=(True, True, False, True))
        assert not simulator.step(STILL).terminated[0]
        for name in ELEMENTS["light switch"]:
            reached[NAMES.index(name)] = GOALS["kitchen"][NAMES.index(name)]
        without_noise(simulator, reached, done=(True, True, False, True))
        step = simulator.step(STILL)
        assert (step.rewards[0], step.terminated[0], step.truncated[0]) == (1, True, False)
        assert simulator.finished[0]
        assert simulator.step(STILL).rewards[0] == 0


def test_an_element_counts_by_what_is_seen_within_0_3():
    """The cabinet stands still 0.3 m short of its goal; noise decides, on either side of the line."""
    rules = ROBOTS["kitchen"]
    with make_simulator("kitchen", "d4rl", 4) as simulator:
        simulator.reset(range(4))
        positions = simulator.qpos
        positions[:, NAMES.index("slide cabinet")] = 0.07
        noise = np.zeros((4, 281, 30))
        noise[:, :, NAMES.index("slide cabinet")] = np.array([[-4e-4], [-1e-4], [1e-4], [4e-4]])
        simulator.set_state(positions, np.zeros((4, 29)), memory={"noise": noise})
        complete = rules.complete(simulator.observations)[:, TASKS["kitchen"].index("slide cabinet")]
        assert complete.tolist() == [False, False, True, True]
        simulator.step_physics = lambda slots, controls: None
        assert simulator.step(np.zeros((4, 9))).rewards.tolist() == [0, 0, 1, 1]


def test_no_action_ends_an_episode_before_the_horizon_or_earns_anything_by_chance():
    generator = np.random.default_rng(0)
    with make_simulator("kitchen", "d4rl", 2) as simulator:
        simulator.reset([0, 1])
        for number in range(1, 281):
            step = simulator.step(generator.uniform(-1, 1, (2, 9)))
            assert not step.rewards.any()
            assert not step.terminated.any()
            assert step.truncated.tolist() == [number == 280] * 2
        np.testing.assert_array_equal(simulator.step(np.ones((2, 9))).observations, step.observations)


def test_an_action_that_is_no_number_is_told_in_one_sentence():
    actions = np.zeros((2, 9))
    actions[1, 3] = np.nan
    with make_simulator("kitchen", "d4rl", 2) as simulator:
        simulator.reset([0, 1])
        before = simulator.qpos
        with pytest.raises(BenchError, match="action 3 of environment 1 is nan"):
            simulator.step(actions)
        np.testing.assert_array_equal(simulator.qpos, before)


@pytest.mark.parametrize("environment", GOALS)
def test_other_physics_is_refused(environment):
    with pytest.raises(BenchError, match=f"physics modern for {environment}") as refusal:
        make_simulator(environment, "modern", 1)
    assert refusal.value.do_this == "Leave it away, or type d4rl."


@pytest.mark.parametrize("version", ["3.1.5", "2.3.7", "3.3.8", "3.4.0", "3.10.0", "4.0.0"])
def test_other_versions_of_mujoco_are_refused(monkeypatch, version):
    monkeypatch.setattr(mujoco, "__version__", version)
    with pytest.raises(BenchError) as refusal:
        load_model("kitchen", "d4rl")
    assert version in refusal.value.what
    assert "3.1.6 to 3.3.7" in refusal.value.why
    assert "pip install 'mujoco>=3.1.6,<=3.3.7'" in refusal.value.do_this


@pytest.mark.parametrize("version", ["3.1.6", "3.2.0", "3.3.7"])
def test_versions_within_the_range_are_taken(monkeypatch, version):
    monkeypatch.setattr(mujoco, "__version__", version)
    assert load_model("kitchen", "d4rl").nu == 9


def test_the_projects_own_requirement_is_that_range():
    requirements = tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]
    assert "mujoco>=3.1.6,<=3.3.7" in requirements


def test_the_arm_is_d4rls():
    model = load_model("kitchen", "d4rl")
    assert (model.nq, model.nv, model.nu, model.njnt) == (30, 29, 9, 24)
    assert model.opt.timestep == 0.002
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER
    np.testing.assert_array_equal(model.actuator_gainprm[:, 0], [870] * 4 + [120] * 3 + [500] * 2)
    np.testing.assert_array_equal(model.actuator_forcerange[:, 1], [87] * 4 + [12] * 3 + [70] * 2)
