"""Score tables against the papers' CSV, read anew, and numbers by hand; protocols, averages, verdicts."""

import csv
import io
import json
import math
import statistics
from dataclasses import replace

import pytest

from bench.report.formats import markdown
from bench.report.formats.data import render_csv, render_json
from bench.report.judgement import CellVerdict, Judgement, SuiteVerdict
from bench.report.matching import match_of
from bench.report.measured import ReportData, SeedScore
from bench.report.paper import algorithm_of, load_paper_tables
from bench.report.score_tables import aggregate_cell
from bench.report.tables import legend
from bench.resources import resource
from tests.report.builders import AWKWARD, build_table, measured, printed, toy_table
from tests.report.filled import filled_data, filled_judgement, gym_mean

HOPPER = "hopper-medium-v2"


def _cells(table, block, row):
    columns, cells = table.blocks[block].columns, table.blocks[block].rows[row].cells
    return {column.header: cell for column, cell in zip(columns, cells, strict=True)}


def test_every_printed_number_stands_in_the_papers_order():
    with (resource("paper_tables") / "dtql_table1.csv").open(encoding="utf-8") as file:
        expected = [row["mean"] for row in csv.DictReader(file)]
    table = build_table("dtql-1", ReportData())
    texts = [cell.text.split(" ± ")[0] for cell in table.cells() if cell.kind == "printed"]
    assert texts == expected
    assert len(texts) == 240
    assert [column.header for column in table.blocks[0].columns] == [
        "Gym", "BC", "Onestep RL", "TD3+BC", "DT", "CQL", "IQL", "DQL", "IDQL", "SRPO", "DTQL (Ours)",
        "DTQL measured", "Budget", "Physics", "Task v.",
    ]  # fmt: skip
    assert str(table.coverage) == "0 of 20 cells measured, 0 comparable"


def test_printed_text_keeps_the_papers_digits_and_marks_the_best():
    table = build_table("dtql-1", ReportData())
    antmaze = _cells(table, 1, 0)
    assert antmaze["DTQL (Ours)"].text == "94.8 ± 1.00"
    assert antmaze["DTQL (Ours)"].bold
    assert [header for header, cell in _cells(table, 0, 0).items() if cell.bold] == ["SRPO"]


def test_errata_are_shown_as_printed_with_the_correction():
    srpo = _cells(build_table("dtql-1", ReportData()), 1, 6)["SRPO"]
    assert srpo.text == "30.1"
    assert srpo.footnotes[0].startswith("as printed; should be 60.1.")


def test_mean_spread_and_n_of_a_measured_cell():
    cell = _cells(toy_table(), 0, 0)["DTQL measured"]
    assert cell.text == "99.5 ± 1.50 (n=3)"  # 98.0, 101.0, 99.5: variance (2.25 + 2.25 + 0) / 2
    assert (cell.value, cell.spread, cell.n) == (99.5, 1.5, 3)
    assert cell.not_comparable == ()
    conditions = _cells(toy_table(), 0, 0)
    assert [conditions[name].text for name in ("Budget", "Physics", "Task v.")] == ["1", "d4rl", "1"]


def test_other_configurations_and_twins_stand_in_blocks_of_their_own():
    table = toy_table()
    assert [block.title for block in table.blocks] == [
        "Toys",
        "Collected twins, other data than the paper's: DTQL",
        "Further configurations: DTQL",
    ]
    twin = _cells(table, 1, 0)
    assert twin["Twin of"].text == "hopper-medium-v2"
    assert twin["DTQL printed"].text == "60.2 ± 0.87"
    assert twin["DTQL measured"].not_comparable == ("collected data, not D4RL's hopper-medium-v2",)
    further = _cells(table, 2, 0)
    assert further["DTQL measured"].text == "1.5 ± 0.71 (n=2)"
    assert further["DTQL measured"].not_comparable == ("reduced (budget 0.001, episodes 3)",)


def test_the_comparable_configuration_stands_in_the_papers_cell():
    modern = measured(physics="modern", scores=(1.0,) * 9, config_hash="1" * 64)
    cell = _cells(toy_table(modern, measured()), 0, 0)["DTQL measured"]
    assert cell.n == 3
    assert cell.measured.physics == "d4rl"


def test_a_configuration_with_scores_goes_before_one_without():
    failed = measured(trials=(SeedScore(1, 0, "failed", None),), config_hash="1" * 64)
    reduced = measured(scores=(5.0,), reduced=("budget 0.1",), budget=0.1)
    assert _cells(toy_table(failed, reduced), 0, 0)["DTQL measured"].text == "5.0 (n=1)"


def test_the_average_needs_every_task():
    assert _cells(toy_table(), 0, 2)["DTQL measured"].text == ""
    table = toy_table(measured(scores=(90.0, 100.0)), measured("hopper-medium-v2", (50.0,)))
    assert _cells(table, 0, 2)["DTQL measured"].text == "72.5"
    assert _cells(table, 0, 2)["DTQL measured"].not_comparable == ()
    doubtful = toy_table(measured(), measured("hopper-medium-v2", (50.0,), physics="modern"))
    assert _cells(doubtful, 0, 2)["DTQL measured"].not_comparable == ("1 of 2 cells are not comparable",)


def test_seeds_without_a_score_are_said_and_never_averaged():
    trials = (
        SeedScore(1, 0, "finished", 80.0),
        SeedScore(2, 1, "finished", float("nan")),
        SeedScore(3, 2, "failed", None),
        SeedScore(4, 3, "running", None),
        SeedScore(5, 4, "finished", None),
    )
    cell = _cells(toy_table(measured(trials=trials)), 0, 0)["DTQL measured"]
    assert cell.text == "80.0 (n=1)"
    assert cell.footnotes == (
        "1 of 5 seeds failed",
        "1 of 5 seeds not finished",
        "1 of 5 seeds with a score that is no finite number",
        "1 of 5 seeds without a score under protocol last",
    )


def test_a_cell_of_failures_is_blank_with_the_reason():
    trials = tuple(SeedScore(seed, seed, "failed", None) for seed in range(2))
    table = toy_table(measured(trials=trials))
    cell = _cells(table, 0, 0)["DTQL measured"]
    assert (cell.text, cell.value, cell.footnotes) == ("", None, ("2 of 2 seeds failed",))
    assert table.coverage.measured == 0


def test_another_variant_is_named():
    cell = _cells(toy_table(measured(variant="paper")), 0, 0)["DTQL measured"]
    assert cell.footnotes == ("variant paper",)


def test_a_quoted_method_gets_a_column_once_it_is_measured():
    headers = [column.header for column in toy_table(measured(algorithm="td3bc")).blocks[0].columns]
    assert headers[:5] == ["Toys", "TD3+BC", "TD3+BC measured", "DTQL (Ours)", "DTQL measured"]


@pytest.mark.parametrize("task", ["elsewhere", "collected-elsewhere"])
def test_tasks_of_other_tables_stay_away(task):
    assert len(toy_table(measured(task)).blocks) == 1


def test_awkward_names_reach_the_model_unchanged():
    assert toy_table().blocks[0].rows[0].cells[0].text == AWKWARD


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
    printed = {(c.task, c.method, c.protocol): c.printed for c in load_paper_tables()["edp-5"].rows}
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
    paper = load_paper_tables()["bdpo-1"]
    tasks = [task for task in dict.fromkeys(cell.task for cell in paper.rows) if task.endswith("-v2")]
    entries = [measured(task, (10.0,), algorithm="bdpo") for task in tasks]
    assert cells("bdpo-1", *entries, task="locomotion sum")["BDPO measured"].text == f"{10 * len(tasks)}.0"
    # SRPO's own AntMaze rows are named -v2, those it quotes have no version: the average is over its own.
    rows = [
        c.task for c in load_paper_tables()["srpo-1"].rows if c.method == "SRPO" and c.domain == "antmaze"
    ]
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


NUMBER = printed(HOPPER, "DTQL", 99.6)
ENTRY = measured(HOPPER, (98.0, 101.0, 99.5))


def cell(table, entry=ENTRY, row=HOPPER, column="DTQL measured", **changes):
    judgement = Judgement((replace(CellVerdict("dtql-1", NUMBER, ENTRY, "below"), **changes),))
    built = build_table(table, ReportData(measured=(entry,)), judgement)
    (cells,) = [
        dict(zip((column.key for column in block.columns), found.cells, strict=True))
        for block in built.blocks
        for found in block.rows
        if found.cells[0].text == row
    ]
    return cells[column]


def test_the_judged_configuration_carries_the_verdict():
    assert cell("dtql-1").verdict_words == "not reproduced, below"
    assert cell("dtql-1").mark == "↓"
    assert cell("combined").verdict_words == "not reproduced, below"


def test_the_same_number_in_another_table_has_the_same_verdict():
    assert cell("dtql-3", column="DTQL (50-epoch pretrain) measured").mark == "↓"


@pytest.mark.parametrize(
    "change",
    [
        {"measured": replace(ENTRY, config_hash="0" * 64)},
        {"measured": replace(ENTRY, variant="paper")},
        {"printed": replace(NUMBER, printed="99.5")},
        {"printed": replace(NUMBER, protocol="oms")},
        {"printed": replace(NUMBER, paper="BDPO")},
    ],
)
def test_verdicts_on_anything_else_stay_away(change):
    assert cell("dtql-1", **change).verdict is None


def test_not_comparable_has_one_mark():
    entry = replace(ENTRY, physics="modern")
    shown = cell("dtql-1", entry, outcome="not comparable")
    assert (shown.verdict_words, shown.mark) == ("not comparable", "†")


def test_a_misprint_in_a_second_table_takes_no_verdict():
    # EDP Table 4 prints 97.0 for kitchen-complete, Table 5 (misprinted) 93.4.
    data, judgement = filled_data(), filled_judgement()
    verdict = judgement.by_key["EDP", "edp-td3", "kitchen-complete-v0", "oms"]
    only = Judgement((replace(verdict, printed=replace(verdict.printed, printed="97.0")),))

    def mark(table, column):
        block = next(b for b in build_table(table, data, only).blocks if "Kitchen" in b.title)
        row = next(r for r in block.rows if r.cells[0].text == "kitchen-complete-v0")
        return dict(zip((c.key for c in block.columns), row.cells, strict=True))[column].mark

    assert mark("edp-4", "EDP+TD3 measured") == judgement_mark(verdict)
    assert mark("edp-5", "EDP+TD3 (OMS) measured") == "†"


def judgement_mark(verdict):
    return {"reproduced": "≈", "below": "↓", "above": "↑", "inconclusive": "?"}[verdict.outcome]


def test_an_average_carries_its_suites_verdict():
    shown = {}
    table = build_table("dtql-1", filled_data(), filled_judgement())
    for block in table.blocks[:2]:
        aggregate = next(row for row in block.rows if row.aggregate)
        shown[block.title] = dict(
            zip((column.key for column in block.columns), aggregate.cells, strict=True)
        )["DTQL measured"]
    assert shown["Gym"].value == pytest.approx(gym_mean())
    assert (shown["Gym"].verdict_words, shown["Gym"].interval) == ("reproduced", (-1.05, 2.05))
    assert shown["Antmaze"].verdict is None


def averages_verdict(table, title, column, suite, entries, **stated):
    """The word on the measured average of a block, with one made-up verdict on a suite's mean."""
    verdict = SuiteVerdict(suite, "EDP", "edp-td3", "oms", "below", **stated)
    built = build_table(table, ReportData(measured=entries), Judgement(suites=(verdict,)))
    block = next(block for block in built.blocks if title in block.title)
    row = next(row for row in block.rows if row.aggregate)
    return dict(zip((c.key for c in block.columns), row.cells, strict=True))[column].verdict_words


def kitchens():
    best = {"complete": 60.0, "partial": 50.0, "mixed": 40.0}
    trials = {name: (SeedScore(1, 0, "finished", score, (score,)),) for name, score in best.items()}
    return tuple(
        measured(f"kitchen-{name}-v0", algorithm="edp-td3", protocol="oms", trials=kept)
        for name, kept in trials.items()
    )


def test_an_average_of_misprints_takes_no_verdict():
    """EDP Table 4 averages to 80.5 on Kitchen; Table 5 prints other rows there, which average to 82.47."""
    stated = {"tasks": 3, "judged": 3, "measured": 50.0, "printed": (97.0 + 71.5 + 73.0) / 3}
    place = ("Kitchen", "EDP+TD3 (OMS) measured", "d4rl-kitchen", kitchens())
    assert averages_verdict("edp-5", *place, **stated) == ""
    place = ("Kitchen", "EDP+TD3 measured", "d4rl-kitchen", kitchens())
    assert averages_verdict("edp-4", *place, **stated) == "not reproduced, below"
    # Of a larger suite, of which these are all that was judged.
    assert averages_verdict("edp-4", *place, **stated | {"tasks": 5}) == ""


def test_every_format_carries_verdict_and_numbers():
    table = build_table("dtql-1", filled_data(), filled_judgement())
    rows = list(csv.DictReader(io.StringIO(render_csv([table]))))
    row = next(r for r in rows if r["row"] == HOPPER and r["column"] == "DTQL measured")
    assert (row["interval_low"], row["interval_high"], row["margin"]) == ("-1.05", "2.05", "5.0")
    assert (row["adjusted_p_below"], row["adjusted_p_above"], row["further_seeds"]) == ("1.0", "0.9", "4")
    assert row["verdict"] in ("reproduced", "not reproduced, below", "not reproduced, above", "inconclusive")
    (content,) = json.loads(render_json([table]))["tables"]
    gym = next(block for block in content["blocks"] if block["title"] == "Gym")
    hopper = next(r for r in gym["rows"] if r["label"] == HOPPER)["cells"]["DTQL measured"]
    assert (hopper["verdict"], hopper["interval"]) == (row["verdict"], [-1.05, 2.05])
    assert content["statements"] == ["Margin: 5 points.", "Error rates: 5 %, 100 % stated."]
    text = markdown.render([table, build_table("dtql-3", filled_data(), filled_judgement())])
    assert text.count("Error rates: 5 %") == 1
    assert set(legend(table)) >= {"≈ reproduced", "↓ not reproduced, below", "↑ not reproduced, above"}
    assert "- ↓ not reproduced, below" in text


def test_without_a_judgement_nothing_is_said():
    table = build_table("dtql-1", filled_data())
    assert not any(found.verdict for found in table.cells())
    assert table.statements == ()


@pytest.mark.parametrize(("score", "average"), [(50.0, 50.0), (1.7e308, math.inf)])
def test_an_average_too_large_for_a_number_is_infinite_and_no_defect(score, average):
    cells = [printed(task, "DTQL", 50.0) for task in ("hopper-medium-v2", "walker2d-medium-v2")]
    chosen = {cell: match_of(measured(cell.task, scores=(score,)), cell) for cell in cells}
    assert aggregate_cell(cells, chosen).value == average
