"""The whole locomotion grid of all four methods by one command, on files that only look like D4RL's."""

import json
import math
import sqlite3

import numpy as np
import pytest
import ray

from bench.catalog import load_catalog
from bench.envs import robot_of
from bench.presets import tasks_of
from tests.data.files import HOPPER_HEIGHT, columns, write
from tests.execute.tiny import completed

METHODS = ("dtql", "srpo", "edp-td3", "bdpo")
TASKS = load_catalog().suite("d4rl-locomotion").tasks
ROWS = 600
MISSION = (
    "run --suite d4rl-locomotion --algos dtql,srpo,edp,bdpo --seeds 0 --budget 0.0005 --evals 1 --episodes 1"
)
SIZES = {
    "batch_size": 16,
    "dtql.hidden_width": 16,
    "dtql.diffusion_width": 16,
    "dtql.candidates": 2,
    "srpo.hidden_width": 16,
    "srpo.behaviour_batch_size": 16,
    "srpo.behaviour_width": 16,
    "edp.hidden_width": 16,
    "edp.solver_calls": 3,
    "edp.candidates": 2,
    "bdpo.ensemble": 2,
    "bdpo.samples": 2,
    "bdpo.diffusion_steps": 2,
    "bdpo.candidates": 2,
    "bdpo.actor_width": 16,
    "bdpo.critic_width": 16,
}


@pytest.fixture
def stand_ins(tmp_path):
    """A data folder with short files of D4RL's names and layout."""
    for number, task in enumerate(TASKS):
        content = columns(ROWS, number, task.observation_dim, task.action_dim)
        # Several trajectories by every method's rule of cutting, as rewards are scaled by their returns.
        content["terminals"][49::50] = True
        if task.environment == "halfcheetah":
            # Observation 0 is the torso's height, which tells robots apart; a halfcheetah's starts at 0.
            content["observations"][:, 0] -= HOPPER_HEIGHT
        write(tmp_path / "data" / task.dataset.file_name, content)
    return tmp_path / "data"


SUITES = {
    "d4rl-antmaze-v0": {"dtql", "srpo", "edp-iql", "bdpo"},
    "d4rl-antmaze-v2": {"dtql", "srpo", "edp-iql"},
    "d4rl-adroit": {"dtql", "edp-iql"},
    "d4rl-kitchen": {"dtql", "edp-iql"},
}
"""Methods with a preset for some task of each."""


def stand_in(task, number):
    """Columns that could be of a task: places outside walls, the kitchen's goals, where the pen belongs."""
    content = columns(ROWS, number, task.observation_dim, task.action_dim)
    observations = content["observations"]
    if task.domain == "antmaze":
        observations[:, :2] = np.random.default_rng(number).uniform(-1, 1, (ROWS, 2))
        content["rewards"][:] = content["terminals"]
    elif task.domain == "adroit":
        observations[:, 39:42] = observations[:, 24:27] - np.float32([0, -0.2, 0.25])
    elif task.domain == "kitchen":
        observations[:, 30:] = robot_of(task.environment).goal
    return content


@pytest.fixture
def cluster():
    """A Ray of two cores that says it has two GPUs: they are scheduled, nothing runs on them."""
    ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def measured_cells(store, data, table):
    """Measured cells of a table, as the report's JSON has them."""
    code, output = completed(["report", "--store", store, "--tables", table, "--format", "json"], data)
    assert code == 0, output
    (found,) = json.loads(output)["tables"]
    rows = [row for block in found["blocks"] for row in block["rows"]]
    cells = [cell for row in rows for cell in row["cells"].values()]
    return [cell for cell in cells if cell["kind"] == "measured" and "algorithm" in cell]


@pytest.mark.slow
def test_the_missions_command_runs_all_36_cells_and_judges_none(stand_ins, cluster, tmp_path):
    store = tmp_path / "bench.sqlite"
    sizes = [f"--set={name}={value}" for name, value in SIZES.items()]
    packing = ["--address", cluster, "--gpus-per-stack", "0.5", "--device", "cpu"]
    command = [*MISSION.split(), *packing, *sizes, "--store", str(store)]
    code, output = completed(command, stand_ins)
    assert code == 0, output
    assert "edp means edp-td3 on locomotion" in output
    assert "36 trials: 36 finished" in output
    with sqlite3.connect(store) as connection:
        cells = connection.execute("SELECT algorithm, task, state, score FROM scores").fetchall()
        concurrent = connection.execute("SELECT DISTINCT concurrent_stacks FROM timings").fetchall()
    assert {cell[:2] for cell in cells} == {(method, task.name) for method in METHODS for task in TASKS}
    # EDP's protocol is the mean of ten evaluations; one evaluation gives no such score.
    assert all(math.isfinite(score) for name, _, _, score in cells if name != "edp-td3")
    assert concurrent == [(2,)]
    shown = measured_cells(str(store), stand_ins, "combined")
    assert {(cell["algorithm"], cell["task"]) for cell in shown} == {cell[:2] for cell in cells}
    assert all(cell["text"] for cell in shown)
    assert all("the file is not D4RL's" in cell["not_comparable"] for cell in shown)


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_the_same_command_runs_every_cell_of_the_other_domains(suite, tmp_path):
    data, store = tmp_path / "data", tmp_path / "bench.sqlite"
    tasks = load_catalog().suite(suite).tasks
    for number, task in enumerate(tasks):
        write(data / task.dataset.file_name, stand_in(task, number))
    sizes = [f"--set={name}={value}" for name, value in SIZES.items()]
    command = MISSION.replace("d4rl-locomotion", suite).split()
    command += ["--executor", "local", *sizes, "--store", str(store)]
    code, output = completed(command, data)
    assert code == 0, output
    with sqlite3.connect(store) as connection:
        cells = connection.execute("SELECT algorithm, task, state FROM scores").fetchall()
    expected = {
        (method, task.name)
        for method in SUITES[suite]
        for task in tasks
        if task.preset_task in tasks_of(method)
    }
    assert {cell[:2] for cell in cells} == expected
    assert {cell[2] for cell in cells} == {"finished"}
    assert len(expected) >= 6
    code, output = completed(command, data)
    assert code == 0, output
    assert f"0 finished, {len(expected)} were there already" in output
