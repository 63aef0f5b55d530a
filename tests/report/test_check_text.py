"""The text of a check: what stands in it, and what must not."""

from dataclasses import replace
from datetime import UTC, datetime

from bench.report.check import Check, beside, by_reason, of_suites, replay_words, sentence
from bench.report.formats.check import sections
from bench.report.judgement import CellVerdict, Comparison, Judgement, SuiteVerdict
from bench.report.measured import ReportData
from tests.report.builders import measured

NOW = datetime(2026, 11, 21, tzinfo=UTC)
COMPARISON = Comparison(-3.25, 1.5, 7.5, -6.0, -0.5, 5.0, 0.13, 1.0, 0.26, 1.0)


def cell(outcome, task="hopper-medium-v2", paper="DTQL", **other):
    """A verdict; tested unless said otherwise."""
    facts = {
        "table": "dtql-1",
        "method": paper,
        "printed": "99.6",
        "measured": 96.3,
        "deviation": 2.0,
        "n": 5,
    }
    facts |= {"comparison": COMPARISON, "replay": "d4rl"} | other
    return CellVerdict((paper, paper.lower(), task, "last"), outcome=outcome, **facts)


def not_comparable(task, *reasons):
    """A cell that could not be tested."""
    return cell("not comparable", task, comparison=None, reasons=reasons)


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
    open_cell = cell("inconclusive", n=0, trials=(1, 2), comparison=None, reasons=("2 of 2 seeds failed",))
    lines = text_of(Judgement((open_cell,)))
    assert lines[0].startswith("Nothing can be judged")
    assert "bench status" in lines[1]
    assert "dtql/hopper-medium-v2/last | inconclusive |  |  | 0/2 | " in lines
    assert "2 of 2 seeds failed: hopper-medium-v2" in lines


def test_lost_seeds_stand_beside_those_that_are_left():
    lines = text_of(Judgement((cell("below", n=4, trials=(1, 2, 3, 4, 5)),)))
    assert "dtql/hopper-medium-v2/last | not reproduced, below | -3.2 ± 2.8 | 5 | 4/5 | " in lines


def test_a_sentence_says_why_an_open_cell_is_open():
    assert sentence(cell("inconclusive", reasons=("1 of 5 seeds failed",))) == (
        "inconclusive: d = -3.25, 90 % interval [-6.00, -0.50], margin 5; 1 of 5 seeds failed"
    )
    assert sentence(cell("inconclusive", further_seeds=1)).endswith("; 1 further seed would decide")
    assert sentence(not_comparable("a-v0", "physics modern")) == "not comparable: physics modern"


def test_reasons_are_gathered_the_most_frequent_first():
    found = by_reason([("x", "1"), ("y", "2"), ("y", "3")])
    assert [(reason.text, reason.names) for reason in found] == [("y", ("2", "3")), ("x", ("1",))]


def test_what_stands_for_no_printed_number_is_told_with_the_reason():
    task = "hopper-medium-v2"
    judged = measured(task)
    trials = tuple(trial.trial_id for trial in judged.trials)
    other = tuple(replace(trial, trial_id=trial.trial_id + 100) for trial in judged.trials)
    twin = tuple(replace(trial, trial_id=trial.trial_id + 200) for trial in judged.trials)
    alien = tuple(replace(trial, trial_id=trial.trial_id + 300) for trial in judged.trials)
    entries = (
        judged,
        measured(task, trials=other, config_hash="cd" * 32),
        measured("collected-hopper-medium", trials=twin, twin_of=task),
        measured("hopper-random-v2", trials=alien),
    )
    found = beside(entries, Judgement((cell("reproduced", trials=trials),)))
    assert {reason.text: reason.names for reason in found} == {
        "another configuration of the cell comes closer to the paper's": ("dtql/hopper-medium-v2",),
        "data collected here, not D4RL's": ("dtql/collected-hopper-medium",),
        "no paper prints a number of its own for this method on this task": ("dtql/hopper-random-v2",),
    }


def test_a_suite_keeps_its_own_tasks_alone():
    data = ReportData((measured("a"), measured("b")), suites={"one": ("a",), "two": ("b",)})
    kept = of_suites(data, ["two"])
    assert ([entry.task for entry in kept.measured], dict(kept.suites)) == (["b"], {"two": ("b",)})
