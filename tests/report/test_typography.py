"""Decimals and bold type as the papers set them, checked against their own rules by hand."""

import pytest

from bench.report.build import build_table
from bench.report.measured import ReportData
from bench.report.paper import Bold, Digits, digits_of
from bench.report.tables import Amount, Cell, emboldened
from tests.report.builders import measured, printed


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
