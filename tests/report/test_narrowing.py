"""A part of a report: rows, columns, verdicts and data of some tasks or methods alone."""

from bench.report.build import judged_tables
from bench.report.margins import load_margins
from bench.report.narrowing import Only, narrowed
from tests.report.filled import filled_data

DATA = filled_data()
TABLES, JUDGEMENT = judged_tables("dtql-1,edp-2,combined", DATA, load_margins())
HOPPER = "hopper-medium-v2"


def part(**names):
    only = Only(**{name: frozenset(chosen) for name, chosen in names.items()})
    return narrowed(only, TABLES, JUDGEMENT, DATA)


def test_nothing_asked_for_is_everything():
    assert narrowed(Only(), TABLES, JUDGEMENT, DATA) == (TABLES, JUDGEMENT, DATA)


def test_a_task_leaves_its_rows_and_no_average():
    tables, judgement, data = part(tasks=[HOPPER])
    rows = [row.cells[0].text for table in tables for block in table.blocks for row in block.rows]
    assert set(rows) == {HOPPER, "collected-hopper-medium"}  # its twin, which stands beside it
    assert {cell.key[2] for cell in judgement.cells} == {HOPPER}
    assert judgement.suites == ()
    assert {entry.task for entry in data.measured if entry.twin_of is None} == {HOPPER}


def test_a_method_leaves_its_columns_and_the_averages():
    tables, judgement, data = part(algorithms=["dtql"])
    (combined,) = [table for table in tables if table.id == "combined"]
    gym = combined.blocks[0]
    assert {column.method for column in gym.columns if column.method} == {"DTQL"}
    assert gym.rows[-1].aggregate
    assert {cell.key[1] for cell in judgement.cells} == {"dtql"}
    assert {entry.algorithm for entry in data.measured} == {"dtql"}


def test_verdicts_and_counts_are_those_of_what_is_left():
    tables, judgement, _ = part(tasks=[HOPPER], algorithms=["dtql"])
    assert all(JUDGEMENT.by_key[cell.key] == cell for cell in judgement.cells)
    assert all(table.coverage.cells <= 2 for table in tables)


def test_a_table_without_any_of_it_is_left_out():
    tables, _, _ = part(tasks=["bandit-energy-moons"])
    assert tables == []
