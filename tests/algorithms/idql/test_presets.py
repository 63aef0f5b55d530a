"""IDQL's presets against the constants of both released versions."""

import pytest

from algorithms.registry import configuration
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.presets import PresetFiles, preset_of, variants_of

CATALOG, FILES = load_catalog(), PresetFiles()
SHARED = {
    "cosine_steps": 3_000_000,
    "learning_rate": 3e-4,
    "critic_learning_rate": 3e-4,
    "discount": 0.99,
    "target_update_rate": 0.005,
    "policy_target_rate": 0.001,
    "diffusion_steps": 5,
    "candidates": 64,
    "most_candidates": 256,
    "policy_width": 256,
    "policy_blocks": 3,
    "dropout": 0.1,
    "fourier_scale": 0.2,
    "critic_width": 256,
    "action_margin": 1e-5,
}
OWN = {
    "released": {
        "train_iterations": 3_000_000,
        "policy_steps": 1,
        "batch_size": 512,
        "critic_batch_size": 512,
        "weight_decay": 1e-4,
        "policy_activation": "swish",
        "time_features": 128,
        "value_layer_norm": True,
    },
    "paper": {
        "train_iterations": 1_500_000,
        "policy_steps": 2,
        "batch_size": 2048,
        "critic_batch_size": 256,
        "weight_decay": 0.0,
        "policy_activation": "mish",
        "time_features": 64,
        "value_layer_norm": False,
    },
}


def preset(task, variant="released"):
    return preset_of(FILES["idql"], CATALOG.task(task), variant)


@pytest.mark.parametrize("variant", OWN)
@pytest.mark.parametrize("task", FILES["idql"].tasks)
def test_agrees_with_the_launchers(task, variant):
    found, maze = preset(task, variant), task.startswith("antmaze")
    assert found.values == {**SHARED, **OWN[variant], "expectile": 0.9 if maze else 0.7}
    configuration("idql", found.values)
    evaluation = found.evaluation
    assert (evaluation.interval, evaluation.episodes) == (250_000, 50)
    assert found.reward_transform.value == ("minus_one" if maze else "return_scaled_iql")
    assert evaluation.goals == ({"v0": "per_run", "v2": "per_episode"}[task[-2:]] if maze else None)
    sources = [setting.source for setting in found.hyperparameters.values()]
    assert all([*sources, found.reward_transform.source, *found.evaluation.sources.values()])
    assert found.values["train_iterations"] % evaluation.interval == 0


def test_the_cosine_ends_with_the_training():
    for values in OWN.values():
        assert values["train_iterations"] * values["policy_steps"] == SHARED["cosine_steps"]


def test_the_tasks_are_those_of_both_launchers():
    tasks = FILES["idql"].tasks
    assert len(tasks) == 21
    assert {CATALOG.task(task).domain for task in tasks} == {"locomotion", "antmaze"}


def test_unknown_variants_and_tasks_are_refused():
    assert variants_of("idql") == ("released", "paper")
    with pytest.raises(BenchError, match="april"):
        preset("hopper-medium-v2", "april")
    with pytest.raises(BenchError, match="idql has no preset for pen-human-v1") as caught:
        preset("pen-human-v1")
    assert "antmaze-umaze-v0" in str(caught.value.do_this)
