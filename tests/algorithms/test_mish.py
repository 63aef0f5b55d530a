"""Mish against torch's own, forwards and backwards."""

import pytest
import torch
from torch.nn import functional

from algorithms.networks import mish

POINTS = (-800.0, -90.0, -20.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 19.9, 20.1, 44.0, 90.0, 800.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_values_and_derivatives_are_torchs(dtype, tolerance):
    points = torch.cat((torch.tensor(POINTS, dtype=dtype), torch.linspace(-30, 30, 2001, dtype=dtype)))
    ours, theirs = points.clone().requires_grad_(), points.clone().requires_grad_()
    value, expected = mish(ours), functional.mish(theirs)
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(mish(points), expected, rtol=tolerance, atol=tolerance)
    (slope,) = torch.autograd.grad(value.sum(), ours)
    (expected_slope,) = torch.autograd.grad(expected.sum(), theirs)
    torch.testing.assert_close(slope, expected_slope, rtol=10 * tolerance, atol=10 * tolerance)


def test_many_numbers_without_a_gradient():
    """More than one piece, the last one incomplete, and not contiguous."""
    points = torch.randn(3, 70_001, dtype=torch.float64).T
    torch.testing.assert_close(mish(points), functional.mish(points))


def test_the_derivative_is_that_of_finite_differences():
    points = torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mish, (points,))


def test_a_not_a_number_stays_one():
    assert mish(torch.tensor([float("nan")], requires_grad=True)).isnan().all()
    assert mish(torch.tensor([float("nan")])).isnan().all()
