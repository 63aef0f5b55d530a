"""DTQL and its KL-regularised variant on the 2D problems: settings of Appendix G.1 and the toy script."""

import pytest
import torch

from algorithms.base import Dimensions, Draw
from algorithms.registry import build
from bench.catalog import load_catalog
from bench.presets import load_preset, tasks_of
from bench.training.draws import DrawStream

CATALOG = load_catalog()
GRIDS = [f"bandit-25gaussians-{kind}" for kind in ("far", "near", "hard", "same")]
ROLLS = ["bandit-swissroll-far", "bandit-swissroll-near"]
ENERGIES = ["swissroll", "rings", "moons", "8gaussians", "2spirals", "checkerboard"]
SETS = [f"bandit-energy-{name}" for name in ENERGIES]


def values(algorithm, task):
    return load_preset(algorithm, CATALOG.task(task)).values


@pytest.mark.parametrize("algorithm", ["dtql", "dtql-kl"])
@pytest.mark.parametrize("task", GRIDS + ROLLS + SETS)
def test_settings_of_the_toy_script(algorithm, task):
    own = values(algorithm, task)
    expected = {
        "pretrain_iterations": 0,
        "discount": 0.99,
        "expectile": 0.95,
        "learning_rate": 3e-3,
        "critic_learning_rate": 3e-3,
        "learning_rate_decay": False,
        "hidden_width": 256,
        "diffusion_width": 128,
        "time_embedding_width": 4,
        "sigma_data": 0.5,
        "clip_denoised": False,
        "critic_layer_norm": True,
        "trust_region_weight": 1.0,
        "candidates": 1,
        "batch_size": 2048 if task in SETS else 10_000,
        "shuffled_minibatches": task not in SETS,
        "action_value_weight": 5.0 if (algorithm, task) == ("dtql", "bandit-swissroll-far") else 1.0,
        "train_iterations": {
            ("dtql-kl", "bandit-25gaussians-far"): 2000,
            ("dtql-kl", "bandit-25gaussians-hard"): 2500,
            ("dtql-kl", "bandit-swissroll-near"): 1500,
        }.get((algorithm, task), 3500),
    }
    assert {name: own[name] for name in expected} == expected
    if algorithm == "dtql":
        assert own["likelihood_weight"] == 0
    else:
        assert own["generation_noise"] == 2.5
        assert not {"likelihood_weight", "log_std_min", "log_std_max"} & own.keys()


def test_both_have_presets_for_the_same_tasks():
    assert tasks_of("dtql-kl") == tasks_of("dtql")


@pytest.mark.parametrize("algorithm", ["dtql", "dtql-kl"])
def test_presets_fit_the_2d_problems(algorithm):
    """One phase, plain samples at evaluation, actions of the data's size."""
    small = values(algorithm, GRIDS[0]) | {"diffusion_width": 8, "hidden_width": 8, "batch_size": 30}
    method = build(algorithm, Dimensions(1, 2, 11.2), small, (0, 1))
    (phase,) = method.phases
    assert (phase.name, phase.iterations, phase.sampling) == ("train", small["train_iterations"], "shuffled")
    draws = DrawStream((0, 1), "train", (Draw("rows", (30,), phase.sampling), *phase.draws), rows=30)
    for step in (0, 1, 50):
        every_row = draws.at(step)["rows"].sort(dim=1).values
        assert torch.equal(every_row, torch.arange(30).expand(2, 30))
    acting = DrawStream(
        (0, 1), "act", [Draw(draw.name, (40, *draw.shape), draw.distribution) for draw in method.act_draws]
    ).at(0)
    observations = torch.zeros(2, 40, 1)
    actions = method.act(observations, acting)
    assert torch.equal(actions, method.sample(observations, acting["candidates"]).squeeze(2))


def test_the_gaussian_actor_reaches_the_data():
    small = values("dtql", GRIDS[0]) | {"diffusion_width": 8, "hidden_width": 8}
    method = build("dtql", Dimensions(1, 2, 11.2), small, (0,))
    far = method.sample(torch.zeros(1, 1, 1), torch.full((1, 1, 1, 2), 1e3))
    assert far.flatten().tolist() == pytest.approx([11.2, 11.2])
