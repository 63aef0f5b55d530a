"""DAC's presets against the released runs.sh and main.py."""

import pytest

from algorithms.registry import configuration
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.presets import PresetFiles, preset_of, variants_of

CATALOG, FILES = load_catalog(), PresetFiles()
RELEASED = """
walker2d-medium-v2            1    0.001  1     1    -  0.0003
walker2d-medium-replay-v2     1    0.001  1     1    -  0.0003
walker2d-medium-expert-v2     1    0.001  1     1    -  0.0003
hopper-medium-v2              1    0.001  1     1.5  -  0.0003
hopper-medium-replay-v2       1    0.001  1     1.5  -  0.0003
hopper-medium-expert-v2       1    0.001  0.05  1.5  -  0.0003
halfcheetah-medium-v2         1    0.001  1     0    -  0.0003
halfcheetah-medium-replay-v2  1    0.001  1     0    -  0.0003
halfcheetah-medium-expert-v2  1    0.001  0.1   0    -  0.0003
antmaze-umaze-v0              0.1  0      1     1    maxQ  0.0003
antmaze-umaze-diverse-v0      0.1  0      1     1    maxQ  0.0003
antmaze-medium-play-v0        0.1  0      1     1    maxQ  0.0003
antmaze-medium-diverse-v0     0.1  0      1     1    maxQ  0.0003
antmaze-large-play-v0         0.1  0      1     1.1  maxQ  0.001
antmaze-large-diverse-v0      0.1  0      1     1    maxQ  0.001
"""
"""Task, eta, eta_lr, bc_threshold (1 where runs.sh has none), rho, maxQ, critic_lr."""
ROWS = {row.split()[0]: row.split()[1:] for row in RELEASED.strip().splitlines()}


def preset(task):
    return preset_of(FILES["dac"], CATALOG.task(task))


@pytest.mark.parametrize("task", ROWS)
def test_agrees_with_runs_sh(task):
    eta, rate, limit, rho, backup, critic_rate = ROWS[task]
    found = preset(task)
    expected = {
        "cloning_weight": float(eta),
        "cloning_weight_rate": float(rate),
        "cloning_weight_min": 0.001,
        "cloning_weight_max": 100.0,
        "cloning_limit": float(limit),
        "pessimism": float(rho),
        "max_q_backup": backup == "maxQ",
        "learning_rate": 3e-4,
        "critic_learning_rate": float(critic_rate),
        "train_iterations": 2_000_000,
        "batch_size": 256,
        "discount": 0.99,
        "gradient_norm": 1.0,
        "ensemble": 10,
        "samples": 10,
        "candidates": 10,
        "diffusion_steps": 5,
        "target_update_rate": 0.005,
    }
    assert {name: found.values[name] for name in expected} == expected
    evaluation = found.evaluation
    assert (evaluation.interval, evaluation.episodes, evaluation.protocol) == (10_000, 10, "mean5")
    assert found.reward_transform.value == "return_scaled_iql"
    assert evaluation.goals == ("per_run" if task.startswith("antmaze") else None)


def test_every_preset_is_a_whole_configuration_with_sources():
    assert set(FILES["dac"].tasks) == ROWS.keys() | {
        task.replace("v0", "v2") for task in ROWS if task.startswith("antmaze")
    }
    for task in FILES["dac"].tasks:
        found = preset(task)
        configuration("dac", found.values)
        sources = [setting.source for setting in found.hyperparameters.values()]
        assert all([*sources, found.reward_transform.source, *found.evaluation.sources.values()])
        if task.startswith("antmaze"):
            assert found.values == preset(task.replace("v2", "v0")).values


def test_there_is_one_variant_and_others_are_refused():
    assert variants_of("dac") == ("released",)
    with pytest.raises(BenchError, match="paper"):
        preset_of(FILES["dac"], CATALOG.task("hopper-medium-v2"), "paper")


def test_a_task_without_a_preset_names_those_that_have_one():
    with pytest.raises(BenchError, match="dac has no preset for kitchen-mixed-v0") as caught:
        preset("kitchen-mixed-v0")
    assert "hopper-medium-v2" in str(caught.value.do_this)
