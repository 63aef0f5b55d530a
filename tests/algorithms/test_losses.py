"""The losses that methods share, and the choice among candidates, against torch and by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from algorithms.losses import (
    draw_by_softmax,
    ensemble_loss,
    expectile_loss,
    gaussian_log_likelihood,
    summed_ensemble_loss,
    take_best,
    temporal_difference_targets,
)
from tests.algorithms.checks import normal


@given(st.floats(-50, 50), st.floats(0.01, 0.99))
def test_expectile_loss(u, tau):
    expected = (tau if u > 0 else 1 - tau) * u * u
    assert expectile_loss(torch.tensor(u, dtype=torch.float64), tau).item() == pytest.approx(expected)


def test_targets_by_hand():
    batch = {"rewards": torch.tensor([[1.0, 2.0]]), "terminals": torch.tensor([[0.0, 1.0]])}
    targets = temporal_difference_targets(batch, torch.tensor([[10.0, 10.0]]), 0.9)
    assert targets.flatten().tolist() == pytest.approx([10.0, 2.0])


def test_ensembles_are_averaged_or_added_up():
    values, targets = normal(2, 3, 5), normal(2, 5, seed=1)
    errors = torch.stack([(values[:, e] - targets) ** 2 for e in range(3)])
    torch.testing.assert_close(ensemble_loss(values, targets), errors.mean(dim=(0, 2)))
    torch.testing.assert_close(summed_ensemble_loss(values, targets), errors.mean(dim=2).sum(dim=0))


def test_log_likelihood_by_torch():
    values, mean, log_std = normal(2, 4, 3), normal(2, 4, 3, seed=1), normal(2, 4, 3, seed=2)
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(values).sum(dim=-1)
    torch.testing.assert_close(gaussian_log_likelihood(values, mean, log_std), expected)
    expected = torch.distributions.Normal(mean, 1.0).log_prob(values).sum(dim=-1)
    torch.testing.assert_close(gaussian_log_likelihood(values, mean), expected)


def test_one_candidate_is_drawn_by_its_share_of_the_softmax():
    """Values 0, log 2 and log 5 at temperature 1: shares 1/8, 2/8, 5/8, one after the other."""
    values = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).log().expand(1, 6, 3)
    candidates = torch.arange(3.0).view(1, 1, 3, 1).expand(1, 6, 3, 1)
    uniform = torch.tensor([[0.0, 0.124, 0.126, 0.374, 0.376, 1 - 2**-53]], dtype=torch.float64)
    chosen = draw_by_softmax(candidates, values, uniform)
    assert chosen.flatten().tolist() == [0, 0, 1, 1, 2, 2]
    # At half the temperature the shares are those of the squares: 1/30, 4/30, 25/30.
    assert draw_by_softmax(candidates, values, uniform, 0.5).flatten().tolist() == [0, 1, 1, 2, 2, 2]


def test_the_best_candidate_is_that_of_the_highest_value():
    candidates, values = normal(2, 4, 3, 2), normal(2, 4, 3, seed=1)
    chosen = take_best(candidates, values)
    for seed in range(2):
        for state in range(4):
            best = values[seed, state].tolist().index(max(values[seed, state].tolist()))
            assert torch.equal(chosen[seed, state], candidates[seed, state, best])
