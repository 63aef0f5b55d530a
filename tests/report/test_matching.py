"""Which configuration stands for a printed cell: every rank of the order decides where those before tie."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bench.report.conditions import comparable
from bench.report.matching import matched
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


@pytest.mark.parametrize("change", WORSE.values(), ids=WORSE)
def test_the_closer_configuration_stands_whatever_the_order(change):
    better, worse = measured(), measured(config_hash="1" * 64, **change)
    for given in ((better, worse), (worse, better)):
        assert matched([OWN], given) == {OWN: better}


def test_comparable_with_few_seeds_goes_before_many_seeds_on_other_physics():
    few, many = measured(scores=(90.0,)), measured(scores=(90.0,) * 9, physics="modern", config_hash="1" * 64)
    assert matched([OWN], (many, few))[OWN].physics == "d4rl"


def test_among_the_incomparable_the_one_with_fewer_reasons():
    one = measured(physics="modern")
    two = measured(physics="modern", verification="mismatch", scores=(1.0,) * 9, config_hash="1" * 64)
    assert matched([OWN], (two, one))[OWN] == one


def test_every_cell_is_scored_by_its_own_protocol():
    curve = tuple(float(score) for score in (*range(12), 3))
    entry = measured(trials=(SeedScore(1, 0, "finished", 3.0, curve),))
    cells = {name: replace(OWN, protocol=name) for name in ("last", "rat", "oms")}
    found = matched(cells.values(), [entry])
    means = {name: found[cell].mean for name, cell in cells.items()}
    assert means == {"last": 3.0, "rat": (3 + 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 3) / 10, "oms": 11.0}


def test_cells_of_which_nothing_was_measured_are_left_out():
    others = (measured("elsewhere"), measured(algorithm="srpo"))
    assert matched([OWN], others) == {}


def test_an_ablation_takes_only_what_was_run_with_its_changes():
    plain = printed("hopper-medium-v2", "DTQL (50-epoch pretrain)", 99.6)
    without = printed("hopper-medium-v2", "DTQL (no pretrain)", 87.6, accepts_variants=())
    changed = measured("hopper-medium-v2", reduced=("pretrain_iterations set to 1",), config_hash="1" * 64)
    other = measured("hopper-medium-v2", reduced=("discount set to 0.9",), config_hash="2" * 64)
    assert matched([plain, without], [changed]) == {without: changed}
    # Any other change is no ablation of the papers: it may stand in the cell, with its reason.
    assert matched([plain, without], [changed, other]) == {plain: other, without: changed}
    assert matched([plain, without], [measured("hopper-medium-v2"), other])[plain].reduced == ()


def test_a_number_is_of_the_task_that_an_erratum_names():
    wrong = printed("pen-human-v0", "DTQL", 48.2, errata=(Erratum("task", "pen-human-v1", "Printed -v0."),))
    right, other = measured("pen-human-v1"), measured("pen-human-v0")
    assert matched([wrong], [other, right]) == {wrong: right}
    assert comparable(right, wrong) == ["the printed task name is in doubt"]
