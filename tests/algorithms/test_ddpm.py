"""Discrete diffusion: tables against printed constants, noising and reverse steps against formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.diffusion import add_noise, clean_action, linear_schedule, posterior_mean, vp_schedule

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
