"""Illustrations of methods that act as the test says, on problems whose truth is known.

Then what each method shows of itself, by plain networks.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from algorithms.base import Algorithm, Dimensions, Draw
from algorithms.bc import BC, BCConfig
from algorithms.diffusion import vp_schedule
from bench.bandit2d.illustrate import (
    SAMPLES,
    Plane,
    Shown,
    deterministic_path,
    illustrate,
    plane_grid,
    shown_by,
    soft_maximum,
)
from bench.catalog import load_catalog
from bench.data.dataset import RawDataset
from bench.envs.bandit import generate
from bench.training import contract
from benchmarks.plain.bdpo import PlainBDPO, plain_networks
from benchmarks.plain.modules import q_values
from benchmarks.plain.srpo import PlainNetworks
from tests.algorithms import checks, test_srpo_points
from tests.algorithms.bdpo import test_acting as acting
from tests.algorithms.srpo import test_update as srpo_update


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


# What each method shows


def arrays(algorithm, grid, draws):
    with torch.no_grad():
        return shown_by(algorithm).arrays(grid, draws)


def test_other_methods_show_nothing_besides_their_actions():
    shown = shown_by(BC(Dimensions(1, 2), BCConfig(hidden_width=4), (0,)))
    assert (shown.draws, shown.arrays(torch.zeros(1, 2), {}), shown.temperature) == ((), {}, None)


def drawn(algorithm):
    return contract.draws_of(shown_by(algorithm).draws, algorithm.seeds)


@pytest.fixture(scope="module")
def shown():
    """What BDPO shows on a 2D problem, with the method and its draws."""
    algorithm = acting.make("bdpo", clip_denoised=False)
    grid = torch.linspace(-2, 2, 14, dtype=torch.float64).view(7, 2)
    draws = drawn(algorithm)
    return algorithm, grid, draws, arrays(algorithm, grid, draws)


def mean_of(members, *inputs):
    return sum(member(*inputs) for member in members).detach() / len(members)


def test_shapes_of_what_is_shown(shown):
    algorithm, _, _, result = shown
    shapes = {name: tuple(tensor.shape) for name, tensor in result.items()}
    assert shapes == {
        "behaviour": (2, 10_000, 2),
        "path": (2, 5, 1000, 2),
        "action_value": (2, 7),
        "diffusion_value_1": (2, 7),
        "diffusion_value_3": (2, 7),  # 5 and more are beyond the chain
        "value_test": (2, 2),
    }
    assert shown_by(algorithm).temperature == algorithm.config.divergence_weight == 0.3


def test_landscapes_are_means_of_the_target_ensembles(shown):
    algorithm, grid, _, result = shown
    origin = torch.zeros(7, 4, dtype=torch.float64)
    for seed in range(2):
        nets = plain_networks(algorithm, seed)
        q = mean_of(nets["target_critics"], origin, grid)
        torch.testing.assert_close(result["action_value"][seed], q)
        for n in (1, 3):
            v = mean_of(nets["target_diffusion_values"], origin, grid, torch.full((7,), n))
            torch.testing.assert_close(result[f"diffusion_value_{n}"][seed], v)


def test_samples_and_paths_are_of_behaviour_model_and_actor(shown):
    algorithm, _, draws, result = shown
    few, origin = 6, torch.zeros(6, 4, dtype=torch.float64)
    for seed in range(2):
        plain = PlainBDPO(plain_networks(algorithm, seed), algorithm.config, 1.0)
        noise = draws["behaviour_chain"][seed][:, 0, :few]
        samples, _ = plain.chain("target_behaviour", origin, noise)
        torch.testing.assert_close(result["behaviour"][seed, :few], samples.detach())
        a = draws["path_start"][seed, 0, :few]
        for n in range(4, 0, -1):
            torch.testing.assert_close(result["path"][seed, n, :few], a)
            e = plain.nets["target_actor"](a, origin, torch.full((few,), n)).detach()
            x0 = (a - math.sqrt(1 - plain.abar[n]) * e) / math.sqrt(plain.abar[n])
            a = math.sqrt(plain.abar[n - 1]) * x0 + math.sqrt(1 - plain.abar[n - 1]) * e
        torch.testing.assert_close(result["path"][seed, 0, :few], a)


def test_value_test(shown):
    """V_T averaged over noise, and eta log mean exp(Q / eta) over the behaviour model's samples."""
    algorithm, _, draws, result = shown
    few = 300
    origin = torch.zeros(few, 4, dtype=torch.float64)
    eta = algorithm.config.divergence_weight
    for seed in range(2):
        nets = plain_networks(algorithm, seed)
        chunks = draws["value_start"][seed].split(few)
        values, last = nets["target_diffusion_values"], torch.full((few,), 4)
        v = torch.cat([mean_of(values, origin[: len(a)], a, last[: len(a)]) for a in chunks])
        q = torch.cat(
            [
                mean_of(nets["target_critics"], origin[: len(a)], a)
                for a in result["behaviour"][seed].split(few)
            ]
        )
        soft = eta * math.log(torch.mean(torch.exp(q / eta)).item())
        expected = torch.tensor([v.mean(), soft], dtype=torch.float64)
        torch.testing.assert_close(result["value_test"][seed], expected)


def test_ablations_show_their_critics_and_samples():
    grid = torch.linspace(-1, 1, 14, dtype=torch.float64).view(7, 2)
    origin = torch.zeros(7, 4, dtype=torch.float64)
    for name, names in (("gaussian", {"action_value", "behaviour"}), ("dirac", {"action_value"})):
        algorithm = acting.make(name)
        result = arrays(algorithm, grid, drawn(algorithm))
        assert result.keys() == names
        for seed in range(2):
            q = mean_of(plain_networks(algorithm, seed)["target_critics"], origin, grid)
            torch.testing.assert_close(result["action_value"][seed], q)
    assert shown_by(acting.make("gaussian")).temperature == 0.3
    assert shown_by(acting.make("dirac")).temperature is None


def test_srpo_shows_its_behaviour_model_and_its_critics():
    algorithm = srpo_update.make(bound=3.0)
    grid = torch.randn(11, 2, dtype=torch.float64)
    shown = arrays(algorithm, grid, drawn(algorithm))
    assert shown["behaviour"].shape == (2, 2000, 2)
    assert not torch.equal(shown["behaviour"][0], shown["behaviour"][1])
    for seed in range(2):
        nets = PlainNetworks.copied(algorithm, seed)
        state = torch.zeros(11, 4, dtype=torch.float64)
        mean = (q_values(nets.target_q1, state, grid) + q_values(nets.target_q2, state, grid)) / 2
        torch.testing.assert_close(shown["action_value"][seed], mean.detach(), rtol=1e-12, atol=1e-14)


def test_points_show_where_they_are_and_started():
    algorithm = test_srpo_points.make()
    shown = arrays(algorithm, torch.zeros(1, 2), drawn(algorithm))
    assert {name: tuple(tensor.shape) for name, tensor in shown.items()} == {
        "targets": (2, 9, 2),
        "betas": (2, 2),
        "points": (2, 2, 9, 2),
        "behaviour": (2, 2000, 2),
    }
    assert shown["betas"].flatten().tolist() == pytest.approx([5.0, 0.2] * 2)
    assert torch.equal(shown["targets"][0], shown["points"][0, 1])  # where they start


def test_deterministic_path_of_gaussian_data():
    """For exact predictions DDIM only scales: by sqrt of the ratio of variances as steps become many."""
    schedule, deviation = vp_schedule(2000, torch.float64), 0.4

    def network(noisy, observations, steps):
        abar = schedule.abar[steps].unsqueeze(-1)
        return (1 - abar).sqrt() * noisy / (abar * deviation**2 + 1 - abar)

    start = checks.normal(1, 1, 7, 2)
    observations = torch.zeros(1, 1, 1, dtype=torch.float64)
    path = deterministic_path(schedule, network, observations, start, None)
    assert path.shape == (2001, 1, 1, 7, 2)
    assert torch.equal(path[-1], start)
    spread = schedule.abar[-1] * deviation**2 + 1 - schedule.abar[-1]
    torch.testing.assert_close(path[0], start * deviation / spread.sqrt(), rtol=5e-3, atol=0)


def test_soft_maximum():
    values = torch.tensor([[0.0, 1.0, 1.0]], dtype=torch.float64)
    expected = 0.5 * math.log((1 + 2 * math.exp(2.0)) / 3)
    assert soft_maximum(values, 0.5).item() == pytest.approx(expected)
    assert soft_maximum(values, 0.0).item() == 1
    assert soft_maximum(1e4 * values, 0.05).isfinite().all()
