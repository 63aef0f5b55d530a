"""The table of all methods: numbers of their own papers by hand, and what was measured on collected data."""

import pytest

from bench.report.measured import ReportData
from bench.report.shortening import condensed
from tests.report.builders import build_table, measured
from tests.report.filled import filled_data, gym_mean

COLLECTED = "Collected here, not D4RL's data"


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
    bc = rows(data, "Other methods: Gym")["hopper-medium-v2"]["bc measured"]
    assert (bc.text, bc.not_comparable) == ("50.5 ± 0.7 (n=2)", ())
    srpo = rows(data, "AntMaze-v0")["antmaze-umaze-v0"]["SRPO measured"]
    assert (srpo.text, srpo.not_comparable) == ("90.5 ± 0.7 (n=2)", ("the paper prints no number here",))
    assert [block.title for block in collected(data)] == ["Other methods: Gym", COLLECTED]


def test_highest_numbers_are_bold():
    hopper = rows(filled_data(), "Gym")["hopper-medium-v2"]
    assert [key for key, cell in hopper.items() if cell.bold] == ["DTQL printed", "DTQL measured"]


def collected(data):
    """The blocks of what no paper has."""
    return [block for block in build_table("combined", data).blocks if not block.of_paper]


def twin(task, scores, algorithm, **more):
    facts = {"twin_of": f"{task}-v2", "verification": "content fits"} | more
    return measured(f"collected-{task}", scores, algorithm=algorithm, **facts)


def texts(block):
    return [[cell.text for cell in row.cells if cell.kind != "condition"] for row in block.rows]


def test_collected_data_stand_in_a_block_without_printed_numbers():
    block, maze = collected(
        ReportData(
            measured=(
                twin("antmaze-umaze", (4.0,), "bc"),
                twin("walker2d-medium", (40.0, 42.0), "dtql"),
                twin("hopper-medium", (12.0, 14.0), "dtql"),
                twin("hopper-medium", (20.0,), "bc"),
                twin("walker2d-medium", (50.0,), "bc"),
                twin("walker2d-medium", (60.0,), "of-somebody"),
            )
        )
    )
    assert (block.title, maze.title) == (COLLECTED, COLLECTED)
    headers = [column.header for column in block.columns if column.kind != "condition"]
    assert headers == ["Gym", "DTQL", "BC", "of-somebody"]
    assert texts(block) == [
        ["collected-hopper-medium", "13.0 ± 1.4 (n=2)", "20.0 (n=1)", ""],
        ["collected-walker2d-medium", "41.0 ± 1.4 (n=2)", "50.0 (n=1)", "60.0 (n=1)"],
        ["Average", "27.0", "35.0", ""],
    ]
    assert [[cell.bold for cell in row.cells[1:4]] for row in block.rows] == [
        [False, True, False], [False, False, True], [False, True, False],
    ]  # fmt: skip
    assert texts(maze) == [["collected-antmaze-umaze", "4.0 (n=1)"]]  # no average of one task
    assert not any(cell.printed for block in (block, maze) for row in block.rows for cell in row.cells)
    reasons = {cell.not_comparable for row in block.rows for cell in row.cells if cell.kind == "measured"}
    assert reasons == {("collected here, not D4RL's data",), ()}  # () of what is blank


def test_every_configuration_on_collected_data_is_shown_beside_its_like():
    small = {"budget": 0.1, "reduced": ("budget 0.1",)}
    blocks = collected(
        ReportData(
            measured=(
                twin("hopper-medium", (1.0,), "dtql", **small),
                twin("hopper-medium", (2.0,), "bc", **small),
                twin("hopper-medium", (3.0,), "dtql", reduced=("lr set to 1",), config_hash="0a" * 32),
                twin("hopper-medium", (4.0,), "dtql"),
                twin("hopper-medium", (5.0,), "dtql", variant="paper", physics="modern"),
            )
        )
    )
    assert [(block.title, texts(block)[0][1:]) for block in blocks] == [
        (COLLECTED, ["4.0 (n=1)"]),
        (COLLECTED, ["3.0 (n=1)"]),
        (COLLECTED, ["1.0 (n=1)", "2.0 (n=1)"]),
        (f"{COLLECTED}, variant paper, modern physics", ["5.0 (n=1)"]),
    ]
    reduced = blocks[2].rows[0].cells[1]
    assert reduced.not_comparable == ("collected here, not D4RL's data", "reduced (budget 0.1)")
    table = build_table("combined", ReportData(measured=(twin("hopper-medium", (1.0,), "dtql", **small),)))
    assert str(table.coverage) == "0 of 116 cells measured, 0 comparable; 1 measured beyond the paper's cells"
    assert "Throughout: budget 0.1, physics d4rl, task v. 1, n = 1." in condensed(table).notes


def test_a_twin_of_a_task_that_no_paper_prints_is_shown():
    (block,) = collected(ReportData(measured=(twin("mine", (1.0,), "dtql"),)))
    assert [column.header for column in block.columns][:2] == ["Task", "DTQL"]
    assert texts(block) == [["collected-mine", "1.0 (n=1)"]]


def test_methods_without_a_paper_stand_in_a_block_with_their_averages():
    quoted = [
        measured(task, (score,), algorithm="iql", verification=verification)
        for task, score, verification in (
            ("hopper-medium-v2", 60.0, "verified"),
            ("walker2d-medium-v2", 70.0, "unverified"),
        )
    ]
    mine = measured("hopper-medium-v2", (80.0,), algorithm="mine")
    (block,) = collected(ReportData(measured=(mine, *quoted)))
    assert [column.header for column in block.columns][:3] == ["Gym", "IQL", "mine"]
    assert texts(block) == [
        ["hopper-medium-v2", "60.0 (n=1)", "80.0 (n=1)"],
        ["walker2d-medium-v2", "70.0 (n=1)", ""],
        ["Average", "65.0", ""],
    ]
    unknown = ("whether the file is D4RL's is not known",)
    assert [row.cells[1].not_comparable for row in block.rows] == [(), unknown, unknown]
    assert [cell.bold for cell in block.rows[0].cells[1:3]] == [False, True]
