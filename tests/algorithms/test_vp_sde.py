"""The variance-preserving SDE: constants, the noise prediction loss, and a sampler whose answer is known."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from algorithms.diffusion import noise_prediction_loss, perturb, probability_flow, scales, time_between


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
