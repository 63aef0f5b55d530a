"""SfBC's planning and selection against loops and probabilities in float64."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.sfbc import NO_VALUE, mean_of_drawn, planned_returns


def planned_by_a_loop(rewards, ends, values, discount, planning):
    """Backwards over the rows, as one would first write it: (N,) each."""
    returns, following, next_value = np.zeros(len(rewards)), 0.0, 0.0
    for row in reversed(range(len(rewards))):
        left = discount * (not ends[row])
        if planning == "this_state":
            returns[row] = max(float(rewards[row]) + left * following, values[row])
        else:
            best = max(following, next_value) if left else 0.0
            returns[row] = float(rewards[row]) + left * best
        following, next_value = returns[row], values[row]
    return returns


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 40),
    seed=st.integers(0, 99),
    often=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    known=st.sampled_from([0.0, 0.3, 1.0]),
    planning=st.sampled_from(["this_state", "next_state"]),
)
def test_planned_returns_are_those_of_a_loop(rows, seed, often, known, planning):
    generator = np.random.default_rng(seed)
    rewards, ends = generator.normal(size=rows), generator.uniform(size=rows) < often
    ends[-1] = True
    values = np.where(generator.uniform(size=(3, rows)) < known, generator.normal(size=(3, rows)), -np.inf)
    given_values = torch.from_numpy(np.maximum(values, NO_VALUE))
    found = planned_returns(torch.from_numpy(rewards), torch.from_numpy(ends), given_values, 0.97, planning)
    for seed_values, returns in zip(values, found, strict=True):
        expected = planned_by_a_loop(rewards, ends, seed_values, 0.97, planning)
        np.testing.assert_allclose(returns, expected, rtol=1e-12, atol=1e-12)


def test_a_trajectory_that_was_cut_is_continued_by_its_value_alone():
    rewards, ends = torch.tensor([1.0, 1.0, 5.0]), torch.tensor([False, True, True])
    values = torch.tensor([[0.0, 3.0, 0.0]])
    assert planned_returns(rewards, ends, values, 0.5).tolist() == [[2.5, 3.0, 5.0]]
    assert planned_returns(rewards, ends, values, 0.5, "next_state").tolist() == [[2.5, 1.0, 5.0]]


def probabilities_of_pairs(values, lead):
    """Of every pair drawn without replacement from the softmax of capped values."""
    capped = np.minimum(values, np.sort(values)[-2] + lead)
    p = np.exp(capped - capped.max())
    p /= p.sum()
    pairs = {}
    for first, second in itertools.permutations(range(len(p)), 2):
        pair = tuple(sorted((first, second)))
        pairs[pair] = pairs.get(pair, 0.0) + p[first] * p[second] / (1 - p[first])
    return pairs


def test_candidates_are_drawn_without_replacement_from_the_capped_softmax():
    """Frequencies of the pairs of 20,000 draws, within five standard errors of their probabilities."""
    values, draws = torch.tensor([0.1, 0.9, 0.4, 2.5]), 20_000
    uniform = torch.rand(1, draws, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    corners = torch.eye(4).expand(1, draws, -1, -1)
    means = mean_of_drawn(
        corners, values.expand(1, draws, -1), uniform, 2, inverse_temperature=2.0, lead=0.7
    )[0]
    expected = probabilities_of_pairs(2.0 * values.numpy().astype(np.float64), 0.7)
    assert sum(expected.values()) == pytest.approx(1.0)
    for pair, probability in expected.items():
        found = (means[:, list(pair)] > 0).all(dim=1).double().mean().item()
        assert abs(found - probability) < 5 * (probability * (1 - probability) / draws) ** 0.5, pair


def test_one_is_drawn_as_it_is():
    candidates = torch.arange(6.0).view(1, 1, 3, 2)
    values = torch.tensor([[[0.0, 1.0, 0.5]]])
    uniform = torch.full((1, 1, 3), 0.5, dtype=torch.float64)
    drawn = mean_of_drawn(candidates, values, uniform, 1, inverse_temperature=100.0, lead=40.0)
    assert drawn.tolist() == [[[2.0, 3.0]]]


def test_a_lead_that_rounds_everything_else_away_still_draws_four():
    """Values apart by more than an exponential can tell, as a sharp critic's are."""
    values = torch.tensor([[[1000.0, 0.0, -1000.0, -2000.0, -3000.0]]])
    candidates = torch.eye(5).view(1, 1, 5, 5)
    uniform = torch.full((1, 1, 5), 0.5, dtype=torch.float64)
    drawn = mean_of_drawn(candidates, values, uniform, 4, inverse_temperature=100.0, lead=40.0)
    assert drawn.tolist() == [[[0.25, 0.25, 0.25, 0.25, 0.0]]]
