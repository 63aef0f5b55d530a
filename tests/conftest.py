"""What the tests of several packages share: a small collected dataset, made once; a PostgreSQL server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from bench.catalog import load_catalog
from bench.data.collect import collect
from tests.execute.tiny import TASK, TRANSITIONS
from tests.store.postgres import postgres, postgres_url

__all__ = ["postgres", "postgres_url"]

# No assertion of ours is about time: on a busy machine an example may take long.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


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
    folder = tmp_path_factory.mktemp("data")
    path = folder / "collected" / f"{TASK}.hdf5"
    collect(load_catalog().task(TASK), path, transitions=TRANSITIONS, threads=1)
    return folder
