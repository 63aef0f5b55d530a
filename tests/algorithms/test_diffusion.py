"""EDM, discrete steps and the variance-preserving SDE, by formulas written anew and printed constants."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from algorithms.base import Dimensions
from algorithms.diffusion import (
    add_noise,
    clean_action,
    denoise,
    denoising_loss,
    linear_schedule,
    log_logistic,
    noise_prediction_loss,
    perturb,
    posterior_mean,
    precondition,
    probability_flow,
    random_steps,
    scales,
    time_between,
    vp_schedule,
)
from algorithms.dtql import DTQL, DTQLConfig
from bench.training.contract import doubled
from benchmarks.plain.dtql import PlainNetworks, den_loss

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
        sigma, state = arguments
        return denoise(network, noisy, precondition(sigma, 0.5), state, bound=bound)[0, 0].tolist()

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
    scale = precondition(torch.full((1, 1), 1.2, dtype=torch.float64), 0.5)
    denoise(network, noisy, scale, state, bound=None)
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


# Discrete steps.

VP_5_BETAS = (0.19588, 0.45882, 0.63578, 0.75488, 0.83503)
VP_5_ABAR = (0.80413, 0.43518, 0.15850, 0.03885, 0.00641)


def test_five_vp_steps_are_the_printed_ones():
    schedule = vp_schedule(5, torch.float64)
    assert schedule.steps == 5
    np.testing.assert_allclose(schedule.betas[1:], VP_5_BETAS, atol=1e-5)
    np.testing.assert_allclose(schedule.abar[1:], VP_5_ABAR, atol=5e-6)
    assert (schedule.betas[0], schedule.abar[0]) == (0, 1)


def test_fifty_vp_steps_end_where_printed():
    """The exponents add up to -0.1 - 9.9/2 whatever the number of steps."""
    assert vp_schedule(50, torch.float64).abar[-1] == pytest.approx(0.00641, abs=5e-6)
    assert vp_schedule(50, torch.float64).abar[-1] == pytest.approx(math.exp(-0.1 - 9.9 / 2))


@pytest.mark.parametrize(("steps", "first", "last"), [(1000, 1e-4, 0.02), (100, 1e-3, 0.2)])
def test_linear_betas_are_scaled_to_the_number_of_steps(steps, first, last):
    schedule = linear_schedule(steps, torch.float64)
    betas = schedule.betas[1:].numpy()
    np.testing.assert_allclose(betas, np.linspace(first, last, steps), rtol=1e-6)
    np.testing.assert_allclose(schedule.abar[1:], np.cumprod(1 - np.linspace(first, last, steps)), rtol=1e-4)
    assert (schedule.betas[0], schedule.abar[0]) == (0, 1)


def test_linear_tables_are_of_single_precision():
    """As the released code multiplies them; DDPM's well-known end at a thousand steps."""
    schedule = linear_schedule(1000, torch.float64)
    assert torch.equal(schedule.abar, schedule.abar.float().double())
    assert schedule.abar[-1] == pytest.approx(4.0358e-5, rel=1e-4)


@pytest.mark.parametrize("schedule", [vp_schedule(5, torch.float64), vp_schedule(50, torch.float64)])
def test_posterior_by_bayes_rule(schedule):
    """q(a^{n-1} | a^n, a^0) is q(a^n | a^{n-1}) q(a^{n-1} | a^0), normalised: two Gaussians."""
    noisy, clean = 0.3, -0.8
    for n in range(2, schedule.steps + 1):
        beta, before = float(schedule.betas[n]), float(schedule.abar[n - 1])
        precision = (1 - beta) / beta + 1 / (1 - before)
        mean = (math.sqrt(1 - beta) * noisy / beta + math.sqrt(before) * clean / (1 - before)) / precision
        tensors = (torch.full((1, 1), value, dtype=torch.float64) for value in (noisy, clean))
        a_n, a_0 = tensors
        found = posterior_mean(schedule, a_n, torch.tensor([n]), a_0)
        assert float(found) == pytest.approx(mean, rel=1e-10)
        assert float(schedule.posterior_variance[n]) == pytest.approx(1 / precision, rel=1e-10)


def test_the_last_reverse_step_is_the_clean_action():
    schedule = vp_schedule(5, torch.float64)
    noisy, clean = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = posterior_mean(schedule, noisy, torch.ones(4, dtype=torch.int64), clean)
    torch.testing.assert_close(mean, clean, rtol=1e-12, atol=1e-12)
    assert schedule.posterior_variance[1] == 0
    assert schedule.posterior_variance.isfinite().all()


@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_clean_action_comes_back(steps, seed):
    """Noise and its removal with the same noise, at a step for every row."""
    generator = torch.Generator().manual_seed(seed)
    schedule = vp_schedule(steps, torch.float64)
    actions, noise = torch.randn(2, 2, 5, 3, dtype=torch.float64, generator=generator)
    step = torch.randint(1, steps + 1, (2, 5), generator=generator)
    noisy = add_noise(schedule, actions, step, noise)
    torch.testing.assert_close(
        clean_action(schedule, noisy, step, noise, None), actions, rtol=1e-9, atol=1e-9
    )
    clipped = clean_action(schedule, noisy, step, noise, 0.5)
    torch.testing.assert_close(clipped, actions.clamp(-0.5, 0.5), rtol=1e-9, atol=1e-9)


def test_noising_one_step_after_another_is_noising_at_once():
    """Means multiply and variances add: a^n has mean sqrt(abar_n) a and variance 1 - abar_n."""
    schedule = vp_schedule(7, torch.float64)
    mean, variance = 1.0, 0.0
    for n in range(1, 8):
        beta = float(schedule.betas[n])
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        one = torch.ones(1, 1, dtype=torch.float64)
        step = torch.tensor([n])
        assert float(add_noise(schedule, one, step, 0 * one)) == pytest.approx(mean)
        assert float(add_noise(schedule, 0 * one, step, one)) == pytest.approx(math.sqrt(variance))


def test_steps_are_uniform_from_one():
    uniform = torch.tensor([0.0, 0.1999, 0.2, 0.55, 0.9999, 1 - 2**-53], dtype=torch.float64)
    assert random_steps(uniform, 5).tolist() == [1, 1, 2, 3, 5, 5]
    assert random_steps(1 - torch.full((1,), 2.0**-53, dtype=torch.float64), 50).item() == 50


# The variance-preserving SDE.


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("time", "alpha", "sigma"),
    [
        (0.001, 0.99995, 0.0105),
        (0.02, 0.9970, 0.0772),
        (0.5, 0.2812, 0.9597),
        (0.98, 0.0080, 0.99997),
        (1.0, 0.0066, 0.99998),
    ],
)
def test_listed_constants(time, alpha, sigma):
    """Rounded as they are listed; and by the formula."""
    got = [scale.item() for scale in scales(tensor(time))]
    digits = [len(str(value).split(".")[1]) for value in (alpha, sigma)]
    assert [round(value, places) for value, places in zip(got, digits, strict=True)] == [alpha, sigma]
    exact = math.exp(-(time**2) * 19.9 / 4 - time * 0.1 / 2)
    assert got == pytest.approx([exact, math.sqrt(1 - exact**2)], rel=1e-10)


@given(st.floats(1e-6, 1.0))
def test_the_variance_is_preserved(time):
    for dtype in (torch.float32, torch.float64):
        alpha, sigma = scales(torch.tensor(time, dtype=dtype))
        assert (alpha**2 + sigma**2).item() == pytest.approx(1, abs=4 * torch.finfo(dtype).eps)


def test_little_noise_keeps_its_digits_in_single_precision():
    """1 - alpha^2 in single precision would be off by 1e-3 here."""
    assert scales(torch.tensor(1e-3))[1].item() == pytest.approx(scales(tensor(1e-3))[1].item(), rel=1e-6)


def test_times():
    uniform = tensor(0.0, 0.25, 1 - 2**-53)
    assert time_between(uniform, 0.02, 0.98).tolist() == pytest.approx([0.02, 0.26, 0.98])
    assert time_between(uniform, 0.001, 1.0).tolist() == pytest.approx([0.001, 0.25075, 1.0])


def test_perturbed_actions():
    """Times in double serve actions in single precision."""
    actions, noise = torch.tensor([[[2.0, -1.0]]]), torch.tensor([[[1.0, 3.0]]])
    noisy = perturb(actions, tensor(0.5).view(1, 1), noise)
    assert noisy.dtype == torch.float32
    alpha = math.exp(-0.25 * 19.9 / 4 - 0.025)
    sigma = math.sqrt(1 - alpha**2)
    assert noisy.flatten().tolist() == pytest.approx([2 * alpha + sigma, -alpha + 3 * sigma], rel=1e-6)


def test_loss_by_hand():
    """Sum over the action, mean over the batch; the network sees a_t, the observation and t."""
    seen = {}

    def network(noisy, observations, time):
        seen.update(noisy=noisy, observations=observations, time=time)
        return torch.ones_like(noisy)

    actions, noise = torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)
    noise[0, 0] = torch.tensor([3.0, 0.0])
    time = torch.full((2, 3), 0.5, dtype=torch.float64)
    observations = torch.full((2, 3, 4), 7.0)
    losses = noise_prediction_loss(network, actions, observations, time, noise)
    assert losses.tolist() == pytest.approx([(2**2 + 1 + 2 + 2) / 3, 2.0])
    assert seen["time"].dtype == torch.float32
    assert torch.equal(seen["observations"], observations)
    torch.testing.assert_close(seen["noisy"], perturb(actions, time, noise))


MEAN, DEVIATION, END = 1.5, 0.3, 1e-3


def of_gaussian(noisy, observations, time):
    """The exact noise prediction for data N(1.5, 0.3^2): sigma (a_t - alpha m) / (alpha^2 s^2 + sigma^2)."""
    alpha = torch.exp(-(time**2) * 19.9 / 4 - time * 0.05).unsqueeze(-1)
    sigma = torch.sqrt(1 - alpha**2)
    return sigma * (noisy - alpha * MEAN) / (alpha**2 * DEVIATION**2 + sigma**2)


def exact_end(noise):
    """The ODE keeps (a_t - mean_t) / deviation_t."""
    alphas = [math.exp(-(t**2) * 19.9 / 4 - t * 0.05) for t in (1.0, END)]
    start, end = (math.sqrt((a * DEVIATION) ** 2 + 1 - a**2) for a in alphas)
    return alphas[1] * MEAN + end * (noise - alphas[0] * MEAN) / start


def errors(steps):
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64).view(1, 9, 1)
    ends = probability_flow(of_gaussian, torch.zeros(1, 9, 1), noise, steps=steps, end=END)
    return (ends - exact_end(noise)).abs().max().item()


def test_sampler_reaches_the_data_at_first_order():
    coarse, fine, finer = errors(50), errors(100), errors(200)
    assert coarse < 0.05
    assert coarse / fine == pytest.approx(2, abs=0.25)
    assert fine / finer == pytest.approx(2, abs=0.15)


def test_sampler_calls_the_network_once_per_step():
    times = []

    def network(noisy, observations, time):
        times.append(time)
        return torch.zeros_like(noisy)

    start = torch.ones(2, 3, 1)
    ends = probability_flow(network, torch.zeros(2, 3, 1), start, steps=7, end=0.01)
    assert len(times) == 7
    assert times[0].eq(1).all()
    assert all(time.shape == (2, 3) for time in times)
    assert all((later < earlier).all() for earlier, later in itertools.pairwise(times))
    # Without predicted noise only the scale changes, exactly.
    ratio = (scales(tensor(0.01))[0] / scales(tensor(1.0))[0]).item()
    assert ends.flatten().tolist() == pytest.approx([ratio] * 6, rel=1e-5)
