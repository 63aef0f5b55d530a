"""BDPO's formulas: constants of its specification, a second writing, values and gradients to 1e-8."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms import bdpo
from algorithms.base import Dimensions
from algorithms.bdpo import BDPO
from algorithms.bdpo_unimodal import gaussian_divergence, negative_log_likelihood
from algorithms.diffusion import vp_schedule
from bench.training.contract import draws_of
from tests.algorithms.bdpo.test_update import CONFIG, SEEDS, built
from tests.algorithms.checks import normal, of_seed, random_batch, snapshot

FIVE = vp_schedule(5, torch.float64)


# The chain's constants and one step of it a second time, by numbers and row by row.


def vp_tables(steps):
    """beta_n and abar_n for n = 0 .. steps as lists of floats; entry 0 is the clean action."""
    beta, abar = [0.0], [1.0]
    for n in range(1, steps + 1):
        alpha = math.exp(-0.1 / steps - 0.5 * 9.9 * (2 * n - 1) / steps**2)
        beta.append(1 - alpha)
        abar.append(abar[-1] * alpha)
    return beta, abar


def kl_step(beta, abar, n, e_pi, e_nu):
    """l_n by its definition |mu_pi - mu_nu|^2 / (2 beta_n), with unclipped means, one row at a time."""
    rows = []
    for i, k in enumerate(n):
        # Size of d mu / d e where nothing is clipped: through x0, then through mu.
        slope = math.sqrt(abar[k - 1]) * beta[k] * math.sqrt(1 - abar[k]) / math.sqrt(abar[k]) / (1 - abar[k])
        rows.append(torch.sum((slope * (e_pi[i] - e_nu[i])) ** 2) / (2 * beta[k]))
    return torch.stack(rows)


def reverse_mean(beta, abar, a, n, e):
    """mu_n row by row, without a clip."""
    rows = []
    for i, k in enumerate(n):
        x0 = (a[i] - math.sqrt(1 - abar[k]) * e[i]) / math.sqrt(abar[k])
        top = math.sqrt(abar[k - 1]) * beta[k] * x0 + math.sqrt(1 - beta[k]) * (1 - abar[k - 1]) * a[i]
        rows.append(top / (1 - abar[k]))
    return torch.stack(rows)


def test_weights_of_the_divergence():
    """Coefficients of |e - e'|^2 for T = 5 (specification, section 2)."""
    steps = torch.arange(1, 6)
    difference = torch.zeros(5, 2, dtype=torch.float64)
    difference[:, 1] = 1
    weights = bdpo.step_divergence(FIVE, steps, difference, torch.zeros_like(difference))
    assert weights.tolist() == pytest.approx([0.6218, 0.7505, 1.0372, 1.6020, 2.5472], abs=5e-5)


def test_divergence_is_that_of_the_gaussians():
    """KL of N(mu, beta_n I) from N(mu', beta_n I) by torch.distributions, with unclipped means."""
    noisy, one, other, n = normal(8, 2), normal(8, 2, seed=1), normal(8, 2, seed=2), torch.arange(8) % 5 + 1
    beta, abar = vp_tables(5)
    deviation = torch.tensor([math.sqrt(beta[k]) for k in n.tolist()], dtype=torch.float64)[:, None]
    gaussians = [
        torch.distributions.Normal(reverse_mean(beta, abar, noisy, n.tolist(), e), deviation)
        for e in (one, other)
    ]
    expected = torch.distributions.kl_divergence(*gaussians).sum(dim=1)
    torch.testing.assert_close(bdpo.step_divergence(FIVE, n, one, other), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(kl_step(beta, abar, n.tolist(), one, other), expected, rtol=1e-10, atol=0)


def test_clipping_changes_the_mean_and_not_the_divergence():
    """Pitfall 8: far outside, both means are the clipped action's, and the penalty is still paid."""
    noisy, n = torch.full((1, 1, 1, 2), 9.0, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.int64)
    one, other = torch.zeros_like(noisy), torch.ones_like(noisy)
    means = [bdpo.reverse_mean(FIVE, noisy, n, e, 1.0) for e in (one, other)]
    assert torch.equal(*means)
    torch.testing.assert_close(means[0], torch.ones_like(noisy))
    assert bdpo.step_divergence(FIVE, n, one, other).item() == pytest.approx(2 * 0.6218, abs=1e-3)


def test_lower_bound_uses_the_populations_deviation():
    values = torch.tensor([[[1.0], [2.0], [6.0]]], dtype=torch.float64)  # mean 3, deviation sqrt(14 / 3)
    bound = bdpo.lower_confidence_bound(values, 0.5)
    assert bound.shape == (1, 1)
    assert bound.item() == pytest.approx(3 - 0.5 * math.sqrt(14 / 3))
    assert bdpo.lower_confidence_bound(values, 0.0).item() == 3


def test_lower_bound_has_a_gradient_where_members_agree():
    values = torch.ones(1, 3, 1, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(bdpo.lower_confidence_bound(values, 2.0).sum(), values)
    torch.testing.assert_close(gradient, torch.full_like(values, 1 / 3))


def test_the_best_sample_is_taken_per_member_before_members_are_compared():
    values = torch.tensor([[[[0.0, 4.0]], [[6.0, 0.0]]]], dtype=torch.float64)  # (S, E, B, N)
    assert bdpo.next_value(values, 1.0, True).item() == pytest.approx(5 - 1)
    assert bdpo.next_value(values, 1.0, False).item() == pytest.approx(2.5 - 0.5)


@pytest.mark.parametrize(("placement", "expected"), [
    ("inside", [1 + 0.9 * (10 - 2), 1.0]), ("outside", [1 + 0.9 * 10 - 2, 1.0 - 2]),
])  # fmt: skip
def test_placement_of_the_penalty(placement, expected):
    """At a terminal the older form still subtracts it, the new one leaves the reward alone."""
    batch = {"rewards": torch.ones(1, 2), "terminals": torch.tensor([[0.0, 1.0]])}
    values, penalty = torch.full((1, 2), 10.0), torch.full((1, 2), 2.0)
    targets = bdpo.action_value_targets(batch, values, penalty, 0.9, placement)
    assert targets[0].tolist() == pytest.approx(expected)


def exact_noise(deviation):
    """The best prediction of the noise for data N(0, deviation^2): linear in a^n."""

    def network(noisy, observations, steps):
        abar = FIVE.abar[steps].unsqueeze(-1)
        return (1 - abar).sqrt() * noisy / (abar * deviation**2 + 1 - abar)

    return network


def in_chain(network):
    """The network as a chain asks it: at a step that is a number."""
    return lambda step, noisy: network(noisy, None, torch.full((1, 1, 1), step))


def test_chain_of_gaussian_data():
    """Variance of a^0 by the recursion of a linear chain, beta_n added in all steps but the last."""
    deviation, count = 0.3, 40_000
    noise = normal(1, 5, 1, count, 1)
    chain = bdpo.reverse_chain(FIVE, in_chain(exact_noise(deviation)), noise, None)
    beta, abar = vp_tables(5)
    variance = 1.0
    for n in range(5, 0, -1):
        # E[a^{n-1} | a^n] is linear: clean and noisy part of the posterior's mean.
        clean = math.sqrt(abar[n]) * deviation**2 / (abar[n] * deviation**2 + 1 - abar[n])
        factor = math.sqrt(abar[n - 1]) * beta[n] * clean + math.sqrt(1 - beta[n]) * (1 - abar[n - 1])
        variance = (factor / (1 - abar[n])) ** 2 * variance + (beta[n] if n > 1 else 0)
    assert chain.actions.shape == (1, 1, count, 1)
    assert chain.noisy.shape == chain.predicted.shape == (1, 1, 5, count, 1)
    assert chain.steps.flatten().tolist() == [5, 4, 3, 2, 1]
    assert torch.equal(chain.noisy[:, :, 0], noise[:, 0])
    assert chain.actions.var().item() == pytest.approx(variance, rel=4 * math.sqrt(2 / count))


def test_chains_end_within_the_bound_and_meet_no_noise_in_the_last_step():
    noise = 3 * normal(2, 5, 4, 6, 2)
    chain = bdpo.reverse_chain(FIVE, in_chain(exact_noise(1.0)), noise, 0.7)
    assert chain.actions.abs().max() <= 0.7
    last = chain.noisy[:, :, -1]
    clean = (last - (1 - FIVE.abar[1]).sqrt() * chain.predicted[:, :, -1]) / FIVE.abar[1].sqrt()
    torch.testing.assert_close(chain.actions, clean.clamp(-0.7, 0.7))


def gradients_of(algorithm, name, loss, seed):
    """Gradient of one seed's loss for one network, flat, members one after the other as in the plain one."""
    parameters = dict(algorithm.networks[name].named_parameters())
    gradients = torch.autograd.grad(loss[seed], list(parameters.values()), retain_graph=True)
    return {key: gradient[seed] for key, gradient in zip(parameters, gradients, strict=True)}


def plain_gradients(network, loss):
    return torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)


CASES = [
    ("bdpo", {}),
    ("bdpo", {"penalty_placement": "inside", "max_q_backup": True, "clip_denoised": False}),
    ("gaussian", {}),
    ("dirac", {}),
]


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_losses_and_gradients(name, changes):
    """Every loss and the squared norm of its gradient, per seed, to 1e-8; first layers entry by entry."""
    algorithm, plains = built(name, **changes)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # online, target, actor and behaviour all differ
        for plain_name in algorithm.networks:
            for parameter in algorithm.networks[plain_name].parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    plains = [type(plain).of(algorithm, seed) for seed, plain in enumerate(plains)]
    batch = random_batch(len(SEEDS), 5, 3, 2, generator=generator)
    draws = draws_of(algorithm.phases[1].draws, SEEDS)
    losses = {
        **algorithm.critic_losses(batch, draws)[0],
        "actor": algorithm.actor_loss(batch, draws),
        "behaviour": algorithm.behaviour_loss(batch, draws),
    }
    for seed, plain in enumerate(plains):
        mine = of_seed(batch, seed), of_seed(draws, seed)
        expected = {
            **plain.critic_losses(*mine)[0],
            "actor": plain.actor_loss(*mine),
            "behaviour": plain.behaviour_loss(*mine),
        }
        assert losses.keys() == expected.keys()
        for key, loss in expected.items():
            torch.testing.assert_close(losses[key][seed], loss, rtol=1e-8, atol=1e-10)
            ours = gradients_of(algorithm, key, losses[key], seed)
            theirs = plain_gradients(plain.nets[key], loss)
            size = sum(g.square().sum() for g in ours.values())
            torch.testing.assert_close(size, sum(g.square().sum() for g in theirs), rtol=1e-8, atol=0)
            assert size > 0
            ensemble = isinstance(plain.nets[key], torch.nn.ModuleList)
            network = plain.nets[key][0] if ensemble else plain.nets[key]
            (weight,) = torch.autograd.grad(loss, [network.body[0].weight], retain_graph=True)
            stacked = ours["mlp.layers.0.weight"]
            torch.testing.assert_close((stacked[0] if ensemble else stacked).T, weight, rtol=1e-8, atol=1e-10)


def test_frozen_networks_receive_no_gradient():
    """Of the actor's loss, only the actor does; of the critics' losses, only the critics."""
    algorithm, _ = built("bdpo")
    batch = random_batch(len(SEEDS), 5, 3, 2, generator=torch.Generator().manual_seed(0))
    draws = draws_of(algorithm.phases[1].draws, SEEDS)
    losses = algorithm.critic_losses(batch, draws)[0] | {"actor": algorithm.actor_loss(batch, draws)}
    for name, loss in losses.items():
        for other, network in algorithm.networks.items():
            learning = [p for p in network.parameters() if p.requires_grad]
            assert bool(learning) != other.startswith("target_")
            if learning:
                found = torch.autograd.grad(loss.sum(), learning, retain_graph=True, allow_unused=True)
                assert any(g is not None for g in found) == (other == name), (name, other)


def test_there_is_no_value_at_step_zero():
    """V is asked for n - 1 >= 1 alone, with whole numbers."""
    asked = []

    def values(observations, noisy, steps):
        asked.append(steps)
        return noisy.sum(dim=-1).unsqueeze(1)

    batch = random_batch(1, 6, 1, 2, generator=torch.Generator().manual_seed(0))
    n = torch.tensor([[1, 2, 3, 4, 5, 1]])
    arguments = (batch, n, normal(1, 6, 2), normal(1, 6, 3, 2), 1.0)
    taken = bdpo.single_step(FIVE, exact_noise(1.0), *arguments)
    assert torch.equal(taken.samples[:, [0, 5]], taken.samples[:, [0, 5], :1].expand(-1, -1, 3, -1))
    assert not torch.equal(taken.samples[:, 1, 0], taken.samples[:, 1, 1])
    objective = bdpo.single_step_objective(
        FIVE,
        taken,
        batch["observations"],
        behaviour=exact_noise(1.0),
        action_values=lambda observations, actions: torch.full((1, 1, 6), 7.0, dtype=torch.float64),
        diffusion_values=values,
        divergence_weight=1.0,
        pessimism=0.0,
    )
    assert [steps.flatten().tolist() for steps in asked] == [[1, 1, 2, 3, 4, 1]]
    assert objective[0, [0, 5]].tolist() == [7, 7]  # Q's value; the divergence from oneself is 0
    torch.testing.assert_close(objective[:, 1:5], taken.samples[:, 1:5].sum(dim=-1).mean(dim=-1))


def test_gaussian_divergence_and_likelihood_by_torch():
    policy, behaviour = ((normal(2, 4, 3, seed=k), 0.3 * normal(2, 4, 3, seed=k + 9)) for k in (0, 1))
    distributions = [torch.distributions.Normal(mean, log_std.exp()) for mean, log_std in (policy, behaviour)]
    expected = torch.distributions.kl_divergence(*distributions).sum(dim=-1)
    torch.testing.assert_close(gaussian_divergence(policy, behaviour), expected)
    actions = normal(2, 4, 3, seed=5)
    expected = -distributions[0].log_prob(actions).sum(dim=-1).mean(dim=-1)
    torch.testing.assert_close(negative_log_likelihood(policy, actions), expected)


@settings(max_examples=12, deadline=None)
@given(
    steps=st.integers(1, 4), samples=st.integers(1, 3), members=st.integers(1, 3), seeds=st.integers(1, 3),
    action=st.integers(1, 3), observation=st.integers(1, 3), size=st.integers(1, 3), best=st.booleans(),
)  # fmt: skip
def test_any_sizes(steps, samples, members, seeds, action, observation, size, best):
    """Every program runs; metrics are finite (S,), actions (S, N, A); a repetition ends at the same bits."""
    config = replace(
        CONFIG, diffusion_steps=steps, samples=samples, ensemble=members, batch_size=size, max_q_backup=best
    )
    ends = []
    for _ in range(2):
        algorithm = BDPO(Dimensions(observation, action), config, tuple(range(seeds)))
        batch = random_batch(seeds, size, observation, action, generator=torch.Generator().manual_seed(0))
        batch = {name: tensor.float() for name, tensor in batch.items()}
        for phase in algorithm.phases:
            draws = draws_of(phase.draws, algorithm.seeds)
            draws = {k: v if k.endswith("step") else v.float() for k, v in draws.items()}
            for program in sorted({phase.program(step) for step in range(phase.iterations)}):
                metrics = algorithm.update(program, batch, draws)
                assert all(m.shape == (seeds,) and m.isfinite().all() for m in metrics.values())
        noise = draws_of(algorithm.act_draws, algorithm.seeds)["chain"].float().unsqueeze(1)
        actions = algorithm.act(batch["observations"][:, :1], {"chain": noise})
        assert actions.shape == (seeds, 1, action)
        assert actions.abs().max() <= 1
        ends.append(snapshot(algorithm))
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
