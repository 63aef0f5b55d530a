"""What the tests of merging share: the command, what happens to a trial on a machine, and how stores look."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from bench.cli import main
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import everything
from tests.store.machines import Machine

TRIAL = samples.trial_record()
KEY = TRIAL.key


def merged(into: Path, *others: Path, leave_out: bool = False) -> int:
    """Exit code of `bench db merge`."""
    options = ["--leave-out-conflicts"] if leave_out else []
    with pytest.raises(SystemExit) as exit_:
        main(["db", "merge", str(into), *map(str, others), *options])
    return exit_.value.code


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


def weights_in(path: Path) -> dict[str, bytes]:
    """Files of weights beside a store."""
    return {file.name: file.read_bytes() for file in (path.parent / "weights").glob("*")}


def picture(path: Path) -> dict[str, list[tuple]]:
    """Everything in a store but that merges happened."""
    found = everything(str(path))
    found["runs"] = [row for row in found["runs"] if row[0].startswith("run-")]
    return found
