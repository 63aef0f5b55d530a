"""Files and folders that are no usable store, and every command that takes one."""

from __future__ import annotations

import functools
import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.execute.tiny import typed
from tests.store import samples

FIXTURES = Path(__file__).parents[1] / "fixtures"

STORE, OTHER = "STORE", "OTHER"
"""In a command: the store in question, and a good one."""

READING = {
    "status": ["status", "--store", STORE],
    "report": ["report", "--store", STORE],
    "check": ["check", "--store", STORE],
    "query": ["query", "SELECT COUNT(*) FROM scores", "--store", STORE],
    "explain": ["explain", "1", "--store", STORE],
    "info": ["db", "info", "--store", STORE],
    "merge from": ["db", "merge", OTHER, STORE, "--dry-run"],
    "export": ["db", "export", "out.parquet", "--force", "--store", STORE],
    "baselines": ["baseline", "list", "--store", STORE],
    "report figures": ["report", "--format", "figures", "--store", STORE],
}
RUN = typed("--executor", "local", "--seeds", "0", "--store", STORE)
SPEED = ["speed", "--algos", "dtql", "--task", "hopper-medium-v2", "--iterations", "10", "--threads", "1"]
MAKING = {
    "run": RUN,
    "speed": [*SPEED, "--store", STORE],
    "import": ["import", str(FIXTURES / "scores.csv"), "--as", "mine", "--store", STORE],
    "merge into": ["db", "merge", STORE, OTHER],
}
PLANNING = {"dry run": [*RUN, "--dry-run"]}
WRITING = MAKING | {
    "evaluate": ["evaluate", "1", "--store", STORE],
    "upgrade": ["db", "upgrade", "--store", STORE],
    "verify": ["data", "verify", "collected-hopper-quickstart", "--store", STORE],
}
ALL = READING | PLANNING | WRITING
ASKING_MORE = {
    "serve": ["serve", "--port", "0", "--store", STORE],
    "check against baseline": ["check", "--against", "baseline", "--store", STORE],
    "annotate": ["baseline", "annotate", "first", "a note", "--store", STORE],
    "export policy": ["export-policy", "1", "--store", STORE],
    "video": ["video", "1", "--store", STORE],
}
"""On a good store these stay until they are stopped, or want a baseline or weights in it."""
NIGHTS = {
    "night's dry run": ["nightly", "--dry-run", "--store", STORE],
    "freeze": ["baseline", "freeze", "first", "--reason", "a release", "--store", STORE],
}
"""These take a store that is not made yet; on a good one they want a baseline, or data of the canary."""


def aimed(command: list[str], store: Path, other: Path) -> list[str]:
    """The command as typed for a store."""
    return [{STORE: str(store), OTHER: str(other)}.get(word, word) for word in command]


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


def store(folder: Path, run_id: str = "run-1", seed: int = 0) -> Path:
    """A good store with one finished trial."""
    return written(folder / "bench.sqlite", _content(run_id, seed))


@functools.cache
def _content(run_id: str, seed: int) -> bytes:
    trial = samples.trial_record(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.sqlite"
        with open_store(path) as opened, Writer(opened) as writer:
            writer.begin_run(samples.run_record(run_id))
            writer.plan([trial])
            writer.record(samples.finished_record(trial.key))
            writer.end_run(run_id)
        return path.read_bytes()


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
