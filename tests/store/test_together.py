"""Several drivers at one store at the same moment: what they make, plan and claim is there once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import fetched

ROOT = Path(__file__).parents[2]
DRIVERS = 3
SEEDS = 60
DRIVER = """
import json
import os
import sys
from dataclasses import replace
from bench.records import CellKey
from bench.store.claims import ClaimedStack
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples

def told(value):
    print(json.dumps(value), flush=True)
    sys.stdin.readline()  # until all have told

told("ready")
while line := sys.stdin.readline():
    work, url, folder = json.loads(line)
    os.chdir(folder)
    exec(work, globals() | {"number": int(sys.argv[1]), "url": url})
"""
"""Does what it is given, of which `told` is the last; to import all this takes longer than any of it."""
WRITING = """
with Writer(open_store(url)) as writer:
    writer.begin_run(samples.run_record(f"run-{number}"))
"""
MAKE = """
open_store(url).close()
told("made")
"""
PLAN = f"""{WRITING}
    tasks = [f"task {{i}}" for i in range(5)]
    trials = {{task: [samples.trial_record(seed, task) for seed in range({SEEDS})] for task in tasks}}
    states = []
    for task in tasks[::-1] if number % 2 else tasks:
        states += writer.plan(trials[task][::-1] if number % 2 else trials[task]).values()
    told(states)
"""
NOTE = f"""{WRITING}
    for name in range(20):
        replay = ("d4rl", "unverified")[number % 2]
        writer.note_dataset(replace(samples.DATASET, name=str(name), replay=replay))
    told("noted")
"""
CLAIM = f"""{WRITING}
    trial = samples.trial_record().key
    cell = CellKey(trial.algorithm, trial.variant, trial.task, trial.config_hash)
    stacks = []
    while isinstance(claimed := writer.claim(cell, range({SEEDS}), 2), ClaimedStack):
        stacks.append([claimed.seeds, [key.seed for key in claimed.claimed]])
    told(stacks)  # and only then goes: what a driver that has gone had claimed is free
"""


@pytest.fixture(scope="module")
def drivers() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ready to work."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", DRIVER]
    processes = [
        subprocess.Popen([*command, str(number)], env=environment, **pipes) for number in range(DRIVERS)
    ]
    try:
        assert _told(processes) == ["ready"] * DRIVERS
        yield processes
        errors = [process.communicate(timeout=60)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * DRIVERS, errors


@pytest.fixture
def all_at_once(drivers: list[subprocess.Popen[str]], store_url: str) -> Callable[[str], list[object]]:
    """Call it with some work: all drivers do it at the store, begun at the same moment; what each tells."""

    def done(work: str) -> list[object]:
        for process in drivers:
            process.stdin.write(json.dumps([work, store_url, str(Path.cwd())]) + "\n")
            process.stdin.flush()
        return _told(drivers)

    return done


def _told(processes: list[subprocess.Popen[str]]) -> list[object]:
    lines = [process.stdout.readline() or process.stderr.read() for process in processes]
    for process in processes:
        process.stdin.write("on\n")
        process.stdin.flush()
    return [json.loads(line) for line in lines]


@pytest.fixture
def made(store_url: str) -> str:
    """URL of an empty store."""
    open_store(store_url).close()
    return store_url


def test_a_store_is_made_once(all_at_once, store_url: str) -> None:
    assert all_at_once(MAKE) == ["made"] * DRIVERS
    assert len(fetched(store_url, "SELECT * FROM alembic_version")) == 1


def test_trials_are_planned_once(all_at_once, made: str) -> None:
    assert all_at_once(PLAN) == [["planned"] * SEEDS * 5] * DRIVERS
    assert fetched(made, "SELECT COUNT(*) FROM trials") == [(5 * SEEDS,)]
    assert fetched(made, "SELECT COUNT(*) FROM datasets") == [(1,)]


def test_datasets_are_noted_once_with_all_that_is_known(all_at_once, made: str) -> None:
    assert all_at_once(NOTE) == ["noted"] * DRIVERS
    assert fetched(made, "SELECT replay, COUNT(*) FROM datasets GROUP BY replay") == [("d4rl", 20)]


def test_each_stack_is_claimed_by_one_driver(all_at_once, made: str) -> None:
    with open_store(made) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("planner"))
        writer.plan([samples.trial_record(seed) for seed in range(SEEDS)])
    claims = [stack for stacks in all_at_once(CLAIM) for stack in stacks]
    claimed = Counter(seed for _, seeds in claims for seed in seeds)
    assert claimed == Counter(range(SEEDS))
    assert all(stack == seeds and len(stack) == 2 for stack, seeds in claims)
