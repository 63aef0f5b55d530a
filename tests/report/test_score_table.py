"""Score tables against the paper's CSV, read anew, and against numbers worked out by hand."""

import csv

import pytest

from bench.report.build import build_table
from bench.report.measured import ReportData, SeedScore
from bench.resources import resource
from tests.report.builders import AWKWARD, measured, toy_table


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
