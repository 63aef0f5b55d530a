"""SRPO's illustration: the gradient on free points, where they start, and where falling beta takes them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from algorithms.base import Dimensions
from algorithms.srpo_points import SRPOPoints, SRPOPointsConfig, beta_ladder, target_grid
from bench.training import contract
from bench.training.batches import PackedDataset
from bench.training.trainer import Trainer
from benchmarks.plain.modules import slice_of
from benchmarks.plain.srpo import PlainEps, alpha_sigma
from tests.algorithms import checks

PLANE, SEEDS = Dimensions(1, 2, action_bound=4.0), (3, 8)
CONFIG = SRPOPointsConfig(
    behaviour_iterations=20,
    behaviour_batch_size=6,
    behaviour_width=8,
    behaviour_blocks=1,
    time_features=4,
    policy_iterations=20,
    grid_side=3,
    beta_count=2,
    highest_beta=5.0,
    lowest_beta=0.2,
)
DATA = contract.transitions(observation=1, rows=60, bound=4.0)


def make(seeds=SEEDS, config=CONFIG):
    return contract.doubled(SRPOPoints(PLANE, config, seeds))


def test_targets_and_temperatures():
    grid = target_grid(3, 2.0)
    assert sorted(grid.tolist()) == sorted([x, y] for x in (-2.0, 0.0, 2.0) for y in (-2.0, 0.0, 2.0))
    assert target_grid(1, 2.0).tolist() == [[0.0, 0.0]]
    assert beta_ladder(10, 0.1, 5).tolist() == pytest.approx([10, 10**0.5, 1, 10**-0.5, 0.1])
    assert beta_ladder(10, 0.1, 1).tolist() == [10]


def test_points_start_at_their_targets():
    algorithm = make()
    points = algorithm.networks["points"].points
    assert points.shape == (2, 2, 9, 2)
    expected = [[4 * x, 4 * y] for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)]
    for temperature in points.flatten(0, 1):
        assert sorted(temperature.tolist()) == sorted(expected)


@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("weighting", ["sigma_squared", "alpha_over_sigma"])
def test_points_follow_the_gradient(weighting, baseline):
    """Twenty steps of Adam, each point's gradient w e + 2 beta (a - target) from a plain network."""
    config = replace(CONFIG, score_weighting=weighting, noise_baseline=baseline)
    algorithm = make(config=config)
    phase = algorithm.phases[1]
    state = algorithm.networks.state_dict()
    plains = []
    for seed in range(2):
        start = algorithm.networks["points"].points[seed].detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([start], lr=config.policy_learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.policy_iterations)
        eps = PlainEps(slice_of(state, "behaviour.", seed))
        plains.append((start, start.detach().clone(), optimiser, schedule, eps))
    betas = torch.tensor([5.0, 0.2], dtype=torch.float64)[:, None, None]
    for step in range(20):
        batch = {"observations": torch.zeros(2, 1, 1, dtype=torch.float64)}
        draws = contract.draws_of(phase.draws, SEEDS, step)
        algorithm.update("policy", batch, draws)
        for seed, (points, targets, optimiser, schedule, eps) in enumerate(plains):
            t = 0.02 + 0.18 * draws["policy_time"][seed]
            z = draws["policy_noise"][seed]
            alpha, sigma = alpha_sigma(t)
            a_t = alpha[:, None] * points.detach().view(18, 2) + sigma[:, None] * z
            with torch.no_grad():
                e = eps(a_t, torch.zeros(18, 1, dtype=torch.float64), t) - (z if baseline else 0)
            w = sigma**2 if weighting == "sigma_squared" else alpha / sigma
            score = (w[:, None] * e).view(2, 9, 2)
            points.grad = (score + betas * 2 * (points.detach() - targets)) / 18
            optimiser.step()
            schedule.step()
    for seed, (points, *_) in enumerate(plains):
        actual = algorithm.networks["points"].points[seed].detach()
        torch.testing.assert_close(actual, points.detach(), rtol=1e-6, atol=1e-7)


def test_phases_train_their_own():
    trainer = Trainer(make(), DATA, runner="eager")
    for own in ("behaviour", "points"):
        before = checks.snapshot(trainer.algorithm)
        trainer.advance(20)
        for name, tensor in trainer.algorithm.networks.state_dict().items():
            moves = name.startswith(own) and "frequencies" not in name
            assert torch.equal(tensor, before[name]) != moves, name
    assert [(p.name, p.batch_size, p.evaluated) for p in trainer.algorithm.phases] == [
        ("behaviour", 6, False),
        ("policy", 1, True),
    ]


def test_acts_by_any_of_its_points():
    algorithm = make()
    points = algorithm.networks["points"].points
    points.data.copy_(torch.arange(2 * 2 * 9 * 2).view(2, 2, 9, 2))
    choice = torch.tensor([[0.0, 0.5, 1 - 2**-53]] * 2, dtype=torch.float64)
    actions = algorithm.act(torch.zeros(2, 3, 1), {"choice": choice})
    assert actions[0].tolist() == [[0, 1], [18, 19], [34, 35]]
    assert actions[1].tolist() == [[36, 37], [54, 55], [70, 71]]


MODES = np.array([[2.0, 2.0], [-2.0, 2.0], [-2.0, -2.0], [2.0, -2.0]])
SPREAD = 0.3


class ExactNoise(nn.Module):
    """The exact noise prediction for an even mixture of Gaussians of deviation 0.3 around the four modes."""

    def forward(self, noisy, observations, time):
        alpha, sigma = (scale.unsqueeze(-1) for scale in alpha_sigma(time.double()))
        variance = (alpha * SPREAD) ** 2 + sigma**2
        away = noisy.double().unsqueeze(-2) - alpha.unsqueeze(-1) * torch.from_numpy(MODES)
        share = torch.softmax(-away.square().sum(-1) / (2 * variance), dim=-1)
        return (sigma * (share.unsqueeze(-1) * away).sum(-2) / variance).to(noisy.dtype)


def distances(points, others):
    return np.linalg.norm(points[:, None] - others[None], axis=-1)


def test_from_the_target_to_the_nearest_mode_as_beta_falls():
    """With an exact behaviour model; no target is equally far from two modes."""
    config = SRPOPointsConfig(
        behaviour_iterations=1,
        behaviour_width=4,
        behaviour_blocks=1,
        time_features=2,
        behaviour_batch_size=4,
        policy_iterations=400,
        grid_side=4,
        beta_count=6,
        lowest_beta=0.02,
    )
    algorithm = SRPOPoints(PLANE, config, (0,))
    algorithm.networks["behaviour"] = ExactNoise()
    phase = algorithm.phases[1]
    batch = {"observations": torch.zeros(1, 1, 1)}
    for step in range(phase.iterations):
        draws = contract.draws_of(phase.draws, (0,), step)
        algorithm.update("policy", batch, {**draws, "policy_noise": draws["policy_noise"].float()})
    targets = algorithm.targets.numpy()
    nearest = MODES[distances(targets, MODES).argmin(1)]
    points = algorithm.networks["points"].points[0].detach().numpy()
    to_target = [np.linalg.norm(at - targets, axis=1).mean() for at in points]
    to_mode = [np.linalg.norm(at - nearest, axis=1).mean() for at in points]
    assert (np.diff(to_target) > 0).all(), to_target
    assert (np.diff(to_mode) < 0).all(), to_mode
    assert to_target[0] < 0.25
    assert np.linalg.norm(points[-1] - nearest, axis=1).max() < 0.1


def trained(seeds):
    """Points over a behaviour model trained on the ring of eight Gaussians, small."""
    generator = np.random.default_rng(0)
    index = generator.integers(8, size=4000)
    angles = index * math.pi / 4
    data = np.stack((np.cos(angles), np.sin(angles)), 1) * 4 + generator.normal(size=(4000, 2)) * 0.5
    data /= math.sqrt(2)
    zeros = np.zeros((4000, 1))
    packed = PackedDataset.pack(zeros, data, zeros, zeros[:, 0], np.ones(4000, dtype=bool))
    config = SRPOPointsConfig(
        behaviour_iterations=1000,
        behaviour_batch_size=128,
        behaviour_width=32,
        behaviour_learning_rate=1e-3,
        behaviour_blocks=2,
        policy_iterations=200,
        policy_learning_rate=0.1,
        grid_side=5,
        beta_count=4,
    )
    bound = float(np.abs(data).max())
    trainer = Trainer(SRPOPoints(Dimensions(1, 2, bound), config, seeds), packed)
    while trainer.phase is not None:
        trainer.advance(trainer.iterations_left_in_phase)
    centres = np.stack((np.cos(np.arange(8) * math.pi / 4), np.sin(np.arange(8) * math.pi / 4)), 1)
    return trainer.algorithm, centres * 4 / math.sqrt(2)


def measured(seeds):
    """Per seed: mean distance of the points to their target at the highest beta, to the nearest centre at the
    lowest, and the share of points within three deviations of a centre there."""
    algorithm, centres = trained(seeds)
    targets = algorithm.targets.numpy()
    rows = []
    for points in algorithm.networks["points"].points.detach().numpy():
        to_centre = distances(points[-1], centres).min(1)
        within = (to_centre < 3 * 0.5 / math.sqrt(2)).mean()
        rows.append((np.linalg.norm(points[0] - targets, axis=1).mean(), to_centre.mean(), within))
    return np.array(rows)


RECORDED = {"to_target": (0.0676, 0.0069), "to_centre": (0.587, 0.067), "within": (0.956, 0.040)}
"""Mean and standard deviation of `measured` over seeds 10 to 19."""


def test_trained_small():
    """A trained behaviour model, within three standard deviations of ten recorded runs."""
    ((to_target, to_centre, within),) = measured((0,))
    limits = {
        name: (mean - 3 * deviation, mean + 3 * deviation) for name, (mean, deviation) in RECORDED.items()
    }
    assert to_target < limits["to_target"][1]  # greedy: the points stay
    assert to_centre < limits["to_centre"][1]  # conservative: they lie on the modes
    assert within > limits["within"][0]


# What every method must satisfy.


def test_seeds_are_independent():
    contract.assert_seeds_independent(make, DATA)


@pytest.mark.parametrize(("network", "after"), [("behaviour", 2), ("points", 22)])
def test_poison_stays(network, after):
    contract.assert_poison_stays(make, DATA, network, after)


def test_deterministic():
    contract.assert_deterministic(make, DATA)


def test_state_is_whole():
    contract.assert_state_is_whole(make, DATA)


def test_never_waits():
    contract.assert_never_waits(make, DATA)


def test_seed_view():
    contract.assert_seed_view_acts_alike(make((3, 5)))
