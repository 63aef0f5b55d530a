"""Illustrations of methods that act as the test says, on problems whose truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from algorithms.base import Algorithm, Dimensions, Draw
from bench.bandit2d.illustrate import Shown, shown_by
from bench.catalog import load_catalog
from bench.data.dataset import RawDataset
from bench.envs.bandit import generate
from bench.evaluation.illustration import SAMPLES, Plane, illustrate, plane_grid


class Pointing(Algorithm):
    """Acts in `target` plus `spread` times its noise; seeds given in `broken` act in NaN."""

    name = "pointing"
    act_draws = (Draw("noise", (2,), "normal"),)
    target, spread, broken = (10.0, 10.0), 0.0, ()
    values, temperature = (1.1, 1.0), None

    def build(self):
        pass

    @property
    def phases(self):
        return ()

    def update(self, program, batch, draws):
        return {}

    def act(self, observations, draws):
        assert observations.shape[-1] == 1
        assert not observations.any()
        actions = torch.tensor(self.target) + self.spread * draws["noise"]
        for slot, seed in enumerate(self.seeds):
            if seed in self.broken:
                actions[slot, 0] = torch.nan
        return actions


@shown_by.register
def _(algorithm: Pointing):
    def arrays(grid, draws):
        return {
            "behaviour": draws["latent"],
            "action_value": grid.sum(dim=1).expand(len(algorithm.seeds), -1),
            "value_test": torch.tensor(algorithm.values).expand(len(algorithm.seeds), 2),
        }

    return Shown((Draw("latent", (50, 2), "normal"),), arrays, algorithm.temperature)


def method(seeds=(0, 1), **settings):
    made = Pointing(Dimensions(1, 2, 11.0), None, seeds)
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def problem(name, rows=10_000):
    task = load_catalog().task(f"bandit-{name}")
    data = generate(task.dataset, rows)
    none = np.zeros(rows, dtype=bool)
    observations = np.zeros((rows, 1), dtype=np.float32)
    return task, RawDataset(task.name, observations, data.actions, data.rewards, none, ~none, 1)


def test_what_it_holds_per_seed():
    first, second = illustrate(method(spread=1.0), *problem("25gaussians-far"))
    shapes = {name: tuple(tensor.shape) for name, tensor in first.arrays.items()}
    assert shapes == {
        "actions": (SAMPLES, 2),
        "data": (SAMPLES, 2),
        "data_reward": (SAMPLES,),
        "truth": (SAMPLES, 2),
        "grid": (8100, 2),
        "behaviour": (50, 2),
        "action_value": (8100,),
        "value_test": (2,),
    }
    torch.testing.assert_close(first.arrays["action_value"], first.arrays["grid"].sum(dim=1))
    torch.testing.assert_close(first.arrays["data_reward"], first.arrays["data"].norm(dim=1))
    for name in ("actions", "data", "truth", "behaviour"):
        assert not torch.equal(first.arrays[name], second.arrays[name])


def test_a_seed_shows_the_same_alone_or_among_others():
    (alone,) = illustrate(method(seeds=(1,), spread=1.0), *problem("energy-rings"))
    _, among = illustrate(method(seeds=(0, 1), spread=1.0), *problem("energy-rings"))
    assert alone.numbers == among.numbers
    assert all(torch.equal(alone.arrays[name], among.arrays[name]) for name in alone.arrays)


def test_a_policy_on_one_best_corner():
    (shown,) = illustrate(method(seeds=(0,), spread=0.1), *problem("25gaussians-far"))
    numbers = shown.numbers
    assert numbers["share_on_best_modes"] == 1.0
    assert numbers["share_in_support"] > 0.98
    # The truth lies on all four corners, the data on all 25 modes: 4 of them are the best.
    assert (shown.arrays["truth"].abs() > 8.5).all()
    assert numbers["data_share_on_best_modes"] == pytest.approx(0.16, abs=0.03)
    assert numbers["behaviour_share_on_best_modes"] == 0.0
    # Noise of deviation 1 about the origin is far from the corners.
    assert numbers["behaviour_energy_distance_to_truth"] > 5
    assert numbers["value_test_difference"] == pytest.approx(0.1, abs=1e-6)
    assert numbers["value_test_relative"] == pytest.approx(0.1, abs=1e-6)


def test_a_policy_between_the_modes():
    (shown,) = illustrate(method(seeds=(0,), target=(7.5, 7.5)), *problem("25gaussians-far"))
    assert shown.numbers["share_in_support"] == shown.numbers["share_on_best_modes"] == 0.0


@pytest.mark.parametrize(
    ("kind", "best", "worse"),
    [
        ("near", (0.0, 0.0), (5.0, 0.0)),
        ("hard", (-10.0, 10.0), (10.0, 10.0)),
        ("same", (5.0, 0.0), (2.5, 0.0)),
    ],
)
def test_the_best_modes_of_the_25_gaussians(kind, best, worse):
    plane = Plane.of(*problem(f"25gaussians-{kind}"))
    assert plane.on_best_modes(np.array([best, worse], dtype=np.float32)).tolist() == [True, False]


def test_the_truth_of_energy_sets_is_re_weighted_by_the_methods_own_temperature():
    task, raw = problem("energy-moons", 5000)
    for temperature, lower in ((None, 1.0), (1.0, math.e / (1 + math.e)), (1e6, 0.5)):
        (shown,) = illustrate(method(seeds=(0,), temperature=temperature), task, raw)
        index = {
            tuple(point): energy for point, energy in zip(raw.actions.tolist(), raw.rewards, strict=True)
        }
        energies = [index[tuple(point)] for point in shown.arrays["truth"].tolist()]
        # 2,000 draws: three standard deviations are 0.034.
        assert np.mean(energies) == pytest.approx(lower, abs=0.034)


def test_a_seed_that_does_not_act_in_numbers_shows_nothing():
    first, second = illustrate(method(broken=(0,)), *problem("swissroll-near"))
    assert first is None
    assert second is not None


def test_the_grid_covers_the_papers_square():
    grid = plane_grid(4.5)
    assert grid.shape == (8100, 2)
    assert grid[0].tolist() == [-4.5, -4.5]
    assert grid[89].tolist() == [4.5, -4.5]
    assert grid[-1].tolist() == [4.5, 4.5]
    (shown,) = illustrate(method(seeds=(0,)), *problem("energy-rings", 2000))
    torch.testing.assert_close(shown.arrays["grid"], grid)
    task, raw = problem("25gaussians-far")
    (shown,) = illustrate(method(seeds=(0,)), replace(task, action_bound=20.0), raw)
    assert shown.arrays["grid"].max() == pytest.approx(22.0)


def test_other_tasks_are_no_plane():
    with pytest.raises(ValueError, match="hopper-medium-v2 is no 2D problem"):
        Plane.of(load_catalog().task("hopper-medium-v2"), problem("energy-rings", 100)[1])
