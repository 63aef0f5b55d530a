"""A writer that is killed in the middle: what it acknowledged is there, whole, and the next one can write."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store.database import open_store
from bench.store.queries import evaluations
from bench.store.writer import Writer
from tests.store import samples

EPISODES = 50
LONG = 2000  # so many that most of the time goes into the transaction, where the kill then falls
WRITER = """
import sys
import time
from itertools import count
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples

trial = samples.trial_record()
with Writer(open_store(sys.argv[1])) as writer:
    writer.begin_run(samples.run_record())
    writer.plan([trial])
    for number in count(1):
        writer.record(samples.evaluation_record(trial.key, number, (float(number),) * int(sys.argv[2])))
        print(number, flush=True)
        time.sleep(float(sys.argv[3]))
"""


def begin_writing(path: Path, episodes: int, pause_seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, path, str(episodes), str(pause_seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_a_killed_writer_leaves_every_acknowledged_record_whole(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "bench.sqlite"
    process = begin_writing(path, LONG, 0)
    for _ in range(acknowledged):
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    last = max([last, *(int(line) for line in process.stdout.read().split())])
    process.wait()

    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    trial = samples.trial_record()
    with open_store(path) as store:
        stored = evaluations(store, 1)
        # One more may have been written than its writer lived to say.
        assert [evaluation.number for evaluation in stored] in (
            list(range(1, last + 1)),
            list(range(1, last + 2)),
        )
        assert all(evaluation.returns == (float(evaluation.number),) * LONG for evaluation in stored)
        with Writer(store) as writer:
            writer.begin_run(samples.run_record("run-2"))
            assert writer.plan([trial]) == {trial.key: "planned"}


def test_readers_see_whole_records_while_a_writer_writes(tmp_path: Path) -> None:
    path = tmp_path / "bench.sqlite"
    process = begin_writing(path, EPISODES, 0.005)
    try:
        seen = []
        with open_after_first_line(process, path) as store:
            for _ in range(20):
                process.stdout.readline()
                stored = evaluations(store, 1)
                assert all(len(evaluation.returns) == EPISODES for evaluation in stored)
                seen.append(len(stored))
        assert seen == sorted(seen)
        assert seen[0] < seen[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def open_after_first_line(process: subprocess.Popen, path: Path):
    assert process.stdout.readline() == b"1\n"
    return open_store(path, read_only=True)
