"""What a request becomes: evaluation steps, words for what is below the preset, the hash of a trial."""

import math
from dataclasses import replace

import pytest

from bench import presets
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.execute.grid import Request, evaluation_steps, left_out, plan_cells, understood
from bench.presets import load_preset, methods_on
from bench.records import DatasetRecord, hash_of
from tests.execute.tiny import CHANGES, DATASET, TASK, tiny_cell

HOPPER = "hopper-medium-v2"


def cell(name=HOPPER, **changes):
    wanted = {"tasks": (load_catalog().task(name),), "algorithms": ("dtql",), "seeds": (0,)}
    (made,) = plan_cells(Request(**(wanted | changes)))
    return made


@pytest.mark.parametrize(
    ("iterations", "interval", "count", "expected"),
    [
        (100, 50, None, (50, 100)),
        (100, 30, None, (30, 60, 90, 100)),
        (20, 50, None, (20,)),
        (1, 1, None, (1,)),
        (100, 30, 1, (100,)),
        (100, 30, 4, (25, 50, 75, 100)),
        (10, 30, 3, (4, 7, 10)),
        (2, 30, 5, (1, 2)),
    ],
)
def test_evaluations_fall_at_intervals_or_evenly_and_at_the_end(iterations, interval, count, expected):
    assert evaluation_steps(iterations, interval, count) == expected


def test_a_full_cell_is_the_preset_and_is_not_reduced():
    # DTQL on locomotion: a million iterations, evaluated every 50 epochs with 10 episodes.
    full = cell()
    assert full.reduced == ()
    assert full.evaluation_steps == tuple(range(50_000, 1_000_001, 50_000))
    assert (full.episodes, full.physics, full.preset.evaluation.protocol) == (10, "d4rl", "last")


def test_whatever_is_below_the_preset_is_said():
    assert cell(budget=0.001).reduced == ("budget 0.001",)
    assert cell(evaluations=3).reduced == ("3 of 20 evaluations",)
    assert cell(evaluations=20, episodes=10).reduced == ()
    assert cell(episodes=9).reduced == ("9 of 10 episodes",)
    assert cell(budget=0.5, evaluations=1, episodes=2).reduced == (
        "budget 0.5",
        "1 of 20 evaluations",
        "2 of 10 episodes",
    )
    assert cell(changes={"discount": 0.9}).reduced == ("discount set to 0.9",)
    assert cell(changes={"train_iterations": 100}).reduced[-1] == "train_iterations set to 100"


def test_a_budget_scales_iterations_and_interval_alike():
    tenth = cell(budget=0.1)
    assert tenth.preset.values["pretrain_iterations"] == 5_000
    assert tenth.evaluation_steps == tuple(range(5_000, 100_001, 5_000))
    assert tenth.reduced == ("budget 0.1",)


@pytest.mark.parametrize("budget", [0.0, -1.0, 2.0, 1.0000001, math.nan, math.inf, -math.inf])
def test_a_budget_outside_its_range_is_refused(budget):
    with pytest.raises(BenchError, match=f"budget {budget:g}") as refused:
        cell(budget=budget)
    assert "--budget" in refused.value.do_this


def test_collected_twins_follow_the_preset_of_their_twin():
    catalog = load_catalog()
    for name, task in catalog.tasks.items():
        if task.collected:
            assert task.twin_of is not None
            twin = load_preset("dtql", catalog.task(task.twin_of))
            assert cell(name).preset.values == twin.values, name
    # halfcheetah-medium-expert is the one with weight 50 (DTQL, Table 4).
    assert cell("collected-halfcheetah-medium-expert").preset.values["trust_region_weight"] == 50.0


def test_cells_come_task_by_task():
    names = ("hopper-medium-v2", "walker2d-medium-v2")
    tasks = tuple(map(load_catalog().task, names))
    cells = plan_cells(Request(tasks=tasks, algorithms=("dtql",), seeds=(0,)))
    assert [each.name for each in cells] == [f"dtql {name}" for name in names]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"algorithms": ("dtlq",)}, "Did you mean dtql"),
        ({"variant": "papper"}, "Did you mean paper"),
        ({"changes": {"discont": 0.9}}, "Did you mean discount"),
        ({"changes": {"discount": "high"}}, "--set discount=high"),
        ({"changes": {"discount": True}}, "--set discount=True"),
        ({"changes": {"batch_size": 1.5}}, "--set batch_size=1.5"),
        ({"changes": {"truncate_noise": 1}}, "--set truncate_noise=1"),
        ({"changes": {"discount": math.nan}}, "--set discount=nan"),
        ({"changes": {"discount": math.inf}}, "--set discount=inf"),
        ({"changes": {"train_iterations": 0}}, "--set train_iterations=0"),
        ({"changes": {"pretrain_iterations": -5}}, "--set pretrain_iterations=-5"),
    ],
)
def test_wrong_names_and_values_are_told(changes, told):
    with pytest.raises(BenchError) as refused:
        cell(**changes)
    assert told in str(refused.value)


def test_whole_numbers_serve_where_a_fraction_is_expected():
    value = cell(changes={"discount": 1}).preset.values["discount"]
    assert (value, type(value)) == (1.0, float)


def test_goals_are_the_method_s_own_and_another_rule_is_never_judged():
    methods = ("dtql", "srpo", "bdpo", "edp-iql", "bc")
    own = {name: cell("antmaze-umaze-v0", algorithms=(name,)).preset.evaluation.goals for name in methods}
    assert own == {
        "dtql": "per_evaluation",
        "srpo": "per_episode",
        "bdpo": "per_environment",
        "edp-iql": "per_run",
        "bc": "per_run",
    }
    other = cell("antmaze-umaze-v0", goals="per_run")
    assert other.preset.evaluation.goals == "per_run"
    assert other.reduced == ("goals per_run, not per_evaluation",)
    assert cell("antmaze-umaze-v0", goals="per_evaluation").reduced == ()


def test_where_the_task_draws_a_goal_at_every_reset_there_is_nothing_to_choose():
    found = cell("antmaze-umaze-v2").preset.evaluation
    assert found.goals == "per_episode"
    assert "D4RL" in found.sources["goals"]
    with pytest.raises(BenchError, match="goals per_run for antmaze-umaze-v2") as caught:
        cell("antmaze-umaze-v2", goals="per_run")
    assert "every reset" in caught.value.why
    with pytest.raises(BenchError, match="goals per_run for hopper-medium-v2") as caught:
        cell(goals="per_run")
    assert "no goal" in caught.value.why


def test_goals_determine_the_number_and_are_not_mentioned_where_there_are_none():
    record = DatasetRecord("antmaze-umaze-v0", "0" * 64, 1, "verified", "unverified")
    trials = [cell("antmaze-umaze-v0", goals=goals).trial(0, record) for goals in (None, "per_run")]
    assert [trial.config["evaluation"]["goals"] for trial in trials] == ["per_evaluation", "per_run"]
    assert trials[0].key.config_hash != trials[1].key.config_hash
    hopper = cell().trial(0, DatasetRecord("hopper-medium-v2", "0" * 64, 1, "verified", "unverified"))
    assert "goals" not in hopper.config["evaluation"]


def test_a_physics_that_a_robot_cannot_have_is_refused_before_anything_runs():
    for environment in ("pen-human-v1", "kitchen-mixed-v0"):
        with pytest.raises(BenchError, match="physics modern for"):
            cell(environment, physics="modern")
    assert cell("antmaze-umaze-v0", physics="modern").physics == "modern"


def test_a_task_without_preset_is_named():
    task = replace(load_catalog().task(HOPPER), name="hopper-random-v2")
    with pytest.raises(BenchError, match="no preset for hopper-random-v2"):
        plan_cells(Request(tasks=(task,), algorithms=("dtql",), seeds=(0,)))


def test_the_hash_covers_all_but_sources_and_precision():
    trial = tiny_cell().trial(3, DATASET)
    config = dict(trial.config)
    sources, precision = config.pop("sources"), config.pop("precision")
    assert precision == "tf32" and "torch 1.10.1" in sources["precision"]
    assert sources["discount"] and sources["hidden_width"] == "--set on the command line"
    assert trial.key.config_hash == hash_of(config)


def test_trials_of_before_precision_was_noted_are_the_same_trials():
    # As planned by commit 12db05f, whose configurations say nothing of it.
    before = {
        "dtql": "4b604c9149b24972afa042c329468e46f257fef31bd8c77dce1dd03cb713e530",
        "srpo": "ff83ad349e84e7dd91cec7a61908286f48aa3b14ae0d8b8fb0ec7600ff8b0a1c",
        "edp-td3": "aa337541c380efe23bfc731158b828ee21eafb4b4121eaa2d6d75682c0b115d9",
        "bdpo": "c30420d4b300d9eebc5d416c406da737e5b1f3cfdf82834e5efb707d44128b25",
    }
    cells = {name: cell(algorithms=(name,)) for name in before}
    assert {name: made.trial(0, DATASET).key.config_hash for name, made in cells.items()} == before
    wanted = {name: made.trial(0, DATASET).config["precision"] for name, made in cells.items()}
    assert wanted == {"dtql": "tf32", "srpo": "fp32", "edp-td3": "tf32", "bdpo": "tf32"}


def test_a_precision_that_is_asked_for_makes_another_trial_which_is_not_reduced():
    own, asked = tiny_cell(), tiny_cell(precision="fp32")
    assert tiny_cell(precision="tf32").trial(0, DATASET) == own.trial(0, DATASET)
    assert asked.reduced == own.reduced
    trial = asked.trial(0, DATASET)
    assert trial.key.config_hash != own.trial(0, DATASET).key.config_hash
    assert (trial.config["precision"], trial.config["asked_precision"]) == ("fp32", "fp32")
    assert trial.config["sources"]["precision"] == "asked for with --precision"
    assert "asked_precision" not in own.trial(0, DATASET).config


def test_seeds_share_a_hash_and_everything_else_changes_it():
    base = tiny_cell().trial(0, DATASET).key
    assert tiny_cell().trial(1, DATASET).key == replace(base, seed=1)
    others = [
        tiny_cell(budget=0.5),
        tiny_cell(evaluations=1),
        tiny_cell(episodes=3),
        tiny_cell(physics="modern"),
        tiny_cell(variant="paper"),
        tiny_cell(changes=CHANGES | {"discount": 0.98}),
        tiny_cell(tasks=(replace(load_catalog().task(TASK), version=2),)),
    ]
    keys = [other.trial(0, DATASET).key for other in others]
    keys.append(tiny_cell().trial(0, replace(DATASET, sha256="1" * 64)).key)
    keys.append(tiny_cell().trial(0, replace(DATASET, rows=2001)).key)
    assert len({base.config_hash, *(key.config_hash for key in keys)}) == len(keys) + 1


def test_what_was_found_out_about_the_same_data_does_not_change_the_hash():
    known = replace(DATASET, verification="mismatch", replay="d4rl")
    assert tiny_cell().trial(0, known).key == tiny_cell().trial(0, DATASET).key


def test_a_value_set_to_what_it_is_makes_the_same_numbers_but_stays_marked():
    same = tiny_cell(changes=CHANGES | {"discount": 0.99})
    assert same.trial(0, DATASET).key == tiny_cell().trial(0, DATASET).key
    assert "discount set to 0.99" in same.reduced


def test_a_method_s_file_is_read_once_per_grid_and_its_seeds_share_one_configuration(monkeypatch):
    read = []
    load = presets.load_yaml
    monkeypatch.setattr(presets, "load_yaml", lambda path: read.append(path.stem) or load(path))
    cells = grid(HOPPER, "walker2d-medium-v2", algorithms=("dtql", "bdpo"), changes={"discount": 0.98})
    assert len(cells) == 4
    assert sorted(read) == ["bdpo", "dtql"]
    for each in cells.values():
        trials = each.trials((3, 1), DATASET)
        assert trials == [each.trial(3, DATASET), each.trial(1, DATASET)]
        assert trials[0].config is trials[1].config


def grid(*names, algorithms=("dtql",), **changes):
    """Cells of several tasks, by (algorithm, task)."""
    tasks = tuple(map(load_catalog().task, names))
    cells = plan_cells(Request(tasks=tasks, algorithms=algorithms, seeds=(0,), **changes))
    return {(each.algorithm, each.task.name): each for each in cells}


def test_edp_means_its_headline_method_in_each_domain():
    assert list(grid(HOPPER, "bandit-energy-moons", algorithms=("edp",))) == [
        ("edp-td3", HOPPER),
        ("edp-td3", "bandit-energy-moons"),
    ]
    # Asked for by both names it is trained once.
    assert len(grid(HOPPER, algorithms=("edp", "edp-td3"))) == 1
    antmaze = Request(tasks=(load_catalog().task("antmaze-umaze-v0"),), algorithms=("edp",), seeds=(0,))
    assert methods_on(antmaze.algorithms, antmaze.tasks[0]) == ("edp-iql",)


def test_a_group_stands_for_its_methods_and_leaves_out_what_has_no_preset():
    assert [name for name, _ in grid(HOPPER, algorithms=("papers",))] == ["dtql", "srpo", "edp-td3", "bdpo"]
    # SRPO and BDPO have no kitchen: asked for by name that is an error, a group leaves them out and tells.
    kitchen = "kitchen-mixed-v0"
    assert [name for name, _ in grid(kitchen, algorithms=("papers",))] == ["dtql", "edp-iql"]
    request = Request(tasks=(load_catalog().task(kitchen),), algorithms=("papers",), seeds=(0,))
    assert left_out(request, plan_cells(request)) == [("srpo", kitchen), ("bdpo", kitchen)]
    with pytest.raises(BenchError, match="srpo has no preset for kitchen-mixed-v0"):
        grid(kitchen, algorithms=("papers", "srpo"))
    every = [name for name, _ in grid(HOPPER, algorithms=("all",))]
    assert {"edp-crr", "dtql-kl", "bc"} <= set(every)
    assert len(every) == len(set(every))
    assert "bc" in [name for name, _ in grid(HOPPER, algorithms=("comparators",))]


def test_a_group_of_which_nothing_is_left_is_told(monkeypatch):
    monkeypatch.setattr("algorithms.registry.PAPERS", ("srpo", "bdpo"))
    with pytest.raises(BenchError, match="none of these tasks has a preset of papers"):
        grid("kitchen-mixed-v0", algorithms=("papers",))


def test_a_change_of_one_algorithm_leaves_the_others():
    both = grid(HOPPER, algorithms=("edp", "bdpo"), changes={"batch_size": 8, "bdpo.samples": 2})
    edp, bdpo = both["edp-td3", HOPPER], both["bdpo", HOPPER]
    assert (edp.reduced, bdpo.reduced) == (
        ("batch_size set to 8",),
        ("batch_size set to 8", "samples set to 2"),
    )
    assert bdpo.preset.hyperparameters["samples"].source == "--set on the command line"


def test_a_change_reaches_the_method_that_a_headline_means():
    cells = grid(HOPPER, algorithms=("edp",), changes={"edp.candidates": 2})
    assert cells["edp-td3", HOPPER].preset.values["candidates"] == 2


def test_suites_set_sizes_and_the_command_line_goes_before_them():
    sizes = {"bdpo": {"samples": 2, "candidates": 3}, "srpo": {"behaviour_width": 8}}
    settings = {"suite": "quickstart", "suite_settings": sizes, "algorithms": ("dtql", "bdpo")}
    cells = grid(HOPPER, **settings, changes={"candidates": 7})
    assert cells["dtql", HOPPER].reduced == ("candidates set to 7",)
    assert set(cells["bdpo", HOPPER].reduced) == {"samples set to 2", "candidates set to 7"}
    assert cells["bdpo", HOPPER].preset.hyperparameters["samples"].source == "suite quickstart in tasks.yaml"


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"bdop": {"samples": 2}}, "unknown algorithm 'bdop'"),
        ({"bdpo": {"sampels": 2}}, "unknown hyper-parameter of bdpo 'sampels'\nDid you mean samples"),
        ({"bdpo": {"samples": 0}}, "samples is 0; it must be at least 1"),
        ({"bdpo": {"samples": "two"}}, "samples is of type int"),
    ],
)
def test_mistakes_in_a_suites_sizes_are_told_with_their_line(sizes, told):
    with pytest.raises(
        BenchError, match=r"tasks.yaml line \d+: suites.quickstart.defaults.settings"
    ) as refused:
        grid(HOPPER, suite="quickstart", suite_settings=sizes, algorithms=("bdpo",))
    assert told in str(refused.value)


def test_the_sizes_of_every_suite_are_those_of_its_methods():
    for suite in load_catalog().suites.values():
        if suite.defaults.settings:
            names = [task.name for task in suite.tasks]
            algorithms = tuple(suite.defaults.settings)
            grid(*names, suite=suite.name, suite_settings=suite.defaults.settings, algorithms=algorithms)


def test_a_suite_leaves_out_what_has_no_preset_and_a_task_by_name_does_not():
    names = (HOPPER, "bandit-energy-moons", "bandit-25gaussians-far")
    wanted = {"tasks": tuple(map(load_catalog().task, names)), "algorithms": ("dtql", "bc"), "seeds": (0,)}
    request = Request(**wanted, suite="mixed")
    cells = plan_cells(request)
    assert left_out(request, cells) == [("bc", names[1]), ("bc", names[2])]
    assert len(cells) == 4
    with pytest.raises(BenchError, match="bc has no preset for bandit-energy-moons") as refused:
        plan_cells(Request(**wanted))
    assert HOPPER in refused.value.do_this
    with pytest.raises(BenchError, match="no task of suite mixed has a preset of bc"):
        plan_cells(replace(request, tasks=request.tasks[1:], algorithms=("bc",)))


@pytest.mark.parametrize(
    ("method", "short", "name"),
    [("dtql", "lr", "learning_rate"), ("bdpo", "gamma", "discount"), ("srpo", "tau", "target_update_rate"),
     ("bc", "bs", "batch_size"), ("edp-td3", "width", "hidden_width")],
)  # fmt: skip
def test_a_short_name_is_the_setting_of_the_method(method, short, name):
    value = 16 if short in ("bs", "width") else 0.5
    task = load_catalog().task(HOPPER)
    short_request = Request((task,), (method,), (0,), changes={short: value})
    whole = replace(short_request, changes={name: value})
    assert plan_cells(short_request) == plan_cells(whole)
    assert understood(short_request) == [f"{short} is {name} of {method}."]
    assert understood(whole) == []


def test_a_short_name_of_several_settings_is_answered_with_them():
    task = load_catalog().task("hopper-medium-v2")
    with pytest.raises(BenchError) as refused:
        plan_cells(Request((task,), ("dtql", "srpo"), (0,), changes={"lr": 1e-3}))
    assert "--set srpo.critic_learning_rate=0.001" in refused.value.do_this
