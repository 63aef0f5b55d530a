"""The 2D problems as a table: numbers per configuration and an answer per expectation."""

import csv
import io
import json
import statistics

import pytest

from bench.bandit2d.expectations import EXPECTATIONS, check_expectations
from bench.bandit2d.stored import Illustrations
from bench.report.bandit2d_table import table_2d
from bench.report.formats import latex, markdown
from bench.report.formats.data import render_csv, render_json
from bench.report.shortening import compact
from tests.bandit2d.clouds import corner_clouds, diffusion_clouds, illustration, moving_clouds

FAR = "bandit-25gaussians-far"


def _seeds(*distances, **other):
    return [
        illustration(seed=seed, numbers={"energy_distance_to_truth": distance}, **other)
        for seed, distance in enumerate(distances)
    ]


def _table(*items, unreadable=()):
    return table_2d(Illustrations(tuple(items), unreadable), check_expectations(items))


def _cells(table, row=0, block=0):
    columns = [column.key for column in table.blocks[block].columns]
    return dict(zip(columns, table.blocks[block].rows[row].cells, strict=True))


def test_mean_and_deviation_over_the_seeds():
    cells = _cells(_table(*_seeds(0.1, 0.2, 0.6)))
    cell = cells["energy_distance_to_truth"]
    assert cell.text == "0.300 ± 0.265"
    assert (cell.value, cell.spread, cell.n) == (
        pytest.approx(0.3), pytest.approx(statistics.stdev([0.1, 0.2, 0.6])), 3,
    )  # fmt: skip
    assert cells["n"].text == "3"
    assert cells["mean_reward"].text == "14.00 ± 0.00"


def test_what_a_method_lacks_or_what_is_not_finite_is_blank():
    cells = _cells(_table(*_seeds(float("nan"))))
    assert cells["energy_distance_to_truth"].text == ""
    assert cells["behaviour_energy_distance_to_truth"].text == ""
    assert cells["value_at_noise"].text == ""


def test_the_value_test_has_both_numbers():
    cells = _cells(_table(illustration("bdpo", "bandit-energy-moons", diffusion_clouds())))
    assert (cells["value_at_noise"].text, cells["value_wanted"].text) == ("0.950", "1.000")


def test_configurations_have_rows_of_their_own_and_say_what_is_reduced():
    small = _seeds(0.4, budget=0.1, reduced=("budget 0.1",), config_hash="cd", variant="paper")
    table = _table(*_seeds(0.1), *small)
    first, second = _cells(table, 0), _cells(table, 1)
    assert (first["method"].text, first["budget"].notes()) == ("dtql", ())
    assert (second["method"].text, second["budget"].notes()) == ("dtql (paper)", ("reduced (budget 0.1)",))


def test_free_points_have_no_row_but_answers():
    table = _table(illustration("srpo-points", "bandit-energy-rings", moving_clouds()))
    assert table.blocks[0].rows == ()
    assert str(table.coverage) == f"0 cells measured; 4 of {len(EXPECTATIONS)} expectations checked, 3 hold"


def _pair():
    return [illustration("dtql", clouds=corner_clouds((0,)), trial_id=1), illustration("dtql-kl", trial_id=2)]


def test_expectations_are_answered_with_their_numbers():
    table = _table(*_pair())
    checked, others = table.blocks[1:]
    row = _cells(table, block=1)
    assert (len(checked.rows), len(others.rows)) == (1, len(EXPECTATIONS) - 1)
    assert not any(row.measured() for row in others.rows)
    assert row["holds"].text == "yes"
    assert row["numbers"].text == "dtql 1.0, dtql-kl 4.0 of 4"
    assert row["task"].text == FAR


def test_a_terminal_shows_what_was_measured_and_counts_the_rest():
    text = markdown.render([compact(_table(*_pair()))])
    assert "KL covers all best modes" in text
    assert "SRPO Fig. 3" not in text
    assert f"{len(EXPECTATIONS) - 1} rows without a measurement. --full shows them." in text
    assert "methods without" not in text


def test_unreadable_files_are_told():
    assert "trial 3 is odd" in markdown.render([_table(unreadable=("trial 3 is odd",))])


def test_every_format_prints_it():
    table = _table(*_pair(), illustration("bdpo", "bandit-energy-moons", diffusion_clouds()))
    text = latex.render([table])
    assert r"$\eta$" in text
    assert "?" not in text
    rows = list(csv.DictReader(io.StringIO(render_csv([table]))))
    assert any(row["task"] == FAR and row["column"] == "Holds" and row["text"] == "yes" for row in rows)
    (content,) = json.loads(render_json([table]))["tables"]
    assert content["id"] == "bandit2d"
