"""Which configuration stands for a printed cell, and each condition of comparability, which fails alone."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from bench.evaluation.protocols import candidates_metric
from bench.report.matching import comparable, matched
from bench.report.measured import SeedScore
from bench.report.paper import Erratum
from tests.report.builders import AWKWARD, WHEN, measured, printed

OWN = printed(AWKWARD, "DTQL", 99.6)
WORSE = {
    "without a score": {"trials": (SeedScore(1, 0, "failed", None),)},
    "not comparable": {"physics": "modern"},
    "smaller budget": {"budget": 0.5, "reduced": ("budget 0.5",)},
    "fewer seeds": {"scores": (98.0, 101.0)},
    "earlier": {"finished_at": WHEN - timedelta(days=1)},
}


def taken(cells, entries):
    """What stands for each cell."""
    return {cell: match.measured for cell, match in matched(cells, entries).items()}


@pytest.mark.parametrize("change", WORSE.values(), ids=WORSE)
def test_the_closer_configuration_stands_whatever_the_order(change):
    better, worse = measured(), measured(config_hash="1" * 64, **change)
    for given in ((better, worse), (worse, better)):
        assert taken([OWN], given) == {OWN: better}


def test_comparable_with_few_seeds_goes_before_many_seeds_on_other_physics():
    few, many = measured(scores=(90.0,)), measured(scores=(90.0,) * 9, physics="modern", config_hash="1" * 64)
    assert taken([OWN], (many, few))[OWN].physics == "d4rl"


def test_among_the_incomparable_the_one_with_fewer_reasons():
    one = measured(physics="modern")
    two = measured(physics="modern", verification="mismatch", scores=(1.0,) * 9, config_hash="1" * 64)
    assert taken([OWN], (two, one))[OWN] == one


def test_every_cell_is_scored_by_its_own_protocol():
    curve = tuple(float(score) for score in (*range(12), 3))
    entry = measured(trials=(SeedScore(1, 0, "finished", 3.0, curve),))
    cells = {name: replace(OWN, protocol=name) for name in ("last", "rat", "oms")}
    found = taken(cells.values(), [entry])
    means = {name: found[cell].mean for name, cell in cells.items()}
    assert means == {"last": 3.0, "rat": (3 + 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 3) / 10, "oms": 11.0}


def test_protocols_that_choose_by_metrics():
    metrics = tuple({"bc_loss": loss} for loss in (0.3, 0.1, 0.2))
    entry = measured(trials=(SeedScore(1, 0, "finished", 3.0, (40.0, 50.0, 60.0), metrics, 0),))
    assert entry.under("bc-select").mean == 60.0
    lacking = measured(trials=(SeedScore(1, 0, "finished", 3.0, (40.0, 50.0, 60.0)),))
    assert lacking.under("bc-select") is lacking


def test_all_seeds_of_a_cell_take_the_same_number_of_candidates():
    """32 is best for the first seed, 16 for the second and for both: (20 + 30) / 2 > (24 + 12) / 2."""
    by_seed = ({16: 20.0, 32: 24.0}, {16: 30.0, 32: 12.0}, {16: math.nan, 32: 1.0})
    trials = tuple(
        SeedScore(seed, seed, "finished", 7.0, (1.0,), ({candidates_metric(n): of[n] for n in of},))
        for seed, of in enumerate(by_seed)
    )
    entry = measured(protocol="last-bestN", trials=(*trials, SeedScore(9, 9, "failed", None)))
    found = entry.under("last-bestN")
    assert [trial.score for trial in found.scored] == [20.0, 30.0]
    assert (found.mean, found.protocol) == (25.0, "last-bestN")
    assert found.under("last-bestN") == found
    assert found.shortfalls() == ("1 of 4 seeds failed", "1 of 4 seeds with a score that is no finite number")
    assert measured(trials=(SeedScore(1, 0, "finished", 3.0, (2.0,)),)).under("last-bestN").mean == 3.0


def test_cells_of_which_nothing_was_measured_are_left_out():
    others = (measured("elsewhere"), measured(algorithm="srpo"))
    assert taken([OWN], others) == {}


def test_an_ablation_takes_only_what_was_run_with_its_changes():
    plain = printed("hopper-medium-v2", "DTQL (50-epoch pretrain)", 99.6)
    without = printed("hopper-medium-v2", "DTQL (no pretrain)", 87.6, accepts_variants=())
    changed = measured("hopper-medium-v2", reduced=("pretrain_iterations set to 1",), config_hash="1" * 64)
    other = measured("hopper-medium-v2", reduced=("discount set to 0.9",), config_hash="2" * 64)
    assert taken([plain, without], [changed]) == {without: changed}
    # Any other change is no ablation of the papers: it may stand in the cell, with its reason.
    assert taken([plain, without], [changed, other]) == {plain: other, without: changed}
    assert taken([plain, without], [measured("hopper-medium-v2"), other])[plain].reduced == ()


def test_a_number_is_of_the_task_that_an_erratum_names():
    wrong = printed("pen-human-v0", "DTQL", 48.2, errata=(Erratum("task", "pen-human-v1", "Printed -v0."),))
    right, other = measured("pen-human-v1"), measured("pen-human-v0")
    assert taken([wrong], [other, right]) == {wrong: right}
    assert matched([wrong], [right])[wrong].reasons == ("the printed task name is in doubt",)
    assert comparable(right, wrong) == ["the printed task name is in doubt"]


OWN = printed(AWKWARD, "DTQL", 99.6)


def test_a_full_trial_on_verified_data_is_comparable():
    assert comparable(measured(), OWN) == []
    assert comparable(measured(variant="paper"), OWN) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"physics": "modern"}, "physics modern"),
        ({"verification": "unverified"}, "whether the file is D4RL's is not known"),
        ({"verification": "mismatch"}, "the file is not D4RL's"),
        ({"twin_of": "hopper-medium-v2"}, "collected data, not D4RL's hopper-medium-v2"),
        ({"current_task_version": 2}, "task version 1, now 2"),
        ({"reduced": ("budget 0.5", "evaluations 2"), "budget": 0.5}, "reduced (budget 0.5, evaluations 2)"),
        ({"budget": 2.0}, "budget 2"),
        ({"protocol": "oms"}, "protocol oms, printed last"),
        ({"episodes": 20}, "20 episodes, printed 10"),
        ({"variant": "mine"}, "variant mine"),
    ],
)
def test_one_condition_at_a_time(change, reason):
    assert comparable(measured(**change), OWN) == [reason]


def test_reasons_add_up_and_reduced_episodes_are_said_once():
    entry = measured(physics="modern", reduced=("3 of 10 episodes",), episodes=3)
    assert comparable(entry, OWN) == ["physics modern", "reduced (3 of 10 episodes)"]


def test_quoted_numbers_and_misprints_are_never_comparable():
    assert comparable(measured(), printed(AWKWARD, "TD3+BC", 50.2)) == [
        "printed number quoted from elsewhere"
    ]
    doubtful = printed(AWKWARD, "DTQL", 99.6, errata=(Erratum("mean", "", "Contradicts itself."),))
    assert comparable(measured(), doubtful) == ["the printed number is in doubt"]


def test_numbers_of_another_setting_are_told_from_quoted_ones():
    ablation = printed(AWKWARD, "DTQL", 24.1, accepts_variants=())
    assert comparable(measured(), ablation) == ["the printed number is of another setting"]


def test_where_nothing_is_printed_the_datas_faults_are_still_told():
    reasons = comparable(measured(verification="mismatch"), None)
    assert reasons == ["the file is not D4RL's", "the paper prints no number here"]
