"""Files and folders that are no usable store, and every command that takes one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from pathlib import Path

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.execute.tiny import typed
from tests.store import samples

FIXTURES = Path(__file__).parents[1] / "fixtures"

READING = {
    "status": ["status"],
    "report": ["report"],
    "query": ["query", "SELECT COUNT(*) FROM scores"],
    "info": ["db", "info"],
}
MAKING = {
    "run": typed("--executor", "local", "--seeds", "0"),
    "speed": [
        *("speed", "--algos", "dtql", "--task", "hopper-medium-v2", "--iterations", "10", "--threads", "1"),
    ],
}
WRITING = MAKING | {
    "evaluate": ["evaluate", "1"],
    "upgrade": ["db", "upgrade"],
    "verify": ["data", "verify", "collected-hopper-quickstart"],
}
ALL = READING | WRITING


def everything_in(folder: Path) -> dict[str, object]:
    """What lies in a folder: names, kinds, rights and contents."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            content = path.readlink()
        else:
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(path.relative_to(folder))] = (status.st_mode, content)
    return found


def store(folder: Path) -> Path:
    """A good store with one finished trial."""
    path, trial = folder / "bench.sqlite", samples.trial_record()
    with open_store(path) as opened, Writer(opened) as writer:
        writer.begin_run(samples.run_record())
        writer.plan([trial])
        writer.record(samples.finished_record(trial.key))
        writer.end_run("run-1")
    return path


def changed(path: Path, *statements: str) -> Path:
    """The database at `path` after some SQL."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def cut(path: Path, size: int) -> Path:
    """The file's first bytes alone."""
    os.truncate(path, size)
    return path


def written(path: Path, content: bytes) -> Path:
    """A file of this content."""
    path.write_bytes(content)
    return path


def left_over_log(path: Path) -> Path:
    """A database of another application that crashed: its last rows are in the write-ahead log alone."""
    source = path.with_name("source")
    connection = sqlite3.connect(source)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE contacts (name)")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("INSERT INTO contacts VALUES ('Ada')")
    connection.commit()
    shutil.copy(source, path)
    shutil.copy(f"{source}-wal", f"{path}-wal")
    connection.close()
    source.unlink()
    return path


def first_schema(folder: Path) -> Path:
    """A store as the first version of the schema left it."""
    return Path(shutil.copy(FIXTURES / "store_0001.sqlite", folder / "bench.sqlite"))


def link(path: Path, target: str) -> Path:
    """A symbolic link."""
    path.symlink_to(target)
    return path


def pipe(path: Path) -> Path:
    """A named pipe: opening it waits for somebody at its other end."""
    os.mkfifo(path)
    return path
