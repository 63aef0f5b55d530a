import gymnasium
import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.data.collect import collect
from bench.data.replay import decide, replay
from bench.errors import BenchError
from tests.data.files import columns, hopper, write

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date")  # v4 is meant
GYMNASIUM_NAMES = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "halfcheetah": "HalfCheetah-v4"}


def rolled_out(environment, rows=400):
    """Random actions in gymnasium's own environment, float32 states as in D4RL's files."""
    simulator = gymnasium.make(GYMNASIUM_NAMES[environment])
    simulator.action_space.seed(0)
    keys = ("observations", "actions", "rewards", "terminals", "timeouts", "infos/qpos", "infos/qvel")
    content = {key: [] for key in keys}
    observation, _ = simulator.reset(seed=0)
    for _ in range(rows):
        data = simulator.unwrapped.data
        state = data.qpos.copy(), data.qvel.copy()
        action = simulator.action_space.sample()
        following, reward, terminated, truncated, _ = simulator.step(action)
        row = (observation, action, reward, terminated, truncated, *state)
        for key, value in zip(keys, row, strict=True):
            content[key].append(value)
        observation = simulator.reset()[0] if terminated or truncated else following
    arrays = {key: np.asarray(values) for key, values in content.items()}
    return {key: array.astype(np.float32) if array.dtype == float else array for key, array in arrays.items()}


@pytest.mark.parametrize("environment", GYMNASIUM_NAMES)
def test_gymnasiums_own_data_is_modern(tmp_path, environment):
    path = write(tmp_path / "data.hdf5", rolled_out(environment))
    report = replay(path, load_catalog().task(f"{environment}-medium-v2"), rows=300)
    assert report.answer == "modern"
    assert report.precision == "float32"
    assert report.errors["modern"].median < 1e-5
    assert report.errors["d4rl"].median > 1e-3


@pytest.mark.parametrize("physics", ["d4rl", "modern"])
@pytest.mark.parametrize("name", ["collected-hopper-medium", "collected-walker2d-medium-replay"])
def test_collected_files_name_their_physics(tmp_path, name, physics):
    task = load_catalog().task(name)
    path = tmp_path / "data.hdf5"
    collect(task, path, transitions=1500, physics=physics)
    report = replay(path, task, rows=500)
    assert report.answer == physics
    assert report.rows == 500
    assert report.errors[physics].median < 1e-12


def test_actions_that_are_not_the_rows_own_fit_neither(tmp_path):
    content = rolled_out("hopper")
    content["actions"] = content["actions"][::-1].copy()
    assert replay(write(tmp_path / "data.hdf5", content), hopper()).answer == "neither"


def test_no_step_crosses_the_end_of_an_episode(tmp_path):
    content = rolled_out("hopper")
    # After a terminal row the next one is a fresh start; were it replayed, the largest error would be huge.
    assert content["terminals"].sum() > 5
    report = replay(write(tmp_path / "data.hdf5", content), hopper(), rows=10_000)
    assert report.rows == 400 - content["terminals"][:-1].sum() - 1
    assert report.errors["modern"].largest < 1e-3


@pytest.mark.parametrize(
    ("medians", "motion", "answer"),
    [
        ({"d4rl": 1e-6, "modern": 1e-2}, 1.0, "d4rl"),
        ({"d4rl": 1e-2, "modern": 1e-6}, 1.0, "modern"),
        ({"d4rl": 1e-3, "modern": 1e-2}, 1.0, "d4rl"),
        ({"d4rl": 3e-3, "modern": 1e-1}, 1.0, "neither"),  # too far off, though the better one
        ({"d4rl": 1e-3, "modern": 4e-3}, 1.0, "neither"),  # too alike
        ({"d4rl": 0.0, "modern": 1e-2}, 1.0, "d4rl"),
    ],
)
def test_rule(medians, motion, answer):
    assert decide(medians, motion) == answer


def test_files_without_states(tmp_path):
    with pytest.raises(BenchError, match="no infos/qpos"):
        replay(write(tmp_path / "data.hdf5", columns()), hopper())


def test_states_of_other_rows(tmp_path):
    content = rolled_out("hopper")
    content["infos/qpos"] = np.roll(content["infos/qpos"], 1, axis=0)
    with pytest.raises(BenchError, match="not the states of its observations"):
        replay(write(tmp_path / "data.hdf5", content), hopper())
