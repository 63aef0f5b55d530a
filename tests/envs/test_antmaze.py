"""AntMaze against the maps, numbers and boundaries written down from D4RL's behaviour, and by hand."""

import mujoco
import numpy as np
import pytest

from bench.envs import load_model, make_simulator, model_files, robot_of
from bench.envs.batch import BatchedSimulator
from bench.envs.rules import States
from bench.errors import BenchError
from tests.envs.test_fidelity import MEDIAN, PERCENTILE_99, one_step_errors

# Walls 1, start R, goal G; beside each maze, where its walls and free cells are counted by hand.
MAPS = {
    "umaze": "11111 1R001 11101 1G001 11111",
    "medium": "11111111 1R011001 10010001 11000111 10010001 10100101 100010G1 11111111",
    "large": (
        "111111111111 1R0001000001 101101010101 100000010001 101111011101 100101000001 110101010111 "
        "100100010G01 111111111111"
    ),
}
FREE_CELLS = {"umaze": 3 + 1 + 3, "medium": 4 + 5 + 3 + 5 + 4 + 5, "large": 9 + 5 + 9 + 3 + 8 + 4 + 8}
GOALS = {"umaze": (0, 8), "medium": (20, 20), "large": (32, 24)}
HORIZONS = {"umaze": 700, "medium": 1000, "large": 1000}
# Metres, x and y, of the goal cells of the maps that D4RL generated its data with.
GENERATION_GOALS = {
    "umaze": [(0, 8)],
    "medium": [(20, 4), (0, 16), (16, 20)],
    "large": [(20, 0), (16, 8), (36, 8), (4, 16), (12, 24), (20, 24), (32, 24)],
}
MAZES = list(MAPS)


def walls_of(model):
    """Geom numbers of the walls: boxes of the world."""
    return np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_BOX)


def beginnings(rules, count):
    model = rules.load_model("d4rl")
    return [
        rules.begin(model, np.random.default_rng([1, seed]), np.random.default_rng([2, seed]))
        for seed in range(count)
    ]


def states_at(positions, goals):
    qpos = np.zeros((len(positions), 15))
    qpos[:, :2] = positions
    return States(
        qpos,
        np.zeros((len(positions), 14)),
        np.zeros((len(positions), 0, 3)),
        np.zeros(len(positions), int),
        np.zeros((len(positions), 29)),
        {"goal": np.array(goals, float)},
    )


# The model.


def test_old_inertia_by_hand():
    """Legs are capsules 0.2 * sqrt(2) m long, feet twice that; the torso is a sphere and stays."""
    old, modern = load_model("antmaze-umaze", "d4rl"), load_model("antmaze-umaze", "modern")
    feet = [body for body in range(1, old.nbody) if not old.body(body).name]
    legs = [body for body in range(2, old.nbody) if old.body(body).name]
    assert (len(legs), len(feet)) == (8, 4)
    for bodies, length, factors in (
        (legs, 0.2 * np.sqrt(2), (0.931538, 0.807372, 0.807372, 0.985514)),
        (feet, 0.4 * np.sqrt(2), (0.960338, 0.881953, 0.881953, 0.991808)),
    ):
        for body in bodies:
            assert old.body_mass[body] == pytest.approx(5 * np.pi * 0.08**2 * (length + 0.08), rel=1e-12)
            found = [
                old.body_mass[body] / modern.body_mass[body],
                *np.sort(old.body_inertia[body])[::-1] / np.sort(modern.body_inertia[body])[::-1],
            ]
            np.testing.assert_allclose(found, factors, atol=1e-6)
    torso = old.body("torso").id
    assert old.body_mass[torso] == pytest.approx(5 * 4 / 3 * np.pi * 0.25**3, rel=1e-12)
    np.testing.assert_array_equal(old.body_inertia[torso], modern.body_inertia[torso])
    assert (modern.body_mass.sum(), old.body_mass.sum()) == pytest.approx((0.910880, 0.878710), abs=5e-7)


@pytest.mark.parametrize("physics", ["d4rl", "modern"])
def test_what_d4rl_changed_and_what_it_left(physics):
    model = load_model("antmaze-large", physics)
    assert (model.nq, model.nv, model.nu, model.nbody) == (15, 14, 8, 14)  # 13 bodies and the world
    assert model.opt.timestep == 0.02
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
    np.testing.assert_allclose(model.geom_solimp[:, :3], [[0.8, 0.8, 0.01]] * model.ngeom)
    np.testing.assert_allclose(model.geom_solref, [[0.02, 1]] * model.ngeom)
    np.testing.assert_allclose(model.geom_friction, [[1, 0.5, 0.5]] * model.ngeom)
    np.testing.assert_allclose(model.geom_margin, 0.01)
    np.testing.assert_allclose(model.actuator_gear[:, 0], 1)
    np.testing.assert_allclose(model.actuator_ctrlrange, [[-30, 30]] * 8)
    assert model.actuator_ctrllimited.all()
    joints = [model.joint(model.actuator_trnid[motor, 0]).name for motor in range(8)]
    assert joints == ["hip_4", "ankle_4", "hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3"]
    np.testing.assert_allclose(np.degrees(model.joint("ankle_2").range), [-70, -30])
    np.testing.assert_array_equal(model.qpos0, [0, 0, 0.75, 1, *[0] * 11])


@pytest.mark.parametrize("maze", MAZES)
def test_every_wall_stands_where_the_map_says(maze):
    model = load_model(f"antmaze-{maze}", "d4rl")
    walls = walls_of(model)
    expected = {
        (4.0 * (column - 1), 4.0 * (row - 1), 1.0)
        for row, cells in enumerate(MAPS[maze].split())
        for column, cell in enumerate(cells)
        if cell == "1"
    }
    assert len(walls) == len(expected) == len(MAPS[maze].replace(" ", "")) - FREE_CELLS[maze]
    assert {tuple(position) for position in model.geom_pos[walls]} == expected
    np.testing.assert_array_equal(model.geom_size[walls], [[2, 2, 1]] * len(walls))
    assert (model.geom_contype[walls] == 1).all()
    assert (model.geom_conaffinity[walls] == 1).all()
    assert (model.geom_bodyid[walls] == 0).all()
    robot = model.geom_bodyid > 0
    assert (model.geom_conaffinity[robot] == 0).all()  # no part of the ant touches another


def test_a_few_walls_by_hand():
    def at(maze, x, y):
        model = load_model(f"antmaze-{maze}", "d4rl")
        return [x, y, 1.0] in model.geom_pos[walls_of(model)].tolist()

    # The bar of the u: the ant walks along x, then y, then back along -x.
    assert [at("umaze", 0, 4), at("umaze", 4, 4), at("umaze", 8, 4)] == [True, True, False]
    assert at("umaze", -4, -4)
    assert at("umaze", 12, 12)
    assert [at("medium", 8, 0), at("medium", 0, 8), at("medium", 12, 20)] == [True, True, True]
    assert [at("medium", 4, 0), at("medium", 0, 4), at("medium", 16, 20)] == [False, False, False]
    assert [at("large", 4, 4), at("large", 28, 24), at("large", 4, 24)] == [True, False, False]
    assert [at("large", 24, 24), at("large", 40, 28)] == [True, True]


# Each wrong setting would be found.


def without_solimp(model):
    model.geom_solimp[:] = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><geom size='1'/></worldbody></mujoco>"
    ).geom_solimp


def without_walls(model):
    walls = walls_of(model)
    model.geom_contype[walls] = model.geom_conaffinity[walls] = 0


def with_gymnasiums_gear(model):
    model.actuator_gear[:, 0] = 150


def with_gymnasiums_time_step(model):
    model.opt.timestep = 0.01


@pytest.mark.parametrize(
    ("maze", "change"),
    [
        ("umaze", without_solimp),
        ("umaze", with_gymnasiums_gear),
        ("umaze", with_gymnasiums_time_step),
        *((maze, without_walls) for maze in MAZES),
    ],
)
def test_a_wrong_setting_is_found(maze, change):
    errors = one_step_errors(f"antmaze-{maze}", f"antmaze_{maze}", model_change=change)
    assert np.median(errors) > MEDIAN or np.quantile(errors, 0.99) > PERCENTILE_99


@pytest.mark.parametrize("maze", MAZES)
def test_modern_inertia_is_found(maze):
    rules = robot_of(f"antmaze-{maze}")
    errors = one_step_errors(f"antmaze-{maze}", f"antmaze_{maze}", "modern")
    assert np.median(errors) > 1e-3
    assert errors.max() == pytest.approx(rules.proof.largest_by_default, rel=0.05)


# The beginning of an episode.


@pytest.mark.parametrize("maze", MAZES)
def test_goals_lie_in_the_goal_cell(maze):
    offsets = [one.memory["goal"] for one in beginnings(robot_of(f"antmaze-{maze}"), 800)] - np.array(
        GOALS[maze]
    )
    assert offsets.shape == (800, 2)
    assert offsets.min() >= 0
    assert 1.2 < offsets.max() <= 1.5
    # U(0, 1) + U(0, 1/2): mean 3/4, variance 1/12 + 1/48, axes apart.
    np.testing.assert_allclose(offsets.mean(axis=0), 0.75, atol=4 * np.sqrt(5 / 48 / 800))
    np.testing.assert_allclose(offsets.var(axis=0), 5 / 48, rtol=0.15)
    assert abs(np.corrcoef(offsets.T)[0, 1]) < 0.15


def test_equal_goal_seeds_share_a_goal():
    with make_simulator("antmaze-medium", "d4rl", 4) as simulator:
        starts = simulator.reset([1, 2, 3, 1], goal_seeds=[5, 5, 6, 7])
        goals = simulator.memory["goal"]
        np.testing.assert_array_equal(goals[0], goals[1])
        assert len(np.unique(goals, axis=0)) == 3
        np.testing.assert_array_equal(starts[0], starts[3])  # the goal takes nothing from the start
        assert len(np.unique(starts, axis=0)) == 3
        simulator.reset([1, 2, 3, 1])
        assert len(np.unique(simulator.memory["goal"], axis=0)) == 3


def test_reset_noise():
    begun = beginnings(robot_of("antmaze-umaze"), 600)
    positions, velocities = (np.array([getattr(one, name) for one in begun]) for name in ("qpos", "qvel"))
    noise = positions - [0, 0, 0.75, 1, *[0] * 11]
    assert np.abs(noise).max() <= 0.1
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.012)
    np.testing.assert_allclose(noise.std(axis=0), 0.2 / np.sqrt(12), rtol=0.1)
    np.testing.assert_allclose(velocities.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(velocities.std(axis=0), 0.1, rtol=0.1)


def test_the_first_observation_is_the_state_with_a_unit_quaternion():
    with make_simulator("antmaze-umaze", "d4rl", 40) as simulator:
        observations = simulator.reset(range(40))
        assert observations.shape == (40, 29)
        np.testing.assert_allclose(np.linalg.norm(observations[:, 3:7], axis=1), 1, atol=1e-14)
        assert np.ptp(observations[:, 3]) > 1e-3
        # The ankles start at 0, outside their ranges of 30 to 70 degrees.
        assert np.abs(observations[:, 7:15]).max() <= 0.1
        np.testing.assert_array_equal(observations, np.hstack((simulator.qpos, simulator.qvel)))
        # The quaternion's noise: a vector part of up to 0.1 over a norm of at most 1.11.
        assert np.abs(observations[:, 4:7]).max() == pytest.approx(0.1, abs=0.02)


# Rewards and ends.


def test_the_goal_is_reached_at_half_a_metre_and_not_beyond():
    rules = robot_of("antmaze-umaze")
    beyond = np.nextafter(0.5, 1)
    positions = [(0, 8), (0.5, 8), (0, 7.5), (beyond, 8), (0.3, 8.3), (0.4, 8.4), (0, 0), (np.nan, 8)]
    rewards, ended = rules.outcome(np.zeros((8, 15)), states_at(positions, [(0, 8)] * 8), np.zeros((8, 8)))
    assert rewards.tolist() == [1, 1, 1, 0, 1, 0, 0, 0]
    assert rewards.dtype == np.float64
    assert ended.tolist() == [True, True, True, False, True, False, False, False]


def test_reaching_the_goal_ends_the_episode_with_a_reward():
    with make_simulator("antmaze-medium", "d4rl", 3) as simulator:
        simulator.reset([1, 2, 3])
        qpos = simulator.qpos
        qpos[:, :2] = [(20, 20), (20, 20), (0, 0)]
        goals = np.array([(20.2, 20.1), (21.4, 21.4), (20, 20)])
        simulator.set_state(qpos, simulator.qvel, memory={"goal": goals})
        step = simulator.step(np.zeros((3, 8)))
        assert step.rewards.tolist() == [1, 0, 0]
        assert step.terminated.tolist() == [True, False, False]
        assert not step.truncated.any()
        assert simulator.step(np.zeros((3, 8))).rewards.tolist() == [0, 0, 0]


@pytest.mark.parametrize("maze", MAZES)
def test_only_the_horizon_ends_an_episode_of_an_ant_on_its_back(maze):
    with make_simulator(f"antmaze-{maze}", "d4rl", 1) as simulator:
        simulator.reset([0])
        qpos = simulator.qpos
        qpos[0, 3:7] = [0, 1, 0, 0]
        simulator.set_state(qpos, simulator.qvel)
        for _ in range(HORIZONS[maze] - 1):
            step = simulator.step(np.zeros((1, 8)))
            assert not (step.terminated | step.truncated).any()
        step = simulator.step(np.zeros((1, 8)))
        assert step.truncated.all()
        assert not step.terminated.any()
        assert (
            simulator.observations[0, 3] ** 2 + simulator.observations[0, 6] ** 2 < 0.5
        )  # still not upright


# Actions.


def test_actions_are_torques_of_up_to_30_newton_metres():
    rules = robot_of("antmaze-umaze")
    actions = np.array([[0.5, -1, 1, 1.01, -7, 0, 0.25, 100]], dtype=np.float32)
    before = actions.copy()
    np.testing.assert_array_equal(
        rules.control(actions, states_at([(0, 0)], [(0, 8)])), [[15, -30, 30, 30, -30, 0, 7.5, 30]]
    )
    np.testing.assert_array_equal(actions, before)


def test_actions_beyond_one_move_the_ant_as_one_does():
    with make_simulator("antmaze-umaze", "d4rl", 2) as simulator:
        simulator.reset([4, 4])
        one = np.random.default_rng(0).choice([-1.0, 1.0], (20, 8))
        for action in one:
            observations = simulator.step(np.array([action, 3 * action])).observations
        np.testing.assert_array_equal(observations[0], observations[1])
        assert np.abs(observations[0, :2]).max() > 0.01


def test_an_action_of_nan_is_refused():
    with make_simulator("antmaze-umaze", "d4rl", 2) as simulator:
        simulator.reset([0, 1])
        actions = np.zeros((2, 8))
        actions[1, 3] = np.nan
        with pytest.raises(BenchError, match="action 3 of environment 1 is nan"):
            simulator.step(actions)


# The model's file.


def test_another_ant_is_refused(tmp_path, monkeypatch):
    changed = tmp_path / "ant.xml"
    changed.write_bytes(
        (model_files.gymnasium_assets() / "ant.xml").read_bytes().replace(b'density="5.0"', b'density="6.0"')
    )
    monkeypatch.setattr(model_files, "gymnasium_assets", lambda: tmp_path)
    with pytest.raises(BenchError) as refused:
        load_model("antmaze-umaze", "d4rl")
    assert str(changed) in refused.value.what
    assert "gymnasium 1.4.0" in str(refused.value)
    assert "pip install" in refused.value.do_this
    assert "gymnasium==1.4.0" in refused.value.do_this


# The variant that makes data.


@pytest.mark.parametrize("maze", MAZES)
def test_multistart_begins_in_every_free_cell_but_goal_cells(maze):
    rules = robot_of(f"antmaze-{maze}").collecting(multistart=True, multigoal=False)
    places = np.array([one.qpos[:2] for one in beginnings(rules, 1200)])
    corners = np.floor(places / 4) * 4
    assert ((places - corners) <= 1).all()
    np.testing.assert_allclose((places - corners).mean(axis=0), 0.5, atol=0.04)
    found, counts = np.unique(corners, axis=0, return_counts=True)
    rows = MAPS[maze].split()
    expected = {
        (4.0 * (column - 1), 4.0 * (row - 1))
        for row, cells in enumerate(rows)
        for column, cell in enumerate(cells)
        if cell != "1"
    } - set(GENERATION_GOALS[maze])
    assert {tuple(corner) for corner in found} == expected
    assert len(expected) == FREE_CELLS[maze] - len(GENERATION_GOALS[maze])
    mean = 1200 / len(expected)
    assert np.abs(counts - mean).max() < 4.5 * np.sqrt(mean)
    goals = np.array([one.memory["goal"] for one in beginnings(rules, 20)])
    assert ((goals - GOALS[maze]) >= 0).all()  # one goal cell still


@pytest.mark.parametrize("maze", MAZES)
def test_multigoal_draws_from_the_cells_of_the_generation_map(maze):
    rules = robot_of(f"antmaze-{maze}").collecting(multistart=False, multigoal=True)
    begun = beginnings(rules, 600)
    goals = np.array([one.memory["goal"] for one in begun])
    corners, counts = np.unique(np.floor(goals / 4) * 4, axis=0, return_counts=True)
    assert {tuple(corner) for corner in corners} == set(GENERATION_GOALS[maze])
    mean = 600 / len(corners)
    assert np.abs(counts - mean).max() < 4 * np.sqrt(mean)
    assert np.abs([one.qpos[:2] for one in begun]).max() <= 0.1


def test_data_are_collected_past_success_and_a_step_longer():
    rules = robot_of("antmaze-umaze").collecting(multistart=True, multigoal=True)
    with BatchedSimulator(rules, "d4rl", 2) as simulator:
        observations = simulator.reset([3, 4])
        assert np.abs(observations[:, :2]).max(axis=1).min() > 1
        assert not np.array_equal(*simulator.memory["goal"])
        simulator.set_state(simulator.qpos, simulator.qvel, memory={"goal": observations[:, :2]})
        step = simulator.step(np.zeros((2, 8)))
        assert step.rewards.tolist() == [1, 1]
        assert not step.terminated.any()
        for _ in range(699):
            step = simulator.step(np.zeros((2, 8)))
            assert not step.truncated.any()
        assert simulator.step(np.zeros((2, 8))).truncated.all()


def test_an_episode_of_the_generator_has_one_more_step():
    assert [robot_of(f"antmaze-{maze}").collecting(True, True).horizon for maze in MAZES] == [701, 1001, 1001]


# Data of other mazes.


def test_positions_inside_walls_are_another_maze_s():
    # Of the umaze the cell at (4, 4) is wall and those at (0, 0), (8, 0), (8, 8), (0, 8) are free; of the
    # medium maze those at (8, 0) and (0, 8) are wall.
    umaze, medium = robot_of("antmaze-umaze"), robot_of("antmaze-medium")
    observations = np.zeros((100, 29))
    observations[:, :2] = np.tile([[0, 0], [8, 0], [8, 8], [0, 8], [1.9, -1.9]], (20, 1))
    assert umaze.misfit(observations) == ""
    observations[:2, :2] = [[4, 4], [20, 20]]
    assert "2% of its positions lie inside" in umaze.misfit(observations)
    assert "40% of its positions" in medium.misfit(observations[5:10])
