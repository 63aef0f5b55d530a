"""A check in words, as JSON read by a parser that takes no NaN, and a verdict for whoever doubts it."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bench.report.check import Check, Reason, replay_words
from bench.report.formats.check import explain_verdict, render_json, sections
from bench.report.judgement import Comparison, Judgement, SuiteVerdict
from tests.report.builders import measured
from tests.report.judging import TASK, own, trials, verdict_on
from tests.report.verdicts import AROUND, COMPARISON, cell, not_comparable

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def text_of(judgement, *, everything=False, **other):
    """Every section's heading, cells and remarks."""
    check = Check("s.sqlite", NOW, judgement, **other)
    lines = []
    for section in sections(check, everything=everything):
        lines += [section.heading, *(" | ".join(row) for row in section.rows), *section.remarks]
    return lines


def test_a_row_has_the_difference_half_its_interval_margin_seeds_and_further_ones():
    lines = text_of(Judgement((cell("inconclusive", further_seeds=3), cell("inconclusive", "b-v0"))))
    assert "dtql/hopper-medium-v2/last | inconclusive | -3.2 ± 2.8 | 5 | 5 | 3" in lines
    assert "dtql/b-v0/last | inconclusive | -3.2 ± 2.8 | 5 | 5 | >100" in lines


def test_the_headline_comes_first_and_only_tested_means_are_shown():
    whole = SuiteVerdict("gym", "DTQL", "dtql", "last", "reproduced", 9, 9, 87.0, 88.0, COMPARISON)
    partial = SuiteVerdict(
        "maze", "DTQL", "dtql", "last", "not comparable", 6, 4, 50.0, 60.0,
        reasons=("a-v0: not measured", "b-v0: not measured", "c-v0: physics modern"),
    )  # fmt: skip
    lines = text_of(Judgement((cell("reproduced"),), (whole, partial)))
    assert lines[0] == "Suites, margin 5"
    assert lines[1] == "dtql/gym/last | reproduced | 9/9 | 87.0 | 88.0 | -3.2 ± 2.8"
    assert lines[2] == "dtql/maze/last | not comparable | 4/6 |  |  | "
    assert lines[3:5] == ["dtql/maze/last: not measured: a-v0, b-v0", "dtql/maze/last: physics modern: c-v0"]


def test_cells_stand_under_their_paper_in_its_order():
    cells = (cell("reproduced"), cell("reproduced", paper="BDPO"), cell("below", "b-v0"))
    headings = [line for line in text_of(Judgement(cells)) if "printed by" in line]
    assert headings == [
        "dtql/TASK/last, printed by DTQL (dtql-1)",
        "bdpo/TASK/last, printed by BDPO (dtql-1)",
    ]


def test_what_is_not_comparable_is_counted_by_reason_and_named_on_request():
    cells = (
        cell("reproduced"),
        not_comparable("a-v0", "physics modern"),
        not_comparable("b-v0", "physics modern", "budget 0.1"),
    )
    short = text_of(Judgement(cells))
    assert "2 | physics modern" in short
    assert "1 | budget 0.1" in short
    assert not any("a-v0" in line for line in short)
    assert "physics modern: dtql/a-v0/last, dtql/b-v0/last" in text_of(Judgement(cells), everything=True)


def test_a_restricted_check_says_over_what_it_was_corrected():
    lines = text_of(Judgement((cell("below"), cell("above"))), suites={"gym": ("a",)}, restricted=True)
    assert any(
        line.startswith("Judged together: 2 cells of gym alone, 0 means over suites") for line in lines
    )


def test_whether_a_replay_confirmed_the_simulator_stands_beside_the_verdicts():
    same = text_of(Judgement((cell("reproduced"), cell("below", "b-v0"))))
    assert "a replay of the data confirmed the simulator: every cell" in same
    mixed = text_of(Judgement((cell("reproduced"), cell("below", "b-v0", replay="unverified"))))
    assert "simulator not confirmed by a replay of the data: b-v0" in mixed
    assert replay_words("neither") == "a replay of the data found physics neither, not D4RL's"


def test_every_assumption_once_with_how_many_cells_rest_on_it():
    cells = (
        cell("reproduced", assumptions=("x",)),
        cell("below", "b-v0", assumptions=("x", "y")),
        replace(not_comparable("c-v0", "z"), assumptions=("x",)),
    )
    lines = text_of(Judgement(cells, statements=("The rates.",)))
    assert lines[-3:] == ["The rates.", "Assumed of DTQL (2 cells): x.", "Assumed of DTQL (1 cell): y."]


def test_without_anything_judged_no_rates_are_claimed():
    lines = text_of(Judgement((not_comparable("a-v0", "physics modern"),), statements=("The rates.",)))
    assert lines[0].startswith("Nothing can be judged: of what s.sqlite holds, ")
    assert "The rates." not in lines
    assert text_of(Judgement(), suites={"gym": ()}, restricted=True) == [
        "Nothing to judge: nothing of the suites gym in s.sqlite is measured."
    ]


def test_where_nothing_is_judged_open_cells_say_why():
    open_cell = cell(
        "inconclusive",
        measured=measured(TASK, trials=trials(("failed", None), ("failed", None))),
        comparison=None,
        reasons=("2 of 2 seeds failed",),
    )
    lines = text_of(Judgement((open_cell,)))
    assert lines[0].startswith("Nothing can be judged")
    assert "bench status" in lines[1]
    assert "dtql/hopper-medium-v2/last | inconclusive |  |  | 0/2 | " in lines
    assert "2 of 2 seeds failed: hopper-medium-v2" in lines


def test_lost_seeds_stand_beside_those_that_are_left():
    lines = text_of(Judgement((cell("below", scores=(*AROUND[:4], math.nan)),)))
    assert "dtql/hopper-medium-v2/last | not reproduced, below | -3.2 ± 2.8 | 5 | 4/5 | " in lines


# As JSON


EXACT = Comparison(-0.1 - 0.2, 1 / 3, 7.5, -6.0, -0.5, 5.0, 0.13, 1.0, 0.26, 1.0)
CELL = cell(
    "inconclusive", 'a_b&c<"é">', scores=(96.0, 96.5), comparison=EXACT, further_seeds=3,
    arithmetic=("one", "two"),
)  # fmt: skip
SUITE = SuiteVerdict("gym", "DTQL", "dtql", "last", "below", 9, 9, 80.0, 88.0, EXACT)


def read(*cells, **other):
    """The document, refused if it holds what JSON cannot."""
    text = render_json(
        Check(
            "s.sqlite",
            NOW.replace(hour=3),
            Judgement(cells, (SUITE,), ("Rates.",)),
            **other,
        )
    )
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_numbers_come_back_bit_for_bit():
    (cell,) = read(CELL)["cells"]
    assert cell["comparison"]["difference"] == -0.1 - 0.2
    assert cell["comparison"]["standard_error"] == 1 / 3
    assert (cell["measured"], cell["trials"], cell["arithmetic"]) == (96.25, [10, 11], ["one", "two"])


def test_names_stand_apart_and_together():
    (cell,) = read(CELL)["cells"]
    assert (cell["paper"], cell["algorithm"], cell["protocol"]) == ("DTQL", "dtql", "last")
    assert (cell["task"], cell["id"]) == ('a_b&c<"é">', 'dtql/a_b&c<"é">/last')
    (suite,) = read()["suites"]
    assert (suite["id"], suite["words"]) == ("dtql/gym/last", "not reproduced, below")


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_null(number):
    wide = replace(CELL, measured=measured(scores=()), comparison=replace(EXACT, low=number, high=number))
    (cell,) = read(wide)["cells"]
    assert (cell["comparison"]["low"], cell["comparison"]["high"], cell["measured"]) == (None, None, None)


def test_the_whole_check_is_told():
    found = read(CELL, unmatched=(Reason("twins", ("dtql/x",)),), suites={"gym": ("a",)}, restricted=True)
    assert (found["schema_version"], found["against"], found["failed"]) == (1, "paper", True)
    assert found["made_at"] == "2026-11-21T03:00:00Z"
    assert found["restricted_to"] == ["gym"]
    assert found["beside"] == [{"text": "twins", "names": ["dtql/x"]}]
    assert found["statements"] == ["Rates."]
    assert found["counts"]["inconclusive"] == 1
    assert found["judged_together"] == {"cells": 1, "suite_means": 1}


# One verdict explained


def lines_on(cell, entry):
    return explain_verdict(verdict_on(cell, entry), Judgement(), {})


def test_seeds_without_a_number_are_told_in_words():
    stood = [
        ("finished", 80.0),
        ("finished", 81.0),
        ("finished", math.nan),
        ("finished", None),
        ("failed", None),
    ]
    lines = lines_on(own(80.0), measured(TASK, trials=trials(*stood)))
    assert not any("nan" in line for line in lines)
    (seeds,) = [line for line in lines if line.startswith("  our seeds: ")]
    assert "seed 0 80.00 (trial 10), seed 1 81.00 (trial 11), seed 2 finished without a score" in seeds
    assert seeds.endswith("seed 3 finished without a score (trial 13), seed 4 failed (trial 14)")


def test_the_protocol_is_the_one_of_the_scores_shown():
    """Three evaluations make no mean of ten."""
    curve = (1.0, 2.0, 70.0)
    entry = measured(TASK, trials=tuple(replace(t, evaluations=curve) for t in trials(("finished", 70.0))))
    lines = lines_on(own(80.0, protocol="rat"), entry)
    assert any("protocol last, variant released" in line for line in lines)
    assert any("seed 0 70.00" in line for line in lines)
