"""All that is known of a trial is found, and what changed between stretches of work is noticed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.records import WeightsRecord
from bench.store.database import Store
from bench.store.explanation import changes, explain
from bench.store.writer import Writer
from tests.store import samples

TRIALS = [samples.trial_record(seed) for seed in range(2)]
KEY = TRIALS[0].key
CONTENT = b"weights"
CONTENT_SHA256 = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"


@pytest.fixture
def filled(store: Store, writer: Writer) -> Store:
    """A first attempt that failed; a second, cut off and then finished by another run elsewhere."""
    writer.plan(TRIALS)
    writer.claim(KEY.cell, {0, 1}, 2)
    writer.begin_execution([KEY], samples.execution_record())
    writer.record(samples.evaluation_record(KEY, 1, (1.0, 2.0)))
    writer.record(samples.failure_record(KEY))
    writer.retry([KEY])
    writer.claim(KEY.cell, {0}, 2)
    writer.begin_execution([KEY], samples.execution_record((0,), 100))
    later = {
        "hostname": "node-2",
        "code_sha256": "b" * 64,
        "packages": {"python": "3.11.7", "torch": "2.13.0"},
    }
    writer.begin_execution([KEY], samples.execution_record((0,), 300, **later))
    writer.record(samples.evaluation_record(KEY, 1))
    writer.record(samples.evaluation_record(KEY, 2, (math.inf, -math.inf)))
    writer.record(samples.timing_record(KEY))
    path = store.folder / "weights" / "final.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    writer.record(WeightsRecord(KEY, "final", "weights/final.safetensors", CONTENT_SHA256, len(CONTENT)))
    writer.record(samples.finished_record(KEY))
    return store


def test_stretches_of_all_attempts_come_in_order_with_their_runs_and_ends(filled: Store) -> None:
    first, second, third = explain(filled, 1).executions
    assert first.record == samples.execution_record()
    assert [
        (s.attempt, s.record.from_iteration, s.to_iteration, s.outcome) for s in (first, second, third)
    ] == [
        (1, 0, 700, "failed"),
        (2, 100, None, None),
        (2, 300, 1000, "finished"),
    ]
    assert third.run == samples.run_record()
    assert (second.ended_at, third.peak_memory_bytes) == (None, 2**31)


def test_evaluations_of_the_present_attempt_are_summed_up(filled: Store) -> None:
    first, second = explain(filled, 1).evaluations
    assert (first.number, first.step, first.episodes, first.mean_length) == (1, 1000, 3, 101)
    assert first.mean_return == pytest.approx((300 + 250.5 + 275.25) / 3)
    assert first.mean_score == pytest.approx((300 + 250.5 + 275.25) / 90)
    assert math.isnan(second.mean_return)


def test_the_rest_is_there_too(filled: Store) -> None:
    found = explain(filled, 1)
    assert (found.trial.score, found.trial.attempt, found.run) == (9.2, 2, samples.run_record())
    assert [(failure.attempt, failure.record) for failure in found.failures] == [
        (1, samples.failure_record(KEY))
    ]
    assert found.timings == (samples.timing_record(KEY),)
    assert found.at_work is None
    (file,) = found.files
    assert (file.fault, file.hostname, file.attempt) == ("", "a-machine", 2)


@pytest.mark.parametrize(("content", "fault"), [(b"other weights", "SHA-256 differs"), (None, "is missing")])
def test_weights_that_are_not_what_was_stored_are_noticed(filled: Store, content, fault: str) -> None:
    path: Path = filled.folder / "weights" / "final.safetensors"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert fault in explain(filled, 1).files[0].fault


def test_who_works_on_a_trial_is_told(filled: Store, writer: Writer) -> None:
    assert explain(filled, 2).at_work.seeds == (1,)
    assert explain(filled, 2).evaluations == ()


def test_an_unknown_trial_is_a_wrong_request(filled: Store) -> None:
    with pytest.raises(BenchError, match="no trial 99"):
        explain(filled, 99)


def test_changes_name_what_differs_and_nothing_else(filled: Store) -> None:
    first, second, third = explain(filled, 1).executions
    assert list(changes(first, second)) == ["stack 0, 1 -> 0"]
    assert list(changes(second, third)) == [
        "hostname node-1 -> node-2",
        "torch 2.12.0 -> 2.13.0",
        f"hash of the code {'a' * 12} -> {'b' * 12}",
    ]
    assert list(changes(third, third)) == []


def test_every_circumstance_that_may_change_last_digits_counts(filled: Store) -> None:
    stretch = explain(filled, 1).executions[0]
    differing = {
        "cpu": "another", "device": "cpu: another", "gpu_driver": None, "threads": 2, "runner": "eager",
        "simulator": "mujoco 3.3.0", "precision": {"dtype": "float64", "deterministic_algorithms": False},
    }  # fmt: skip
    for name, value in differing.items():
        changed = replace(stretch, record=replace(stretch.record, **{name: value}))
        assert len(list(changes(stretch, changed))) == 1, name
    run = replace(stretch.run, code_commit="d" * 40, code_diff_sha256="e" * 64)
    assert list(changes(stretch, replace(stretch, run=run))) == [
        f"code commit {'c' * 12} -> {'d' * 12}",
        f"code diff sha256 none -> {'e' * 12}",
    ]
