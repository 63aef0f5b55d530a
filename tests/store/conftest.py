"""A store with one run that writes into it: an SQLite file, in slow runs also a PostgreSQL database."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.store import database
from bench.store.database import Store, head_revision, open_store
from bench.store.writer import Writer
from tests.store.samples import run_record, trial_record

_FOLLOWING = '''
"""The schema that follows."""
import sqlalchemy as sa
from alembic import op

revision = "{following}"
down_revision = "{head}"

def upgrade():
    op.add_column("runs", sa.Column("colour", sa.String()))
    {then}
'''


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a store can be made; `tests.store.databases` has marks that keep a test to one of the two."""
    if request.param == "sqlite":
        return str(tmp_path / "results" / "bench.sqlite")
    monkeypatch.chdir(tmp_path)  # what a server's store keeps in files lies below the current folder
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def store(store_url: str, empty: Path) -> Iterator[Store]:
    if "://" not in store_url:
        Path(store_url).parent.mkdir()
        shutil.copy(empty, store_url)
    with open_store(store_url) as opened:
        yield opened


@pytest.fixture
def writer(store: Store) -> Iterator[Writer]:
    with Writer(store) as opened:
        opened.begin_run(run_record())
        yield opened


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call it to make this bench the one that follows; returns the number of its schema."""

    def install(then: str = "pass") -> str:
        copy, head = tmp_path / "migrations", head_revision()
        following = f"{int(head) + 1:04}"
        shutil.copytree(database.MIGRATIONS, copy)
        text = _FOLLOWING.format(following=following, head=head, then=then)
        (copy / "versions" / f"{following}_colour.py").write_text(text)
        monkeypatch.setattr(database, "MIGRATIONS", copy)
        return following

    return install


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds nothing, to be copied: making one takes longer."""
    path = tmp_path_factory.mktemp("empty") / "bench.sqlite"
    open_store(path).close()
    return path


@pytest.fixture
def machine(tmp_path: Path, empty: Path):
    """Make a store: call it with a machine's name and what happens there to a trial."""

    runs: Counter[str] = Counter()

    def made(name: str, *steps, trials=None) -> Path:
        path = tmp_path / name / "bench.sqlite"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            shutil.copy(empty, path)
        runs[name] += 1
        run_id = f"run-{name}" if runs[name] == 1 else f"run-{name}-{runs[name]}"
        with open_store(path) as store, Writer(store) as writer:
            writer.begin_run(replace(run_record(run_id), hardware={"hostname": name, "gpus": []}))
            writer.plan(trials or [trial_record()])
            for step in steps:
                step(writer)
            writer.end_run(run_id)
        return path

    return made
