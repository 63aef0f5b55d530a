"""BDPO's presets against the paper's Tables 2 to 4 and the released script; what the ablations keep."""

import csv

import pytest

from bench.catalog import load_catalog
from bench.presets import PresetFiles, preset_of, tasks_of
from bench.resources import resource

CATALOG, FILES = load_catalog(), PresetFiles()


def table(name):
    with (resource("paper_tables") / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


TABLE_3 = {row["task"]: row for row in table("hparams_bdpo_table3.csv")}
TABLE_4 = {row["dataset"]: row for row in table("hparams_bdpo_table4_ablation.csv")}
ENERGIES = [task for task in tasks_of("bdpo") if task.startswith("bandit-energy")]


def preset(task, variant="released", algorithm="bdpo"):
    return preset_of(FILES[algorithm], CATALOG.task(task), variant)


@pytest.mark.parametrize("task", TABLE_3)
def test_agrees_with_table_3_and_the_released_script(task):
    printed, released, paper = TABLE_3[task], preset(task), preset(task, "paper")
    for loaded, origin in ((released, "code"), (paper, "paper")):
        values = loaded.values
        assert values["pessimism"] == float(printed[f"rho_{origin}"])
        assert values["divergence_weight"] == float(printed[f"eta_{origin}"])
        assert values["max_q_backup"] == (printed[f"max_q_backup_{origin}"] == "True")
        assert values["ensemble"] == int(printed[f"ensemble_{origin}"])
        assert values["discount"] == float(printed["discount"])
        hidden = f"{values['actor_width']}x{values['actor_layers']}"
        assert hidden == printed[f"diffusion_hidden_{origin}"]
        evaluation = loaded.evaluation
        assert (evaluation.interval, evaluation.protocol) == (50_000, "last")
        assert evaluation.episodes == int(printed["eval_episodes"])
        assert loaded.transitions.value == "keep_terminal_timeouts"
    assert released.values["behaviour_learning_rate"] == float(printed["behavior_lr_code"])
    assert released.values["critic_layer_norm"] == (printed["q_layer_norm_code"] == "True")
    first = printed["action_selection_code"] == "null (first sample)"
    assert (released.values["candidates"], paper.values["candidates"]) == (1 if first else 10, 10)
    transform = {"r*1000/(max_return-min_return)": "return_scaled_bdpo", "100*r": "times_hundred"}
    assert released.reward_transform.value == transform[printed["reward_code"]]


def test_variants_differ_in_placement_and_in_further_behaviour_training():
    released, paper = preset("walker2d-medium-v2").values, preset("walker2d-medium-v2", "paper").values
    assert (released["penalty_placement"], released["behaviour_in_training"]) == ("outside", True)
    assert (paper["penalty_placement"], paper["behaviour_in_training"]) == ("inside", False)


@pytest.mark.parametrize("task", ["hopper-medium-v2", "antmaze-large-diverse-v0"])
def test_table_2(task):
    """What all D4RL tasks share, V_n's embedding in the width of the tuned code."""
    expected = {
        "pretrain_iterations": 2_000_000,
        "train_iterations": 2_000_000,
        "warm_up_iterations": 50_000,
        "actor_interval": 5,
        "batch_size": 256,
        "samples": 10,
        "critic_width": 256,
        "critic_layers": 3,
        "actor_learning_rate": 1e-5,
        "critic_learning_rate": 3e-4,
        "gradient_norm": 1.0,
        "target_update_rate": 0.005,
        "action_margin": 1e-5,
        "diffusion_steps": 5,
        "clip_denoised": True,
        "time_embedding_width": 64,
        "value_time_width": 64,
        "all_terminal": False,
    }
    values = preset(task).values
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize("task", ENERGIES)
def test_energy_problems_take_the_present_code(task):
    """Released toy2d bdpo.yaml and config.yaml; App. B.2 has eta 0.06."""
    expected = {
        "pretrain_iterations": 100_000,
        "train_iterations": 100_000,
        "warm_up_iterations": 5_000,
        "batch_size": 512,
        "divergence_weight": 0.05,
        "pessimism": 0.0,
        "ensemble": 10,
        "diffusion_steps": 50,
        "clip_denoised": False,
        "value_time_width": 128,
        "penalty_placement": "inside",
        "all_terminal": True,
        "candidates": 1,
        "actor_width": 256,
        "action_margin": 0.0,
    }
    values = preset(task).values
    assert {name: values[name] for name in expected} == expected
    assert preset(task, "paper").values["divergence_weight"] == 0.06


@pytest.mark.parametrize("task", TABLE_4)
@pytest.mark.parametrize(("algorithm", "column"), [
    ("bdpo-dirac", "eta_deterministic"), ("bdpo-gaussian", "eta_gaussian"),
])  # fmt: skip
def test_ablations_keep_all_but_eta(algorithm, column, task):
    """Table 4, and the rest as BDPO's: hyper-parameters, rows, rewards and evaluation."""
    ablation, whole = preset(task, algorithm=algorithm), preset(task)
    kept = {name: whole.values[name] for name in ablation.values if name in whole.values}
    kept["divergence_weight"] = float(TABLE_4[task][column])
    assert {name: ablation.values[name] for name in kept} == kept
    assert set(ablation.values) - set(kept) <= {"log_std_min", "log_std_max"}
    for part in ("transitions", "reward_transform"):
        assert getattr(ablation, part).value == getattr(whole, part).value
    for part in ("interval", "episodes", "protocol"):
        assert getattr(ablation.evaluation, part) == getattr(whole.evaluation, part)
