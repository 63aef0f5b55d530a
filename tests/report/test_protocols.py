"""Cells take the score that their own protocol gives, from the stored evaluations."""

import statistics
from dataclasses import replace

import pytest

from bench.report.build import build_table
from bench.report.measured import ReportData, SeedScore
from bench.report.paper import algorithm_of, load_paper_table
from tests.report.builders import measured

HOPPER = "hopper-medium-v2"
CURVES = (
    (9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 1.5, 2.5, 3.5),
    tuple(float(n) for n in range(20, 32)),
)


def trials(curves, score=None):
    """Finished seeds as stored under protocol `rat`: without a score where there are fewer than ten."""
    stored = [statistics.fmean(curve[-10:]) if len(curve) >= 10 else None for curve in curves]
    return tuple(
        SeedScore(seed, seed, "finished", score or own, curve)
        for seed, (own, curve) in enumerate(zip(stored, curves, strict=True))
    )


def edp(curves=CURVES, score=None, **other):
    facts = {"algorithm": "edp-td3", "protocol": "rat", "trials": trials(curves, score)} | other
    return measured(HOPPER, **facts)


def cells(table_id, *entries, block=0, task=HOPPER):
    """Column -> cell in the row of a task."""
    found = build_table(table_id, ReportData(measured=entries)).blocks[block]
    (row,) = [row for row in found.rows if row.cells[0].text == task]
    return {column.key: cell for column, cell in zip(found.columns, row.cells, strict=True)}


def test_one_trial_fills_the_running_average_and_the_best():
    shown = cells("edp-5", edp())
    last_ten = [statistics.fmean(curve[2:]) for curve in CURVES]
    assert shown["EDP+TD3 (RAT) measured"].value == pytest.approx(statistics.fmean(last_ten))
    assert shown["EDP+TD3 (OMS) measured"].value == (9.0 + 31.0) / 2
    assert shown["EDP+TD3 (OMS) measured"].footnotes == ("best evaluation over training, an oracle",)
    assert shown["EDP+TD3 (RAT) measured"].not_comparable == ()
    assert shown["EDP+TD3 (OMS) measured"].measured.protocol == "oms"


def test_both_protocols_are_printed_as_the_paper_does():
    printed = {(c.task, c.method, c.protocol): c.printed for c in load_paper_table("edp-5").rows}
    shown = cells("edp-5")
    for method in ("EDP+TD3", "EDP+CRR", "EDP+IQL"):
        for protocol in ("rat", "oms"):
            assert shown[f"{method} ({protocol.upper()}) printed"].text == printed[HOPPER, method, protocol]


def test_the_score_under_the_trials_own_protocol_is_the_stored_one():
    shown = cells("edp-2", edp(score=77.0))
    assert shown["EDP+TD3 measured"].value == 77.0


def test_too_few_evaluations_show_the_last_and_say_so():
    shown = cells("edp-2", edp(curves=((1.0, 2.0), (3.0, 6.0))))["EDP+TD3 measured"]
    assert shown.value == (2.0 + 6.0) / 2
    assert shown.not_comparable == ("protocol last, printed rat",)
    best = cells("edp-5", edp(curves=((1.0, 2.0), (8.0, 6.0))))
    assert best["EDP+TD3 (OMS) measured"].value == (2.0 + 8.0) / 2


def test_without_evaluations_the_stored_score_stands_with_its_protocol():
    entry = edp(curves=((), ()), score=50.0, protocol="last")
    shown = cells("edp-2", entry)["EDP+TD3 measured"]
    assert (shown.value, shown.not_comparable) == (50.0, ("protocol last, printed rat",))


def test_failed_seeds_have_no_score_under_any_protocol():
    failed = replace(trials(CURVES)[1], state="failed")
    shown = cells("edp-5", edp(trials=(trials(CURVES)[0], failed)))["EDP+TD3 (OMS) measured"]
    assert (shown.value, shown.n) == (9.0, 1)
    assert "1 of 2 seeds failed" in shown.footnotes


def test_sums_are_of_the_tasks_that_the_paper_prints():
    paper = load_paper_table("bdpo-1")
    tasks = [t for t in paper.tasks if t.endswith("-v2")]
    entries = [measured(task, (10.0,), algorithm="bdpo") for task in tasks]
    assert cells("bdpo-1", *entries, task="locomotion sum")["BDPO measured"].text == f"{10 * len(tasks)}.0"
    # SRPO's own AntMaze rows are named -v2, those it quotes have no version: the average is over its own.
    rows = [c.task for c in load_paper_table("srpo-1").rows if c.method == "SRPO" and c.domain == "antmaze"]
    entries = [measured(task, (30.0,), algorithm="srpo", episodes=20) for task in rows if "-v2" in task]
    assert len(entries) == 6
    assert cells("srpo-1", *entries, block=1, task="Average (AntMaze)")["SRPO measured"].text == "30.0"


@pytest.mark.parametrize(
    ("printed", "domain", "name"),
    [
        ("EDP+TD3", "antmaze", "edp-td3"),
        ("EDP", "locomotion", "edp-td3"),
        ("EDP", "antmaze", "edp-iql"),
        ("DTQL with KL regulariser (DQL_KL)", "locomotion", "dtql-kl"),
        ("TD3+BC", "locomotion", "td3bc"),
        ("BDPO", "kitchen", "bdpo"),
    ],
)
def test_printed_names_lead_to_methods(printed, domain, name):
    assert algorithm_of(printed, domain) == name
