"""SRPO's presets against the paper's Table 2; what differs between the variants; where there are none."""

import csv
import dataclasses

import pytest

from algorithms.registry import configuration
from algorithms.srpo import SRPOConfig
from algorithms.srpo_points import SRPOPointsConfig
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.presets import PresetFiles, hyperparameter_docs, preset_of, tasks_of
from bench.resources import resource

CATALOG, FILES = load_catalog(), PresetFiles()
ANTMAZE = [task for task in tasks_of("srpo") if task.startswith("antmaze")]

with (resource("paper_tables") / "hparams_srpo_table2.csv").open(encoding="utf-8") as file:
    TABLE_2 = {row["task"]: row for row in csv.DictReader(file)}


def preset(task, variant="released", algorithm="srpo"):
    return preset_of(FILES[algorithm], CATALOG.task(task), variant)


@pytest.mark.parametrize("task", TABLE_2)
def test_agrees_with_table_2_and_the_released_code(task):
    printed, released, paper = TABLE_2[task], preset(task), preset(task, "paper")
    normalised = printed["q_gradient_normalised"] == "True"
    for column, loaded, size in (("beta_code", released, "rms"), ("beta_paper", paper, "norm")):
        assert loaded.values["beta"] == float(printed[column])
        assert loaded.values["gradient_normalisation"] == (size if normalised else "none")
        assert loaded.values["expectile"] == float(printed["expectile"])
        assert loaded.values["policy_hidden_layers"] == int(printed["policy_hidden_layers"])
        transform = {"r-1": "minus_one", "r*1000/(max_return-min_return)": "return_scaled_srpo"}
        assert loaded.reward_transform.value == transform[printed["reward_code"]]
        evaluation = loaded.evaluation
        assert (evaluation.interval, evaluation.episodes, evaluation.protocol) == (20_000, 20, "last")
    assert (released.values["noise_baseline"], paper.values["noise_baseline"]) == (False, True)


@pytest.mark.parametrize("task", ["hopper-medium-v2", "antmaze-large-diverse-v2", "antmaze-umaze-v0"])
def test_shared_values(task):
    """What App. C and the released code share among tasks."""
    expected = {
        "critic_iterations": 1_500_000,
        "behaviour_iterations": 2_000_000,
        "policy_iterations": 1_000_000,
        "batch_size": 256,
        "behaviour_batch_size": 2048,
        "critic_learning_rate": 3e-4,
        "behaviour_learning_rate": 3e-4,
        "policy_learning_rate": 3e-4,
        "behaviour_weight_decay": 0.01,
        "target_update_rate": 0.005,
        "discount": 0.99,
        "hidden_width": 256,
        "behaviour_width": 256,
        "behaviour_blocks": 3,
        "dropout": 0.1,
        "time_features": 64,
        "fourier_scale": 30.0,
        "behaviour_time_min": 0.001,
        "policy_time_min": 0.02,
        "policy_time_max": 0.98,
        "score_weighting": "sigma_squared",
    }
    values = preset(task).values
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize("task", [task for task in ANTMAZE if task.endswith("v0")])
@pytest.mark.parametrize("variant", ["released", "paper"])
def test_antmaze_v0_has_the_values_of_v2_and_says_so(task, variant):
    old, new = preset(task, variant), preset(task.replace("v0", "v2"), variant)
    assert old.values == new.values
    assert "DTQL" in old.hyperparameters["beta"].source


@pytest.mark.parametrize(("algorithm", "config"), [("srpo", SRPOConfig), ("srpo-points", SRPOPointsConfig)])
def test_every_value_is_given_documented_and_possible(algorithm, config):
    fields = {field.name for field in dataclasses.fields(config)}
    docs = hyperparameter_docs(algorithm)
    assert set(docs) == fields
    assert all(docs.values())
    for task in tasks_of(algorithm):
        loaded = preset(task, algorithm=algorithm)
        assert set(loaded.hyperparameters) == fields
        assert isinstance(configuration(algorithm, loaded.values), config)
        assert all(setting.source for setting in loaded.hyperparameters.values())
        # The last of the step counts is the phase that is evaluated, and evaluations fall on its end.
        assert loaded.step_counts[-1] == "policy_iterations"
        assert loaded.values["policy_iterations"] % loaded.evaluation.interval == 0


def test_the_2d_problems():
    problems = {name for name in tasks_of("srpo") if name.startswith("bandit")}
    assert problems == {name for name in CATALOG.tasks if name.startswith("bandit")}
    assert set(tasks_of("srpo-points")) == {name for name in problems if "energy" in name}


@pytest.mark.parametrize("task", ["pen-human-v1", "kitchen-complete-v0"])
def test_no_preset_where_neither_paper_nor_code_has_values(task):
    with pytest.raises(BenchError, match=f"srpo has no preset for {task}"):
        preset(task)
