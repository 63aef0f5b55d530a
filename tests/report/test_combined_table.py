"""The table of all methods: each one's own paper, in that paper's digits, beside what was measured."""

import pytest

from bench.report.build import build_table
from bench.report.measured import ReportData
from tests.report.builders import measured
from tests.report.filled import filled_data, gym_mean


def rows(data, title):
    table = build_table("combined", data)
    block = next(block for block in table.blocks if block.title == title)
    keys = [column.key for column in block.columns]
    return {row.cells[0].text: dict(zip(keys, row.cells, strict=True)) for row in block.rows}


def test_suites_are_blocks_and_methods_are_columns():
    table = build_table("combined", ReportData())
    assert {block.title: len(block.rows) - 1 for block in table.blocks} == {
        "Gym": 9, "AntMaze-v0": 6, "AntMaze-v2": 6, "Adroit": 2, "Kitchen": 3,
    }  # fmt: skip
    assert [column.header for column in table.blocks[0].columns] == [
        "Gym",
        *(
            header
            for method in ("DTQL", "SRPO", "EDP+TD3", "EDP+CRR", "EDP+IQL", "BDPO")
            for header in (method, f"{method} measured")
        ),
    ]
    # DTQL 9 + 6 + 6 + 2 + 3, SRPO 9 + 6, three EDPs 9 + 6 + 2 + 3, BDPO 9 + 6
    counted = sum(
        cell.kind == "measured"
        for block in table.blocks
        for row in block.rows
        if row.counted
        for cell in row.cells
    )
    assert counted == table.coverage.cells == 26 + 15 + 3 * 20 + 15
    assert str(table.coverage) == "0 of 116 cells measured, 0 comparable"


def test_printed_numbers_are_each_methods_own():
    hopper = rows(ReportData(), "Gym")["hopper-medium-v2"]
    texts = [cell.text for cell in hopper.values() if cell.kind == "printed"]
    assert texts == ["99.6 ± 0.87", "95.5 ± 2.0", "81.9", "78.7", "63.1", "99.3 ± 2.9"]
    umaze = rows(ReportData(), "AntMaze-v2")["antmaze-umaze-v2"]
    assert [cell.text for cell in umaze.values() if cell.kind == "printed"] == ["92.6 ± 1.24", "97.1 ± 2.7"]


def test_a_corrected_task_name_brings_the_number_to_its_task():
    pen = rows(ReportData(), "Adroit")["pen-human-v1"]
    assert pen["DTQL printed"].text == "64.1 ± 2.97"
    assert pen["EDP+TD3 printed"].text == "48.2"
    assert "task should be pen-human-v1" in pen["EDP+TD3 printed"].footnotes[0]


def test_averages_are_over_what_the_paper_prints():
    gym = rows(filled_data(), "Gym")["Average"]
    assert gym["SRPO printed"].text == "87.1"  # as its paper computes it
    assert gym["EDP+TD3 printed"].text == "85.5"
    assert gym["DTQL measured"].value == pytest.approx(gym_mean())
    assert rows(ReportData(), "Gym")["Average"]["DTQL measured"].text == ""


def test_what_no_paper_of_its_own_prints_is_shown():
    extra = (
        measured("hopper-medium-v2", (50.0, 51.0), algorithm="bc"),
        measured("antmaze-umaze-v0", (90.0, 91.0), algorithm="srpo"),
        measured("collected-hopper-medium", (12.0,), algorithm="bc", twin_of="hopper-medium-v2"),
        measured("collected-hopper-medium", (13.0,), algorithm="dtql", twin_of="hopper-medium-v2"),
    )
    data = ReportData(measured=extra)
    assert rows(data, "Gym")["hopper-medium-v2"]["bc measured"].text == "50.5 ± 0.7 (n=2)"
    srpo = rows(data, "AntMaze-v0")["antmaze-umaze-v0"]["SRPO measured"]
    assert (srpo.text, srpo.not_comparable) == ("90.5 ± 0.7 (n=2)", ("the paper prints no number here",))
    further = [block.title for block in build_table("combined", data).blocks if not block.of_paper]
    assert further == ["Collected twins, other data than the paper's: bc"]  # DTQL's stands in dtql-1


def test_highest_numbers_are_bold():
    hopper = rows(filled_data(), "Gym")["hopper-medium-v2"]
    assert [key for key, cell in hopper.items() if cell.bold] == ["DTQL printed", "DTQL measured"]
