"""Averages and sums over the tasks of a column."""

import math

import pytest

from bench.report.matching import match_of
from bench.report.score_tables import aggregate_cell
from tests.report.builders import measured, printed


@pytest.mark.parametrize(("score", "average"), [(50.0, 50.0), (1.7e308, math.inf)])
def test_an_average_too_large_for_a_number_is_infinite_and_no_defect(score, average):
    cells = [printed(task, "DTQL", 50.0) for task in ("hopper-medium-v2", "walker2d-medium-v2")]
    chosen = {cell: match_of(measured(cell.task, scores=(score,)), cell) for cell in cells}
    assert aggregate_cell(cells, chosen).value == average
