"""`bench export tensorboard`, and `bench run --log tensorboard` while a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.tensorboard import LiveLog
from bench.execute.messages import Notice
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.execute.tiny import typed
from tests.store import samples


@pytest.fixture
def bench(tiny_data: Path, tmp_path: Path, monkeypatch, capsys):
    """Runs a command line in an empty folder; its exit code, and what it prints."""
    from bench.cli import main

    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        output, errors = capsys.readouterr()
        return stopped.value.code, output + errors

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_log_of_a_run_is_what_is_exported_afterwards(bench, tmp_path: Path) -> None:
    options = ("--executor", "local", "--seeds-per-stack", "2", "--log", "tensorboard")
    code, told = bench(*typed("--seeds", "0,1", *options))
    assert code == 0, told
    live = files(tmp_path / "results/tensorboard")
    assert len(live) == 2
    assert bench("export", "tensorboard", "out")[0] == 0
    assert files(tmp_path / "out") == live
    code, told = bench("export", "tensorboard", "out", "--algos", "bc")
    assert (code, "nothing has begun" in told) == (2, True)
    code, told = bench("export", "tensorboard", "results/bench.sqlite")
    assert (code, "cannot write" in told) == (2, True)


def test_a_folder_without_a_log_is_refused(bench, tmp_path: Path) -> None:
    code, told = bench(*typed("--log-dir", "x"))
    assert (code, "Add --log tensorboard" in told) == (2, True)
    assert list(tmp_path.iterdir()) == []


class Kept(list):
    """A watcher that keeps what it is shown."""

    watch = list.append


@pytest.fixture
def trials(tmp_path: Path):
    """A store with two trials, one of which has an evaluation, and what writes into it."""
    with open_store(tmp_path / "bench.sqlite") as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        records = [samples.trial_record(seed) for seed in (0, 1)]
        writer.plan(records)
        yield str(tmp_path / "bench.sqlite"), writer, [record.key for record in records]


def test_a_log_that_cannot_be_written_ends_and_the_run_goes_on(trials, tmp_path: Path) -> None:
    store, writer, (key, _) = trials
    (tmp_path / "log").write_text("a file in the way")
    shown = Kept()
    log = LiveLog(shown, tmp_path / "log", store)
    for number in (1, 2):
        evaluation = samples.evaluation_record(key, number)
        writer.record(evaluation)
        log.watch(evaluation)
    log.close()
    notices = [event.text for event in shown if isinstance(event, Notice)]
    assert len(shown) == 3
    assert len(notices) == 1
    assert "bench export tensorboard" in notices[0]


def test_what_is_told_twice_is_written_once(trials, tmp_path: Path) -> None:
    store, writer, keys = trials
    log = LiveLog(Kept(), tmp_path / "log", store)
    for number in (1, 2, 2, 1, 3):
        for key in keys:
            evaluation = samples.evaluation_record(key, number)
            writer.record(evaluation)
            log.watch(evaluation)
    log.close()
    grown = files(tmp_path / "log")
    again = LiveLog(Kept(), tmp_path / "again", store)
    for key in keys:
        again.watch(samples.evaluation_record(key, 3))
    again.close()
    assert files(tmp_path / "again") == grown
