"""Tasks and suites against figures written down here anew."""

import numpy as np
import pytest

from bench.catalog import CollectedDataset, load_catalog
from bench.envs import simulator_for
from bench.errors import BenchError
from bench.resources import resource

LOCOMOTION = [
    f"{robot}-{kind}-v2"
    for kind in ("medium", "medium-replay", "medium-expert")
    for robot in ("halfcheetah", "hopper", "walker2d")
]
MAZES = ("umaze", "umaze-diverse", "medium-play", "medium-diverse", "large-play", "large-diverse")
PLANE = [
    *(f"25gaussians-{kind}" for kind in ("far", "near", "hard", "same")),
    *(f"swissroll-{kind}" for kind in ("far", "near")),
    *(f"energy-{name}" for name in ("swissroll", "rings", "moons", "8gaussians", "2spirals", "checkerboard")),
]


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def changed(tmp_path, old, new):
    text = resource("tasks.yaml").read_text()
    assert old in text
    path = tmp_path / "tasks.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


def message_of(path):
    with pytest.raises(BenchError) as caught:
        load_catalog(path)
    return str(caught.value)


def test_the_suites_hold_all_tasks_of_the_papers(catalog):
    names = {name: [task.name for task in suite.tasks] for name, suite in catalog.suites.items()}
    assert names == {
        "d4rl-locomotion": LOCOMOTION,
        "d4rl-antmaze-v0": [f"antmaze-{maze}-v0" for maze in MAZES],
        "d4rl-antmaze-v2": [f"antmaze-{maze}-v2" for maze in MAZES],
        "d4rl-adroit": ["pen-human-v0", "pen-cloned-v0", "pen-human-v1", "pen-cloned-v1"],
        "d4rl-kitchen": ["kitchen-complete-v0", "kitchen-partial-v0", "kitchen-mixed-v0"],
        "collected-locomotion": [f"collected-{name.removesuffix('-v2')}" for name in LOCOMOTION],
        "collected-antmaze": [f"collected-antmaze-{maze}" for maze in MAZES],
        "collected-adroit": ["collected-pen-cloned"],
        "collected-kitchen": [f"collected-kitchen-{kind}" for kind in ("complete", "partial", "mixed")],
        "bandit2d": [f"bandit-{name}" for name in PLANE],
        "demo-claim": ["bandit-energy-moons"],
        "demo-scores": ["collected-hopper-quickstart"],
        "quickstart": ["collected-hopper-quickstart"],
    }
    assert set(catalog.tasks) == {name for names_of_suite in names.values() for name in names_of_suite}


@pytest.mark.parametrize(
    ("name", "observation_dim", "action_dim", "horizon", "random", "expert"),
    [
        ("halfcheetah-medium-v2", 17, 6, 1000, -280.178953, 12135.0),
        ("hopper-medium-expert-v2", 11, 3, 1000, -20.272305, 3234.3),
        ("walker2d-medium-replay-v2", 17, 6, 1000, 1.629008, 4592.3),
        ("antmaze-umaze-diverse-v2", 29, 8, 700, 0.0, 1.0),
        ("antmaze-large-play-v0", 29, 8, 1000, 0.0, 1.0),
        ("pen-cloned-v1", 45, 24, 100, 96.262799, 3076.8331017826877),
        ("kitchen-mixed-v0", 60, 9, 280, 0.0, 4.0),
    ],
)
def test_facts(catalog, name, observation_dim, action_dim, horizon, random, expert):
    task = catalog.task(name)
    assert (task.observation_dim, task.action_dim, task.horizon) == (observation_dim, action_dim, horizon)
    assert (task.reference.random, task.reference.expert) == (random, expert)


def test_scores_are_linear_between_random_and_expert(catalog):
    hopper = catalog.task("hopper-medium-v2")
    scores = hopper.normalised([[-20.272305, 3234.3], [1607.0138475, 4861.5861525]])
    np.testing.assert_allclose(scores, [[0, 100], [50, 150]], rtol=1e-12, atol=1e-12)
    assert float(catalog.task("kitchen-complete-v0").normalised(3)) == 75.0


def test_every_task_can_be_evaluated_with_the_dimensions_that_it_states(catalog):
    for task in {task.environment: task for task in catalog.tasks.values()}.values():
        with simulator_for(task, task.physics, 1) as simulator:
            assert (simulator.observation_dim, simulator.action_dim, simulator.horizon) == (
                task.observation_dim,
                task.action_dim,
                task.horizon,
            )
            assert simulator.reset([0]).shape == (1, task.observation_dim)


def test_the_2d_problems_have_one_step_and_no_physics(catalog):
    for name in PLANE:
        task = catalog.task(f"bandit-{name}")
        assert (task.observation_dim, task.action_dim, task.horizon, task.physics) == (1, 2, 1, "none")
        assert task.rows == (1_000_000 if "energy" in name else 10_000)
        assert task.generated
        assert not task.collected


def test_twins_point_at_each_other_and_share_the_environment(catalog):
    for name in LOCOMOTION:
        task = catalog.task(name)
        twin = catalog.task(task.twin)
        assert twin.twin_of == twin.preset_task == name
        assert (twin.environment, twin.rows) == (task.environment, task.rows)
        assert twin.collected
        assert not task.collected
        assert f"-{twin.dataset.recipe}-v2" in name


def test_recipes_name_policies_that_exist(catalog):
    for task in catalog.tasks.values():
        if isinstance(task.dataset, CollectedDataset) and task.domain == "locomotion":
            roles = [policy.role for policy in task.dataset.policies]
            assert sum(policy.share for policy in task.dataset.policies) == pytest.approx(1)
            known = {"initial", "early", "early2", "medium", "expert"}
            if task.environment == "halfcheetah":
                known.remove("early2")
            assert set(roles) <= known
            assert roles == sorted(roles, key=["initial", "early", "early2", "medium", "expert"].index)


def test_files_keep_the_names_that_d4rl_gives_them(catalog):
    assert catalog.task("hopper-medium-replay-v2").dataset.file_name == "hopper_medium_replay-v2.hdf5"
    assert catalog.task("pen-human-v0").dataset.file_name == "pen-v0_demos_clipped.hdf5"
    names = [task.dataset.file_name for task in catalog.tasks.values() if task.dataset.source == "d4rl"]
    assert len(set(names)) == len(names) == 28


def test_quickstart_is_small(catalog):
    quickstart = catalog.suite("quickstart")
    assert quickstart.tasks[0].rows == 40_000
    assert quickstart.tasks[0].preset_task == "hopper-medium-expert-v2"
    defaults = quickstart.defaults
    assert (defaults.seeds, defaults.budget) == ("0-1", 0.001)
    assert defaults.algorithms == ("dtql", "srpo", "edp", "bdpo")
    assert (defaults.evaluations, defaults.episodes) == (2, 3)


def test_unknown_names_get_the_nearest(catalog):
    with pytest.raises(BenchError, match="hopper-medium-v2"):
        catalog.task("hoper-medium-v2")
    with pytest.raises(BenchError, match="quickstart"):
        catalog.suite("quickstrat")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "    horizon: 1000",
            "    horizont: 1000",
            "environments.halfcheetah.horizont: unknown key; did you mean",
        ),
        (
            "    horizon: 1000",
            "    horizon: 1000 steps",
            "environments.halfcheetah.horizon: Input should be a",
        ),
        ("    horizon: 1000", "    horizon: 0", "environments.halfcheetah.horizon: Input should be greater"),
        (
            "rows: 1_000_000",
            "rows: 1e6",
            "tasks.halfcheetah-medium-v2.dataset.rows: Input should be a valid int",
        ),
        ("expert: 12135.0", "expert: -500", "expert (-500.0) must be above random"),
        ("domain: antmaze", "domain: ants", "environments.antmaze-umaze.domain"),
        ("environment: hopper", "environment: hoper", "unknown name 'hoper'"),
        ("      - hopper-medium-v2", "      - hopper-v2", "suites.d4rl-locomotion.tasks.1: unknown name"),
        ("      - hopper-medium-v2", "      - walker2d-medium-v2", "a task is listed twice"),
        ("  hopper-medium-v2:", "  halfcheetah-medium-v2:", "given twice"),
        ("twin: collected-hopper-medium\n", "twin: collected-hopper-medium-replay\n", "is not a twin_of"),
        ("share: 0.55", "share: 0.5", "the shares of the policies add up to 0.95"),
        ("source: d4rl", "source: d4r", "dataset: Input tag 'd4r'"),
        ("url: http:", "url: ftp:", "dataset.url"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path, old, new, told):
    path = changed(tmp_path, old, new)
    said = message_of(path)
    assert told in said
    place, line = said.split(":")[0].split(" line ")
    assert place == "tasks.yaml"
    # Either on the changed line itself or at the entry that it spoils, never further than one entry away.
    changed_line = 1 + path.read_text()[: path.read_text().index(new.strip())].count("\n")
    assert abs(int(line) - changed_line) <= 8
