"""Every loss of EDP against its equation: values, gradients, and what must be held fixed."""

import math

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.diffusion import linear_schedule
from algorithms.dpm_solver import SolverSampler
from algorithms.edp import (
    EDPTD3,
    EDPTD3Config,
    critic_regularised_weights,
    diffusion_loss_and_actions,
    likelihood_guidance,
    value_guidance,
)
from algorithms.losses import backup_values, temporal_difference_loss
from bench.training import contract
from benchmarks.plain.edp import PlainNetworks, diffusion_terms, log_likelihood, steps_in_single
from benchmarks.plain.modules import q_values
from tests.algorithms import checks

SEEDS, BATCH, BOUND = (3, 8), 6, 0.7
CONFIG = EDPTD3Config(hidden_width=12, diffusion_steps=50)
SCHEDULE = linear_schedule(50, torch.float64)


@pytest.fixture
def method():
    return contract.doubled(EDPTD3(Dimensions(5, 3, BOUND), CONFIG, SEEDS), schedule=SCHEDULE)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return checks.random_batch(len(SEEDS), BATCH, 5, 3, generator=generator, bound=BOUND)


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def assert_same_gradients(loss, network, seed, expected, plain):
    """Of one seed's part of stacked parameters, against those of the plain module."""
    stacked = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    single = torch.autograd.grad(expected, list(plain.parameters()), retain_graph=True)
    largest = 0.0
    for mine, theirs in zip(stacked, single, strict=True):
        mine = mine[seed].squeeze(0) if theirs.dim() == 1 else mine[seed].T
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
        largest = max(largest, float(theirs.abs().max()))
    assert largest > 1e-4  # zeros would agree too


def test_diffusion_loss_and_approximated_actions(method, batch):
    uniform = torch.rand(2, BATCH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    uniform[:, 0], uniform[:, 1] = 0.0, 1 - 2**-53  # the first and the last step
    noise, direction = normal(2, BATCH, 3), normal(2, BATCH, 3, seed=5)
    policy = method.networks["policy"]
    loss, actions = diffusion_loss_and_actions(
        policy, SCHEDULE, batch, uniform=uniform, noise=noise, bound=BOUND
    )
    for seed in range(2):
        plain = PlainNetworks.copied(method, seed).policy
        s, a = batch["observations"][seed], batch["actions"][seed]
        expected, approximated = diffusion_terms(
            plain, SCHEDULE.abar[1:], s, a, uniform[seed], noise[seed], BOUND
        )
        torch.testing.assert_close(loss[seed], expected, rtol=1e-10, atol=0)
        torch.testing.assert_close(actions[seed], approximated, rtol=1e-8, atol=1e-10)
        assert_same_gradients(loss[seed], policy, seed, expected, plain)
        value, expected_value = (actions * direction)[seed].sum(), (approximated * direction[seed]).sum()
        assert_same_gradients(value, policy, seed, expected_value, plain)
    assert (actions.abs() == BOUND).any()  # the clip was reached
    assert (actions.abs() < BOUND).any()


def test_one_pass_serves_the_loss_and_the_actions(method, batch):
    passes = []
    method.networks["policy"].register_forward_hook(lambda *_: passes.append(1))
    uniform = torch.rand(2, BATCH, dtype=torch.float64)
    diffusion_loss_and_actions(
        method.networks["policy"], SCHEDULE, batch, uniform=uniform, noise=normal(2, BATCH, 3), bound=BOUND
    )
    assert len(passes) == 1


@pytest.mark.parametrize("uniform", [(0.2, 0.7), (0.7, 0.2), (0.0, 1 - 2**-53), (0.499, 0.501)])
def test_value_guidance(method, batch, uniform):
    """Numerator and divisor are of the critic that the draw picks; the divisor has no gradient."""
    actions = normal(2, BATCH, 3).requires_grad_()
    critics = method.networks["critics"]
    guidance = value_guidance(
        critics, torch.tensor(uniform, dtype=torch.float64), batch["observations"], actions, 2.0
    )
    (gradient,) = torch.autograd.grad(guidance.sum(), actions, retain_graph=True)
    for seed in range(2):
        nets = PlainNetworks.copied(method, seed)
        a = actions[seed].detach().requires_grad_()
        q = q_values(nets.q1 if uniform[seed] < 0.5 else nets.q2, batch["observations"][seed], a)
        expected = -(2.0 / q.abs().mean().item()) * q.mean()
        torch.testing.assert_close(guidance[seed], expected, rtol=1e-10, atol=0)
        torch.testing.assert_close(gradient[seed], torch.autograd.grad(expected, a)[0], rtol=1e-8, atol=1e-12)
    unused = torch.autograd.grad(guidance.sum(), list(critics.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in unused)


def test_critic_regularised_weights(method, batch):
    centres, noise = normal(2, BATCH, 3).requires_grad_(), normal(2, 4, BATCH, 3, seed=3)
    for parameter in method.networks["critics"].parameters():
        parameter.data *= 2  # advantages large enough for the limit
    weights = critic_regularised_weights(
        method.networks["critics"], batch, centres, noise, temperature=0.5, maximum=1.5
    )
    assert not weights.requires_grad
    for seed in range(2):
        nets = PlainNetworks.copied(method, seed)
        s = batch["observations"][seed]

        def lower(a, nets=nets, s=s):
            return torch.minimum(q_values(nets.q1, s, a), q_values(nets.q2, s, a)).detach()

        baseline = torch.stack([lower(centres[seed] + noise[seed, i]) for i in range(4)]).mean(dim=0)
        for row in range(BATCH):
            advantage = float(lower(batch["actions"][seed])[row] - baseline[row])
            assert float(weights[seed, row]) == pytest.approx(min(1.5, math.exp(advantage / 0.5)), rel=1e-10)
    assert (weights == 1.5).any()
    assert (weights < 1.5).any()


def test_likelihood_guidance(batch):
    weights = normal(2, BATCH).abs()
    centres = normal(2, BATCH, 3, seed=4).requires_grad_()
    guidance = likelihood_guidance(weights, batch["actions"], centres)
    (gradient,) = torch.autograd.grad(guidance.sum(), centres)
    for seed in range(2):
        centre = centres[seed].detach().requires_grad_()
        expected = -(weights[seed] * log_likelihood(batch["actions"][seed], centre)).mean()
        torch.testing.assert_close(guidance[seed], expected, rtol=1e-10, atol=0)
        torch.testing.assert_close(gradient[seed], torch.autograd.grad(expected, centre)[0])


@pytest.mark.parametrize(("samples", "bound"), [(1, None), (4, BOUND)])
def test_backup_values(method, batch, samples, bound):
    """The best sample of each critic, then the lower of the two; clipped only for the max-Q backup."""
    following = batch["next_observations"]
    actions = 2 * normal(2, BATCH * samples, 3)
    found = backup_values(method.networks["critics"], following, actions, bound)
    for seed in range(2):
        nets = PlainNetworks.copied(method, seed)
        for row in range(BATCH):
            a = actions[seed, row * samples : (row + 1) * samples]
            a = a if bound is None else a.clamp(-bound, bound)
            s = following[seed, row].expand(samples, -1)
            best = [q_values(net, s, a).max().item() for net in (nets.q1, nets.q2)]
            assert float(found[seed, row]) == pytest.approx(min(best), rel=1e-10)


def test_temporal_difference_loss(method, batch):
    """Both critics to one target, in which nothing has a gradient and terminals cut the future off."""
    next_values = normal(2, BATCH).requires_grad_()
    critics = method.networks["critics"]
    loss = temporal_difference_loss(critics, batch, next_values, 0.9)
    assert torch.autograd.grad(loss.sum(), next_values, allow_unused=True, retain_graph=True) == (None,)
    gradients = torch.autograd.grad(loss.sum(), list(critics.parameters()))
    for seed in range(2):
        nets = PlainNetworks.copied(method, seed)
        one = {name: tensor[seed] for name, tensor in batch.items()}
        y = one["rewards"] + 0.9 * (1 - one["terminals"]) * next_values[seed].detach()
        errors = [
            ((q_values(net, one["observations"], one["actions"]) - y) ** 2).mean()
            for net in (nets.q1, nets.q2)
        ]
        torch.testing.assert_close(loss[seed], errors[0] + errors[1], rtol=1e-10, atol=0)
        for member, (net, error) in enumerate(zip((nets.q1, nets.q2), errors, strict=True)):
            for mine, theirs in zip(
                gradients, torch.autograd.grad(error, list(net.parameters())), strict=True
            ):
                mine = mine[seed, member]
                mine = mine.squeeze(0) if theirs.dim() == 1 else mine.T
                torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)
    assert batch["terminals"].any()


def test_initial_weights_are_flaxs():
    """Kernels of standard deviation 1/sqrt(inputs) truncated at two widths, biases zero, in every network."""
    networks = EDPTD3(Dimensions(11, 3), EDPTD3Config(), (0,)).networks
    for name, tensor in networks.state_dict().items():
        if name.endswith("bias"):
            assert (tensor == 0).all(), name
        elif tensor.numel() > 10_000:
            deviation = tensor.shape[-2] ** -0.5
            assert tensor.std().item() == pytest.approx(deviation, rel=0.03), name
            assert tensor.abs().max() < 2.3 * deviation, name


RELEASED_STEPS = [999, 932, 865, 799, 732, 665, 599, 532, 466, 399, 332, 266, 199, 133, 66]
"""Where the released diffusion/nets.py indexed its schedule in a run of 15 calls over 1000 steps, under
jax 0.10.2 on a CPU, operation by operation and compiled; in double precision it would be 666 and 333."""


def test_predictions_are_clipped_at_the_steps_of_the_released_single_precision():
    schedule = linear_schedule(1000)
    betas = schedule.betas[1:].numpy()
    assert steps_in_single(betas, 15) == RELEASED_STEPS
    sampler = SolverSampler(schedule, 15, BOUND, torch.device("cpu"))
    abar = schedule.abar[1:].double()[torch.tensor(RELEASED_STEPS)]
    limits = torch.tensor(sampler.limits, dtype=torch.float64)
    torch.testing.assert_close(limits[:, 0], (1 - abar) ** -0.5, rtol=1e-12, atol=0)
    torch.testing.assert_close(limits[:, 1], BOUND * (abar / (1 - abar)) ** 0.5, rtol=1e-12, atol=0)


@pytest.mark.parametrize("steps", [21, 50, 100, 200, 500])
def test_other_schedules_are_clipped_at_the_same_steps_too(steps):
    sampler = SolverSampler(linear_schedule(steps), 15, 1.0, torch.device("cpu"))
    abar = linear_schedule(steps).abar[1:].double()
    expected = steps_in_single(linear_schedule(steps).betas[1:].numpy(), 15)
    found = [int((abar - (1 - slope**-2)).abs().argmin()) for slope, _ in sampler.limits]
    assert found == expected


def test_the_last_digit_of_a_label_moves_actions():
    """What the two steps are worth where predictions are clipped: about a thousandth of the bound."""
    policy = contract.doubled(EDPTD3(Dimensions(5, 3, 1.0), CONFIG, (0,))).networks["policy"]
    schedule = linear_schedule(1000, torch.float64)
    sampler = SolverSampler(schedule, 15, 1.0, torch.device("cpu"))
    observations, noise = normal(1, 200, 5), normal(1, 1, 200, 3, seed=3)
    as_released = sampler(policy, observations, noise)
    for call, step in ((5, 666), (10, 333)):
        abar = schedule.abar[1 + step].item()
        sampler.limits[call] = (1 - abar) ** -0.5, (abar / (1 - abar)) ** 0.5
    difference = (sampler(policy, observations, noise) - as_released).abs().max()
    assert 1e-4 < difference < 1e-2
