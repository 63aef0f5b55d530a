"""CSV and JSON: the same numbers come back, in full precision, and nothing that is not a number."""

import csv
import io
import json

from bench.report.formats.data import CSV_FIELDS, render_csv, render_json
from bench.report.measured import SeedScore
from tests.report.builders import AWKWARD, check_golden, measured, toy_table

THIRDS = (100 / 3, 200 / 3)


def _rows(*entries):
    return list(csv.DictReader(io.StringIO(render_csv([toy_table(*entries)]))))


def test_golden():
    check_golden("table.csv", render_csv([toy_table()]))
    check_golden("table.json", render_json([toy_table()]))


def test_csv_gives_back_full_precision():
    row = next(row for row in _rows(measured(scores=THIRDS)) if row["column"] == "DTQL measured")
    assert row["row"] == AWKWARD
    assert float(row["value"]) == 50.0
    assert tuple(map(float, row["scores"].split("; "))) == THIRDS
    assert (row["n"], row["seeds"], row["physics"]) == ("2", "0; 1", "d4rl")


def test_csv_has_a_line_for_every_cell_blank_ones_too():
    rows = _rows(measured())
    assert len(rows) == 3 * 3
    assert sum(not row["value"] for row in rows) == 2  # the task that was not measured, and the average
    assert list(rows[0]) == list(CSV_FIELDS)


def test_json_gives_back_numbers_reasons_and_counts():
    content = json.loads(render_json([toy_table(measured(scores=THIRDS, physics="modern"))]))
    table = content["tables"][0]
    assert (table["cells"], table["measured"], table["comparable"]) == (2, 1, 0)
    cell = table["blocks"][0]["rows"][0]["cells"]["DTQL measured"]
    assert tuple(cell["scores"]) == THIRDS
    assert cell["not_comparable"] == ["physics modern"]
    assert table["blocks"][0]["rows"][0]["label"] == AWKWARD


def test_nan_becomes_null_and_empty():
    trials = (SeedScore(1, 0, "finished", float("nan")), SeedScore(2, 1, "finished", 5.0))
    entry = measured(trials=trials)
    text = render_json([toy_table(entry)])
    cell = json.loads(text)["tables"][0]["blocks"][0]["rows"][0]["cells"]["DTQL measured"]
    assert cell["scores"] == [None, 5.0]
    assert "nan" not in text.lower()
    row = next(row for row in _rows(entry) if row["column"] == "DTQL measured")
    assert row["scores"] == "; 5.0"
