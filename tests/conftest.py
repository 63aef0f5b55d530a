"""What the tests of several packages share: a small collected dataset, made once; a PostgreSQL server.

A machine with a GPU may have little more than torch, so nothing is imported here that its tests do not need,
and `-m gpu` looks into no file that has none of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.store.postgres import postgres, postgres_url

__all__ = ["postgres", "postgres_url"]


def pytest_configure() -> None:
    """Leave out what the person who runs the tests has set for work of their own.

    And no assertion of ours is about time: on a busy machine an example of hypothesis may take long.
    """
    for name in ("BENCH_TASKS", "BENCH_STORE", "BENCH_ADDRESS"):
        os.environ.pop(name, None)
    try:
        from hypothesis import settings
    except ModuleNotFoundError:
        return
    settings.register_profile("without deadline", deadline=None)
    settings.load_profile("without deadline")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whether `-m gpu` would find nothing in a file or folder; None leaves it to others."""
    if config.option.markexpr != "gpu":
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    marked = any("pytest.mark.gpu" in path.read_text(encoding="utf-8") for path in files)
    return None if marked else True


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Networks are tiny here: a second thread costs more than it does, and where it has to wait for a core it
    spins. A training step of the outcomes' tests then takes up to twenty times as much of the processor.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder (`BENCH_DATA_DIR`) that holds the tiny task's dataset. Not to be changed."""
    from bench.catalog import load_catalog
    from bench.data.collect import collect
    from tests.execute.tiny import TASK, TRANSITIONS

    folder = tmp_path_factory.mktemp("data")
    path = folder / "collected" / f"{TASK}.hdf5"
    collect(load_catalog().task(TASK), path, transitions=TRANSITIONS, threads=1)
    return folder


@pytest.fixture(scope="session")
def trained_store(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished trial of the tiny cell, number 1, and its weights. Not to be changed."""
    from bench.cli import main
    from tests.execute.tiny import typed

    path = tmp_path_factory.mktemp("trained") / "bench.sqlite"
    with pytest.MonkeyPatch.context() as patched, pytest.raises(SystemExit) as stopped:
        patched.setenv("BENCH_DATA_DIR", str(tiny_data))
        main(typed("--executor", "local", "--seeds", "0", "--store", path))
    assert stopped.value.code == 0
    return path
