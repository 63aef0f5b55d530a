"""A run whose disk fills up in the middle: it says so, waits, and goes on as if nothing had been."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execute.tiny import completed, started, typed
from tests.store.full_disk import fill, small_disk

pytestmark = pytest.mark.slow


def run(store: Path, executor: str = "local") -> list[str]:
    """The command, with checkpoints as often as there can be."""
    return typed("--executor", executor, "--seeds", "0-1", "--checkpoint-seconds", "0", "--store", store)


RESULTS = """
    SELECT seed, state, trials.score, evaluations.number, step,
           episodes.number, return_, episodes.score, length
    FROM trials
    JOIN evaluations ON evaluations.trial_id = trials.id
    JOIN episodes ON episodes.evaluation_id = evaluations.id
    ORDER BY 1, 4, 6
"""


def rows(store: Path, sql: str) -> list[tuple]:
    """Of a database that may have no room for its helper files, so read as it lies there."""
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return connection.execute(sql).fetchall()


def numbers(store: Path) -> tuple[list[tuple], list[tuple]]:
    """All that was measured, and the hashes of the weights, which are those of the files."""
    weights = rows(store, "SELECT path, sha256 FROM weights ORDER BY 1")
    for path, sha256 in weights:
        assert hashlib.sha256((store.parent / path).read_bytes()).hexdigest() == sha256
    return rows(store, RESULTS), weights


@pytest.fixture(scope="module")
def undisturbed(tiny_data, tmp_path_factory) -> tuple[list[tuple], list[tuple]]:
    store = tmp_path_factory.mktemp("undisturbed") / "bench.sqlite"
    code, output = completed(run(store), tiny_data)
    assert code == 0, output
    return numbers(store)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "4m") as mounted:
        yield mounted


def output_until(process: subprocess.Popen, words: str) -> str:
    """What the process says up to a line with these words."""
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} was not said:\n{said}")


def waiting_for_room(
    disk: Path, data: Path, when: str, executor: str = "local"
) -> tuple[subprocess.Popen, Path]:
    """A run that found its disk full after it had said `when`; and the file that fills the disk."""
    process = started(run(disk / "bench.sqlite", executor), data)
    output_until(process, when)
    ballast = fill(disk)
    said = output_until(process, "Ctrl-C ends the waiting")
    assert "Make room on that disk." in said
    assert "No space left" in said or "no room left on its disk" in said
    assert rows(disk / "bench.sqlite", "PRAGMA integrity_check") == [("ok",)]
    return process, ballast


@pytest.mark.parametrize(
    ("executor", "when"),
    [
        ("local", "seed 0: pretrain"),
        ("local", "seed 0: evaluation 2"),
        ("local", "seed 1: evaluation 1"),
        ("ray", "evaluation 1"),
    ],
)
def test_a_run_waits_for_room_and_ends_with_the_same_numbers(
    disk, tiny_data, undisturbed, executor: str, when: str
) -> None:
    process, ballast = waiting_for_room(disk, tiny_data, when, executor)
    ballast.unlink()
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, rest
    assert "It works again; going on." in rest
    assert numbers(disk / "bench.sqlite") == undisturbed
    assert list(disk.rglob("*.part")) == []
    assert list((disk / "checkpoints").rglob("*.*")) == []


def test_ctrl_c_ends_the_waiting_and_the_same_command_goes_on(disk, tiny_data, undisturbed) -> None:
    process, ballast = waiting_for_room(disk, tiny_data, "seed 1: evaluation 1")
    os.kill(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode in (1, 130), rest
    assert "Traceback" not in rest
    assert "same command" in rest
    assert rows(disk / "bench.sqlite", "PRAGMA integrity_check") == [("ok",)]
    assert list(disk.rglob("*.part")) == []
    ballast.unlink()
    code, output = completed(run(disk / "bench.sqlite"), tiny_data)
    assert code == 0, output
    assert numbers(disk / "bench.sqlite") == undisturbed
