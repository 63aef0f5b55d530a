"""Diffusion-QL's presets against the released main.py."""

import pytest

from algorithms.registry import configuration
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.presets import PresetFiles, preset_of, variants_of

CATALOG, FILES = load_catalog(), PresetFiles()
RELEASED = """
halfcheetah-medium-v2          3e-4  1.0    no   2000  9   1
hopper-medium-v2               3e-4  1.0    no   2000  9   2
walker2d-medium-v2             3e-4  1.0    no   2000  1   1
halfcheetah-medium-replay-v2   3e-4  1.0    no   2000  2   0
hopper-medium-replay-v2        3e-4  1.0    no   2000  4   2
walker2d-medium-replay-v2      3e-4  1.0    no   2000  4   1
halfcheetah-medium-expert-v2   3e-4  1.0    no   2000  7   0
hopper-medium-expert-v2        3e-4  1.0    no   2000  5   2
walker2d-medium-expert-v2      3e-4  1.0    no   2000  5   1
antmaze-umaze-v0               3e-4  0.5    no   1000  2   2
antmaze-umaze-diverse-v0       3e-4  2.0    yes  1000  3   2
antmaze-medium-play-v0         1e-3  2.0    yes  1000  2   1
antmaze-medium-diverse-v0      3e-4  3.0    yes  1000  1   1
antmaze-large-play-v0          3e-4  4.5    yes  1000  10  2
antmaze-large-diverse-v0       3e-4  3.5    yes  1000  7   1
pen-human-v1                   3e-5  0.15   no   1000  7   2
pen-cloned-v1                  3e-5  0.1    no   1000  8   2
kitchen-complete-v0            3e-4  0.005  no   250   9   2
kitchen-partial-v0             3e-4  0.005  no   1000  10  2
kitchen-mixed-v0               3e-4  0.005  no   1000  10  0
"""
"""Task, lr, eta, max_q_backup, num_epochs, gn, top_k of the released main.py."""
ROWS = {row.split()[0]: row.split()[1:] for row in RELEASED.strip().splitlines()}
REWARDS = {
    "locomotion": "none",
    "antmaze": "centred_by_four",
    "adroit": "standardised",
    "kitchen": "none",
}


def preset(task):
    return preset_of(FILES["dql"], CATALOG.task(task))


@pytest.mark.parametrize("task", ROWS)
def test_agrees_with_main_py(task):
    rate, eta, backup, epochs, norm, rank = ROWS[task]
    found, domain = preset(task), CATALOG.task(task).domain
    expected = {
        "learning_rate": float(rate),
        "critic_learning_rate": 3e-4,
        "value_weight": float(eta),
        "backup_samples": 10 if backup == "yes" else 1,
        "train_iterations": 1000 * int(epochs),
        "cosine_steps": int(epochs),
        "cosine_interval": 50_000,
        "gradient_norm": float(norm),
        "batch_size": 256,
        "discount": 0.99,
        "target_update_rate": 0.005,
        "diffusion_steps": 5,
        "candidates": 50,
    }
    assert {name: found.values[name] for name in expected} == expected
    evaluation = found.evaluation
    assert (evaluation.interval, evaluation.protocol) == (50_000, "bc-select")
    assert evaluation.episodes == (10 if domain == "locomotion" else 100)
    assert evaluation.selected_rank == int(rank)
    assert found.reward_transform.value == REWARDS[domain]
    assert found.values["train_iterations"] % evaluation.interval == 0


def test_every_preset_is_a_whole_configuration_with_sources():
    assert set(FILES["dql"].tasks) == ROWS.keys() | {
        task.replace("v0", "v2") for task in ROWS if task.startswith("antmaze")
    }
    for task in FILES["dql"].tasks:
        found = preset(task)
        configuration("dql", found.values)
        sources = [setting.source for setting in found.hyperparameters.values()]
        assert all([*sources, found.reward_transform.source, *found.evaluation.sources.values()])


def test_antmaze_of_version_2_is_treated_like_version_0():
    for task in ROWS:
        if task.startswith("antmaze"):
            newer = preset(task.replace("v0", "v2"))
            assert newer.values == preset(task).values
            assert newer.evaluation.selected_rank == preset(task).evaluation.selected_rank


def test_there_is_one_variant_and_others_are_refused():
    assert variants_of("dql") == ("released",)
    with pytest.raises(BenchError, match="paper"):
        preset_of(FILES["dql"], CATALOG.task("hopper-medium-v2"), "paper")


def test_a_task_without_a_preset_names_those_that_have_one():
    with pytest.raises(BenchError, match="dql has no preset for bandit-swissroll-far") as caught:
        preset("bandit-swissroll-far")
    assert "hopper-medium-v2" in str(caught.value.do_this)
