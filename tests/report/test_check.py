"""What a check says of verdicts in words, and of what stands for no printed number."""

from dataclasses import replace

from bench.report.check import by_reason, of_suites, sentence, unmatched
from bench.report.judgement import Judgement
from bench.report.measured import ReportData
from tests.report.builders import measured
from tests.report.verdicts import cell, not_comparable


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
    other = tuple(replace(trial, trial_id=trial.trial_id + 100) for trial in judged.trials)
    twin = tuple(replace(trial, trial_id=trial.trial_id + 200) for trial in judged.trials)
    alien = tuple(replace(trial, trial_id=trial.trial_id + 300) for trial in judged.trials)
    entries = (
        judged,
        measured(task, trials=other, config_hash="cd" * 32),
        measured("collected-hopper-medium", trials=twin, twin_of=task),
        measured("hopper-random-v2", trials=alien),
    )
    found = unmatched(entries, Judgement((cell("reproduced", measured=judged),)))
    assert {reason.text: reason.names for reason in found} == {
        "another configuration of the cell comes closer to the paper's": ("dtql/hopper-medium-v2",),
        "data collected here, not D4RL's": ("dtql/collected-hopper-medium",),
        "no paper prints a number of its own for this method on this task": ("dtql/hopper-random-v2",),
    }


def test_a_suite_keeps_its_own_tasks_alone():
    data = ReportData((measured("a"), measured("b")), suites={"one": ("a",), "two": ("b",)})
    kept = of_suites(data, ["two"])
    assert ([entry.task for entry in kept.measured], dict(kept.suites)) == (["b"], {"two": ("b",)})
