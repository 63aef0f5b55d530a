"""The commands on a store on a PostgreSQL server, with a password in its URL that is never shown."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.execute.tiny import EPISODES, EVALUATIONS, TASK, typed
from tests.store import samples
from tests.store.databases import everything, fetched
from tests.store.postgres import Server

pytestmark = pytest.mark.slow
PASSWORD = "swordfish"
NUMBERS = """
    SELECT seed, evaluations.number, episodes.number, return_, episodes.score, length
    FROM episodes
    JOIN evaluations ON evaluations.id = evaluation_id
    JOIN trials ON trials.id = trial_id
"""


@pytest.fixture
def url(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty database; the current folder, where weights go, is the test's own."""
    monkeypatch.chdir(tmp_path)
    return postgres_url.replace("bench@", f"bench:{PASSWORD}@")


@pytest.fixture
def filled(url: str) -> str:
    """URL of a store with a trial that has finished, one that failed and one that is planned."""
    trials = [samples.trial_record(seed) for seed in range(3)]
    with open_store(url) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.plan(trials)
        writer.record(samples.evaluation_record(trials[0].key))
        writer.record(samples.finished_record(trials[0].key, 100 / 3))
        writer.record(samples.failure_record(trials[1].key))
        writer.end_run("run-1")
    return url


def test_status(bench, filled: str) -> None:
    code, out, err = bench("status", "--store", filled)
    assert (code, err) == (0, "")
    assert "critic_loss is NaN" in out
    assert "  bench run --suite quickstart --retry failed\n" in out


def test_query(bench, filled: str) -> None:
    sql = "SELECT seed, state, score FROM scores WHERE task LIKE 'hopper%' ORDER BY seed"
    code, out, _ = bench("query", sql, "--format", "csv", "--store", filled)
    assert code == 0
    assert list(csv.reader(out.splitlines())) == [
        ["seed", "state", "score"],
        ["0", "finished", repr(100 / 3)],
        ["1", "failed", ""],
        ["2", "planned", ""],
    ]


@pytest.mark.parametrize("format_", ["markdown", "html", "latex", "csv", "json"])
def test_report(bench, filled: str, format_: str, tmp_path: Path) -> None:
    code, _, err = bench("report", "--store", filled, "--format", format_, "--out", tmp_path / "report")
    assert (code, err) == (0, "")
    texts = [path.read_text() for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert any("33.3" in text for text in texts)
    assert not any(PASSWORD in text for text in texts)


def test_a_dry_run_fills_no_database(
    bench, url: str, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    code, out, err = bench(*typed("--executor", "local", "--seeds", "0", "--dry-run", "--store", url))
    assert (code, err) == (0, "")
    assert "1 trial left" in out
    assert everything(url) == {}


def test_info_and_upgrade(bench, filled: str) -> None:
    code, out, _ = bench("db", "info", "--store", filled)
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines()[3:]}
    assert (code, rows["trials"], rows["episodes"], rows["failures"]) == (0, "3", "3", "1")
    upgraded = bench("db", "upgrade", "--store", filled)
    assert (upgraded[0], "already has schema" in upgraded[1]) == (0, True)
    assert PASSWORD not in out + upgraded[1]


@pytest.mark.parametrize("command", [["status"], ["report"], ["db", "info"], ["db", "upgrade"], typed()])
def test_a_server_that_is_away_is_a_wrong_request(bench, postgres: Server, url: str, command) -> None:
    away = url.replace(f":{postgres.port}/", ":1/")
    code, out, err = bench(*command, "--store", away)
    assert (code, out) == (2, "")
    assert err.count("bench: ") == 1
    assert "whether the server runs" in err
    assert PASSWORD not in err


def started(arguments: list[str], data: Path) -> subprocess.Popen[str]:
    """The command as a process of its own, in the current folder."""
    environment = os.environ | {"BENCH_DATA_DIR": str(data), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def completed(arguments: list[str], data: Path) -> tuple[int, str]:
    """Exit code and output of the command."""
    process = started(arguments, data)
    out, _ = process.communicate(timeout=240)
    assert PASSWORD not in out
    return process.returncode, out


def test_a_grid_is_run_reported_and_not_run_again(bench, url: str, tiny_data: Path, tmp_path: Path) -> None:
    command = typed("--executor", "local", "--seeds", "0,1", "--store", url)
    code, out = completed(command, tiny_data)
    assert (code, "2 trials: 2 finished." in out) == (0, True), out
    on_file = typed("--executor", "local", "--seeds", "0,1", "--store", tmp_path / "same.sqlite")
    assert completed(on_file, tiny_data)[0] == 0

    stored = sorted(fetched(url, NUMBERS))
    assert len(stored) == 2 * EVALUATIONS * EPISODES
    assert stored == sorted(fetched(str(tmp_path / "same.sqlite"), NUMBERS))

    code, out = completed(command, tiny_data)
    assert (code, "2 were there already" in out) == (0, True), out
    assert TASK in bench("status", "--store", url)[1]
    code, out, _ = bench("report", "--store", url, "--format", "json")
    assert (code, TASK in json.dumps(json.loads(out))) == (0, True)
    assert not [command for (command,) in fetched(url, "SELECT command FROM runs") if PASSWORD in command]


def test_a_server_that_crashes_under_a_grid_is_waited_for(
    postgres: Server, url: str, tiny_data: Path, tmp_path: Path
) -> None:
    grid = ("--executor", "local", "--seeds", "0")
    process = started(typed(*grid, "--store", url, train_iterations=800), tiny_data)
    try:
        until = time.monotonic() + 120
        while fetched(url, "SELECT to_regclass('evaluations')") == [(None,)] or not fetched(url, NUMBERS):
            assert time.monotonic() < until
            time.sleep(0.05)
        postgres.stop("immediate")
        try:
            said = next(line for line in process.stdout if "does not answer" in line)
        finally:
            postgres.start()
        rest, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert PASSWORD not in said + rest
    assert (process.returncode, "1 trial: 1 finished." in rest) == (0, True), rest
    on_file = typed(*grid, "--store", tmp_path / "same.sqlite", train_iterations=800)
    assert completed(on_file, tiny_data)[0] == 0
    assert sorted(fetched(url, NUMBERS)) == sorted(fetched(str(tmp_path / "same.sqlite"), NUMBERS))
