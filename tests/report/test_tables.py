"""The table model: notes, counts, the short form for a terminal, decimals and bold type."""

from dataclasses import replace

import pytest

from bench.errors import BenchError
from bench.report.build import choose_tables
from bench.report.formats.facts import points, signed
from bench.report.matching import comparable
from bench.report.measured import ReportData, SeedScore
from bench.report.paper import Bold, Digits, digits_of
from bench.report.shortening import compact, own_columns, without_unmeasured
from bench.report.tables import (
    Amount,
    Block,
    Cell,
    Column,
    Row,
    counted_table,
    emboldened,
    note_labels,
    number_text,
)
from tests.report.builders import AWKWARD, build_table, measured, printed, timing, toy_table
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


def test_precision_is_a_condition_of_a_row_where_any_is_not_fp32():
    fast, slow = measured(precision="tf32"), measured("hopper-medium-v2", precision="fp32")
    for shown in (toy_table(fast, slow), compact(toy_table(fast, slow))):
        assert shown.blocks[0].columns[-1].header == "Precision"
        assert [row.cells[-1].text for row in shown.blocks[0].rows][:2] == ["tf32", "fp32"]
    assert toy_table(slow).blocks[0].columns[-1].header == "Task v."
    assert comparable(fast, printed(AWKWARD, "DTQL", 99.6)) == []


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
        "corl-offline",
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


def _bold(table, task):
    (row,) = [
        dict(zip((column.header for column in block.columns), row.cells, strict=True))
        for block in build_table(table, ReportData()).blocks
        for row in block.rows
        if row.cells[0].text == task
    ]
    return [header for header, cell in row.items() if cell.bold]


@pytest.mark.parametrize(
    ("table", "task", "bold"),
    [
        # SRPO: within 5 % of the maximum. 98.0 * 0.95 = 93.1; 114.0 * 0.95 = 108.3; 97.1 * 0.95 = 92.2
        ("srpo-1", "hopper-medium-v2", ["QGPO", "SRPO (Ours)"]),
        (
            "srpo-1",
            "walker2d-medium-expert-v2",
            ["TD3+BC", "IQL", "SfBC", "Diffuser", "Diffusion-QL", "QGPO", "IDQL", "SRPO (Ours)"],
        ),
        ("srpo-1", "antmaze-umaze-v2", ["Diffusion-QL", "QGPO", "IDQL", "SRPO (Ours)"]),
        ("srpo-1", "Average (Locomotion)", []),
        # BDPO: within 95 % of the top-performing. 101.2 * 0.95 = 96.1; 852.1 * 0.95 = 809.5
        ("bdpo-1", "hopper-medium-v2", ["QGPO", "DTQL", "DAC", "BDPO (Ours)"]),
        ("bdpo-1", "locomotion sum", ["DAC", "BDPO (Ours)"]),
        # DTQL and EDP state no rule: the highest.
        ("dtql-1", "hopper-medium-v2", ["DTQL (Ours)"]),
        ("edp-2", "antmaze-umaze-v0", ["EDP+TD3 (Ours)"]),
        # Columns of different protocols are not held against each other.
        ("edp-5", "hopper-medium-v2", []),
    ],
)
def test_bold_printed_numbers(table, task, bold):
    assert _bold(table, task) == bold


def test_measured_numbers_are_bold_among_themselves_where_there_are_two():
    def row(*values):
        return [
            Cell("printed", printed=Amount(9.0)),
            *(Cell("measured", measured=Amount(v)) if v else Cell("measured") for v in values),
        ]

    assert [cell.bold for cell in emboldened(row(5.0, 5.2, 4.0), Bold(within=0.05))] == [
        True,
        True,
        True,
        False,
    ]
    assert [cell.bold for cell in emboldened(row(5.0, None), Bold(within=0.05))] == [True, False, False]
    assert not any(cell.bold for cell in emboldened(row(5.0, 5.2), None))


def test_within_a_share_of_a_negative_maximum():
    assert Bold(within=0.05).threshold([-2.0, -1.0]) == pytest.approx(-1.05)


def test_the_rule_is_quoted_from_the_paper():
    assert '"Numbers within 5 % of the maximum in every individual task"' in " ".join(
        build_table("srpo-1", ReportData()).notes
    )
    assert "the paper states no rule" in " ".join(build_table("dtql-1", ReportData()).notes)


def test_a_column_has_the_most_decimals_that_it_prints():
    assert digits_of([]) == Digits(1, 1)
    assert digits_of([printed("t", "DTQL", 50.25, spread=1.0, spread_kind="unknown")]) == Digits(1, 2)
    assert digits_of([printed("t", "BC", 50.25)]) == Digits(1, 1)


@pytest.mark.parametrize(
    ("table", "column", "text"),
    [
        ("dtql-1", "DTQL measured", "50.2 ± 0.71 (n=2)"),
        ("srpo-1", "SRPO measured", "50.2 ± 0.7 (n=2)"),
        ("edp-4", "EDP+TD3 measured", "50.2 ± 0.7 (n=2)"),
    ],
)
def test_measured_numbers_have_the_decimals_of_their_column(table, column, text):
    algorithm = {"dtql-1": "dtql", "srpo-1": "srpo", "edp-4": "edp-td3"}[table]
    entry = measured("hopper-medium-v2", (49.75, 50.75), algorithm=algorithm)
    block = build_table(table, ReportData(measured=(entry,))).blocks[0]
    (row,) = [row for row in block.rows if row.cells[0].text == "hopper-medium-v2"]
    assert {c.key: cell.text for c, cell in zip(block.columns, row.cells, strict=True)}[column] == text


def headers(table):
    return [column.header for column in table.blocks[0].columns]


def test_a_measured_column_stands_where_something_was_measured():
    entries = [measured("hopper-medium-v2", (50.0, 51.0), algorithm="td3bc")]
    table = without_unmeasured(build_table("dtql-1", ReportData(measured=entries)))
    assert [header for header in headers(table) if "measured" in header] == ["TD3+BC measured"]
    assert len([header for header in headers(table) if "measured" not in header]) == 14
    assert len(table.blocks[0].rows) == 10
    failed = measured("hopper-medium-v2", trials=(SeedScore(1, 0, "failed", None),))
    shown = without_unmeasured(build_table("dtql-1", ReportData(measured=(failed,))))
    assert "DTQL measured" in headers(shown)  # there is something to say of it


def test_own_columns_are_those_that_the_paper_ran():
    entries = [measured("hopper-medium-v2", (50.0,), algorithm=name) for name in ("td3bc", "dtql")]
    table = own_columns(build_table("dtql-1", ReportData(measured=entries)))
    assert headers(table)[:3] == ["Gym", "DTQL (Ours)", "DTQL measured"]
    assert not any("TD3+BC" in header for header in headers(table))
    assert [row.cells[0].text for row in table.blocks[0].rows] == ["hopper-medium-v2", "Gym Average"]
    assert not any(cell.bold for cell in table.cells())


def test_rows_alone_can_be_left_out():
    entries = [measured("hopper-medium-v2", (50.0,))]
    short = compact(build_table("dtql-1", ReportData(measured=entries)), methods=False)
    assert [row.cells[0].text for row in short.blocks[0].rows] == ["hopper-medium-v2", "Gym Average"]
    assert "SRPO" in headers(short)
    assert short.notes[-1] == "Left out here: 22 rows without a measurement. --full shows them."
