"""What becomes of a trial where two stores know it: nothing is lost, doubled or chosen silently."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bench.cli import main
from bench.store.database import open_store
from bench.store.merge import Verdict, load_trial, merge_trial
from bench.store.queries import evaluations
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import change, everything, fetched
from tests.store.machines import SeenTrial, seen
from tests.store.merges import (
    KEY,
    TRIAL,
    claimed,
    evaluated,
    failed,
    finished,
    merged,
    two_machines,
)


def contradict(one: SeenTrial, other: SeenTrial) -> bool:
    """Both have finished with different numbers."""
    last = one.attempts[-1], other.attempts[-1]
    return one.state == other.state == "finished" and (
        one.score != other.score
        or last[0].evaluations != last[1].evaluations
        or last[0].weights != last[1].weights
    )


@pytest.mark.parametrize("seed", [*range(8), 337])
def test_of_two_stores_what_was_finished_counts_whichever_comes_first(
    tmp_path: Path, empty: Path, seed: int
) -> None:
    a, b = two_machines(tmp_path, empty, seed)
    before = {path: seen(path) for path in (a, b)}
    unions = []
    for name, into, other in (("ab", a, b), ("ba", b, a)):
        copy = shutil.copytree(into.parent, tmp_path / name) / "bench.sqlite"
        merged(copy, other, leave_out=True)
        union = seen(copy)
        assert merged(copy, other, leave_out=True) in (0, 1)
        assert seen(copy) == union
        unions.append(union)
        check_union(before[into], before[other], union)
    for key in unions[0]:
        one, other = (union[key] for union in unions)
        if not contradict(*(before[path].get(key, one) for path in (a, b))):
            assert ("finished" in (one.state, other.state)) == (one.state == other.state == "finished")
            assert one.score == other.score
            if one.state == "finished":
                assert one.attempts[-1].results == other.attempts[-1].results
                assert (one.judgements, one.durations) == (other.judgements, other.durations)


def check_union(
    ours: dict[int, SeenTrial], theirs: dict[int, SeenTrial], union: dict[int, SeenTrial]
) -> None:
    """Trials not begun come whole; a finished one counts; else ours stays as it is."""
    assert set(union) == set(ours) | set(theirs)
    for key, trial in union.items():
        mine, other = ours.get(key), theirs.get(key)
        if mine is None or (other is not None and not mine.is_begun):
            assert trial == other
        elif other is None or other.state != "finished" or contradict(mine, other):
            assert trial == mine
        else:
            last = mine if mine.state == "finished" else other
            assert (trial.state, trial.score) == ("finished", last.score)
            assert trial.attempts[-1].results == last.attempts[-1].results
            for attempt in mine.attempts:
                assert any(attempt.is_within(whole) for whole in trial.attempts), (attempt, trial)
            assert mine.executions <= trial.executions
            assert other.attempts[-1].executions <= trial.attempts[-1].executions
            assert trial.judgements == mine.judgements | other.judgements
            assert trial.durations == mine.durations | other.durations


def test_a_trial_that_finished_on_one_machine_counts_and_what_happened_here_is_kept(machine) -> None:
    a = machine("a", claimed(10, "node-a"), evaluated(1, 2, digits=1.0), failed)
    b = machine("b", claimed(5, "node-b"), evaluated(1, 2, 3), finished())
    shutil.copytree(a.parent, a.parent.with_name("c"))
    c = a.parent.with_name("c") / "bench.sqlite"
    alone = seen(b)
    assert merged(a, b) == merged(b, c) == 0
    # Where it was finished the failed attempt of another machine changes nothing.
    assert seen(b) == alone
    trial = seen(a)[0]
    assert (trial.state, trial.score) == ("finished", 9.2)
    assert [attempt.number for attempt in trial.attempts] == [1, 2]
    assert [len(attempt.evaluations) for attempt in trial.attempts] == [2, 3]
    assert [len(attempt.failures) for attempt in trial.attempts] == [1, 0]
    for path, attempt in ((a, 2), (b, 1)):
        assert fetched(path, "SELECT hostname, run_id, attempt FROM scores") == [("node-b", "run-b", attempt)]
        assert fetched(path, "SELECT COUNT(*) FROM claims") == [(0,)]


def test_a_copy_that_went_on_completes_the_one_that_stayed_behind(machine, tmp_path: Path) -> None:
    a = machine("a", claimed(0), evaluated(1), lambda writer: writer.stop([KEY], 1000))
    b = shutil.copytree(a.parent, tmp_path / "b") / "bench.sqlite"
    machine("b", claimed(1), evaluated(1, 2), finished())
    assert merged(a, b) == 0
    trial = seen(a)[0]
    assert (trial.state, len(trial.attempts), len(trial.attempts[0].evaluations)) == ("finished", 1, 2)
    assert sorted(row[0] for row in trial.executions) == ["run-a", "run-b"]
    ended = "SELECT run_id, outcome FROM executions ORDER BY started_at"
    assert fetched(a, ended) == [("run-a", "stopped"), ("run-b", "finished")]


def test_an_execution_that_ran_when_it_was_copied_gets_its_end(machine, tmp_path: Path) -> None:
    b = tmp_path / "b.sqlite"

    def copy(writer: Writer) -> None:
        with closing(sqlite3.connect(tmp_path / "a" / "bench.sqlite")) as source:
            source.execute("VACUUM INTO ?", [str(b)])

    a = machine("a", claimed(0), copy, evaluated(1), finished())
    change(str(b), "DELETE FROM claims")
    ends = "SELECT outcome, to_iteration, peak_memory_bytes FROM executions"
    assert fetched(b, ends) == [(None, None, None)]
    assert merged(b, a) == 0
    assert fetched(b, ends) == [("finished", 1000, 2**31)]
    assert fetched(b, "SELECT ended_at IS NULL FROM runs WHERE run_id = 'run-a'") == [(0,)]
    # And what knows less takes nothing away.
    older = everything(str(b))
    change(str(a), "UPDATE executions SET outcome = NULL, ended_at = NULL, to_iteration = NULL")
    assert merged(b, a) == 0
    assert everything(str(b)) == older


def test_what_was_cut_off_comes_over_with_its_stack_and_can_be_continued(machine, tmp_path: Path) -> None:
    cell = [samples.trial_record(seed) for seed in (0, 1)]
    keys = [trial.key for trial in cell]

    def begin(writer: Writer) -> None:
        writer.claim(KEY.cell, {0, 1}, 2)
        writer.begin_execution(keys, samples.execution_record())
        for key in keys:
            writer.record(samples.evaluation_record(key, 1))
        writer.stop(keys, 1000)

    b = machine("b", begin, trials=[*cell, samples.trial_record(2)])
    a = tmp_path / "a" / "bench.sqlite"  # made by the merge
    assert merged(a, b) == 0
    assert fetched(a, "SELECT seed, state, stack FROM trials ORDER BY seed") == [
        (0, "planned", "[0, 1]"), (1, "planned", "[0, 1]"), (2, "planned", None)]  # fmt: skip
    assert (
        fetched(a, "SELECT COUNT(*) FROM evaluations")
        == fetched(a, "SELECT COUNT(*) FROM executions")
        == [(2,)]
    )
    with open_store(a) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-later"))
        assert writer.claim(KEY.cell, {1}, 1).seeds == (0, 1)


def test_what_was_begun_here_goes_on_here_and_what_was_not_comes_whole(
    machine, tmp_path: Path, capsys
) -> None:
    a = machine("a", claimed(0), failed)
    b = shutil.copytree(a.parent, tmp_path / "b") / "bench.sqlite"
    machine("b", lambda writer: writer.retry([KEY]))
    machine("b", claimed(7), lambda writer: writer.record(samples.failure_record(KEY, 900)))
    c = machine("c")  # planned there, and never begun
    assert merged(a, b) == 0
    assert "1 not finished there, and begun here too: ours goes on" in capsys.readouterr().out
    assert merged(b, a) == 0
    assert "1 there already" in capsys.readouterr().out  # its one attempt is among those here
    assert merged(c, b, a) == 0
    assert fetched(a, "SELECT state, attempt FROM trials") == [("failed", 1)]
    for path in (b, c):
        assert fetched(path, "SELECT state, attempt FROM trials") == [("failed", 2)]
        assert fetched(path, "SELECT attempt, step FROM failures ORDER BY step") == [(1, 700), (2, 900)]


def test_what_two_machines_began_differently_goes_on_on_each(machine) -> None:
    a = machine("a", claimed(1), evaluated(1, 2), lambda writer: writer.stop([KEY], 2000))
    b = machine("b", claimed(2), evaluated(1, digits=1.0), lambda writer: writer.stop([KEY], 1000))
    before = seen(a)
    for _ in range(2):
        assert merged(a, b) == 0
        assert seen(a) == before
        assert fetched(a, "SELECT state, attempt, run_id FROM trials") == [("running", 1, "run-a")]


def test_weights_of_an_attempt_that_stays_behind_stay_there_too(machine) -> None:
    a = machine("a", evaluated(1), lambda writer: writer.record(samples.weights_record(KEY)))
    b = machine("b", evaluated(1), lambda writer: writer.record(samples.weights_record(KEY, "ef" * 32)))
    (b.parent / "weights").mkdir()
    (b.parent / "weights" / "0.safetensors").write_bytes(b"theirs")
    assert merged(a, b) == 0
    assert fetched(a, "SELECT attempt, sha256 FROM weights ORDER BY attempt") == [(1, "cd" * 32)]
    assert not (a.parent / "weights").exists()


def test_judgements_of_two_machines_are_all_kept(machine, tmp_path: Path) -> None:
    a = machine("a", claimed(0), evaluated(1), finished())
    b = shutil.copytree(a.parent, tmp_path / "b") / "bench.sqlite"
    for name, value in (("a", 1.0), ("b", 2.0)):
        judgement = replace(
            samples.evaluation_record(KEY, 0, (value,)), evaluated_at=samples.NOON + timedelta(hours=value)
        )
        machine(name, lambda writer, judgement=judgement: writer.record(judgement))
    for _ in range(2):
        assert merged(a, b) == 0
        with open_store(a, read_only=True) as store:
            assert [(e.number, e.returns) for e in evaluations(store, 1)][:2] == [(-1, (2.0,)), (0, (1.0,))]


def test_merging_twice_writes_nothing_the_second_time(machine) -> None:
    a = machine("a", claimed(0), failed)
    b = machine(
        "b", claimed(5), evaluated(1), finished(), lambda writer: writer.record(samples.timing_record(None))
    )
    assert merged(a, b) == 0
    once, files = everything(str(a)), a.read_bytes()
    assert merged(a, b) == 0
    assert everything(str(a)) == once
    assert a.read_bytes() == files
    # That a merge happened is no result, so it does not travel.
    assert merged(b, a) == merged(a, b) == 0
    assert everything(str(a)) == once
    assert len(once["durations"]) == 1


@pytest.mark.parametrize("held", ["into", "from"])
def test_a_trial_that_a_driver_works_on_is_left_for_later(machine, held: str, capsys) -> None:
    path, other = (
        machine("a", trials=[TRIAL, samples.trial_record(1)]),
        machine("b", evaluated(1), finished()),
    )
    into, source = (path, other) if held == "into" else (other, path)
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-live"))
        writer.claim(KEY.cell, {KEY.seed}, 1)
        before = seen(into)[0]
        for options in ([], ["--dry-run"]):
            with pytest.raises(SystemExit) as exit_:
                main(["db", "merge", str(into), str(source), *options])
            assert exit_.value.code == (0 if options else 1)
            assert "1 left for later, because a driver works on them" in capsys.readouterr().out
        assert seen(into)[0] == before
        assert fetched(path, "SELECT COUNT(*) FROM claims") == [(1,)]
    # It ended without a word, and has given no sign of life for a minute.
    change(str(path), "UPDATE claims SET heartbeat_at = '2025-01-01 00:00:00'")
    assert merged(into, source) == 0
    assert seen(into)[0].state == "finished"
    assert fetched(into, "SELECT COUNT(*) FROM claims") == [(0,)]


def test_a_driver_that_began_after_the_comparison_is_respected(machine) -> None:
    a, b = machine("a"), machine("b", evaluated(1), finished())
    with open_store(b, read_only=True) as source, source.connect() as connection:
        theirs = load_trial(connection, KEY, "b")
    with open_store(a) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-live"))
        writer.claim(KEY.cell, {KEY.seed}, 1)
        with writer.transaction() as here:
            assert merge_trial(here, [theirs], store).verdicts == (Verdict.HELD,)
    assert seen(a)[0].state == "planned"


def test_what_a_store_knows_of_a_dataset_is_taken_over(machine) -> None:
    a, b = machine("a"), machine("b")
    change(str(b), "UPDATE datasets SET verification = 'verified'")
    change(str(a), "UPDATE datasets SET replay = 'd4rl'")
    assert merged(a, b) == 0
    assert fetched(a, "SELECT verification, replay FROM datasets") == [("verified", "d4rl")]


@pytest.mark.parametrize("theirs", [(), (evaluated(1),), (evaluated(1), finished())])
@pytest.mark.parametrize("ours", [(), (evaluated(1),), (evaluated(1), finished())])
def test_phases_that_were_not_noted_here_are_filled_in(machine, capsys, ours, theirs) -> None:
    phases = '[{"name": "train", "iterations": 1000, "evaluated": true}]'
    a, b = machine("a", *ours), machine("b", *theirs)
    change(str(a), "UPDATE trials SET phases = NULL")
    change(str(b), f"UPDATE trials SET phases = '{phases}'")
    before = seen(a)[0].attempts[-1].results
    assert merged(a, b) == 0
    assert "now completed" in capsys.readouterr().out
    stored = fetched(a, "SELECT phases FROM trials")[0][0]
    assert json.loads(stored) == json.loads(phases)
    if ours and len(theirs) < 2:
        assert seen(a)[0].attempts[-1].results == before
    # What is not noted there takes nothing away.
    assert merged(b, a) == 0
    change(str(b), "UPDATE trials SET phases = NULL")
    assert merged(a, b) == 0
    assert fetched(a, "SELECT phases FROM trials") == [(stored,)]
