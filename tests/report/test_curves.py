"""Learning curves of several seeds as one mean with a band."""

import math

import numpy as np
import pytest
from scipy import stats

from bench.report.curves import mean_curves, newest
from bench.report.measured import SeedScore
from tests.report.builders import Curve, measured, with_curves

NAN = float("nan")
TASK = "hopper-medium-v2"


def curve(seed, scores, **other):
    facts = {"task": TASK, "algorithm": "dtql", "variant": "released", "config_hash": "ab" * 32} | other
    steps = tuple(100 * (place + 1) for place in range(len(scores)))
    return Curve(seed=seed, steps=steps, scores=scores, **facts)


def trials(*states):
    return tuple(SeedScore(10 + seed, seed, state, None) for seed, state in enumerate(states))


def means(entries, curves):
    return mean_curves(**with_curves(entries, curves))


def only(entries, curves):
    (by_series,) = means(entries, curves).values()
    (found,) = by_series.values()
    return found


def test_mean_and_band_are_students_at_every_evaluation():
    scores = np.array([[0.0, 40.0], [20.0, 80.0], [10.0, 30.0]])
    found = only([measured(TASK)], [curve(seed, tuple(row)) for seed, row in enumerate(scores)])
    assert found.steps.tolist() == [100, 200]
    for place in range(2):
        own = scores[:, place]
        low, high = stats.t.interval(0.95, 2, own.mean(), stats.sem(own))
        assert found.mean[place] == pytest.approx(own.mean())
        assert found.mean[place] - found.half_width[place] == pytest.approx(low)
        assert found.mean[place] + found.half_width[place] == pytest.approx(high)
    assert (found.lowest, found.highest, found.seeds, found.finished) == (0.0, 80.0, 3, True)


def test_two_seeds_have_no_band_and_evaluations_that_a_seed_lacks_are_left_out():
    alone = only([measured(TASK, trials=trials("finished"))], [curve(0, (1.0, 2.0))])
    pair = only([measured(TASK)], [curve(0, (1.0, 2.0)), curve(1, (2.0, 5.0))])
    assert np.isnan([alone.half_width, pair.half_width]).all()
    shorter = only([measured(TASK)], [curve(0, (1.0, 2.0, 3.0)), curve(1, (1.0, 4.0))])
    assert shorter.mean.tolist() == [1.0, 3.0]


def test_scores_that_are_not_finite_are_gaps():
    found = only([measured(TASK)], [curve(0, (1.0, NAN, 3.0)), curve(1, (1.0, 2.0, math.inf))])
    assert np.isnan(found.mean).tolist() == [False, True, True]
    assert (found.lowest, found.highest) == (1.0, 3.0)
    nothing = only([measured(TASK)], [curve(0, (NAN, NAN))])
    assert math.isnan(nothing.lowest)


def test_failed_seeds_do_not_enter_and_running_ones_only_where_none_has_finished():
    both = [curve(0, (1.0,)), curve(1, (5.0,)), curve(2, (9.0,))]
    entry = measured(TASK, trials=trials("finished", "failed", "running"))
    assert only([entry], both).mean.tolist() == [1.0]
    early = only([measured(TASK, trials=trials("failed", "running", "running"))], both)
    assert (early.mean.tolist(), early.finished) == ([7.0], False)
    assert means([measured(TASK, trials=trials("failed"))], [curve(0, (1.0,))]) == {}


def test_of_two_configurations_the_one_that_finished_last_stands_for_the_series():
    later = measured(TASK, config_hash="cd" * 32, finished_at=None)
    found = means([measured(TASK), later], [curve(0, (1.0,)), curve(0, (2.0,), config_hash="cd" * 32)])
    assert len(found[TASK]) == 2
    (left,) = newest(found[TASK]).values()
    assert left.mean.tolist() == [1.0]
