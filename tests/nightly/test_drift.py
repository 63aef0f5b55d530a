import math

import numpy as np
import pytest
from scipy import stats

from bench.nightly.alarms import CellScores, compare_night
from bench.nightly.drift import DriftRule, after_night, drift_rule, drifting, normal_score
from bench.records import CellKey

RULE = DriftRule(slack=0.5, limit=4.0, rate=0.001, nights=100)
BASELINE = tuple(np.random.default_rng(0).normal(50, 5, 20))


def night(*means, seeds=2):
    """One night of a cell per mean, named a, b, ...; None fails a seed."""
    cells = [
        CellScores(CellKey("abc"[index], "released", "hopper", ""), BASELINE, (mean,) * seeds)
        for index, mean in enumerate(means)
    ]
    compared = compare_night(cells, 0.01)
    return {cell.cell.algorithm: cell.p_below for cell in compared.cells}


def expected_score(mean, seeds=2):
    t = (mean - np.mean(BASELINE)) / (np.std(BASELINE, ddof=1) * math.sqrt(1 / seeds + 1 / 20))
    return max(-3.0, min(3.0, stats.norm.ppf(stats.t(19).cdf(t))))


def test_sums_follow_pages_recursion_cell_by_cell():
    state, expected = {}, {"a": 0.0, "b": 0.0}
    for means in ((47.0, 52.0), (46.0, 44.0), (51.0, 48.0)):
        state = after_night(state, night(*means), RULE)
        for cell, mean in zip("ab", means, strict=True):
            expected[cell] = max(0.0, expected[cell] - expected_score(mean) - 0.5)
    assert state == pytest.approx(expected)
    assert min(state.values()) == 0 < max(state.values())


def test_a_drop_too_small_for_any_night_is_found_over_nights():
    state, nights = {}, 0
    while not drifting(state, RULE):
        tonight = night(np.mean(BASELINE) - 6.0, 50.0)
        assert tonight["a"] > 0.01 / 2
        state = after_night(state, tonight, RULE)
        nights += 1
        assert nights < 10
    assert drifting(state, RULE) == ("a",)
    assert nights > 1


def test_one_terrible_night_is_no_drift_and_a_mended_drift_is_forgotten():
    state = after_night({}, night(-1000.0), RULE)
    assert state["a"] == pytest.approx(2.5)
    assert drifting(state, RULE) == ()
    for _ in range(20):
        state = after_night(state, night(-1000.0), RULE)
    assert (state["a"], drifting(state, RULE)) == (4.0, ("a",))
    assert drifting(after_night(state, night(50.0), RULE), RULE) == ()


def test_a_cell_that_failed_keeps_its_sum():
    before = after_night({}, night(45.0, 50.0), RULE)
    after = after_night(before, night(None, 50.0), RULE)
    assert after["a"] == before["a"] > 0


def test_small_baselines_have_no_heavier_tails():
    rng = np.random.default_rng(0)
    baseline, new = rng.standard_normal((200_000, 4)), rng.standard_normal(200_000)
    t = (new - baseline.mean(axis=1)) / (baseline.std(axis=1, ddof=1) * math.sqrt(1 + 1 / 4))
    score = normal_score(t, 4)
    for quantile in (0.01, 0.1, 0.5, 0.9):
        assert np.quantile(score, quantile) == pytest.approx(stats.norm.ppf(quantile), abs=0.03)
    assert np.abs(score).max() == 3.0


@pytest.fixture(scope="module")
def rule():
    return drift_rule(cells=12, baseline_seeds=20, seeds=2, rate=0.001, nights=100)


def replayed(rule, rng, families, *, known=False, cells=12, nights=100):
    """Share of families that drift in `nights` nights: written anew, without the code under test."""
    shape = (families, cells)
    error = np.zeros(shape) if known else rng.standard_normal(shape) / math.sqrt(20)
    spread = np.ones(shape) if known else np.sqrt(rng.chisquare(19, shape) / 19)
    sums, reached = np.zeros(shape), np.zeros(families, dtype=bool)
    for _ in range(nights):
        new = rng.standard_normal(shape) / math.sqrt(2)
        score = (new - error) / spread / math.sqrt(1 / 2 + (0 if known else 1 / 20))
        if not known:
            score = stats.norm.ppf(stats.t(19).cdf(score))
        sums = np.maximum(0, sums - np.clip(score, -3, 3) - rule.slack)
        reached |= (sums >= rule.limit).any(axis=1)
    return reached


def test_the_rate_holds_with_the_baselines_own_error_in_it(rule):
    families = 1500
    reached = replayed(rule, np.random.default_rng(5), families).sum()
    stated = 1 - (1 - 0.001) ** 100
    # 5 % for the limit's own simulation, then binomial bounds at 1 in 1,000.
    assert stats.binom(families, stated * 0.95).ppf(0.001) <= reached
    assert reached <= stats.binom(families, stated * 1.05).ppf(0.999)


def test_a_textbook_limit_would_not_hold_it():
    # Siegmund's approximation of the average run length, ARL = (exp(2 k b) - 2 k b - 1) / (2 k^2) with
    # b = h + 1.166, solved for slack 0.5 and one false alarm in 12,000 nights of a cell.
    slack, target = 0.5, 12_000
    limit = next(
        h
        for h in np.arange(3, 12, 0.01)
        if (math.exp(2 * slack * (h + 1.166)) - 2 * slack * (h + 1.166) - 1) / (2 * slack**2) >= target
    )
    textbook = DriftRule(slack, float(limit), 0.001, 100)
    rng = np.random.default_rng(6)
    assert replayed(textbook, rng, 300, known=True).mean() < 0.2
    assert replayed(textbook, rng, 300).mean() > 0.5


def of_few_nights(cells=12, baseline_seeds=20):
    return drift_rule(cells=cells, baseline_seeds=baseline_seeds, seeds=2, rate=0.001, nights=20)


def test_more_baseline_seeds_allow_a_lower_limit_and_more_cells_ask_for_a_higher_one():
    rule, larger, wider = of_few_nights(), of_few_nights(baseline_seeds=60), of_few_nights(cells=36)
    assert (larger.slack, larger.limit) < (rule.slack, rule.limit)
    assert wider.limit > rule.limit or wider.slack > rule.slack


def test_the_rule_is_the_same_every_night():
    assert of_few_nights() == of_few_nights()
