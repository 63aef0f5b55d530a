"""A store that can take nothing in for a while: said once, waited for, and nothing is lost."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from bench.errors import WorkFailedError
from bench.files import write_text
from bench.store.database import open_store
from bench.store.faults import StoreUnavailableError
from bench.store.queries import evaluations, trial_states
from bench.store.retry import retry_while_unavailable
from bench.store.writer import Writer
from bench.training.checkpoint import Checkpoint, CheckpointFolder
from tests.store import samples
from tests.store.full_disk import fill, free_bytes, small_disk

PAUSE = 0.01
FULL = StoreUnavailableError("store x has no room left on its disk", "SQLite says: full.", "Make room.")
LOCKED = StoreUnavailableError("store x is held by another process", "SQLite says: locked.", "Let it end.")


def failing(*troubles: Exception, then: str = "done") -> Callable[[], str]:
    """An action that meets each trouble in turn and then succeeds."""
    left = list(troubles)

    def act() -> str:
        if left:
            raise left.pop(0)
        return then

    return act


def test_what_works_at_once_is_not_talked_about() -> None:
    said: list[str] = []
    assert retry_while_unavailable(failing(), said.append, lambda: False) == "done"
    assert said == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_trouble_is_said_once_and_its_end_too(number: int) -> None:
    said: list[str] = []
    trouble = OSError(number, os.strerror(number), "/disk/weights.safetensors")
    assert (
        retry_while_unavailable(failing(*[trouble] * 5), said.append, lambda: False, pause_seconds=PAUSE)
        == "done"
    )
    assert len(said) == 2
    assert all(words in said[0] for words in ("/disk/weights.safetensors", os.strerror(number), "Make room"))
    assert "Ctrl-C" in said[0]
    assert said[1] == "It works again; going on."


def test_each_kind_of_trouble_is_said() -> None:
    said: list[str] = []
    retry_while_unavailable(
        failing(FULL, FULL, LOCKED, LOCKED), said.append, lambda: False, pause_seconds=PAUSE
    )
    assert [words.partition("\n")[0] for words in said[:2]] == [FULL.what, LOCKED.what]
    assert len(said) == 3


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "denied"), WorkFailedError("a conflict"), ValueError("a mistake")]
)
def test_what_will_not_pass_is_raised_at_once(error: Exception) -> None:
    said: list[str] = []
    with pytest.raises(type(error)) as raised:
        retry_while_unavailable(failing(error), said.append, lambda: False)
    assert raised.value is error
    assert said == []


def test_waiting_ends_when_it_is_told_to_with_what_to_do() -> None:
    asked = iter([False, False, True, True, True])
    tries: list[None] = []

    def act() -> None:
        tries.append(None)
        raise FULL

    with pytest.raises(StoreUnavailableError) as raised:
        retry_while_unavailable(act, lambda _: None, lambda: next(asked), pause_seconds=60)
    assert len(tries) == 2
    assert raised.value.what == FULL.what
    assert "Make room. Then give the same command again" in raised.value.do_this


def test_a_trouble_travels_between_processes_whole() -> None:
    again = copy.copy(FULL)
    assert (again.what, again.why, again.do_this) == (FULL.what, FULL.why, FULL.do_this)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as mounted:
        yield mounted


class Waiting(threading.Thread):
    """An action done retry_while_unavailable beside the test; `said` and `result` tell what came of it."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.action, self.said, self.result = action, [], None
        self.given_up = threading.Event()
        self.start()

    def run(self) -> None:
        self.result = retry_while_unavailable(
            self.action, self.said.append, self.given_up.is_set, pause_seconds=PAUSE
        )

    def until_it_says(self, count: int) -> None:
        until = time.monotonic() + 30
        while len(self.said) < count:
            assert time.monotonic() < until, self.said
            time.sleep(PAUSE)


def integrity(path: Path) -> list[tuple[str]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall()
    finally:
        connection.close()


def test_results_wait_for_room_on_a_full_disk_and_the_database_stays_whole(disk: Path) -> None:
    path, trial = disk / "bench.sqlite", samples.trial_record()
    returns = tuple(float(number) for number in range(300))
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.plan([trial])
        writer.record(samples.evaluation_record(trial.key, 1, returns))
        ballast = fill(disk)

        def write() -> None:
            for number in (2, 3):
                writer.record(samples.evaluation_record(trial.key, number, returns))

        waiting = Waiting(write)
        waiting.until_it_says(1)
        assert "has no room left on its disk" in waiting.said[0]
        assert free_bytes(disk) == 0
        assert integrity(path) == [("ok",)]
        # Readers see what was stored before.
        assert [evaluation.number for evaluation in evaluations(store, 1)] == [1]
        assert waiting.is_alive()

        ballast.unlink()
        waiting.join(timeout=30)
        assert waiting.said[1:] == ["It works again; going on."]
        stored = evaluations(store, 1)
    assert [(evaluation.number, evaluation.returns) for evaluation in stored] == [
        (number, returns) for number in (1, 2, 3)
    ]
    assert integrity(path) == [("ok",)]


def test_a_checkpoint_waits_for_room_beside_the_one_before(disk: Path) -> None:
    folder = CheckpointFolder(disk / "stack", "identity")
    before, after = (
        Checkpoint.of({"weights": torch.full((40_000,), float(number))}, {"iteration": number})
        for number in (1, 2)
    )
    folder.save(before)
    ballast = fill(disk)
    waiting = Waiting(lambda: folder.save(after))
    waiting.until_it_says(1)
    assert "No space left on device" in waiting.said[0]
    assert folder.load() == (before, [])

    ballast.unlink()
    waiting.join(timeout=30)
    assert folder.load() == (after, [])
    assert list(disk.rglob("*.part")) == []


def test_a_file_that_finds_no_room_is_named_and_leaves_nothing(disk: Path) -> None:
    fill(disk)
    with pytest.raises(OSError, match="No space left") as raised:
        write_text(disk / "kept.json", "x" * 100_000)
    assert raised.value.filename == str(disk / "kept.json")
    assert sorted(disk.iterdir()) == [disk / "ballast"]


def test_giving_up_on_a_full_disk_leaves_the_store_as_it_was(disk: Path) -> None:
    path, trial = disk / "bench.sqlite", samples.trial_record()
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.plan([trial])
        fill(disk)
        long = samples.evaluation_record(trial.key, 1, (1.0,) * 5000)
        with pytest.raises(StoreUnavailableError, match="has no room left"):
            retry_while_unavailable(lambda: writer.record(long), lambda _: None, lambda: True)
        assert evaluations(store, 1) == []
    assert integrity(path) == [("ok",)]


@pytest.mark.parametrize("writing", [False, True])
def test_a_store_on_a_full_disk_can_be_read(disk: Path, writing: bool) -> None:
    path, trial = disk / "bench.sqlite", samples.trial_record()
    with contextlib.ExitStack() as driver:
        writer = driver.enter_context(Writer(driver.enter_context(open_store(path))))
        writer.begin_run(samples.run_record())
        writer.plan([trial])
        if not writing:
            driver.close()
        fill(disk)
        before = sorted(file.name for file in disk.iterdir())
        with open_store(path, read_only=True) as store:
            assert trial_states(store, [trial.key]) == {trial.key: "planned"}
        assert sorted(file.name for file in disk.iterdir()) == before
