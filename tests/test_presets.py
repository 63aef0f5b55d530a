"""Presets against the paper's table of hyper-parameters, and the rules of variants and budgets."""

import csv
import dataclasses
import math

import pytest

from algorithms.base import Dimensions
from algorithms.dtql import DTQLConfig
from algorithms.networks import LayerNorm
from algorithms.registry import build, configuration
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.presets import (
    PresetFiles,
    algorithms_with_presets,
    hyperparameter_docs,
    load_preset,
    preset_of,
    scaled_count,
    tasks_of,
    variants_of,
)
from bench.resources import resource

CATALOG = load_catalog()

with (resource("paper_tables") / "hparams_dtql_table4.csv").open(encoding="utf-8") as file:
    TABLE_4 = {row["task"]: row for row in csv.DictReader(file)}


FILES = PresetFiles()
"""Each read once."""


def preset(task, variant="released"):
    return preset_of(FILES["dtql"], CATALOG.task(task), variant)


@pytest.mark.parametrize("task", TABLE_4)
@pytest.mark.parametrize(("variant", "column"), [("released", "code"), ("paper", "paper")])
def test_dtql_agrees_with_table_4_and_main_py(task, variant, column):
    printed, loaded = TABLE_4[task], preset(task, variant)
    expected = {
        "trust_region_weight": float(printed["alpha"]),
        "expectile": float(printed["expectile"]),
        "likelihood_weight": 1.0 if printed["entropy_term_paper"] == "True" else 0.0,
        "pretrain_iterations": 1000 * int(printed["pretrain_epochs"]),
        "train_iterations": 1000 * int(printed[f"train_epochs_{column}"]),
        "learning_rate": float(printed["lr_actor_and_diffusion_code"]),
        "critic_learning_rate": float(printed["lr_critic_code"]),
        "learning_rate_decay": printed["lr_decay"] == "True",
        "batch_size": int(printed["batch_size_code"]),
    }
    assert {name: loaded.values[name] for name in expected} == expected
    assert loaded.evaluation.episodes == int(printed["eval_episodes"])
    assert loaded.reward_transform.value == {"raw": "none", "r-1": "minus_one"}[printed["reward_code"]]
    assert (loaded.evaluation.interval, loaded.evaluation.protocol) == (50_000, "last")
    assert loaded.values["train_iterations"] % loaded.evaluation.interval == 0


def test_all_26_tasks_have_a_preset_and_every_value_a_source():
    assert tuple(name for name in tasks_of("dtql") if not name.startswith("bandit-")) == tuple(TABLE_4)
    assert len(TABLE_4) == 26
    for task in TABLE_4:
        for variant in variants_of("dtql"):
            loaded = preset(task, variant)
            sources = [setting.source for setting in loaded.hyperparameters.values()]
            sources += [loaded.reward_transform.source, *loaded.evaluation.sources.values()]
            assert all(sources)
            goals = {"goals"} if task.startswith("antmaze") else set()
            assert set(loaded.evaluation.sources) == {"interval", "episodes", "protocol", *goals}


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_a_preset_is_a_whole_configuration_with_the_right_types(variant):
    for task in TABLE_4:
        values = preset(task, variant).values
        config = configuration("dtql", values)
        for field in dataclasses.fields(config):
            assert type(values[field.name]) is type(field.default), field.name
    assert set(preset("hopper-medium-v2").values) == {field.name for field in dataclasses.fields(DTQLConfig)}


def test_paper_differs_from_released_in_three_switches_and_four_epoch_counts():
    for task in TABLE_4:
        released, paper = preset(task).values, preset(task, "paper").values
        differing = {name for name in released if released[name] != paper[name]}
        longer = {"train_iterations"} if task in LONGER_IN_PAPER else set()
        assert differing == {"truncate_noise", "critic_layer_norm", "embedding_activation"} | longer


LONGER_IN_PAPER = {
    "antmaze-medium-play-v2",
    "antmaze-medium-diverse-v2",
    "antmaze-large-play-v2",
    "antmaze-large-diverse-v2",
}


def test_a_collected_task_uses_its_twins_preset():
    for task in CATALOG.tasks.values():
        if task.collected:
            assert preset(task.name) == preset(task.twin_of)


def test_a_budget_scales_step_counts_and_interval_and_nothing_else():
    full, reduced = preset("hopper-medium-v2"), preset("hopper-medium-v2").scaled(0.00025)
    assert reduced.values["pretrain_iterations"] == 13  # 12.5 rounded up
    assert reduced.values["train_iterations"] == 250
    assert reduced.evaluation.interval == 13
    untouched = set(full.values) - {"pretrain_iterations", "train_iterations"}
    assert {name: reduced.values[name] for name in untouched} == {
        name: full.values[name] for name in untouched
    }
    assert reduced.evaluation.episodes == 10
    assert (
        reduced.hyperparameters["train_iterations"].source == full.hyperparameters["train_iterations"].source
    )
    assert full.scaled(1) == full


@pytest.mark.parametrize(
    ("count", "budget", "expected"),
    [
        (50_000, 0.001, 50),
        (350_000, 0.001, 350),
        (10, 0.001, 1),
        (1, 1e-9, 1),
        (3, 0.5, 2),
        (7, 2, 14),
        (0, 0.5, 0),
    ],
)
def test_scaled_counts_round_up_without_binary_surprises(count, budget, expected):
    assert scaled_count(count, budget) == expected


def test_binary_floats_would_surprise():
    # Why scaled_count reckons in decimals: 1,100 * 0.07 is 77, in binary a little more.
    assert math.ceil(1_100 * 0.07) == 78
    assert scaled_count(1_100, 0.07) == 77


@pytest.mark.parametrize("task", ["pen-human-v0", "pen-cloned-v0"])
def test_a_task_without_preset_says_so_and_what_to_use(task):
    with pytest.raises(BenchError, match=f"no preset for {task}") as caught:
        preset(task)
    assert task.replace("v0", "v1") in caught.value.do_this


def test_unknown_names_get_the_nearest():
    task = CATALOG.task("hopper-medium-v2")
    with pytest.raises(BenchError, match=r"unknown algorithm 'dtpl'\nDid you mean dtql"):
        load_preset("dtpl", task)
    with pytest.raises(BenchError, match=r"unknown variant 'papr'\nDid you mean paper"):
        load_preset("dtql", task, "papr")


def test_every_algorithm_documents_every_hyper_parameter():
    for algorithm in algorithms_with_presets():
        docs = hyperparameter_docs(algorithm)
        for task in tasks_of(algorithm):
            names = preset_of(FILES[algorithm], CATALOG.task(task)).hyperparameters
            assert all(docs[name] for name in names)


@pytest.mark.parametrize(
    ("method", "task", "epsilon", "layers"),
    [
        ("dtql", "hopper-medium-v2", 1e-5, 3),
        ("dtql-kl", "hopper-medium-v2", 1e-5, 3),
        ("srpo", "hopper-medium-v2", 1e-5, 3),
        ("srpo-points", "bandit-energy-8gaussians", 1e-5, 3),
        ("edp-td3", "hopper-medium-v2", None, 0),
        ("edp-iql", "antmaze-umaze-v0", None, 0),
        ("bdpo", "hopper-medium-v2", 1e-6, 3),
        ("bdpo", "antmaze-umaze-v0", 1e-6, 6),
        ("bdpo-gaussian", "walker2d-medium-v2", 1e-6, 0),
        ("bc", "hopper-medium-v2", None, 0),
    ],
)
def test_every_method_has_its_authors_epsilon(method, task, epsilon, layers):
    """flax's for BDPO (V_n always, Q on AntMaze), torch's for DTQL and SRPO; each where a preset says so."""
    values = load_preset(method, CATALOG.task(task)).values
    assert values.get("layer_norm_epsilon") == epsilon
    narrow = values | {name: 8 for name in values if name.endswith("_width")}
    networks = build(method, Dimensions(11, 3), narrow, (0,)).networks
    online = [network for name, network in networks.items() if not name.startswith("target_")]
    norms = [one for network in online for one in network.modules() if isinstance(one, LayerNorm)]
    assert len(norms) == layers
    assert {norm.epsilon for norm in norms} <= {epsilon}
