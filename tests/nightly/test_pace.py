import itertools
import json
from dataclasses import replace
from math import comb

import numpy as np
import pytest
import torch
from scipy import stats

from bench.catalog import load_catalog
from bench.hardware import usable_cores
from bench.nightly import pace as pace_module
from bench.nightly.config import SpeedRates
from bench.nightly.pace import (
    Circumstances,
    Pace,
    compare_pace,
    pace_from_json,
    repeats_needed,
    smallest_p,
    time_methods,
)
from bench.training.speed import PhaseSpeed

HERE = Circumstances("vm", "Xeon", "cpu: Xeon", 2, "eager", "float32", "hopper, 20 iterations")
STEADY = tuple(20 + 0.01 * number for number in range(8))


def pace(seconds, method="dtql", quantity="train", where=HERE, exclusive=True):
    return Pace(method, quantity, tuple(seconds), where, exclusive)


def slower_by(share, shift=0.003):
    return [second * (1 + share) + shift for second in STEADY]


def compare(baseline, tonight, rate=0.01, slack=0.1):
    return compare_pace(baseline, tonight, rate=rate, slack=slack)


@pytest.mark.parametrize(
    ("share", "status"),
    [(0.5, "slower"), (0.12, "slower"), (0.08, "as expected"), (0.0, "as expected"), (-0.2, "faster")],
)
def test_only_what_exceeds_the_slack_alarms(share, status):
    (found,) = compare([pace(STEADY)], [pace(slower_by(share))])
    assert found.status == status
    assert found.median == pytest.approx(np.median(STEADY) * (1 + share) + 0.003)
    assert found.baseline_median == pytest.approx(np.median(STEADY))


def test_the_p_value_is_mann_and_whitneys_of_the_slackened_baseline():
    rng = np.random.default_rng(0)
    old, new = np.exp(rng.normal(3, 0.1, 9)), np.exp(rng.normal(3.15, 0.1, 7))
    (found,) = compare([pace(old)], [pace(new)], rate=0.5)
    slackened = [second * 1.1 for second in old]
    larger = sum(one > other for one in new for other in slackened)
    assert found.p_slower == pytest.approx(
        stats.mannwhitneyu(new, slackened, alternative="greater", method="exact").pvalue
    )
    # By definition: the share of all ways to split the 16 ranks with a statistic at least as large.
    counts = _statistic_counts(7, 9)
    assert found.p_slower == pytest.approx(sum(counts[larger:]) / comb(16, 7))


def _statistic_counts(n, m):
    """Number of arrangements with each value of Mann and Whitney's U, by its recursion."""
    table = {}

    def ways(a, b, u):
        if u < 0:
            return 0
        if a == 0 or b == 0:
            return int(u == 0)
        if (a, b, u) not in table:
            table[a, b, u] = ways(a - 1, b, u - b) + ways(a, b - 1, u)
        return table[a, b, u]

    return [ways(n, m, u) for u in range(n * m + 1)]


def test_five_against_five_cannot_go_below_one_in_252():
    assert smallest_p(5, 5) == pytest.approx(1 / 252)
    best = stats.mannwhitneyu([6, 7, 8, 9, 10], [1, 2, 3, 4, 5], alternative="greater", method="exact")
    assert smallest_p(5, 5) == pytest.approx(best.pvalue)
    (found,) = compare([pace(STEADY[:5])], [pace(slower_by(9)[:5])], rate=0.003)
    assert found.status == "not compared"
    assert "5 repeats against 5 give no P-value below 0.004, and 0.003 is needed: 6 of each" in found.reason
    (found,) = compare([pace(STEADY[:5])], [pace(slower_by(9)[:5])], rate=0.004)
    assert found.status == "slower"


@pytest.mark.parametrize(("quantities", "rate", "needed"), [(1, 0.01, 5), (8, 0.01, 6), (12, 0.01, 7)])
def test_repeats_needed(quantities, rate, needed):
    assert repeats_needed(quantities, rate) == needed
    assert quantities / comb(2 * needed, needed) <= rate < quantities / comb(2 * needed - 2, needed - 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostname", "other"),
        ("device", "cuda: H200"),
        ("threads", 4),
        ("runner", "graph"),
        ("precision", "tf32"),
        ("work", "hopper, 1000 iterations"),
    ],
)
def test_different_machines_or_settings_are_never_compared(field, value):
    elsewhere = replace(HERE, **{field: value})
    (found,) = compare([pace(STEADY)], [pace(slower_by(9), where=elsewhere)])
    assert found.status == "not compared"
    assert f"{field} {getattr(HERE, field)}, now {value}" in found.reason
    assert found.p_slower is None


def test_a_busy_machine_is_no_evidence():
    (found,) = compare([pace(STEADY)], [pace(slower_by(9), exclusive=False)])
    assert (found.status, found.reason) == ("not compared", "the machine was not idle tonight")


def test_what_is_not_timed_any_more_is_missing_and_what_is_new_is_told():
    old, new = compare([pace(STEADY)], [pace(STEADY, method="new")])
    assert (old.method, old.status) == ("dtql", "missing")
    assert (new.method, new.status) == ("new", "not compared")


@pytest.mark.parametrize("seconds", [[], [float("nan")] * 8, [0.0] * 8])
def test_timings_that_are_none_are_missing(seconds):
    (found,) = compare([pace(STEADY)], [pace(seconds)])
    assert (found.status, found.median) == ("missing", None)


def test_the_family_shares_the_rate():
    # One quick repeat among slow ones, so that the P-value is not the smallest there is.
    slow = [STEADY[0], *slower_by(0.5)[1:]]
    p = compare([pace(STEADY)], [pace(slow)])[0].p_slower
    assert p > 4 * smallest_p(8, 8)
    assert compare([pace(STEADY)], [pace(slow)], rate=1.5 * p)[0].status == "slower"
    steady = pace(STEADY, quantity="other")
    assert compare([pace(STEADY), steady], [pace(slow), steady], rate=1.5 * p)[0].status == "as expected"
    assert compare([pace(STEADY), steady], [pace(slow), steady], rate=2.1 * p)[0].status == "slower"


def test_false_alarms_stay_within_the_rate_when_nothing_changed():
    rng = np.random.default_rng(1)
    rate, nights = 0.05, 400
    fired = 0
    for _ in range(nights):
        both = [[pace(np.exp(rng.normal(3, 0.3, 8)), quantity=name) for name in "abc"] for _ in range(2)]
        fired += any(found.status == "slower" for found in compare(*both, rate=rate, slack=0.0))
    assert fired <= stats.binom(nights, rate).ppf(0.999)
    assert fired >= stats.binom(nights, rate).ppf(0.001)


def test_methods_are_timed_round_about_and_kept_as_they_were(monkeypatch):
    times = itertools.count(1.0)

    def time_training(task, preset, **_):
        phases = ("pretrain", "train") if preset.algorithm == "dtql" else ("train",)
        return [PhaseSpeed(phase, next(times), phase == "train") for phase in phases]

    monkeypatch.setattr(pace_module, "time_training", time_training)
    monkeypatch.setattr(pace_module, "machine_is_idle", lambda: True)
    task = load_catalog().task("hopper-medium-v2")
    timed = time_methods([("bc", "released"), ("dtql", "paper")], task, SpeedRates(repeats=2), device="cpu")
    training = "training_seconds_per_1k_iterations"
    # So that a disturbance of a minute does not fall on one method alone.
    assert [(one.method, one.quantity, one.seconds) for one in timed] == [
        ("bc", training, (1.0, 4.0)),
        ("dtql paper", f"{training}:pretrain", (2.0, 5.0)),
        ("dtql paper", training, (3.0, 6.0)),
    ]
    assert all(one.exclusive for one in timed)
    # Another task or number of iterations is other work, whose seconds say nothing.
    assert {one.circumstances.work for one in timed} == {"hopper-medium-v2, 20 iterations of its programs"}
    assert pace_from_json(json.loads(json.dumps([one.as_json() for one in timed]))) == timed


def test_a_real_timing_takes_some_time_and_leaves_the_threads_as_they_were():
    threads = torch.get_num_threads()
    rates = SpeedRates(repeats=2, iterations=2)
    (timed,) = time_methods(
        [("bc", "released")], load_catalog().task("hopper-medium-v2"), rates, device="cpu"
    )
    assert len(timed.seconds) == 2
    assert min(timed.seconds) > 0
    assert timed.circumstances.threads == usable_cores()
    assert torch.get_num_threads() == threads
