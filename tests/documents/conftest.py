"""What the tests of the pages share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.cli import main

Bench = Callable[[Sequence[str]], tuple[int, str]]


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    """Runs a command line in this process and returns exit code and output, errors below it."""

    def run(arguments: Sequence[str]) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        output, errors = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, output + errors

    return run


@pytest.fixture
def folder(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the process stands; the tiny task's dataset is there."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    monkeypatch.chdir(tmp_path)
    return tmp_path
