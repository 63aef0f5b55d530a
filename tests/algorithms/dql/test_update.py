"""Diffusion-QL's iterations against a plain per-seed implementation; how it acts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from algorithms.base import Dimensions
from algorithms.diffusion import vp_schedule
from algorithms.dpm_solver import AncestralSampler
from algorithms.dql import DQL, DQLConfig
from bench.training import contract
from benchmarks.plain.dql import PlainDQL, PlainNetworks
from benchmarks.plain.modules import q_values
from tests.algorithms import checks

SEEDS, BOUND = (3, 8), 0.8
DIMENSIONS = Dimensions(5, 3, action_bound=BOUND)
CONFIG = DQLConfig(
    hidden_width=16,
    batch_size=8,
    candidates=4,
    train_iterations=12,
    learning_rate=1e-3,
    critic_learning_rate=2e-3,
    cosine_steps=6,
    cosine_interval=3,
    discount=0.95,
    target_update_rate=0.05,
    policy_target_rate=0.1,
    policy_target_start=4,
    policy_target_interval=3,
    gradient_norm=0.5,
    value_weight=0.7,
)
CASES = {
    "one next action": CONFIG,
    "max-Q backup": replace(CONFIG, backup_samples=3),
    "eight steps": replace(CONFIG, diffusion_steps=8),
    "large norm": replace(CONFIG, gradient_norm=50.0, value_weight=3.0),
}


def in_double(algorithm):
    """The method in float64, schedule and sampler included."""
    schedule = vp_schedule(algorithm.config.diffusion_steps, torch.float64)
    sampler = AncestralSampler(schedule, algorithm.dimensions.action_bound)
    return contract.doubled(algorithm, schedule=schedule, sampler=sampler)


def assert_same_networks(algorithm, plain, seed):
    mine = PlainNetworks.copied(algorithm, seed)
    for name, module in vars(mine).items():
        expected_module = getattr(plain.nets, name)
        pairs = zip(module.named_parameters(), expected_module.parameters(), strict=True)
        for (path, actual), expected in pairs:
            difference, scale = (actual - expected).abs().max(), expected.abs().max()
            assert difference <= 1e-8 * scale + 1e-12, f"{name}.{path}: {difference} of {scale}"


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations(case):
    """Losses, order, clipping, rates, targets and intervals of all networks, step by step."""
    config = CASES[case]
    algorithm = in_double(DQL(DIMENSIONS, config, SEEDS))
    plain = [PlainDQL.of(algorithm, seed) for seed in range(len(SEEDS))]
    generator = torch.Generator().manual_seed(0)
    (phase,) = algorithm.phases
    for step in range(12):
        batch = checks.random_batch(len(SEEDS), 8, 5, 3, generator=generator, bound=BOUND)
        draws = contract.draws_of(phase.draws, SEEDS, step)
        program = phase.program(step)
        assert program == ("train+target_policy" if step in (6, 9) else "train")
        metrics = algorithm.update(program, batch, draws)
        for seed, one in enumerate(plain):
            losses = one.update(program, checks.of_seed(batch, seed), checks.of_seed(draws, seed))
            assert metrics.keys() == losses.keys()
            for name, value in losses.items():
                torch.testing.assert_close(metrics[name][seed], value.detach(), rtol=1e-8, atol=1e-10)
            assert_same_networks(algorithm, one, seed)


def test_the_target_policy_follows_every_fifth_iteration_from_the_1001st():
    """The released counter is 0 in the first iteration and is asked for 1000 and for multiples of 5."""
    (phase,) = DQL(DIMENSIONS, DQLConfig(hidden_width=4), SEEDS).phases
    following = [step for step in range(1100) if phase.program(step) == "train+target_policy"]
    assert following == list(range(1000, 1100, 5))
    assert {phase.program(step) for step in range(1100)} == {"train", "train+target_policy"}
    assert (phase.name, phase.iterations, phase.batch_size, phase.evaluated, phase.sampling) == (
        "train",
        2_000_000,
        256,
        True,
        "index",
    )


def test_the_rates_hardly_fall():
    """40 evaluations of 2000 epochs: 39 steps of a cosine of 2000 before the last of them."""
    optimiser = DQL(DIMENSIONS, DQLConfig(hidden_width=4), SEEDS).optimisers["policy"]
    for done, taken in ((0, 0), (49_999, 0), (50_000, 1), (1_999_999, 39)):
        optimiser.steps.fill_(done)
        expected = 3e-4 * (1 + np.cos(np.pi * taken / 2000)) / 2
        assert optimiser.current_learning_rate().item() == pytest.approx(expected, rel=1e-12)
    assert expected > 0.999 * 3e-4


def test_what_one_iteration_moves():
    algorithm = in_double(DQL(DIMENSIONS, CONFIG, SEEDS))
    (phase,) = algorithm.phases
    batch = checks.random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(1))
    moving = ("policy", "critics", "target_critics")
    for program, more in (("train", ()), ("train+target_policy", ("target_policy",))):
        before = checks.snapshot(algorithm)
        algorithm.update(program, batch, contract.draws_of(phase.draws, SEEDS))
        checks.assert_only_changes(algorithm, before, *moving, *more)


def test_targets_start_as_copies():
    state = DQL(DIMENSIONS, CONFIG, SEEDS).networks.state_dict()
    targets = {name for name in state if name.startswith("target_")}
    assert {name.split(".")[0] for name in targets} == {"target_policy", "target_critics"}
    assert all(torch.equal(state[name], state[name.removeprefix("target_")]) for name in targets)


def test_the_policys_loss_meets_critics_that_have_moved():
    """The critics of before the iteration would give another value."""
    algorithm = in_double(DQL(DIMENSIONS, CONFIG, SEEDS))
    (phase,) = algorithm.phases
    batch = checks.random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(1), bound=BOUND)
    draws = contract.draws_of(phase.draws, SEEDS)
    plain = PlainDQL.of(algorithm, 0)
    one, drawn = checks.of_seed(batch, 0), checks.of_seed(draws, 0)
    a = plain.sampled(plain.nets.policy, one["observations"], drawn["chain"])
    old = plain.negative_value(one["observations"], a, drawn["critic_choice"]).item()
    assert abs(algorithm.update("train", batch, draws)["value_loss"][0].item() - old) > 1e-6


def test_acts_by_the_softmax_of_the_target_critics():
    algorithm = in_double(DQL(DIMENSIONS, CONFIG, SEEDS))
    for parameter in algorithm.networks["target_critics"].parameters():
        parameter.data *= 1.5
    for name in ("critics", "target_policy"):
        for parameter in algorithm.networks[name].parameters():
            parameter.data.fill_(float("nan"))
    generator = torch.Generator().manual_seed(6)
    count = 4000
    state = torch.randn(2, 1, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 1, 5, 4, 3, generator=generator, dtype=torch.float64)
    uniform = torch.rand(2, count, generator=generator, dtype=torch.float64)
    draws = {"candidates": noise.expand(-1, count, -1, -1, -1), "choice": uniform}
    actions = algorithm.act(state.expand(-1, count, -1), draws)
    assert actions.shape == (2, count, 3)
    for seed in range(2):
        plain = PlainDQL.of(algorithm, seed)
        s, nets = state[seed].expand(4, -1), plain.nets
        candidates = plain.sampled(nets.policy, s, noise[seed, 0]).detach()
        q = torch.minimum(q_values(nets.target_q1, s, candidates), q_values(nets.target_q2, s, candidates))
        probabilities = torch.softmax(q, dim=0).detach().numpy()
        distances = (actions[seed, :, None] - candidates[None]).abs().amax(dim=-1)
        assert distances.amin(dim=1).max() < 1e-8
        counts = np.bincount(distances.argmin(dim=1).numpy(), minlength=4)
        assert stats.chisquare(counts, count * probabilities).pvalue > 1e-3


def test_acts_by_its_own_sampler():
    """As it is built, in single precision, where the sampler has not been made anew."""
    algorithm = DQL(DIMENSIONS, replace(CONFIG, candidates=1), SEEDS)
    states, noise = checks.normal(2, 6, 5).float(), checks.normal(2, 6, 5, 1, 3, seed=1).float()
    choice = torch.full((2, 6), 0.5, dtype=torch.float64)
    actions = algorithm.act(states, {"candidates": noise, "choice": choice})
    for seed in range(2):
        plain = PlainDQL.of(algorithm, seed)
        expected = plain.sampled(plain.nets.policy, states[seed], noise[seed, :, :, 0].transpose(0, 1))
        torch.testing.assert_close(actions[seed], expected.detach(), rtol=1e-4, atol=1e-5)


def test_declares_what_an_iteration_needs():
    (phase,) = DQL(DIMENSIONS, replace(CONFIG, backup_samples=10), SEEDS).phases
    assert {draw.name: (draw.shape, draw.distribution) for draw in phase.draws} == {
        "next_chain": ((5, 80, 3), "normal"),
        "step": ((8,), "uniform"),
        "noise": ((8, 3), "normal"),
        "chain": ((5, 8, 3), "normal"),
        "critic_choice": ((), "uniform"),
    }
