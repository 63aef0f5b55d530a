"""`bench status` while drivers work on a store, and after they have died."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from bench.cli.output import duration, print_command, roughly, short, size
from bench.records import StackProgress
from bench.store.claims import database_now
from bench.store.database import open_store, transaction
from bench.store.models import Claim
from bench.store.writer import Writer
from tests.cli.terminals import narrow_terminal
from tests.store import samples
from tests.store.clocks import send_drivers_away

TRIALS = [samples.trial_record(seed) for seed in range(5)]
KEYS = [trial.key for trial in TRIALS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bench.sqlite"


@pytest.fixture
def driver(path: Path) -> Iterator[Writer]:
    """It works on seeds 0 and 1; seed 2 is finished, seeds 3 and 4 are planned."""
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.plan(TRIALS)
        writer.claim(KEYS[2].cell, {2}, 1)
        writer.record(samples.finished_record(KEYS[2]))
        writer.claim(KEYS[0].cell, {0, 1}, 2)
        writer.begin_execution(KEYS[:2], samples.execution_record())
        writer.heartbeat(dict.fromkeys(KEYS[:2], StackProgress("train", 12_000, 60_000, 412.0, 130.0)))
        yield writer


def test_what_runs_is_shown_with_where_and_how_far(bench, driver: Writer, path: Path) -> None:
    code, out, _ = bench("status", "--store", path)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "1/5 trials, about 3 min left"
    assert lines[3].split() == ["task", "dtql"]
    assert lines[4].split() == ["hopper-medium-v2", "1/5", "2", "running"]
    place = lines.index("At work (1 stack):")
    doing = "train 12,000/60,000 iterations, 412 it/s, 0:02:10 to go"
    assert lines[place + 1] == f"  dtql hopper-medium-v2 seeds 0, 1: {doing}"
    assert lines[place + 2].startswith("    on node-1, cuda: a GPU; last sign of life ")
    assert "\n5 trials: 1 finished, 2 running, 2 planned.\n" in out
    # 130 s of the stack, and twice the 15 s of the finished trial.
    how = "with 1 stack at once, estimated from 1 finished trial and 1 stack at work."
    assert f"Time to go: about 3 min {how}\n" in out
    assert "bench run" not in out, "its driver goes on with the rest"


def test_when_a_driver_elsewhere_is_silent_its_trials_are_cut_off(bench, driver: Writer, path: Path) -> None:
    send_drivers_away(path.parent)
    with open_store(path) as store, transaction(store.engine) as connection:
        then = database_now(connection) - timedelta(seconds=61)
        connection.execute(update(Claim).values(heartbeat_at=then))
    _, out, _ = bench("status", "--store", path)
    assert "At work" not in out
    assert "\n5 trials: 1 finished, 2 cut off, 2 planned.\n" in out
    assert "Time to go: about 60 s stack after stack, estimated from 1 finished trial.\n" in out
    assert out.endswith("What nobody works on goes on with:\n  bench run --suite quickstart\n")


def test_programs_read_the_same_as_json(bench, driver: Writer, path: Path) -> None:
    code, out, _ = bench("status", "--format", "json", "--store", path)
    found = json.loads(out)
    assert code == 0
    (cell,) = found["cells"]
    assert {name: cell[name] for name in ("finished", "running", "cut_off", "planned", "failed")} == {
        "finished": 1, "running": 2, "cut_off": 0, "planned": 2, "failed": 0,
    }  # fmt: skip
    (stack,) = found["at_work"]
    assert (stack["hostname"], stack["progress"]["iterations_done"]) == ("node-1", 12_000)
    assert found["left"]["seconds"] == 160


def test_cells_that_differ_in_a_hyperparameter_alone_are_told_apart(bench, path: Path) -> None:
    others = [samples.trial_record(), samples.trial_record(discount={"value": 0.9})]
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.plan(others)
    _, out, _ = bench("status", "--store", path)
    columns = [f"dtql {trial.key.config_hash[:8]}" for trial in others]
    assert out.splitlines()[3].split() == ["task", *" ".join(columns).split()]
    assert out.splitlines()[4].split()[1:] == ["0/1", "0/1"]


def test_the_command_that_tries_again_is_not_asked_for_twice(bench, path: Path) -> None:
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record(command="bench run --suite quickstart --retry failed"))
        writer.plan(TRIALS[:1])
        writer.claim(KEYS[0].cell, {0}, 1)
        writer.record(samples.failure_record(KEYS[0]))
    _, out, _ = bench("status", "--store", path)
    assert "\n  bench run --suite quickstart --retry failed\n" in out


def test_methods_that_do_not_fit_a_terminal_are_stacked(bench, path: Path, monkeypatch) -> None:
    tasks = ("hopper-medium-v2", "walker2d-medium-v2")
    trials = [
        samples.trial_record(task=task, discount={"value": number / 100})
        for task in tasks
        for number in range(9)
    ]
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.plan(trials)
    narrow_terminal(monkeypatch, 80)
    _, out, _ = bench("status", "--store", path)
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    assert out.count("hopper-medium-v2 ") > 1
    assert len(re.findall(r"0/1\b", out)) == len(trials)


def test_a_long_command_can_be_copied_from_a_narrow_terminal(capsys, monkeypatch) -> None:
    narrow_terminal(monkeypatch, 40)
    command = "bench run --suite d4rl-locomotion --algos 'a b' --store results/a-long-name.sqlite"
    print_command(command)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 40
    assert shlex.split(out.replace("\\\n", "")) == shlex.split(command)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (duration(2.46), "2.5 s"),
        (duration(130.2), "0:02:10"),
        (duration(176_400), "2 days, 1:00:00"),
        (roughly(40.4), "40 s"),
        (roughly(100), "2 min"),
        (roughly(5400), "1.5 h"),
        (roughly(40 * 3600), "40.0 h"),
        (roughly(18.3 * 86_400), "18 days"),
        (size(0), "0 B"),
        (size(1023), "1023 B"),
        (size(1024), "1.0 KiB"),
        (size(1.25 * 2**30), "1.2 GiB"),
        (short("abcdef", 6), "abcdef"),
        (short("abcdef", 5), "abcd…"),
        (short("ab\ncd", 5), "ab…"),
    ],
)
def test_words_for_people(said: str, text: str) -> None:
    assert said == text
