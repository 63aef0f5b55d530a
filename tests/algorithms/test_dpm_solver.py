"""DPM-Solver on Gaussian data, where the probability flow has a closed solution; and its coefficients."""

import math

import numpy as np
import pytest
import torch

from algorithms.diffusion import scales
from algorithms.dpm_solver import (
    Stage,
    fast_orders,
    interpolated_log_alpha,
    second_orders,
    solve,
    solver_steps,
)
from algorithms.dpm_solver import vp_log_alpha as own_log_alpha

MEAN, VARIANCE = 0.7, 0.09


def vp_log_alpha(time):
    """The VP-SDE with linear beta from 0.1 to 20 (Song et al. 2021)."""
    return -0.25 * time**2 * 19.9 - 0.5 * time * 0.1


@pytest.mark.parametrize("time", [0.001, 0.3, 1.0])
def test_the_vp_sde(time):
    assert own_log_alpha(time) == pytest.approx(vp_log_alpha(time), rel=1e-15)
    alpha, _ = scales(torch.tensor(time, dtype=torch.float64))
    assert math.exp(own_log_alpha(time)) == pytest.approx(alpha.item(), rel=1e-15)


def gaussian_noise(log_alpha, time, x):
    """What a perfect network says for data N(MEAN, VARIANCE): sigma times minus the score of x_t."""
    alpha = math.exp(log_alpha(time))
    sigma = math.sqrt(1 - alpha**2)
    return sigma * (x - alpha * MEAN) / (alpha**2 * VARIANCE + sigma**2)


def exact_solution(log_alpha, start, end, x):
    """Along the flow a Gaussian's quantiles stay: x_t - mean_t scales with the standard deviation."""
    (mean_s, std_s), (mean_t, std_t) = (
        (math.exp(a) * MEAN, math.sqrt(math.exp(2 * a) * VARIANCE + 1 - math.exp(2 * a)))
        for a in (log_alpha(start), log_alpha(end))
    )
    return mean_t + std_t / std_s * (x - mean_s)


def solution(log_alpha, orders, start, end, x, of_clean=False):
    steps = solver_steps(log_alpha, orders, start, end, of_clean=of_clean)
    times = [stage.time for step in steps for stage in step]
    return solve(steps, lambda call, point: gaussian_noise(log_alpha, times[call], point), x)


@pytest.mark.parametrize(("order", "of_clean"), [(1, False), (2, False), (3, False), (1, True), (2, True)])
def test_error_falls_at_the_solvers_order(order, of_clean):
    """Halving the steps divides the error by two to the order, down to where the double's digits end."""
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    exact = exact_solution(vp_log_alpha, 1.0, 0.1, start)
    counts = (40, 80, 160, 320)
    errors = [
        (solution(vp_log_alpha, (order,) * count, 1.0, 0.1, start, of_clean) - exact).abs().max().item()
        for count in counts
    ]
    slopes = -np.diff(np.log2(errors))
    assert slopes[-1] == pytest.approx(order, abs=0.15), (errors, slopes)
    assert errors[-1] < 10 * 0.1**order


def test_the_discrete_schedule_is_solved():
    """Mixed orders at K = 1000: 15 calls leave the last first-order step's shrinkage, more calls less."""
    betas = np.linspace(1e-4, 0.02, 1000)
    log_alpha = interpolated_log_alpha(np.cumprod(1 - betas).tolist())
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    exact = exact_solution(log_alpha, 1.0, 0.001, start)
    fifteen, sixty, many = (
        (solution(log_alpha, fast_orders(calls), 1.0, 0.001, start) - exact).abs().max()
        for calls in (15, 60, 240)
    )
    assert 0.05 < fifteen < 0.1
    assert sixty < fifteen / 4
    assert many < sixty / 3


@pytest.mark.parametrize(
    ("calls", "printed"),
    [
        (1, (-140.85995304305777, -46.80109101652948, -9.68109159843246)),
        (2, (-92.21045545767339, 221.04266546834788, 357.26748499364373)),
        (3, (-115.13748152409316, 120.77658062036052, 96.96847060974638)),
        (7, (-129.62924933579603, -76.73669549077812, -0.5224313245849567)),
        (15, (-126.73875696319287, -3.814423779043308, 0.35251476661114856)),
        (16, (-126.53087987507784, -2.553718241430171, 0.351682428989238)),
        (17, (-126.33664955448884, -1.869829959577849, 0.41700965879709606)),
    ],
)
def test_a_run_of_the_released_solver(calls, printed):
    """What EDP's diffusion/dpm_solver.py returned in double precision with the network tanh(x) + 0.3 t."""
    log_alpha = interpolated_log_alpha(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)).tolist())
    steps = solver_steps(log_alpha, fast_orders(calls), 1.0, 0.001)
    times = [stage.time for step in steps for stage in step]
    start = torch.tensor([-1.5, 0.2, 1.0], dtype=torch.float64)
    end = solve(steps, lambda call, point: torch.tanh(point) + 0.3 * times[call], start)
    np.testing.assert_allclose(end, printed, rtol=1e-9)


@pytest.mark.parametrize(
    ("calls", "printed"),
    [
        (1, (-136.1706672312606, -45.242341609979114, -9.357663949884271)),
        (2, (-135.33584979750162, -40.646186489565864, -3.0993398047160907)),
        (3, (-134.22994893399465, -33.13863770176636, -0.7196677872732544)),
        (6, (-129.95026827727563, -6.5019902007203685, 0.01814663200086962)),
        (15, (-123.48671850947741, -0.8509890109907787, 0.3011410248174046)),
        (16, (-123.2173079358896, -0.8263586521004223, 0.3059346423455534)),
    ],
)
def test_a_run_of_the_released_solver_of_clean_actions(calls, printed):
    """What QGPO's diffusion_SDE/dpm_solver_pytorch.py returned with predict_x0 and order 2; as above."""
    steps = solver_steps(own_log_alpha, second_orders(calls), 1.0, 0.001, of_clean=True)
    times = [stage.time for step in steps for stage in step]
    start = torch.tensor([-1.5, 0.2, 1.0], dtype=torch.float64)
    end = solve(steps, lambda call, point: torch.tanh(point) + 0.3 * times[call], start)
    np.testing.assert_allclose(end, printed, rtol=1e-9)


def test_a_first_order_step_follows_noise_and_clean_action_alike():
    (noise,), (clean,) = (solver_steps(own_log_alpha, (1,), 0.8, 0.5, of_clean=of) for of in (False, True))
    assert (noise[0].start, *noise[0].noises) == pytest.approx((clean[0].start, *clean[0].noises), rel=1e-13)


def test_second_orders_use_up_the_calls():
    assert second_orders(15) == (2,) * 7 + (1,)
    assert second_orders(16) == (2,) * 7 + (1, 1)
    assert [sum(second_orders(calls)) for calls in range(1, 31)] == [*range(1, 31)]


def test_orders_use_up_the_calls():
    assert fast_orders(15) == (3, 3, 3, 3, 2, 1)
    assert fast_orders(16) == (3, 3, 3, 3, 3, 1)
    assert fast_orders(17) == (3, 3, 3, 3, 3, 2)
    for calls in range(1, 31):
        orders = fast_orders(calls)
        assert sum(orders) == calls
        assert set(orders) <= {1, 2, 3}


def test_calls_are_equally_spaced_in_time():
    steps = solver_steps(vp_log_alpha, (3, 3, 3, 3, 2, 1), 1.0, 0.001)
    times = [stage.time for step in steps for stage in step]
    np.testing.assert_allclose(times, np.linspace(1, 0.001, 16)[:15], rtol=1e-14)
    assert [len(step) for step in steps] == [3, 3, 3, 3, 2, 1]


def test_interpolation_hits_the_grid_and_is_linear_between():
    abar = [0.9, 0.7, 0.4, 0.1]
    log_alpha = interpolated_log_alpha(abar)
    values = [0.5 * math.log(a) for a in abar]
    assert [log_alpha(t) for t in (0.25, 0.5, 0.75, 1.0)] == pytest.approx(values)
    assert log_alpha(0.6) == pytest.approx(0.6 * values[1] + 0.4 * values[2])
    assert log_alpha(0.2) == pytest.approx(values[0] - 0.2 * (values[1] - values[0]))


def test_every_order_by_its_printed_formula():
    """One step of each order against its formulas in h, r1 and r2 (Lu et al. 2022, Algorithms 1 and 2)."""

    def at(time):
        alpha = math.exp(vp_log_alpha(time))
        sigma = math.sqrt(1 - alpha**2)
        return alpha, sigma, math.log(alpha / sigma)

    x, e_s, e_1, e_2 = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s, t = 0.8, 0.5
    (a_s, _, l_s), (a_t, s_t, l_t) = at(s), at(t)
    h = l_t - l_s

    (only,) = solver_steps(vp_log_alpha, (1,), s, t)
    assert_point(only[0], x, (e_s,), (a_t / a_s) * x - s_t * (math.exp(h) - 1) * e_s)

    (step,) = solver_steps(vp_log_alpha, (2,), s, t)
    a_1, s_1, l_1 = at((s + t) / 2)
    r1 = (l_1 - l_s) / h
    assert_point(step[0], x, (e_s,), (a_1 / a_s) * x - s_1 * (math.exp(r1 * h) - 1) * e_s)
    expected = (a_t / a_s) * x - s_t * (math.exp(h) - 1) * (e_s + (e_1 - e_s) / (2 * r1))
    assert_point(step[1], x, (e_s, e_1), expected)

    (step,) = solver_steps(vp_log_alpha, (3,), s, t)
    (a_1, s_1, l_1), (a_2, s_2, l_2) = at(0.7), at(0.6)
    r1, r2 = (l_1 - l_s) / h, (l_2 - l_s) / h
    assert_point(step[0], x, (e_s,), (a_1 / a_s) * x - s_1 * (math.exp(r1 * h) - 1) * e_s)
    phi = (math.exp(r2 * h) - 1) / (r2 * h) - 1
    expected = (a_2 / a_s) * x - s_2 * (math.exp(r2 * h) - 1) * e_s - r2 / r1 * s_2 * phi * (e_1 - e_s)
    assert_point(step[1], x, (e_s, e_1), expected)
    phi = (math.exp(h) - 1) / h - 1
    expected = (a_t / a_s) * x - s_t * (math.exp(h) - 1) * e_s - s_t * phi * (e_2 - e_s) / r2
    assert_point(step[2], x, (e_s, e_1, e_2), expected)


def assert_point(stage: Stage, x, noises, expected):
    assert len(stage.noises) == len(noises)
    point = stage.start * x + sum(factor * noise for factor, noise in zip(stage.noises, noises, strict=True))
    torch.testing.assert_close(point, expected, rtol=1e-12, atol=1e-12)
