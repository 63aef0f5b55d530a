"""The table model: labels of notes, counts, and the short form for a terminal."""

from dataclasses import replace

import pytest

from bench.errors import BenchError
from bench.report.build import build_table, choose_tables
from bench.report.formats.facts import points, signed
from bench.report.measured import ReportData, SeedScore
from bench.report.tables import (
    Amount,
    Block,
    Cell,
    Column,
    Row,
    compact,
    counted_table,
    note_labels,
    number_text,
)
from tests.report.builders import AWKWARD, measured, timing, toy_table
from tests.report.filled import filled_data


def _table_with_notes(count):
    cells = tuple(
        Cell("measured", measured=Amount(1.0), footnotes=(f"note {number}",)) for number in range(count)
    )
    columns = tuple(Column(str(number), str(number), "measured") for number in range(count))
    return counted_table("t", "T", [Block("", columns, (Row(cells),))], ())


def test_labels_go_on_after_z():
    labels = note_labels(_table_with_notes(54))
    assert [labels[f"note {number}"] for number in (0, 25, 26, 27, 51, 52, 53)] == [
        "a", "z", "aa", "ab", "az", "ba", "bb",
    ]  # fmt: skip


def test_equal_notes_share_a_label():
    table = toy_table(measured(physics="modern"), measured("hopper-medium-v2", physics="modern"))
    assert list(note_labels(table)) == [
        "not comparable: physics modern",
        "as printed; should be 60.1. The rows average to 60.1.",
        "not comparable: 2 of 2 cells are not comparable",
    ]


def test_blank_cells_are_counted_and_averages_are_not():
    table = toy_table()
    counts = "1 of 2 cells measured, 1 comparable; 2 measured beyond the paper's cells"
    assert str(table.coverage) == counts
    both = toy_table(measured(), measured("hopper-medium-v2", physics="modern"))
    assert str(both.coverage) == "2 of 2 cells measured, 1 comparable"


def test_compact_keeps_measured_rows_averages_and_counts():
    short = compact(toy_table())
    assert short.coverage == toy_table().coverage
    paper = short.blocks[0]
    assert [row.cells[0].text for row in paper.rows] == [AWKWARD, "Toy Average"]
    assert [column.header for column in paper.columns] == [
        "Toys", "DTQL (Ours)", "DTQL measured", "Budget", "Physics", "Task v.",
    ]  # fmt: skip
    assert short.notes[-1].startswith("Left out here: 1 row without a measurement")


def test_compact_keeps_all_rows_where_nothing_was_measured():
    empty = toy_table(measured("elsewhere"))
    assert len(compact(empty).blocks[0].rows) == 3


def test_compact_drops_blocks_without_a_measurement():
    twin = measured("collected-hopper-medium", twin_of="hopper-medium-v2")
    short = compact(toy_table(twin))
    assert [block.of_paper for block in short.blocks] == [False]


def test_numbers_that_are_not_finite_have_no_text():
    assert number_text(float("nan"), 1) == number_text(None, 1) == number_text(float("inf"), 1) == ""
    assert number_text(12.345, 1, "1.2") == "12.3 ± 1.2"


def test_what_rounds_to_nothing_has_no_sign():
    assert [number_text(value, 1) for value in (-0.04, -0.0, 0.04, -0.06)] == ["0.0", "0.0", "0.0", "-0.1"]
    assert (points(-0.04), signed(-0.04), signed(0.04), signed(-0.06)) == (
        "0.0",
        "+0.0",
        "+0.0",
        "\N{MINUS SIGN}0.1",
    )


def test_every_table_of_the_papers_can_be_reported_with_the_combined_one():
    wanted = (
        *(f"dtql-{number}" for number in (1, 2, 3, 5, 6, 7)),
        "srpo-1",
        *(f"edp-{number}" for number in (1, 2, 4, 5, 6, 7)),
        "edp-figure-2",
        "bdpo-1",
        "combined",
        "bandit2d",
    )
    assert tuple(choose_tables("all")) == wanted
    for name in wanted:
        assert build_table(name, ReportData()).id == name


@pytest.mark.parametrize(
    ("typed", "meant"), [("dtql1", "dtql-1"), ("combind", "combined"), ("edp-figur-2", "edp-figure-2")]
)
def test_unknown_tables_get_the_nearest(typed, meant):
    with pytest.raises(BenchError, match=f"unknown table '{typed}'\nDid you mean {meant}"):
        choose_tables(f"dtql-1,{typed}")


def test_nothing_that_is_not_a_number_is_shown():
    broken = tuple(SeedScore(seed, seed, "finished", float("nan"), (float("nan"),) * 12) for seed in range(2))
    entries = [replace(entry, trials=broken) for entry in filled_data().measured]
    timings = (timing("training_seconds_per_1k_iterations", float("nan")),)
    for name in choose_tables("all"):
        table = build_table(name, ReportData(measured=tuple(entries), timings=timings))
        texts = [cell.text for cell in table.cells()]
        assert not [text for text in texts if "nan" in text.split() or "inf" in text.split()]
        assert table.coverage.measured == 0


def test_compact_keeps_the_methods_that_have_a_number():
    entries = tuple(entry for entry in filled_data().measured if entry.algorithm == "edp-td3")
    short = compact(build_table("combined", ReportData(measured=entries)))
    assert [block.title for block in short.blocks] == ["Gym", "AntMaze-v0", "Adroit", "Kitchen"]
    headers = {tuple(column.header for column in block.columns[1:]) for block in short.blocks}
    assert headers == {("EDP+TD3", "EDP+TD3 measured")}
    assert short.notes[-1].startswith("Left out here: 7 rows without a measurement and methods without one.")
