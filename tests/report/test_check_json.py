"""JSON of a check, read by a parser that takes no NaN."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bench.report.check import Check, Reason
from bench.report.formats.check import render_json
from bench.report.judgement import CellVerdict, Comparison, Judgement, SuiteVerdict

COMPARISON = Comparison(-0.1 - 0.2, 1 / 3, 7.5, -6.0, -0.5, 5.0, 0.13, 1.0, 0.26, 1.0)
CELL = CellVerdict(
    ("DTQL", "dtql", 'a_b&c<"é">', "last"), "dtql-1", "DTQL", "inconclusive", "99.6", 96.3, 2.0, 5,
    trials=(4, 5), comparison=COMPARISON, further_seeds=3, arithmetic=("one", "two"),
)  # fmt: skip
SUITE = SuiteVerdict("gym", "DTQL", "dtql", "last", "below", 9, 9, 80.0, 88.0, COMPARISON)


def read(*cells, **other):
    """The document, refused if it holds what JSON cannot."""
    text = render_json(
        Check(
            "s.sqlite",
            datetime(2026, 11, 21, 3, tzinfo=UTC),
            Judgement(cells, (SUITE,), ("Rates.",)),
            **other,
        )
    )
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_numbers_come_back_bit_for_bit():
    (cell,) = read(CELL)["cells"]
    assert cell["comparison"]["difference"] == -0.1 - 0.2
    assert cell["comparison"]["standard_error"] == 1 / 3
    assert (cell["measured"], cell["trials"], cell["arithmetic"]) == (96.3, [4, 5], ["one", "two"])


def test_names_stand_apart_and_together():
    (cell,) = read(CELL)["cells"]
    assert (cell["paper"], cell["algorithm"], cell["protocol"]) == ("DTQL", "dtql", "last")
    assert (cell["task"], cell["id"]) == ('a_b&c<"é">', 'dtql/a_b&c<"é">/last')
    (suite,) = read()["suites"]
    assert (suite["id"], suite["words"]) == ("dtql/gym/last", "not reproduced, below")


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_null(number):
    wide = replace(CELL, measured=None, comparison=replace(COMPARISON, low=number, high=number))
    (cell,) = read(wide)["cells"]
    assert (cell["comparison"]["low"], cell["comparison"]["high"], cell["measured"]) == (None, None, None)


def test_the_whole_check_is_told():
    found = read(CELL, beside=(Reason("twins", ("dtql/x",)),), suites={"gym": ("a",)}, restricted=True)
    assert (found["schema_version"], found["against"], found["failed"]) == (1, "paper", True)
    assert found["made_at"] == "2026-11-21T03:00:00Z"
    assert found["restricted_to"] == ["gym"]
    assert found["beside"] == [{"text": "twins", "names": ["dtql/x"]}]
    assert found["statements"] == ["Rates."]
    assert found["counts"]["inconclusive"] == 1
    assert found["judged_together"] == {"cells": 1, "suite_means": 1}
