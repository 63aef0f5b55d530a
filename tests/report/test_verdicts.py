"""What is judged at all, what stands for it, and what is said with the verdicts."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from bench.report import matching as module
from bench.report.matching import own_numbers
from bench.report.measured import ReportData
from bench.report.paper import Erratum, load_paper_tables
from bench.report.verdicts import judge
from tests.report.builders import measured
from tests.report.judging import MARGINS, TASK, key_of, numbers, own, seeds

AT = (-1.0, -0.5, 0.0, 0.5, 1.0)


def around(mean, **other):
    return seeds(*(mean + one for one in AT), **other)


# Which numbers


def test_each_number_is_judged_once_in_however_many_tables_it_stands():
    table, cell = own_numbers()["DTQL", "dtql", "hopper-medium-v2", "last"]
    again = [c for c in load_paper_tables()["dtql-3"].rows if c.task == cell.task and c.accepts_variants]
    assert (table, cell.mean, cell.spread) == ("dtql-1", 99.6, 0.87)
    assert [one.mean for one in again] == [99.6]
    judgement = judge(ReportData((around(99.6, episodes=10),)), MARGINS)
    assert [(verdict.table, verdict.id) for verdict in judgement.cells] == [
        ("dtql-1", "dtql/hopper-medium-v2/last")
    ]


def test_aggregates_times_ablations_and_quotes_of_unknown_protocol_are_not_judged():
    found = own_numbers()
    assert Counter(paper for paper, *_ in found) == {
        "DTQL": 26,
        "SRPO": 15,
        "EDP": 140 + 20,  # Diffusion-QL's, quoted
        "BDPO": 15 + 15,  # DAC's, quoted
        "CORL": 7 * 17,
    }
    methods = {cell.method for (paper, *_), (_, cell) in found.items() if paper != "CORL"}
    assert not methods & {"TD3+BC", "IQL", "DQL", "DTQL with KL regulariser (DQL_KL)"}
    assert all(cell.metric == "d4rl_normalized_score" and cell.accepts_variants for _, cell in found.values())
    assert not {"average", "sum"} & {task for _, _, task, _ in found}


def test_of_two_prints_of_a_number_the_one_without_erratum_is_judged():
    """EDP Table 5's best scores of EDP+TD3 stand in the wrong rows; Table 4 has them right."""
    key = ("EDP", "edp-td3", "kitchen-complete-v0", "oms")
    table, cell = own_numbers()[key]
    wrong = [c for c in load_paper_tables()["edp-5"].rows if c.task == key[2] and c.method == "EDP+TD3"]
    assert (table, cell.mean, cell.errata) == ("edp-4", 97.0, ())
    assert [c.mean for c in wrong if c.protocol == "oms"] == [93.4]


def test_whichever_of_the_tables_comes_first(monkeypatch):
    backwards = dict(reversed(module.load_paper_tables().items()))
    monkeypatch.setattr(module, "load_paper_tables", lambda: backwards)
    table, cell = own_numbers()["EDP", "edp-td3", "kitchen-complete-v0", "oms"]
    assert (table, cell.mean) == ("edp-4", 97.0)


def test_a_misprinted_task_name_makes_no_second_number():
    """EDP's pen tasks are -v1 (its Table 4); Tables 2 and 5 print -v0, which stays in doubt."""
    found = own_numbers()
    table, cell = found["EDP", "edp-td3", "pen-human-v1", "oms"]
    assert (table, cell.mean, cell.errata) == ("edp-4", 98.3, ())
    table, cell = found["EDP", "edp-td3", "pen-human-v1", "rat"]
    assert (table, cell.task, cell.mean) == ("edp-2", "pen-human-v0", 48.2)
    assert not [key for key in found if key[0] == "EDP" and key[2].startswith("pen-") and "-v0" in key[2]]


def test_a_number_that_has_only_misprints_is_never_comparable():
    table, cell = own_numbers()["EDP", "edp-td3", "antmaze-umaze-v0", "oms"]
    assert cell.errata
    curve = (93.0, *[90.0] * 10)
    entry = around(90.0, task=cell.task, algorithm="edp-td3", protocol="rat", episodes=10)
    entry = replace(entry, trials=tuple(replace(trial, evaluations=curve) for trial in entry.trials))
    verdict = judge(ReportData((entry,)), MARGINS).by_key["EDP", "edp-td3", cell.task, "oms"]
    assert (verdict.outcome, verdict.table, verdict.comparison) == ("not comparable", table, None)


def test_one_trial_is_judged_by_each_protocol_that_the_paper_prints():
    rat = own(80.0, protocol="rat")
    best = own(90.0, protocol="oms")
    curve = [[70.0 + one, *[80.0 + one] * 9, 100.0 + one] for one in AT]
    entry = around(0.0, protocol="rat")
    trials = tuple(replace(t, evaluations=tuple(c)) for t, c in zip(entry.trials, curve, strict=True))
    entry = replace(entry.under("rat"), trials=tuple(t.under("rat") for t in trials))
    found = judge(ReportData((entry,)), MARGINS, numbers(rat, best)).by_key
    assert found[key_of(rat)].measured.mean == pytest.approx(82.0)
    assert found[key_of(best)].measured.mean == pytest.approx(100.0)


# What stands for them


def test_nothing_measured_gives_no_verdicts():
    for data in (ReportData(), ReportData((measured("elsewhere"),))):
        judgement = judge(data, MARGINS)
        assert (judgement.cells, judgement.suites, judgement.failed()) == ((), (), False)


def test_of_two_variants_the_one_that_may_stand_is_judged():
    released, paper = around(80.0), around(20.0, variant="paper", config_hash="1" * 64)
    only_paper = own(80.0, accepts_variants=("paper",))
    for given in ((released, paper), (paper, released)):
        (verdict,) = judge(ReportData(given), MARGINS, numbers(only_paper)).cells
        assert (verdict.measured.variant, verdict.outcome) == ("paper", "below")


def test_of_two_that_may_stand_the_one_with_more_seeds_is_judged_whatever_they_score():
    few, many = around(80.0), seeds(*[20.0 + one for one in (*AT, *AT)], config_hash="1" * 64)
    (verdict,) = judge(ReportData((few, many)), MARGINS, numbers(own(80.0))).cells
    assert (verdict.measured.n, verdict.outcome) == (10, "below")


# What is said with them


def told(*begun):
    tasks = ("hopper-medium-v2", "walker2d-medium-v2", "halfcheetah-medium-v2")[: len(begun)]
    entries = [around(80.0, task=task, started_at=at) for task, at in zip(tasks, begun, strict=True)]
    judgement = judge(ReportData(tuple(entries)), MARGINS, numbers(*(own(80.0, task=task) for task in tasks)))
    return judgement.statements[0]


EVE, DAY = datetime(2024, 12, 31, 23, 59, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)


def test_when_the_margins_were_declared_is_held_against_when_the_trials_began():
    assert told(DAY, DAY).endswith("Declared 2025-01-01, before what is judged was run.")
    assert told(EVE, DAY, EVE).endswith("Declared 2025-01-01, AFTER 2 of 3 judged cells had been begun.")
    assert told().endswith("Declared 2025-01-01.")
    # A store that does not know is not taken for one that was begun later.
    unknown = "Declared 2025-01-01; when 1 of 2 judged cells were begun is unknown."
    assert told(None, DAY).endswith(unknown)


@pytest.mark.parametrize("hour", [0, 23])
def test_of_the_day_itself_nobody_knows_which_came_first(hour):
    same = datetime(2025, 1, 1, hour, 59, tzinfo=UTC)
    expected = "Declared 2025-01-01, the day on which 1 of 2 judged cells were begun."
    assert told(same, DAY).endswith(expected)
    # Wherever the clock stood: still the first of January in UTC.
    assert told(same.astimezone(timezone(timedelta(hours=14))), DAY).endswith(expected)
    assert told(same, EVE).endswith("AFTER 1 of 2 judged cells had been begun.")


def test_margins_and_exceptions_are_told():
    assert told(DAY).startswith(
        "Margin of a cell: the larger of 5 points and 2 printed standard deviations over seeds; of a suite's"
        " mean 2.5 points."
    )
    excepted = MARGINS.model_copy(update={"exceptions": {"dtql/hopper-medium-v2/last": 8.0}})
    judgement = judge(ReportData((around(86.0),)), excepted, numbers(own(80.0, task=TASK)))
    assert judgement.cells[0].outcome == "reproduced"
    assert "seeds, 1 exception;" in judgement.statements[0]


def test_only_what_lies_below_fails():
    for mean, outcome, failed in (
        (20.0, "below", True),
        (140.0, "above", False),
        (80.0, "reproduced", False),
    ):
        judgement = judge(ReportData((around(mean),)), MARGINS, numbers(own(80.0)))
        assert (judgement.cells[0].outcome, judgement.failed()) == (outcome, failed)
        assert judgement.counts()[outcome] == 1 and sum(judgement.counts().values()) == 1


def test_misprints_do_not_weigh_on_the_rest():
    wrong = own(8.0, task="walker2d-medium-v2", errata=(Erratum("mean", "80.0", "A digit is missing."),))
    entries = (around(71.0), around(80.0, task="walker2d-medium-v2"))
    good, bad = judge(ReportData(entries), MARGINS, numbers(own(80.0), wrong)).cells
    assert (good.outcome, bad.outcome) == ("below", "not comparable")
    assert good.comparison.adjusted_below == pytest.approx(2 * good.comparison.p_below)
