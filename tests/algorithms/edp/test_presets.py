"""EDP's presets against Table 3, the released values and the rules per domain."""

import csv
import dataclasses

import pytest

from algorithms.registry import configuration
from bench.catalog import load_catalog
from bench.presets import PresetFiles, hyperparameter_docs, preset_of, tasks_of, variants_of
from bench.resources import resource

CATALOG, FILES = load_catalog(), PresetFiles()
METHODS = ("edp-td3", "edp-crr", "edp-iql")

with (resource("paper_tables") / "hparams_edp_table3.csv").open(encoding="utf-8") as file:
    TABLE_3 = {row["task"]: row for row in csv.DictReader(file)}


def preset(method, task, variant="released"):
    return preset_of(FILES[method], CATALOG.task(task), variant)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TABLE_3)
def test_agrees_with_table_3_and_hps(method, task):
    printed = TABLE_3[task]
    released, paper = preset(method, task).values, preset(method, task, "paper").values
    expected = {
        "learning_rate": float(printed["lr_paper"]),
        "gradient_norm": float(printed["grad_clip_paper"]),
        "guidance_weight": float(printed["loss_weight_paper"]),
        "train_iterations": 1000 * int(printed["epochs_paper"]),
        "batch_size": int(printed["batch_size_paper"]),
        "candidates": 10,
    }
    assert {name: paper[name] for name in expected} == expected
    assert released["gradient_norm"] == float(printed["grad_clip_code"])
    assert (released["learning_rate"], released["guidance_weight"]) == (3e-4, 1.0)
    assert (released["candidates"], released["diffusion_steps"], released["sampler"]) == (50, 1000, "dpm")
    evaluation = preset(method, task).evaluation
    assert (evaluation.interval, evaluation.episodes, evaluation.protocol) == (10_000, 10, "rat")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", ["released", "paper"])
def test_flags_that_all_tasks_share(method, variant):
    """Defaults of the released trainer.py and dql.py, which the paper leaves out or repeats."""
    flags = {
        "discount": 0.99,
        "diffusion_weight": 1.0,
        "target_update_rate": 0.005,
        "action_clip": 0.999,
        "noise_schedule": "linear",
        "solver_calls": 15,
        "hidden_width": 256,
        "time_embedding_width": 16,
    }
    if method != "edp-iql":
        flags["backup_samples"] = 1
    if method == "edp-td3":
        flags["action_approximation"] = True
    for task in TABLE_3:
        values = preset(method, task, variant).values
        assert {name: values[name] for name in flags} == flags, task


@pytest.mark.parametrize(
    ("method", "rewards"),
    [
        ("edp-td3", ("none", "centred_by_four", "minimum_to_maximum", "minimum_to_maximum")),
        ("edp-crr", ("none", "centred_by_four", "minimum_to_maximum", "minimum_to_maximum")),
        ("edp-iql", ("return_scaled_iql", "minus_one", "minimum_to_maximum", "minimum_to_maximum")),
    ],
)
def test_rewards_per_domain(method, rewards):
    tasks = ("hopper-medium-v2", "antmaze-umaze-v0", "pen-human-v1", "kitchen-mixed-v0")
    assert tuple(preset(method, task).reward_transform.value for task in tasks) == rewards


def test_what_only_one_method_has():
    td3, crr, iql = (preset(method, "hopper-medium-v2").values for method in METHODS)
    assert (td3["value_weight"], td3["policy_target_start"], td3["policy_target_interval"]) == (2.0, 1000, 5)
    assert (crr["advantage_samples"], crr["advantage_temperature"], crr["weight_limit"]) == (10, 1.0, 20.0)
    assert (iql["inverse_temperature"], iql["weight_limit"], iql["expectile"]) == (3.0, 100.0, 0.7)
    assert preset("edp-iql", "antmaze-large-play-v0").values["expectile"] == 0.9
    assert preset("edp-iql", "pen-human-v0").values["expectile"] == 0.7
    assert preset("edp-iql", "hopper-medium-v2", "paper").values["inverse_temperature"] == 1.0
    assert preset("edp-td3", "hopper-medium-v2", "paper").values["value_weight"] == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_every_task_and_variant_is_a_whole_configuration(method):
    assert set(TABLE_3) | {"pen-human-v0", "pen-cloned-v0"} <= set(tasks_of(method))
    variants = variants_of(method)
    assert variants == ("released", "paper")
    docs = hyperparameter_docs(method)
    assert all(docs.values())
    for task in tasks_of(method):
        for variant in variants:
            loaded = preset(method, task, variant)
            config = configuration(method, loaded.values)
            for field in dataclasses.fields(config):
                assert type(loaded.values[field.name]) is type(field.default), field.name
            assert set(docs) == set(loaded.values)
            assert all(setting.source for setting in loaded.hyperparameters.values())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", ["released", "paper"])
def test_2d_problems_are_judged_by_plain_samples(method, variant):
    tasks = [task for task in tasks_of(method) if task.startswith("bandit-")]
    assert len(tasks) == 12
    for task in tasks:
        loaded = preset(method, task, variant)
        assert (loaded.values["candidates"], loaded.values["action_clip"]) == (1, 1.0)
        assert loaded.reward_transform.value == "none"


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_scales_the_start_of_the_target_policy(method):
    scaled = preset(method, "hopper-medium-v2").scaled(0.01)
    assert scaled.values["train_iterations"] == 20_000
    assert scaled.values.get("policy_target_start", 10) == 10
    assert scaled.values.get("policy_target_interval", 5) == 5
    assert scaled.step_counts[-1] == "train_iterations"
