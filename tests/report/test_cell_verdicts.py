"""Each verdict on a number against arithmetic done anew with SciPy's distributions."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.report.measured import ReportData, SeedScore
from bench.report.paper import Erratum
from bench.report.verdicts import MOST_FURTHER_SEEDS, judge
from tests.report.builders import measured
from tests.report.judging import MARGINS, numbers, own, seeds, trials, verdict_on

AT = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Five seeds around 0: their variance is 0.625."""


def around(mean, scale=1.0):
    return seeds(*(mean + scale * one for one in AT))


def answer(d, error, df, margin=5.0, tests=2):
    """The verdict on a difference, by the textbook."""
    half = stats.t.ppf(0.95, df) * error
    if -margin <= d - half and d + half <= margin:
        return "reproduced"
    if stats.t.cdf((d + margin) / error, df) * tests <= 0.05:
        return "below"
    if stats.t.sf((d - margin) / error, df) * tests <= 0.05:
        return "above"
    return "inconclusive"


def expect(verdict, d, error, df, margin=5.0):
    """The numbers of a verdict on one number alone, and what follows from them."""
    found = verdict.comparison
    assert (found.difference, found.standard_error, found.degrees_of_freedom) == pytest.approx((d, error, df))
    half = stats.t.ppf(0.95, df) * error
    assert (found.low, found.high, found.margin) == pytest.approx((d - half, d + half, margin))
    assert found.p_below == pytest.approx(stats.t.cdf((d + margin) / error, df))
    assert found.p_above == pytest.approx(stats.t.sf((d - margin) / error, df))
    assert verdict.outcome == answer(d, error, df, margin)


# Each kind of printed number


BY_DIFFERENCE = {
    0.0: "reproduced",
    3.9: "reproduced",
    4.5: "inconclusive",
    -4.5: "inconclusive",
    6.0: "inconclusive",
    -9.0: "below",
    9.0: "above",
}


@pytest.mark.parametrize(("d", "outcome"), BY_DIFFERENCE.items())
def test_without_a_spread_our_own_stands_in_for_the_papers(d, outcome):
    verdict = verdict_on(own(80.0), around(80.0 + d))
    expect(verdict, d, math.sqrt(0.625 / 5 + 0.625 / 5), 4)
    assert verdict.outcome == outcome
    assert verdict.assumptions == ("no spread printed: the paper's seeds are assumed to vary as ours do",)


@pytest.mark.parametrize("d", [0, 3, -4, -12, 12, -30, 30])
def test_a_deviation_over_seeds_goes_by_welch(d):
    cell = own(80.0, spread=2.0, spread_kind="std_over_seeds", seeds=6)
    ours, theirs = 2.5 / 5, 2.0**2 / 5
    satterthwaite = (ours + theirs) ** 2 / (ours**2 / 4 + theirs**2 / 5)
    df = stats.hmean([4, satterthwaite])
    expect(verdict_on(cell, around(80.0 + d, 2.0)), d, math.sqrt(ours + theirs), df)


def test_two_printed_deviations_make_the_margin_where_they_are_larger():
    cell = own(80.0, spread=4.0, spread_kind="std_over_seeds")
    assert verdict_on(cell, around(80.0)).comparison.margin == 8.0
    assert verdict_on(replace(cell, spread=2.4), around(80.0)).comparison.margin == 5.0
    pooled = replace(cell, spread_kind="se_over_rollouts")
    assert verdict_on(pooled, around(80.0)).comparison.margin == 5.0


@pytest.mark.parametrize("d", [0, 4, -25, 25])
def test_a_pooled_error_is_widened_by_the_variance_between_our_seeds(d):
    """Four episodes per seed: the analysis of variance splits what they vary by."""
    wobble = np.array([-3.0, -1.0, 1.0, 3.0])
    levels = 80.0 + d + np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
    episodes = levels[:, None] + wobble
    within = wobble.var(ddof=1)
    between = levels.var(ddof=1) - within / 4
    error = math.sqrt((between + within) / 20)  # as the paper would print it, had it seen the same
    cell = own(80.0, spread=error, spread_kind="se_over_rollouts", episodes=4)
    entry = seeds(*levels, episodes=4)
    kept = {trial.trial_id: tuple(row) for trial, row in zip(entry.trials, episodes, strict=True)}
    verdict = verdict_on(cell, entry, final_episodes=kept)
    variance = between / 5 + within / 20
    expect(verdict, d, math.sqrt(levels.var(ddof=1) / 5 + variance), 4)
    assert len(verdict.assumptions) == 1
    assert "standard error over pooled rollouts" in verdict.assumptions[0]


@pytest.mark.parametrize("kept", [{}, {10: (1.0,)}, {10 + seed: (math.nan,) * 10 for seed in range(5)}])
def test_a_pooled_error_without_our_episodes_is_taken_at_its_widest(kept):
    cell = own(80.0, spread=0.5, spread_kind="se_over_rollouts", episodes=10)
    verdict = verdict_on(cell, around(80.0), final_episodes=kept)
    expect(verdict, 0.0, math.sqrt(0.625 / 5 + 10 * 0.5**2), 4)


def test_a_seed_without_a_score_takes_nothing_from_what_the_others_episodes_show():
    cell = own(80.0, spread=0.5, spread_kind="se_over_rollouts", episodes=4)
    whole = seeds(*(40.0 + one for one in AT), episodes=4)
    wobble = (-3.0, -1.0, 1.0, 3.0)
    kept = {t.trial_id: tuple(t.score + one for one in wobble) for t in whole.trials}
    lost = SeedScore(99, 9, "finished", math.nan)
    entry = replace(whole, trials=(*whole.trials, lost))
    verdict = verdict_on(cell, entry, final_episodes=kept | {99: (math.nan, 1.0, 1.0, 1.0)})
    assert verdict.comparison == verdict_on(cell, whole, final_episodes=kept).comparison


def test_an_unstated_number_of_seeds_is_taken_as_three():
    verdict = verdict_on(own(80.0, seeds=None), around(80.0))
    expect(verdict, 0.0, math.sqrt(0.625 / 5 + 0.625 / 3), 4)
    assert verdict.assumptions[0] == "number of seeds not stated: 3 assumed"


def test_a_spread_of_unknown_meaning_gives_no_verdict():
    verdict = verdict_on(own(80.0, spread=1.0, spread_kind="unknown"), around(20.0))
    assert (verdict.outcome, verdict.comparison) == ("inconclusive", None)
    assert verdict.reasons == ("the paper does not say what its ± means",)


# AntMaze, where an episode succeeds or fails


def antmaze(mean, **other):
    return own(mean, task="antmaze-umaze-v0", domain="antmaze", episodes=100, **other)


def at_rate(*rates):
    return seeds(*rates, task="antmaze-umaze-v0", episodes=100)


def binomial(rate, rollouts):
    """Variance of a success rate in points squared, two successes and two failures added."""
    shrunk = (rate * rollouts + 2) / (rollouts + 4)
    return 1e4 * shrunk * (1 - shrunk) / rollouts


@pytest.mark.parametrize("rate", [0, 100])
def test_five_hundred_successes_in_a_row_are_not_certainty(rate):
    verdict = verdict_on(antmaze(float(rate)), at_rate(*[float(rate)] * 5))
    own_variance = binomial(rate / 100, 500)
    assert 0 < own_variance < 0.1
    expect(verdict, 0.0, math.sqrt(2 * own_variance), 4)
    assert verdict.outcome == "reproduced"
    near = verdict_on(antmaze(abs(rate - 5.5)), at_rate(*[float(rate)] * 5))
    assert near.outcome == "inconclusive"


def test_a_printed_deviation_below_the_binomial_one_is_raised_to_it():
    cell = antmaze(50.0, spread=0.1, spread_kind="std_over_seeds")
    error = verdict_on(cell, at_rate(48.0, 49.0, 50.0, 51.0, 52.0)).comparison.standard_error
    assert error == pytest.approx(math.sqrt(2 * binomial(0.5, 500)))


def test_the_best_of_many_evaluations_is_no_binomial_rate():
    curve = (90.0, 100.0, 95.0)
    entry = measured(
        "antmaze-umaze-v0",
        episodes=100,
        trials=tuple(replace(t, evaluations=curve) for t in trials(*[("finished", 95.0)] * 5)),
    )
    verdict = verdict_on(antmaze(93.0, protocol="oms"), entry)
    assert (verdict.outcome, verdict.measured.mean) == ("inconclusive", 100.0)
    assert verdict.reasons == ("all 5 seeds score the same: no spread to judge by",)


# Seeds that are missing, in one way or another


def test_one_seed_judges_nothing():
    verdict = verdict_on(own(80.0), seeds(20.0))
    assert (verdict.outcome, verdict.comparison, verdict.measured.n) == ("inconclusive", None, 1)
    assert verdict.reasons == ("1 seed: no spread to judge by",)


def test_only_failed_seeds():
    verdict = verdict_on(own(80.0), measured("hopper-medium-v2", trials=trials(*[("failed", None)] * 3)))
    entry = verdict.measured
    assert (verdict.outcome, entry.mean, entry.standard_deviation, entry.n) == ("inconclusive", None, None, 0)
    assert verdict.reasons == ("3 of 3 seeds failed",)


def test_one_seed_of_several_is_told_with_what_became_of_the_others():
    entry = measured("hopper-medium-v2", trials=trials(("finished", 80.0), ("failed", None)))
    assert verdict_on(own(80.0), entry).reasons == ("1 of 2 seeds failed", "1 seed: no spread to judge by")


@pytest.mark.parametrize("state", ["planned", "running"])
def test_nothing_is_said_before_all_seeds_have_finished(state):
    entry = measured(
        "hopper-medium-v2", trials=trials(*[("finished", 20.0 + one) for one in AT], (state, None))
    )
    verdict = verdict_on(own(80.0), entry)
    assert (verdict.outcome, verdict.comparison) == ("inconclusive", None)
    assert verdict.reasons == ("1 of 6 seeds have not finished",)


@pytest.mark.parametrize("lost", [("failed", None), ("finished", math.nan), ("finished", None)])
@pytest.mark.parametrize(
    ("mean", "outcome"), [(80.0, "inconclusive"), (140.0, "inconclusive"), (20.0, "below")]
)
def test_the_mean_of_the_seeds_that_did_not_fail_says_nothing_good(lost, mean, outcome):
    entry = measured("hopper-medium-v2", trials=trials(lost, *[("finished", mean + one) for one in AT]))
    verdict = verdict_on(own(80.0), entry)
    assert verdict.outcome == outcome
    assert verdict.comparison is not None
    if outcome == "inconclusive":
        assert verdict.reasons[0].startswith("1 of 6 seeds")
        assert verdict.further_seeds is None


# Numbers and cells that are never held against each other


@pytest.mark.parametrize(
    "change",
    [{"physics": "modern"}, {"verification": "unverified"}, {"budget": 0.5, "reduced": ("budget 0.5",)},
     {"current_task_version": 2}, {"episodes": 20}, {"variant": "mine"}, {"twin_of": "walker2d-medium-v2"}],
)  # fmt: skip
def test_what_is_not_comparable_is_not_judged(change):
    verdict = verdict_on(own(80.0), replace(around(20.0), **change))
    assert (verdict.outcome, verdict.comparison) == ("not comparable", None)
    assert len(verdict.reasons) == 1


@pytest.mark.parametrize("field", ["mean", "spread"])
def test_a_misprint_is_never_judged(field):
    verdict = verdict_on(own(80.0, errata=(Erratum(field, "8.0", "The rows say so."),)), around(20.0))
    assert (verdict.outcome, verdict.comparison) == ("not comparable", None)


def test_what_is_not_judged_does_not_weigh_on_what_is():
    cells = [own(80.0), own(80.0, task="walker2d-medium-v2"), own(80.0, task="halfcheetah-medium-v2")]
    entries = [around(71.0), replace(around(20.0), task="walker2d-medium-v2", physics="modern"),
               seeds(20.0, task="halfcheetah-medium-v2")]  # fmt: skip
    among_others = judge(ReportData(tuple(entries)), MARGINS, numbers(*cells)).cells[0]
    alone = verdict_on(cells[0], entries[0])
    assert among_others.comparison == alone.comparison


# What is judged together


def test_holm_runs_over_both_sides_of_every_number():
    tasks = ("hopper-medium-v2", "walker2d-medium-v2", "halfcheetah-medium-v2")
    cells = [own(80.0, task=task) for task in tasks]
    means = (71.0, 86.65, 80.0)
    entries = [replace(around(mean), task=task) for task, mean in zip(tasks, means, strict=True)]
    found = judge(ReportData(tuple(entries)), MARGINS, numbers(*cells)).cells
    error = math.sqrt(2 * 0.625 / 5)
    raw = sorted(stats.t.cdf((5 - abs(mean - 80)) / error, 4) for mean in means[:2])
    assert found[0].comparison.adjusted_below == pytest.approx(6 * raw[0])
    assert found[1].comparison.adjusted_above == pytest.approx(5 * raw[1])
    assert found[2].comparison.adjusted_below == 1.0
    assert [verdict.outcome for verdict in found] == ["below", "inconclusive", "reproduced"]
    assert verdict_on(cells[1], entries[1]).outcome == "above"


@given(
    scores=st.lists(st.floats(0, 120), min_size=2, max_size=6),
    mean=st.floats(0, 120),
    spread=st.none() | st.floats(0, 30),
    kind=st.sampled_from(["std_over_seeds", "se_over_rollouts"]),
)
def test_the_three_answers_exclude_each_other(scores, mean, spread, kind):
    cell = own(mean, spread=spread, spread_kind=kind if spread is not None else "")
    verdict = verdict_on(cell, seeds(*scores))
    found = verdict.comparison
    if found is None:
        assert verdict.outcome == "inconclusive"
        return
    said = {
        "reproduced": -found.margin <= found.low and found.high <= found.margin,
        "below": found.adjusted_below <= 0.05,
        "above": found.adjusted_above <= 0.05,
    }
    assert sum(said.values()) <= 1
    assert verdict.outcome == next((outcome for outcome, holds in said.items() if holds), "inconclusive")
    assert not any(math.isnan(number) for number in vars(found).values())


# How many further seeds would decide


def decides(d, variance, n, n0, tests):
    """Without a printed spread, at n seeds of ours."""
    error, df = math.sqrt(variance / n + variance / n0), n - 1
    strict = answer(d, error, df, tests=tests)
    return strict != "inconclusive"


@pytest.mark.parametrize(("d", "scale"), [(4.0, 1.5), (-2.0, 4.0), (-8.0, 2.5), (6.2, 1.0), (0.0, 5.0)])
@pytest.mark.parametrize("others", [0, 5])
def test_so_many_further_seeds_decide_and_one_fewer_does_not(d, scale, others):
    more = [own(80.0, task=f"other-{number}") for number in range(others)]
    entries = [replace(around(80.0), task=cell.task) for cell in more]
    data = ReportData((around(80.0 + d, scale), *entries))
    verdict = judge(data, MARGINS, numbers(own(80.0), *more)).cells[0]
    assert verdict.outcome == "inconclusive"
    tests, variance, further = 2 * (1 + others), 0.625 * scale**2, verdict.further_seeds
    assert further is not None and further >= 1
    assert decides(d, variance, 5 + further, 5, tests)
    if further > 1:
        assert not decides(d, variance, 5 + further - 1, 5, tests)


@pytest.mark.parametrize(("d", "scale"), [(5.0, 1.0), (0.0, 12.0)])
def test_where_no_number_of_seeds_decides_none_is_named(d, scale):
    verdict = verdict_on(own(80.0), around(80.0 + d, scale))
    assert (verdict.outcome, verdict.further_seeds) == ("inconclusive", None)
    assert not decides(d, 0.625 * scale**2, 5 + MOST_FURTHER_SEEDS, 5, 2)


def test_what_is_decided_needs_no_further_seeds():
    assert verdict_on(own(80.0), around(80.0)).further_seeds is None
    assert verdict_on(own(80.0), around(20.0)).further_seeds is None


# What a reader is told


def test_the_arithmetic_can_be_followed():
    lines = verdict_on(own(80.0, spread=2.0, spread_kind="std_over_seeds"), around(71.0)).arithmetic
    assert lines[0] == "printed 80.0 ± 2.00 (toy-1); measured 71.00 over 5 seeds, variance between them 0.625"
    assert "2^2 / (5 - 1) = 1 " in lines[1]
    assert lines[2].startswith("d = 71.00 - 80 = -9.00, standard error sqrt(0.625 / 5 + 1) = 1.06,")
    assert lines[3].startswith("90 % interval of d: [-11.") and "does not lie within [-5, 5]" in lines[3]
    assert lines[4].startswith("one-sided test against d >= -m: P = ") and "Holm over 2 tests" in lines[4]


def test_a_verdict_names_its_trials_and_conditions():
    verdict = verdict_on(own(80.0), replace(around(80.0), replay="unverified", variant="paper"))
    entry = verdict.measured
    assert (verdict.id, entry.trial_ids) == ("dtql/hopper-medium-v2/last", (10, 11, 12, 13, 14))
    assert (entry.variant, entry.replay, entry.n) == ("paper", "unverified", 5)
    assert (entry.mean, entry.standard_deviation) == pytest.approx((80.0, math.sqrt(0.625)))
