"""Comparing methods: what is said of known differences, what must not be held together, what is withheld."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.records import Declaration
from bench.report.compare import compare, further, standing_of, standings
from bench.report.loading import tasks_of_suites
from bench.report.margins import load_margins
from bench.report.matching import matched, own_numbers
from bench.report.measured import Measured, ReportData, SeedScore
from bench.report.pairing import difference_of
from bench.report.statistics import Sample, improvement_over_few

CATALOG, MARGINS = load_catalog(), load_margins()
SUITES = tasks_of_suites(CATALOG)
LOCOMOTION = SUITES["d4rl-locomotion"]
HOPPER, MAZE = "hopper-medium-v2", "antmaze-umaze-v2"
SAID = Declaration("d4rl", "last", 10, "d4rl")
SEEDS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])


def entry(name="mine", task=HOPPER, scores=99 + SEEDS, declared=SAID, **facts) -> Measured:
    """An imported cell; a score of None is a seed that failed."""
    trials = tuple(
        SeedScore(seed, seed, "failed" if score is None else "finished", score)
        for seed, score in enumerate(scores)
    )
    usual = {
        "variant": "imported",
        "config_hash": f"{name} {task}",
        "task_version": CATALOG.tasks[task].version,
        "physics": "d4rl",
        "budget": 1.0,
        "protocol": "last",
        "episodes": 10,
        "reduced": (),
        "dataset": task,
        "verification": "unverified",
        "replay": "unverified",
    }
    return Measured(name, task=task, trials=trials, declared=declared, **usual | facts)


def held(*entries, against="theirs", suites=()):
    return compare(ReportData(tuple(entries), suites=SUITES), CATALOG, "mine", against, MARGINS, suites)


def one(*entries, **more):
    (contrast,) = held(*entries, **more).contrasts
    return contrast


@pytest.mark.parametrize(
    ("shift", "spread", "said", "within"),
    [
        (20, 1, "better", False),
        (-20, 1, "worse", False),
        (0, 1, "equivalent", True),
        (2, 0.3, "better", True),
        (-2, 0.3, "worse", True),
        (0, 30, "undecided", False),
    ],
)
def test_known_differences_have_their_words(shift, spread, said, within):
    contrast = one(entry(scores=60 + shift + spread * SEEDS), entry("theirs", scores=60 + spread * SEEDS))
    assert (contrast.standing, contrast.within_margin) == (said, within)
    assert contrast.comparison.difference == pytest.approx(shift)


def test_the_arithmetic_is_welchs_with_both_variances():
    mine, theirs = entry(scores=[50, 52, 57]), entry("theirs", scores=[40, 41, 45, 46])
    contrast = one(mine, theirs)
    variances = np.var([50, 52, 57], ddof=1) / 3, np.var([40, 41, 45, 46], ddof=1) / 4
    assert contrast.comparison.standard_error == pytest.approx(np.sqrt(sum(variances)))
    assert contrast.comparison.difference == pytest.approx(10)
    assert contrast.improvement.estimate == 1.0
    assert contrast.improvement.low < 0.8  # the bootstrap would say 1


def test_holm_runs_over_both_sides_of_all_cells():
    pairs = [
        entry(name, task, 50 + SEEDS + 2.2 * (name == "mine"))
        for task in LOCOMOTION
        for name in ("mine", "theirs")
    ]
    alone, together = one(*pairs[:2]), held(*pairs)
    assert alone.standing == "better"
    p = alone.comparison.p_above
    assert alone.comparison.adjusted_above == pytest.approx(2 * p)
    assert together.contrasts[0].comparison.adjusted_above == pytest.approx(18 * p)
    assert {contrast.standing for contrast in together.contrasts} == {"equivalent"}
    # The mean over the suite is a family of its own, and its error is a third.
    (mean,) = together.suites
    assert (mean.suite, mean.standing, mean.tested) == ("d4rl-locomotion", "better", 9)
    assert mean.comparison.standard_error == pytest.approx(alone.comparison.standard_error / 3)


def test_a_suite_without_all_of_its_tasks_has_no_mean():
    pairs = [entry(name, task, 50 + SEEDS) for task in LOCOMOTION[:8] for name in ("mine", "theirs")]
    (mean,) = held(*pairs).suites
    assert (mean.standing, mean.tested, mean.tasks) == ("not comparable", 8, 9)
    assert mean.reasons == (f"{LOCOMOTION[8]}: no score",)


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        ({"declared": Declaration()}, {}, "mine: not declared: data, episodes, physics, protocol"),
        ({"declared": replace(SAID, data="other")}, {}, "data: other data, mine's own against D4RL's file"),
        ({"protocol": "rat"}, {}, "protocol rat against last"),
        ({"physics": "modern"}, {}, "physics modern against d4rl"),
        ({"task_version": 7}, {}, "task version 7 against 1"),
        ({}, {"declared": None, "verification": "mismatch"}, "data: D4RL's file against a file"),
        (
            {},
            {"declared": None, "verification": "verified", "reduced": ("budget 0.1",)},
            "reduced (budget 0.1)",
        ),
        ({"protocol": "oms", "episodes": 5}, {"protocol": "oms"}, "5 episodes against 10"),
    ],
)
def test_what_must_not_be_held_together_is_told(mine, theirs, told):
    contrast = one(entry(**mine), entry("theirs", **theirs))
    assert contrast.standing == "not comparable"
    assert any(told in reason for reason in contrast.reasons), contrast.reasons


def test_methods_trained_here_are_compared_on_the_same_data_alone():
    here = {
        "declared": None,
        "variant": "released",
        "dataset_sha256": "a" * 64,
        "verification": "content fits",
    }
    mine, theirs = entry(**here), entry("theirs", **here)
    assert one(mine, theirs).standing == "equivalent"
    assert one(mine, replace(theirs, dataset_sha256="b" * 64)).standing == "not comparable"


def test_seeds_without_a_score_withhold_what_their_mean_is_too_good_for():
    lost = [*(80 + SEEDS), None]
    assert one(entry(scores=lost), entry("theirs", scores=60 + SEEDS)).standing == "undecided"
    assert one(entry(scores=lost), entry("theirs", scores=99 + SEEDS)).standing == "worse"
    assert one(entry(scores=60 + SEEDS), entry("theirs", scores=lost)).standing == "undecided"
    contrast = one(entry(scores=99 + SEEDS), entry("theirs", scores=[*lost[:5], float("nan")]))
    assert contrast.standing == "better"
    assert further(one(entry(scores=lost), entry("theirs", scores=60 + SEEDS))) == ""


def test_one_seed_and_seeds_that_score_the_same_tell_nothing():
    assert "no spread to judge by" in one(entry(scores=[1.0]), entry("theirs")).reasons[0]
    same = one(entry(scores=[100.0] * 5), entry("theirs"))
    assert "all 5 seeds score the same" in same.reasons[0]
    # An episode of a maze succeeds or fails: the binomial law gives a spread.
    maze = one(entry(task=MAZE, scores=[100.0] * 5), entry("theirs", MAZE, [20.0, 30, 40, 30, 20]))
    assert maze.standing == "better"


def test_further_seeds_would_decide():
    mine, theirs = entry(scores=63 + 3 * SEEDS), entry("theirs", scores=60 + 3 * SEEDS)
    contrast = one(mine, theirs)
    assert contrast.standing == "undecided"
    more = contrast.further_seeds

    def with_seeds(n):
        samples = [replace(Sample.of(np.array(of.scores)), n=n) for of in (mine, theirs)]
        return standings([(difference_of(*samples), 5.0)])[0][0]

    assert with_seeds(5 + more - 1) == "undecided" != with_seeds(5 + more)


def test_printed_numbers_of_the_four_papers_or_of_one_method():
    found = held(entry(scores=99 + SEEDS), against="paper")
    assert [contrast.against for contrast in found.contrasts] == [
        "dtql/last, printed by DTQL",
        "srpo/last, printed by SRPO",
        "edp-td3/rat, printed by EDP",
        "edp-td3/oms, printed by EDP",
        "bdpo/last, printed by BDPO",
    ]
    assert found.contrasts[2].reasons == ("protocol last, printed rat",)
    assert {contrast.margin for contrast in found.contrasts} == {5}
    (only,) = held(entry(), against="paper:iql").contrasts
    assert only.against == "iql/last, printed by CORL"
    assert only.improvement is None
    with pytest.raises(BenchError, match="Did you mean paper:dtql"):
        held(entry(), against="paper:dtqi")


def test_another_methods_seeds_say_nothing_of_how_a_papers_differ():
    contrast = one(entry(scores=99 + SEEDS), against="paper:dtql")
    assert "the most that it allows, all of it between seeds" in contrast.assumptions[0]
    # 99.6 +- 0.87 over 5 x 10 rollouts.
    expected = np.sqrt(np.var(SEEDS, ddof=1) / 5 + 10 * 0.87**2)
    assert contrast.comparison.standard_error == pytest.approx(expected, rel=0.01)


def test_a_learning_curve_is_scored_by_the_protocol_of_the_paper():
    curve = tuple(np.linspace(50, 60, 12))
    trials = tuple(SeedScore(n, n, "finished", 60.0 + n, tuple(np.add(curve, n))) for n in range(3))
    mine = replace(entry(), trials=trials)
    rat = {contrast.against: contrast for contrast in held(mine, against="paper").contrasts}
    contrast = rat["edp-td3/rat, printed by EDP"]
    assert contrast.standing == "worse"
    assert contrast.mine.mean == pytest.approx(np.mean(curve[-10:]) + 1)
    # Of one evaluation no best over training can be told.
    short = replace(mine, trials=tuple(replace(trial, evaluations=(60.0,)) for trial in trials))
    oms = {contrast.against: contrast for contrast in held(short, against="paper").contrasts}
    assert oms["edp-td3/oms, printed by EDP"].reasons == ("protocol last, printed oms",)


def test_of_one_evaluation_alone_nobody_knows_which_it_was():
    trials = tuple(SeedScore(n, n, "finished", 60.0 + n, (60.0 + n,)) for n in range(3))
    mine = replace(entry(protocol="not declared", declared=replace(SAID, protocol=None)), trials=trials)
    assert one(mine, entry("theirs")).reasons == ("mine: not declared: protocol",)


def test_goals_that_a_method_chooses_must_be_the_same():
    maze = "antmaze-umaze-v0"
    contrast = one(entry(task=maze, scores=80 + SEEDS), against="paper:dtql")
    assert contrast.reasons == ("mine: not declared: goals",)
    goals = replace(SAID, goals="per_environment")
    wrong = entry(task=maze, scores=80 + SEEDS, declared=goals, goals="per_environment")
    assert "goals per_environment, printed" in one(wrong, against="paper:dtql").reasons[0]


def test_imported_scores_stand_for_no_printed_number_whatever_they_are_called():
    cells = [cell for _, cell in own_numbers().values()]
    measured = entry("dtql", declared=None, variant="released", verification="verified")
    assert len(matched(cells, [measured])) == 1
    assert matched(cells, [entry("dtql")]) == {}


def test_who_is_not_there_is_told():
    for name, against, told in (
        ("nobody", "theirs", "unknown method in the store 'nobody'"),
        ("mine", "mine", "against itself"),
        ("mine", "dtql", "Its printed numbers: --against paper:dtql"),
        ("mine", "theirs", "have no task in common"),
    ):
        data = ReportData((entry(), entry("theirs", "walker2d-medium-v2")), suites=SUITES)
        with pytest.raises(BenchError) as error:
            compare(data, CATALOG, name, against, MARGINS)
        assert told in str(error.value)


def test_standings_exclude_each_other():
    rng = np.random.default_rng(0)
    for _ in range(200):
        samples = [Sample.of(rng.normal(rng.uniform(-8, 8), rng.uniform(0.1, 9), 4)) for _ in range(2)]
        ((said, comparison),) = standings([(difference_of(*samples), 5.0)])
        assert not (comparison.adjusted_above <= 0.05 and comparison.adjusted_below <= 0.05)
        assert said == standing_of(comparison, 5.0)


@pytest.mark.parametrize(("shift", "true"), [(0.0, 0.5), (1.0, 0.76)])
def test_the_interval_of_the_probability_covers_it(shift, true):
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(150):
        found = improvement_over_few([rng.normal(shift, 1, 3)], [rng.normal(0, 1, 3)])
        hits += found.low <= true <= found.high
    assert hits / 150 > 0.87
