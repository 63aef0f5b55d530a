"""Several drivers on one store: each trial is run once, whatever becomes of either of them."""

import random
import signal
import time

import pytest

from tests.execute.sameness import faults_of, numbers_of, rows
from tests.execute.tiny import TASK, completed, ended, started, typed

SIZES = {"train_iterations": 300, "pretrain_iterations": 20}


def command(store, seeds, *arguments):
    options = ("--executor", "local", "--seeds-per-stack", "1", "--checkpoint-seconds", "0.2")
    return typed(*options, "--seeds", seeds, "--store", store, *arguments, **SIZES)


@pytest.fixture(scope="module")
def alone(tiny_data, tmp_path_factory):
    """The numbers of one driver that nobody disturbs."""
    store = tmp_path_factory.mktemp("alone") / "bench.sqlite"
    code, output = completed(command(store, "0-3"), tiny_data)
    assert code == 0, output
    assert faults_of(store) == []
    return numbers_of(store)


ELSEWHERE = """
import socket, sys
from datetime import timedelta
from bench.store import claims
hostname, skew = sys.argv.pop(1), timedelta(seconds=float(sys.argv.pop(1)))
right = claims.database_now
socket.gethostname = lambda: hostname
claims.database_now = lambda connection: right(connection) + skew
claims.HEARTBEAT_SECONDS, claims.EXPIRY = 1.0, timedelta(seconds=15)
from bench.cli import main
main()
"""


def started_elsewhere(hostname, skew_seconds, arguments, data, **options):
    """A driver on another machine, whose process nothing can be known of here, with a clock of its own.

    A minute is 15 s there, to save time.
    """
    return started(arguments, data, ("-c", ELSEWHERE, hostname, str(skew_seconds)), **options)


def seeds_by_run(store):
    """Run -> seeds that it worked on."""
    found = {}
    for run, seed in rows(store, "SELECT e.run_id, seed FROM executions e JOIN trials t ON t.id = trial_id"):
        found.setdefault(run, []).append(seed)
    return found


@pytest.mark.slow
def test_two_drivers_share_overlapping_grids(alone, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    both = [started(command(store, seeds), tiny_data) for seeds in ("0-2", "0-3")]
    outputs = [ended(process) for process in both]
    assert [code for code, _ in outputs] == [0, 0], outputs
    assert numbers_of(store) == alone
    assert faults_of(store) == []
    worked = seeds_by_run(store)
    assert len(worked) == 2
    assert sorted(seed for seeds in worked.values() for seed in seeds) == [0, 1, 2, 3]


@pytest.mark.slow
def test_two_drivers_whose_clocks_differ_by_hours_leave_each_other_s_trials_alone(alone, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    first = started_elsewhere("one", 0, command(store, "0-3"), tiny_data)
    wait_for(lambda: any(tmp_path.glob("checkpoints/*/checkpoint.json")), first)
    second = started_elsewhere("two", 7200, command(store, "0-3"), tiny_data)
    outputs = [ended(process) for process in (first, second)]
    assert [code for code, _ in outputs] == [0, 0], outputs
    assert numbers_of(store) == alone
    assert faults_of(store) == []
    worked = seeds_by_run(store)
    assert sorted(seed for seeds in worked.values() for seed in seeds) == [0, 1, 2, 3]
    assert "given up" not in "".join(output for _, output in outputs)


def wait_for(condition, *processes):
    while not condition():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)


def test_when_one_of_two_drivers_dies_the_other_ends_its_work(alone, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"

    def claimed(run):
        return [seed for (seed,) in rows(store, "SELECT seed FROM claims c JOIN trials t ON t.id = trial_id"
                                         f" WHERE c.run_id = '{run}'")]  # fmt: skip

    def saved(seed):
        return any(tmp_path.glob(f"checkpoints/*-seeds-{seed}/checkpoint.json"))

    # Both at once: one that starts when the other has trained for a while may find nothing left to do.
    first, second = (started(command(store, seeds), tiny_data) for seeds in ("0-3", "0,1,2,3"))
    wait_for(lambda: any(tmp_path.glob("checkpoints/*/checkpoint.json")), first, second)
    wait_for(lambda: len(seeds_by_run(store)) == 2, first, second)
    ((its_run,),) = rows(store, "SELECT run_id FROM runs WHERE command LIKE '%--seeds 0-3 %'")
    # It dies soon after the first checkpoint of a trial: there is one to go on from, and most is left to do.
    wait_for(lambda: any(not saved(seed) for seed in claimed(its_run)), first, second)
    (held,) = claimed(its_run)
    wait_for(lambda: saved(held), first, second)
    first.kill()
    first.communicate()
    code, output = ended(second)
    assert code == 0, output
    assert "continues from" in output
    assert numbers_of(store) == alone
    assert faults_of(store) == []
    # The dead driver's trial was taken over; no other was worked on twice.
    twice = rows(store, "SELECT seed FROM executions e JOIN trials t ON t.id = trial_id"
                        " GROUP BY seed HAVING COUNT(*) > 1")  # fmt: skip
    assert twice == [(held,)]


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_on_a_server_a_driver_takes_over_what_one_on_another_machine_was_at(
    alone, tiny_data, tmp_path, postgres, postgres_url, shared
):
    """Each has a results folder of its own. Only in a shared folder does it find the other's checkpoints."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    options = ("--shared-checkpoints", tmp_path / "shared") if shared else ()
    database = postgres_url.rpartition("/")[2]

    def selected(sql):
        return postgres.execute(sql, database)

    def saved(seed):
        return any(kept.glob(f"*-seeds-{seed}/checkpoint.json"))

    arguments = command(postgres_url, "0-5", *options)
    first = started_elsewhere("one", 0, arguments, tiny_data, cwd=folders[0])
    kept = tmp_path / "shared" if shared else folders[0] / "results" / "checkpoints"
    wait_for(lambda: any(map(saved, range(6))), first)
    second = started_elsewhere("two", 3600, arguments, tiny_data, cwd=folders[1])
    wait_for(lambda: len(selected("SELECT DISTINCT run_id FROM executions")) == 2, first, second)
    ((its_run,),) = selected("SELECT run_id FROM runs ORDER BY started_at LIMIT 1")
    held = f"SELECT seed FROM claims c JOIN trials t ON t.id = trial_id WHERE c.run_id = '{its_run}'"
    wait_for(lambda: any(saved(seed) for (seed,) in selected(held)), first, second)
    first.kill()
    first.communicate()
    ((seed,),) = selected(held)
    code, output = ended(second)
    assert code == 0, output
    carried = tmp_path / "carried.sqlite"
    assert completed(["db", "export", str(carried), "--store", postgres_url], tiny_data)[0] == 0
    assert numbers_of(carried) == alone
    assert selected("SELECT COUNT(*) FROM claims") == [(0,)]
    # No trial but the dead driver's was worked on twice.
    twice = "(SELECT COUNT(*) FROM executions o WHERE o.trial_id = t.id) > 1"
    again = selected("SELECT seed, from_iteration FROM executions e JOIN trials t ON t.id = trial_id"
                     f" WHERE {twice} ORDER BY e.id")  # fmt: skip
    assert [of for of, _ in again] == [seed, seed]
    assert [start > 0 for _, start in again] == [False, shared]


@pytest.mark.slow
def test_a_driver_elsewhere_that_slept_too_long_gives_its_trial_up(alone, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    sleeper = started_elsewhere("one", -7200, command(store, "0"), tiny_data)
    wait_for(lambda: any(tmp_path.glob("checkpoints/*/checkpoint.json")), sleeper)
    sleeper.send_signal(signal.SIGSTOP)
    code, output = ended(started_elsewhere("two", 0, command(store, "0"), tiny_data))
    assert code == 0, output
    after = numbers_of(store)
    sleeper.send_signal(signal.SIGCONT)
    code, output = ended(sleeper)
    assert "given up" in output
    assert code == 0, output
    assert "1 finished by other drivers" in output
    assert numbers_of(store) == after == {key: alone[key] for key in after}
    assert faults_of(store) == []


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_numbers(alone, tiny_data, tmp_path):
    """At random moments: while it starts, trains, evaluates, writes checkpoints and results."""
    store, chance = tmp_path / "bench.sqlite", random.Random(4)
    again = command(store, "0-2", "--checkpoint-seconds", "0")

    def executions():
        # It may have been killed while it made the store.
        made = store.exists() and rows(store, "SELECT name FROM sqlite_master WHERE name = 'executions'")
        return rows(store, "SELECT COUNT(*) FROM executions")[0][0] if made else 0

    for kill in range(5):
        before, process = executions(), started(again, tiny_data)
        if kill:
            wait_for(lambda before=before: executions() > before, process)
        time.sleep(chance.uniform(0.1, 1.5))
        process.kill()
        process.communicate()
    code, output = completed(again, tiny_data)
    assert code == 0, output
    found = numbers_of(store)
    assert sorted(seed for _, _, seed in found) == [0, 1, 2]
    assert found == {key: alone[key] for key in found}
    assert faults_of(store) == []
    assert executions() > 4


@pytest.mark.slow
def test_the_seeds_of_a_cut_off_stack_stay_together(tiny_data, tmp_path):
    """Whatever --seeds-per-stack says by then, and although its checkpoints are gone."""
    whole, store = tmp_path / "whole" / "bench.sqlite", tmp_path / "cut" / "bench.sqlite"
    threes = ("--seeds-per-stack", "3")
    assert completed(command(whole, "0-2", *threes), tiny_data)[0] == 0
    process = started(command(store, "0-2", *threes), tiny_data)
    wait_for(lambda: any(store.parent.glob("checkpoints/*/checkpoint.json")), process)
    process.kill()
    process.communicate()
    for path in (*store.parent.glob("checkpoints/*/*"), *store.parent.glob("checkpoints/*")):
        path.unlink() if path.is_file() else path.rmdir()
    code, output = completed(command(store, "1"), tiny_data)
    assert code == 0, output
    assert numbers_of(store) == numbers_of(whole)
    assert rows(store, "SELECT DISTINCT stack FROM trials") == [("[0, 1, 2]",)]
    assert TASK in output
