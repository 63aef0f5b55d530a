"""EDM's scalings, the denoising loss and the noise levels, against formulas written anew."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from algorithms.base import Dimensions
from algorithms.diffusion import denoise, denoising_loss, log_logistic, precondition
from algorithms.dtql import DTQL, DTQLConfig
from tests.algorithms.checks import doubled
from tests.algorithms.plain_dtql import PlainNetworks, den_loss

SEEDS, BATCH, OBSERVATION, ACTION, BOUND = 2, 16, 5, 3, 1.0


@pytest.fixture(scope="module")
def model():
    config = DTQLConfig(hidden_width=16, diffusion_width=16)
    return doubled(DTQL(Dimensions(OBSERVATION, ACTION), config, seeds=(0, 1)))


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "a": normal(SEEDS, BATCH, ACTION).clamp(-BOUND, BOUND),
        "s": normal(SEEDS, BATCH, OBSERVATION),
        "sigma": torch.exp(1.5 * normal(SEEDS, BATCH)),
        "eps": normal(SEEDS, BATCH, ACTION),
    }


def loss_and_gradient(model, inputs, bound):
    """The denoising loss (S,) and its gradient in the actions (S, B, A)."""
    actions = inputs["a"].clone().requires_grad_()
    losses = denoising_loss(
        model.networks["diffusion"],
        actions,
        inputs["s"],
        inputs["sigma"],
        inputs["eps"],
        sigma_data=0.5,
        bound=bound,
    )
    return losses.detach(), torch.autograd.grad(losses.sum(), actions)[0]


@pytest.mark.parametrize("sigma", [0.002, 0.5, 3.0, 80.0])
def test_scalings(sigma):
    scale = precondition(torch.full((1, 1), sigma, dtype=torch.float64), 0.5)
    assert scale.skip.shape == scale.out.shape == scale.into.shape == (1, 1, 1)
    assert scale.noise.shape == (1, 1)
    total = sigma**2 + 0.25
    assert scale.skip.item() == pytest.approx(0.25 / total, rel=1e-12)
    assert scale.out.item() == pytest.approx(0.5 * sigma / math.sqrt(total), rel=1e-12)
    assert scale.into.item() == pytest.approx(1 / math.sqrt(total), rel=1e-12)
    assert scale.noise.item() == pytest.approx(math.log(sigma) / 4, rel=1e-12)
    # The loss weight is EDM's (sigma^2 + sd^2) / (sigma sd)^2.
    assert scale.out.item() ** -2 == pytest.approx(total / (0.5 * sigma) ** 2, rel=1e-12)


def test_denoised_actions_by_hand():
    """F = 2 everywhere, sigma = sd = 0.5: c_skip = 1/2, c_out = 0.5 / sqrt 2."""
    noisy = torch.tensor([[[1.0, -8.0]]], dtype=torch.float64)
    arguments = (torch.full((1, 1), 0.5, dtype=torch.float64), torch.zeros(1, 1, 1))

    def denoised(bound):
        network = lambda x, s, c: torch.full_like(x, 2.0)  # noqa: E731
        return denoise(network, noisy, *arguments, sigma_data=0.5, bound=bound)[0, 0].tolist()

    free = [0.5 + math.sqrt(0.5), -4.0 + math.sqrt(0.5)]
    assert denoised(None) == pytest.approx(free, rel=1e-12)
    assert denoised(1.0) == [1.0, -1.0]


def test_network_sees_scaled_actions_and_a_quarter_of_the_log():
    seen = []

    def network(x, s, condition):
        seen.extend((x, s, condition))
        return x

    noisy = torch.tensor([[[3.0]]], dtype=torch.float64)
    state = torch.tensor([[[7.0]]], dtype=torch.float64)
    denoise(network, noisy, torch.full((1, 1), 1.2, dtype=torch.float64), state, sigma_data=0.5, bound=None)
    assert [tensor.item() for tensor in seen] == pytest.approx([3 / 1.3, 7.0, math.log(1.2) / 4], rel=1e-12)


@pytest.mark.parametrize("bound", [None, BOUND])
def test_loss_equals_formula(model, inputs, bound):
    losses, gradient = loss_and_gradient(model, inputs, bound)
    for seed in range(SEEDS):
        one = {name: tensor[seed] for name, tensor in inputs.items()}
        a = one["a"].clone().requires_grad_()
        f = PlainNetworks.copied(model, seed).f
        expected = den_loss(f, a, one["s"], one["sigma"], one["eps"], bound)
        torch.testing.assert_close(losses[seed], expected.detach(), rtol=1e-10, atol=0)
        expected_gradient = torch.autograd.grad(expected, a)[0]
        torch.testing.assert_close(gradient[seed], expected_gradient, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("bound", [None, BOUND])
def test_gradient_has_three_paths(model, inputs, bound):
    """dL/da_j = 2/(BA) sum_i e_i/c_out (m_i (c_skip d_ij + c_out c_in dF_i/dx_j) - d_ij), m: not clamped.

    The three terms are the skip connection, the Jacobian of F and the regression target; each one matters.
    """
    _, gradient = loss_and_gradient(model, inputs, bound)
    identity = torch.eye(ACTION, dtype=torch.float64)
    clamped = 0
    for seed in range(SEEDS):
        f = PlainNetworks.copied(model, seed).f
        for row in range(BATCH):
            a, eps = inputs["a"][seed, row], inputs["eps"][seed, row]
            sigma, s = inputs["sigma"][seed, row], inputs["s"][seed, row][None]
            root = math.sqrt(sigma**2 + 0.25)
            skip, out, into = 0.25 / root**2, sigma * 0.5 / root, 1 / root
            condition = (sigma.log() / 4)[None]

            def raw(x, f=f, s=s, condition=condition):
                return f(x[None], s, condition)[0]

            x = a + sigma * eps
            free = skip * x + out * raw(into * x)
            jacobian = torch.autograd.functional.jacobian(raw, into * x)
            d = free if bound is None else free.clamp(-bound, bound)
            open_ = (d == free).double()[:, None]
            clamped += int((open_ == 0).sum())
            paths = open_ * (skip * identity + out * into * jacobian) - identity
            expected = 2 / (BATCH * ACTION) * ((d - a) / out**2) @ paths
            torch.testing.assert_close(gradient[seed, row], expected, rtol=1e-8, atol=1e-12)
            for missing in (
                open_ * out * into * jacobian - identity,
                open_ * skip * identity - identity,
                open_ * (skip * identity + out * into * jacobian),
            ):
                wrong = 2 / (BATCH * ACTION) * ((d - a) / out**2) @ missing
                assert (open_ == 0).all() or not torch.allclose(gradient[seed, row], wrong, rtol=1e-6)
    assert (clamped > 0) == (bound is not None)  # the case is exercised


def test_gradient_equals_finite_differences(model, inputs):
    _, gradient = loss_and_gradient(model, inputs, None)
    f = PlainNetworks.copied(model, 0).f
    one = {name: tensor[0] for name, tensor in inputs.items()}
    for row, column in ((0, 0), (3, 2), (7, 1)):
        change = torch.zeros_like(one["a"])
        change[row, column] = 1e-5
        above, below = (
            den_loss(f, one["a"] + sign * change, one["s"], one["sigma"], one["eps"], None).item()
            for sign in (1, -1)
        )
        assert gradient[0, row, column].item() == pytest.approx((above - below) / 2e-5, rel=1e-6, abs=1e-8)


def test_clamped_actions_are_pulled_by_the_target_alone():
    """F so large that every D is clamped to the bound: dL/da = -2 (m - a) / (B A c_out^2)."""
    a = torch.tensor([[[0.3], [-0.9]]], dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([[0.4, 2.0]], dtype=torch.float64)
    loss = denoising_loss(
        lambda x, s, c: 1000.0 + 5 * x,
        a,
        torch.zeros(1, 2, 1),
        sigma,
        torch.zeros(1, 2, 1, dtype=torch.float64),
        sigma_data=0.5,
        bound=1.0,
    )
    (gradient,) = torch.autograd.grad(loss.sum(), a)
    for row, (action, level) in enumerate(((0.3, 0.4), (-0.9, 2.0))):
        weight = (level**2 + 0.25) / (level * 0.5) ** 2
        assert gradient[0, row, 0].item() == pytest.approx(-2 * (1 - action) * weight / 2, rel=1e-12)


def cumulative(sigma):
    """Log-logistic distribution function with median 0.5 and scale 0.5 of ln sigma."""
    return stats.logistic.cdf(np.log(sigma), loc=math.log(0.5), scale=0.5)


def test_truncation_points():
    assert cumulative(0.002) == pytest.approx(1.6e-5, rel=1e-3)
    assert cumulative(80.0) == pytest.approx(0.99996, abs=1e-5)


def test_quantiles():
    u = np.array([0.0, 1e-6, 0.01, 0.25, 0.5, 0.75, 0.99, 1 - 1e-9])
    levels = log_logistic(torch.from_numpy(u), 0.5, 0.5, 0.002, 80.0)
    assert levels.dtype == torch.float64
    low, high = cumulative(0.002), cumulative(80.0)
    expected = np.exp(stats.logistic.ppf(low + (high - low) * u, loc=math.log(0.5), scale=0.5))
    np.testing.assert_allclose(levels, expected, rtol=1e-9)
    assert levels[0].item() == pytest.approx(0.002, rel=1e-9)
    assert levels[-1].item() == pytest.approx(80.0, rel=1e-3)


def test_untruncated_quantiles():
    u = np.array([1e-9, 0.01, 0.5, 0.99, 1 - 1e-9])
    levels = log_logistic(torch.from_numpy(u), 0.5, 0.5)
    expected = np.exp(stats.logistic.ppf(u, loc=math.log(0.5), scale=0.5))
    np.testing.assert_allclose(levels, expected, rtol=1e-6)
    ends = log_logistic(torch.tensor([0.0, 1.0], dtype=torch.float64), 0.5, 0.5)
    assert ends.isfinite().all()
    assert ends[0] > 0


@pytest.mark.parametrize("limits", [(0.002, 80.0), ()])
def test_distribution(limits):
    u = torch.from_numpy(np.random.default_rng(0).uniform(size=50_000))
    levels = log_logistic(u, 0.5, 0.5, *limits).numpy()
    low, high = (cumulative(limit) for limit in limits) if limits else (0.0, 1.0)
    result = stats.kstest(levels, lambda sigma: (cumulative(sigma) - low) / (high - low))
    assert result.pvalue > 1e-3
    if limits:
        assert levels.min() >= 0.002 * (1 - 1e-12)
        assert levels.max() <= 80 * (1 + 1e-12)


@pytest.mark.parametrize(("truncated", "lowest"), [(True, 0.002), (False, 0.0)])
def test_dtql_asks_for_its_own_noise_levels(truncated, lowest):
    """The levels that an update uses: the smallest uniform shows whether they are truncated."""
    config = DTQLConfig(hidden_width=4, diffusion_width=4, batch_size=1, truncate_noise=truncated)
    algorithm = DTQL(Dimensions(2, 1), config, seeds=(0,))
    seen = []
    algorithm.networks["diffusion"].register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[2])
    )
    batch = {name: torch.zeros(1, 1, width) for name, width in (("observations", 2), ("actions", 1))}
    batch |= {"next_observations": torch.zeros(1, 1, 2)}
    batch |= {"rewards": torch.zeros(1, 1), "terminals": torch.zeros(1, 1)}
    draws = {
        "behaviour_level": torch.full((1, 1), 1e-9, dtype=torch.float64),
        "behaviour_noise": torch.zeros(1, 1, 1),
    }
    algorithm.update("pretrain", batch, draws)
    level = math.exp(4 * seen[0].item())
    assert level == pytest.approx(lowest, rel=1e-3) if truncated else level < 1e-4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20))
def test_levels_rise_with_the_uniform_and_stay_within(uniforms):
    u = torch.tensor(sorted(uniforms), dtype=torch.float64)
    levels = log_logistic(u, 0.5, 0.5, 0.002, 80.0)
    assert (levels.diff() >= 0).all()
    assert (levels >= 0.002 * (1 - 1e-9)).all()
    assert (levels <= 80 * (1 + 1e-9)).all()
