"""Stores of several machines become one: nothing is lost, nothing doubled, nothing chosen silently."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bench.cli import main
from bench.store.database import open_store
from bench.store.queries import evaluations
from bench.store.trial_rows import load
from bench.store.uniting import Verdict
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import change, everything, fetched
from tests.store.full_disk import fill, small_disk
from tests.store.machines import Machine, SeenTrial, seen

TRIAL = samples.trial_record()
KEY = TRIAL.key


def merged(into: Path, *others: Path, leave_out: bool = False) -> int:
    """Exit code of `bench db merge`."""
    options = ["--leave-out-conflicts"] if leave_out else []
    with pytest.raises(SystemExit) as exit_:
        main(["db", "merge", str(into), *map(str, others), *options])
    return exit_.value.code


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds nothing, to be copied: making one takes longer."""
    path = tmp_path_factory.mktemp("empty") / "bench.sqlite"
    open_store(path).close()
    return path


def two_machines(folder: Path, empty: Path, seed: int) -> tuple[Path, Path]:
    """Two stores with some history in common."""
    common = folder / "common" / "bench.sqlite"
    common.parent.mkdir()
    shutil.copy(empty, common)
    Machine(common, "common", seed).work(seed % 3)
    for name in ("a", "b"):
        shutil.copytree(common.parent, folder / name)
        Machine(folder / name / "bench.sqlite", name, seed).work(1 + seed % 2)
    return folder / "a" / "bench.sqlite", folder / "b" / "bench.sqlite"


def contradict(one: SeenTrial, other: SeenTrial) -> bool:
    """Both have finished with different numbers."""
    last = one.attempts[-1], other.attempts[-1]
    return one.state == other.state == "finished" and (
        one.score != other.score
        or last[0].evaluations != last[1].evaluations
        or last[0].weights != last[1].weights
    )


@pytest.mark.parametrize("seed", [*range(8), 337])
def test_the_union_of_two_stores_holds_all_of_both_whichever_comes_first(
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
            assert (one.state, one.score, one.largest) == (other.state, other.score, other.largest)
            assert (one.judgements, one.durations) == (other.judgements, other.durations)
            assert one.executions == other.executions


def check_union(
    ours: dict[int, SeenTrial], theirs: dict[int, SeenTrial], union: dict[int, SeenTrial]
) -> None:
    """Every attempt is there; finished trials stay so; the attempt that counts is the last."""
    assert set(union) == set(ours) | set(theirs)
    for key, trial in union.items():
        known = [store[key] for store in (ours, theirs) if key in store]
        if len(known) == 2 and contradict(*known):
            assert trial == ours[key]
            continue
        for part in known:
            for attempt in part.attempts:
                assert any(attempt.is_within(whole) for whole in trial.attempts), (attempt, trial)
            assert part.executions <= trial.executions
            assert part.judgements <= trial.judgements
            assert part.durations <= trial.durations
        finished = [part for part in known if part.state == "finished"]
        assert (trial.state == "finished") == bool(finished)
        if finished:
            assert trial.score == finished[0].score
            assert trial.attempts[-1].results == finished[0].attempts[-1].results


@pytest.fixture
def machine(tmp_path: Path, empty: Path):
    """Make a store: call it with a machine's name and what happens there to a trial."""

    runs: Counter[str] = Counter()

    def made(name: str, *steps, trials=(TRIAL,)) -> Path:
        path = tmp_path / name / "bench.sqlite"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            shutil.copy(empty, path)
        runs[name] += 1
        run_id = f"run-{name}" if runs[name] == 1 else f"run-{name}-{runs[name]}"
        with open_store(path) as store, Writer(store) as writer:
            writer.begin_run(replace(samples.run_record(run_id), hardware={"hostname": name, "gpus": []}))
            writer.plan(trials)
            for step in steps:
                step(writer)
            writer.end_run(run_id)
        return path

    return made


def claimed(at: int = 0, hostname: str = "node"):
    """Begin to work on the trial, `at` so many seconds."""

    def step(writer: Writer) -> None:
        writer.claim(KEY.cell, {KEY.seed}, 1)
        began = samples.NOON + timedelta(seconds=at)
        writer.begin_execution([KEY], samples.execution_record(started_at=began, hostname=hostname))

    return step


def evaluated(*numbers: int, digits: float = 0.0):
    """Evaluations of the trial."""

    def step(writer: Writer) -> None:
        for number in numbers:
            writer.record(samples.evaluation_record(KEY, number, (10.0 * number + digits, 7.5)))

    return step


def failed(writer: Writer) -> None:
    writer.record(samples.failure_record(KEY))


def finished(score: float = 9.2):
    """The end of the trial."""

    def step(writer: Writer) -> None:
        writer.record(samples.weights_record(KEY))
        writer.record(samples.finished_record(KEY, score))

    return step


def test_a_trial_that_finished_on_one_machine_counts_and_what_happened_on_the_other_is_kept(machine) -> None:
    a = machine("a", claimed(10, "node-a"), evaluated(1, 2, digits=1.0), failed)
    b = machine("b", claimed(5, "node-b"), evaluated(1, 2, 3), finished())
    shutil.copytree(a.parent, a.parent.with_name("c"))
    c = a.parent.with_name("c") / "bench.sqlite"
    assert merged(a, b) == merged(b, c) == 0
    for path in (a, b):
        trial = seen(path)[0]
        assert (trial.state, trial.score) == ("finished", 9.2)
        assert [attempt.number for attempt in trial.attempts] == [1, 2]
        assert [len(attempt.evaluations) for attempt in trial.attempts] == [2, 3]
        assert [len(attempt.failures) for attempt in trial.attempts] == [1, 0]
        # Although what came over has higher numbers, the views show where the trial was finished.
        assert fetched(path, "SELECT hostname, run_id, attempt FROM scores") == [("node-b", "run-b", 2)]
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


def test_a_trial_planned_again_stays_so_unless_the_other_machine_knows_more(machine, tmp_path: Path) -> None:
    a = machine("a", claimed(0), failed)
    b = shutil.copytree(a.parent, tmp_path / "b") / "bench.sqlite"
    machine("b", lambda writer: writer.retry([KEY]))
    c = machine("c")  # planned there, and never begun
    assert merged(a, b) == merged(c, a, b) == 0
    assert fetched(a, "SELECT state, attempt FROM trials") == [("planned", 2)]
    assert fetched(c, "SELECT state, attempt FROM trials") == [("planned", 2)]
    d = machine("d")
    machine("b", claimed(7), lambda writer: writer.record(samples.failure_record(KEY, 900)))
    assert merged(a, b) == merged(d, b) == merged(c, d) == 0
    for path in (a, c, d):
        assert fetched(path, "SELECT state, attempt FROM trials") == [("failed", 2)]
        assert fetched(path, "SELECT attempt, step FROM failures ORDER BY step") == [(1, 700), (2, 900)]


def test_what_two_machines_began_differently_is_both_kept_and_ours_goes_on(machine) -> None:
    a = machine("a", claimed(1), evaluated(1, 2), lambda writer: writer.stop([KEY], 2000))
    b = machine("b", claimed(2), evaluated(1, digits=1.0), lambda writer: writer.stop([KEY], 1000))
    for _ in range(2):
        assert merged(a, b) == 0
        (trial,) = seen(a).values()
        assert [len(attempt.evaluations) for attempt in trial.attempts] == [1, 2]
        assert fetched(a, "SELECT state, attempt, run_id FROM trials") == [("running", 2, "run-a")]


def test_attempts_with_different_weights_are_two(machine) -> None:
    a = machine("a", evaluated(1), lambda writer: writer.record(samples.weights_record(KEY)))
    b = machine("b", evaluated(1), lambda writer: writer.record(samples.weights_record(KEY, "ef" * 32)))
    assert merged(a, b) == 0
    assert fetched(a, "SELECT attempt, sha256 FROM weights ORDER BY attempt") == [
        (1, "ef" * 32),
        (2, "cd" * 32),
    ]


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
    # Dead for a minute by the database's clock, without a sign of life.
    change(str(path), "UPDATE claims SET heartbeat_at = '2025-01-01 00:00:00'")
    assert merged(into, source) == 0
    assert seen(into)[0].state == "finished"
    assert fetched(into, "SELECT COUNT(*) FROM claims") == [(0,)]


def test_a_driver_that_began_after_the_comparison_is_respected(machine) -> None:
    a, b = machine("a"), machine("b", evaluated(1), finished())
    with open_store(b, read_only=True) as source, source.connect() as connection:
        theirs = load(connection, KEY, "b", ours=False)
    with open_store(a) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-live"))
        writer.claim(KEY.cell, {KEY.seed}, 1)
        assert writer.merge_trial([theirs]).verdicts == (Verdict.HELD,)
    assert seen(a)[0].state == "planned"


def contradictions():
    """SQL that makes two equal stores contradict each other, and what is then told."""
    return {
        "UPDATE trials SET score = 9.3": "score is 9.2 (a, {a}), but 9.3 (a, {b})",
        "UPDATE trials SET score = -1e999, score_is_nan = 1": "score is 9.2 (a, {a}), but NaN (a, {b})",
        "UPDATE episodes SET return_ = 11.5 WHERE number = 2": (
            "evaluation 1, episode 2 is return 7.5, score 0.25, length 101 (a, {a}), "
            "but return 11.5, score 0.25, length 101 (a, {b})"
        ),
        "UPDATE weights SET sha256 = 'ee'": (
            f"SHA-256 of the weights 'final' is {'cd' * 32} (a, {{a}}), but ee (a, {{b}})"
        ),
        "UPDATE trials SET config = REPLACE(config, '0.99', '0.98')": (
            "config.discount.value is 0.99 (a, {a}), but 0.98 (a, {b})"
        ),
        "UPDATE datasets SET rows = 999999": (
            "rows of dataset hopper-medium-v2 (abababababab...) is 1000000, but 999999 in {b}"
        ),
        "UPDATE runs SET code_commit = 'dddd'": f"code_commit of run run-a is {'c' * 40}, but dddd in {{b}}",
        "UPDATE executions SET device = 'cpu: b'": "device of executions",
        "UPDATE durations SET value = 4.5": "value of durations",
    }


@pytest.mark.parametrize(("sql", "told"), contradictions().items())
def test_a_contradiction_is_told_and_nothing_is_written(
    machine, tmp_path: Path, capsys, sql: str, told: str
) -> None:
    a = machine(
        "a", claimed(0), evaluated(1), lambda writer: writer.record(samples.timing_record(KEY)), finished()
    )
    b = shutil.copytree(a.parent, tmp_path / "b") / "bench.sqlite"
    change(str(b), sql)
    other = samples.trial_record(5, task="walker2d-medium-v2")
    with open_store(b) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-b"))
        if "runs" not in sql and "datasets" not in sql:
            writer.plan([other])
        writer.end_run("run-b")
    before = {path: path.read_bytes() for path in (a, b)}
    assert merged(a, b) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench: the stores cannot be merged: a contradiction between them")
    assert told.format(a=a, b=b) in error
    assert "--leave-out-conflicts" in error
    assert {path: path.read_bytes() for path in (a, b)} == before
    # The rest comes, and the stored result stays.
    first = seen(a)[0]
    assert merged(a, b, leave_out=True) == 1
    captured = capsys.readouterr()
    assert told.format(a=a, b=b) in captured.err
    assert "1 left out, because they contradict" in captured.out
    assert seen(a)[0] == first
    assert len(seen(a)) == len(seen(b))
    assert b.read_bytes() == before[b]


def test_where_values_come_from_is_no_contradiction(machine, tmp_path: Path) -> None:
    trial = replace(TRIAL, config=TRIAL.config | {"sources": {"discount": "Table 8"}})
    a = machine("a", trials=[trial])
    b = shutil.copytree(a.parent, tmp_path / "b") / "bench.sqlite"
    change(str(b), "UPDATE trials SET config = REPLACE(config, 'Table 8', 'Table 9')")
    assert merged(a, b) == 0
    assert "Table 8" in fetched(a, "SELECT config FROM trials")[0][0]


def test_stores_that_are_merged_may_not_contradict_each_other_either(machine, tmp_path: Path, capsys) -> None:
    b = machine("b", evaluated(1), finished())
    c = machine("c", evaluated(1), finished(8.0))
    assert merged(tmp_path / "a" / "bench.sqlite", b, c) == 2
    assert f"score is 9.2 (b, {b}), but 8.0 (c, {c})" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_what_a_store_knows_of_a_dataset_is_taken_over(machine) -> None:
    a, b = machine("a"), machine("b")
    change(str(b), "UPDATE datasets SET verification = 'verified'")
    change(str(a), "UPDATE datasets SET replay = 'd4rl'")
    assert merged(a, b) == 0
    assert fetched(a, "SELECT verification, replay FROM datasets") == [("verified", "d4rl")]


def weights_in(path: Path) -> dict[str, bytes]:
    """Files of weights beside a store."""
    return {file.name: file.read_bytes() for file in (path.parent / "weights").glob("*")}


def test_weights_come_along_verified(tmp_path: Path, empty: Path, capsys) -> None:
    b = tmp_path / "b" / "bench.sqlite"
    b.parent.mkdir()
    shutil.copy(empty, b)
    Machine(b, "b", 3).work(8)
    files = weights_in(b)
    assert len(files) == 3
    missing, changed, good = sorted(files)
    (b.parent / "weights" / missing).unlink()
    (b.parent / "weights" / changed).write_bytes(b"torn")
    a = tmp_path / "a" / "bench.sqlite"
    assert merged(a, b) == 1
    captured = capsys.readouterr()
    assert f"Weights that are missing: {b.parent}/weights/{missing}. Put there" in captured.out
    assert f"{changed} is not what was stored: its SHA-256 differs; it was not brought." in captured.err
    assert weights_in(a) == {good: files[good]}
    assert fetched(a, "SELECT COUNT(*) FROM weights") == [(3,)]
    # Repaired, they come with the same command, although the rows are there.
    for name, content in files.items():
        (b.parent / "weights" / name).write_bytes(content)
    assert merged(a, b) == 0
    assert weights_in(a) == files
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["../stolen", "/tmp/stolen"])
def test_weights_are_never_written_outside_of_the_stores_folder(
    machine, tmp_path: Path, capsys, name: str
) -> None:
    b = machine("b", evaluated(1), finished())
    change(str(b), f"UPDATE weights SET path = '{name}'")
    assert merged(tmp_path / "x" / "a.sqlite", b) == 1
    assert "is not below the store's folder" in capsys.readouterr().err


def test_another_file_in_the_place_of_weights_stays(machine, capsys) -> None:
    a, b = machine("a"), machine("b", evaluated(1), finished())
    (a.parent / "weights").mkdir()
    (a.parent / "weights" / "0.safetensors").write_bytes(b"ours")
    assert merged(a, b) == 1
    assert f"0.safetensors is another one in {a.parent}" in capsys.readouterr().err
    assert weights_in(a) == {"0.safetensors": b"ours"}


def picture(path: Path) -> dict[str, list[tuple]]:
    """Everything in a store but that merges happened."""
    found = everything(str(path))
    found["runs"] = [row for row in found["runs"] if row[0].startswith("run-")]
    return found


@pytest.mark.parametrize("kill_after", [0.0, 0.02, 0.1, 0.3])
def test_a_merge_that_is_killed_and_repeated_ends_as_one_undisturbed(
    tmp_path: Path, empty: Path, kill_after: float
) -> None:
    trials = [samples.trial_record(seed) for seed in range(40)]
    paths = {name: tmp_path / name / "bench.sqlite" for name in ("a", "b", "undisturbed")}
    for path in paths.values():
        path.parent.mkdir()
        shutil.copy(empty, path)
    with open_store(paths["b"]) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-b"))
        writer.plan(trials)
        for trial in trials:
            writer.record(samples.evaluation_record(trial.key))
            writer.record(samples.finished_record(trial.key))
    assert merged(paths["undisturbed"], paths["b"]) == 0
    command = ["-m", "bench", "db", "merge", str(paths["a"]), str(paths["b"])]
    process = subprocess.Popen([sys.executable, *command], cwd=Path(__file__).parents[2])
    begun = "SELECT COUNT(*) FROM runs"
    with closing(sqlite3.connect(paths["a"])) as connection:
        while connection.execute(begun).fetchone() == (0,) and process.poll() is None:
            time.sleep(0.002)
    time.sleep(kill_after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert fetched(paths["a"], "PRAGMA integrity_check") == [("ok",)]
    assert merged(paths["a"], paths["b"]) == 0
    assert picture(paths["a"]) == picture(paths["undisturbed"])


def test_a_merge_onto_a_full_disk_goes_on_when_there_is_room(
    tmp_path: Path, machine, empty: Path, capsys
) -> None:
    returns = tuple(float(value) for value in range(3000))
    b = machine(
        "b",
        *(
            lambda writer, trial=trial: writer.record(samples.evaluation_record(trial.key, 1, returns))
            for trial in map(samples.trial_record, range(10))
        ),
        trials=[samples.trial_record(seed) for seed in range(10)],
    )
    with small_disk(tmp_path / "disk", "4m") as disk:
        a = Path(shutil.copy(empty, disk))
        ballast = fill(disk)
        os.truncate(ballast, ballast.stat().st_size - 800_000)
        assert merged(a, b) == 1
        assert f"store {a} has no room left on its disk" in capsys.readouterr().err
        assert fetched(a, "PRAGMA integrity_check") == [("ok",)]
        ballast.unlink()
        assert 0 < fetched(a, "SELECT COUNT(*) FROM trials")[0][0] < 10
        assert merged(a, b) == 0
        assert picture(a)["episodes"] == picture(b)["episodes"]


def test_a_dry_run_says_what_would_come_and_makes_nothing(machine, tmp_path: Path, capsys) -> None:
    b = machine("b", evaluated(1), finished(), trials=[TRIAL, samples.trial_record(1)])
    before = b.read_bytes()
    with pytest.raises(SystemExit) as exit_:
        main(["db", "merge", str(tmp_path / "a" / "a.sqlite"), str(b), "--dry-run"])
    assert (exit_.value.code, capsys.readouterr().out) == (0, f"{b}: 2 trials: 2 would come\n")
    assert not (tmp_path / "a").exists()
    assert b.read_bytes() == before


def test_an_older_store_is_left_as_it_is(machine, tmp_path: Path, capsys) -> None:
    old = Path(shutil.copy(Path(__file__).parents[1] / "fixtures" / "store_0001.sqlite", tmp_path))
    before = old.read_bytes()
    for into, source in ((machine("a"), old), (old, machine("a"))):
        assert merged(into, source) == 2
        assert f"bench db upgrade --store {old}" in capsys.readouterr().err
    assert old.read_bytes() == before


@pytest.mark.parametrize("again", ["{b}", "sqlite:///{b}", "{b.parent}/../b/bench.sqlite"])
def test_no_store_is_merged_with_itself(machine, capsys, again: str) -> None:
    b = machine("b")
    assert merged(b, again.format(b=b)) == 2
    assert "is named twice" in capsys.readouterr().err


def test_a_store_that_is_not_there_is_not_made(machine, tmp_path: Path, capsys) -> None:
    absent = tmp_path / "absent.sqlite"
    assert merged(machine("a"), absent) == merged(tmp_path / "new.sqlite", absent) == 2
    assert "there is no results database" in capsys.readouterr().err
    assert not absent.exists()
    assert not (tmp_path / "new.sqlite").exists()


@pytest.mark.slow
def test_a_server_and_a_file_exchange_what_they_hold(
    tmp_path: Path, empty: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)  # a server's files lie below the current folder
    a, b = two_machines(tmp_path, empty, 5)
    expected = Path(shutil.copytree(a.parent, tmp_path / "expected")) / "bench.sqlite"
    merged(expected, b, leave_out=True)
    assert merged(postgres_url, a) == 0
    merged(postgres_url, b, leave_out=True)
    back = tmp_path / "back" / "bench.sqlite"
    assert merged(back, postgres_url) == 0
    assert seen(back) == seen(expected)
    assert weights_in(back) == weights_in(tmp_path / "results" / "bench.sqlite") == weights_in(expected)
    everything_before = everything(postgres_url)
    assert merged(postgres_url, back, leave_out=True) == merged(back, postgres_url) == 0
    assert everything(postgres_url) == everything_before
    change(str(back), "UPDATE trials SET score = score + 1 WHERE state = 'finished'")
    assert merged(postgres_url, back) == merged(back, postgres_url) == 2
    assert "score is" in capsys.readouterr().err
    assert everything(postgres_url) == everything_before
