"""Results databases: wrong cells, missing parts, damaged bytes, hostile names, under all that reads them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random

from tests.fuzz.mutation import ODD_NUMBERS, ODD_TEXTS, damaged
from tests.fuzz.outcomes import Case, Place

STORE = "bench.sqlite"
MAY_CHANGE = (
    *("work/bench.sqlite-shm", "work/bench.sqlite-wal", "work/bench.sqlite.lock"),
    "work/bench.sqlite-journal",  # one that belongs to nothing is removed by SQLite
)
# In `real` lies the file where the store is a link to it.
WRITTEN = (*MAY_CHANGE, "work/bench.sqlite", "work/drivers*", "work/real/*")
NIGHTLY = """canary:
  - tasks: [collected-hopper-quickstart]
    algorithms: [bc]
    evaluations: 1
    episodes: 2
    settings: {bc: {batch_size: 16, train_iterations: 10}}
seeds: {baseline: 4, per_night: 2, confirmation: 3}
drift: {nights: 5}
speed: null
store: bench.sqlite
"""

# (share, command, files that it writes, whether a person reads what it prints)
_COMMANDS: tuple[tuple[int, list[str], tuple[str, ...], bool], ...] = (
    (16, ["status"], (), True),
    (6, ["status", "--format", "json"], (), False),
    (14, ["check"], (), True),
    (5, ["check", "--format", "json"], (), False),
    (5, ["check", "--format", "junit"], (), False),
    (7, ["check", "--against", "baseline"], (), True),
    (14, ["explain", "1"], (), True),
    (7, ["explain", "1", "--format", "json"], (), False),
    (5, ["explain", "3"], (), True),
    (8, ["query", "SELECT * FROM scores"], (), True),
    (3, ["query", "SELECT * FROM provenance", "--format", "csv"], (), False),
    (3, ["query", "SELECT * FROM {table}"], (), True),
    (6, ["db", "info"], (), True),
    (6, ["db", "export", "out.sqlite"], ("work/out.sqlite*",), True),
    (4, ["db", "export", "out.sqlite", "--weights"], ("work/out.sqlite*", "work/weights", "work/weights/*"),
    True),
    (5, ["db", "export", "out.parquet", "--what", "{frame}"], ("work/out.parquet",), True),
    (6, ["baseline", "list"], (), True),
    (5, ["nightly", "--dry-run", "--config", "nightly.yaml"], (), True),
    (3, ["baseline", "annotate", "first", "a note"], WRITTEN, True),
    (2, ["evaluate", "1", "--episodes", "1"], WRITTEN, True),
    (3, ["report"], (), True),
    (2, ["report", "--format", "csv"], (), False),
    (2, ["report", "--format", "json"], (), False),
    (2, ["report", "--format", "latex"], (), False),
    (2, ["report", "--format", "html", "--out", "page"], ("work/page", "work/page/report.html"), False),
    (1, ["report", "--format", "figures", "--out", "page"], ("work/page", "work/page/*"), False),
    (3, ["run", "--suite", "quickstart", "--executor", "local", "--dry-run"], (), True),
)  # fmt: skip
_FRAMES = ("scores", "timings", "provenance", "evaluations", "episodes")
_MERGED = (
    "into.sqlite",
    "into.sqlite-shm",
    "into.sqlite-wal",
    "into.sqlite.lock",
    "weights/*.safetensors",
    "drivers*",
)
"""What a merge may change where it brings another store to. No journal is left behind."""


def make(number: int, place: Place, random: Random) -> Case:
    """Input `number` of this target."""
    names = list(_NAMED)
    if number < 4 * len(names):
        # Each under several commands.
        name = names[number % len(names)]
        return _case(name, _NAMED[name], place, random)
    kind = random.random()
    if kind < 0.55:
        return _case("", _wrong_cell, place, random)
    if kind < 0.70:
        return _case("", _damaged_file, place, random)
    if kind < 0.85:
        return _case("", _wrong_column, place, random)
    name = random.choice(names)
    return _case(name, _NAMED[name], place, random)


def _case(name: str, lay: Callable[[Path, Random], str | None], place: Place, random: Random) -> Case:
    """The damage of `lay` to a store, under a command that reads it, or merged into another."""
    store = _good_store(place)
    (place.work / "nightly.yaml").write_text(NIGHTLY)
    name = lay(store, random) or name
    expect = "refused" if name in _NEVER_RIGHT else "either"
    if random.random() < (0.5 if name in _HOSTILE_PATHS else 0.08):
        shutil.copytree(place.material / "stores" / "weights", place.outside / "own" / "weights")
        into = place.outside / "own" / "into.sqlite"
        shutil.copy(place.material / "stores" / "other.sqlite", into)
        may = tuple(f"outside/own/{end}" for end in _MERGED)
        command = ["db", "merge", str(into), str(store)]
        if random.random() < 0.3:
            command.append("--leave-out-conflicts")
        return Case(f"{name}, merged", command, expect, (*may, *MAY_CHANGE))
    usual = [
        one for one in _COMMANDS if name not in _HOSTILE_PATHS or one[1][0] in ("evaluate", "explain", "db")
    ]
    _, command, writes, person = random.choices(usual, [share for share, *_ in usual])[0]
    if name in _HOSTILE_PATHS and (command[0] == "evaluate" or "--weights" in command):
        expect = "refused"
    words = {"{table}": random.choice(_tables(place)), "{frame}": random.choice(_FRAMES)}
    for word, value in words.items():
        command = [part.replace(word, value) for part in command]
    if "--config" not in command:
        command = [*command, "--store", random.choice((str(store), STORE))]
    return Case(name, command, expect, (*writes, *MAY_CHANGE), plain_text=person)


def _good_store(place: Place) -> Path:
    shutil.copytree(place.material / "stores" / "weights", place.work / "weights")
    return Path(shutil.copy(place.material / "stores" / STORE, place.work / STORE))


def _tables(place: Place) -> list[str]:
    return list(columns(place.material / "stores" / STORE))


def columns(store: Path) -> dict[str, list[str]]:
    """Names of the columns of every table."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    connection.close()
    return {name: found[name] for name in sorted(found) if not name.startswith("sqlite_")}


def changed(store: Path, *statements: str, values: tuple = ()) -> None:
    """The database after some SQL; constraints are not looked at."""
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement, values if "?" in statement else ())
        connection.commit()


def _odd_value(random: Random) -> object:
    return random.choice(
        (
            None,
            random.choice(ODD_NUMBERS),
            random.choice(ODD_NUMBERS),
            random.choice(ODD_TEXTS),
            random.choice(ODD_TEXTS),
            random.choice(_JSONS),
            random.choice((b"", b"\xff\xfe\x80", b"\x00" * 8, b"text")),
            random.choice(_NOT_UTF8),
        )
    )


_JSONS = (
    "{}", "[]", "null", "7", '"text"', "[1, [2, [3]]]", '{"a": {"b": null}}', "NaN", "[NaN]",
    '{"a": Infinity}', "{'a': 1}",
    '{"hyperparameters": 7}', '{"hyperparameters": {"a": 7}}', '{"evaluation": {"steps": []}}',
    '["a", 7, null]',
    '[{"seconds": "x"}]', '{"summary": 7}', '{"value": "' + "x" * 20_000 + '"}', "[" * 2000,
    '{"a": 1' + "0" * 4400 + "}",
    '{"\\u0000": "\\ud800"}', "[-1, 1e999]", '{"gpus": "none", "hostname": 7}',
)  # fmt: skip


class _NotUtf8(str):
    """Text that a store holds although it is not UTF-8."""


_NOT_UTF8 = (_NotUtf8("ff"), _NotUtf8("c3"), _NotUtf8("68edb0"))


def set_cell(store: Path, table: str, column: str, value: object, where: str = "1") -> None:
    """Write a value into a column, whatever its declared type."""
    if isinstance(value, _NotUtf8):
        changed(store, f"UPDATE OR IGNORE {table} SET {column} = CAST(x'{value}' AS TEXT) WHERE {where}")
    else:
        changed(store, f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {where}", values=(value,))


def _wrong_cell(store: Path, random: Random) -> str:
    """One cell, or all of a column."""
    every = columns(store)
    table = random.choice([name for name in every if name != "alembic_version"])
    column, value = random.choice(every[table]), _odd_value(random)
    # NOT NULL of SQLite cannot be put aside but by rewriting the schema.
    where = random.choice(("1", "1", f"{column} IS (SELECT {column} FROM {table} LIMIT 1)"))
    try:
        set_cell(store, table, column, value, where)
    except sqlite3.Error:
        set_cell(store, table, column, 2**40, where)
    return f"{table}.{column} = {type(value).__name__.lstrip('_')}"


def _wrong_column(store: Path, random: Random) -> str:
    """The schema changed: renamed, dropped, of another kind."""
    every = columns(store)
    table = random.choice(list(every))
    column = random.choice(every[table])
    kind = random.choice(
        (
            f"ALTER TABLE {table} RENAME COLUMN {column} TO odd",
            f"ALTER TABLE {table} RENAME TO odd",
            f"DROP TABLE {table}",
            f"DELETE FROM {table}",
            f"DELETE FROM {table} WHERE rowid % 2",
            f"CREATE TABLE odd_copy AS SELECT * FROM {table}; DROP TABLE {table};"
            f" ALTER TABLE odd_copy RENAME TO {table}",
            f"ALTER TABLE {table} ADD COLUMN odd",
        )
    )
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA legacy_alter_table = ON")
    with suppress(sqlite3.Error):  # the schema forbids this one; the store is as good as before
        connection.executescript(kind)
    connection.close()
    return f"{kind.split(table)[0].strip().lower()} {table}"


def _damaged_file(store: Path, random: Random) -> str:
    kind, content = damaged(store.read_bytes(), random)
    store.write_bytes(content)
    return f"bytes: {kind}"


def _sql(*statements: str) -> Callable[[Path, Random], None]:
    return lambda store, _: changed(store, *statements)


def _cell(table: str, column: str, value: object) -> Callable[[Path, Random], None]:
    return lambda store, _: set_cell(store, table, column, value)


def _beside(name: str, content: bytes) -> Callable[[Path, Random], None]:
    return lambda store, _: store.with_name(store.name + name).write_bytes(content) and None


def _linked_beside(name: str) -> Callable[[Path, Random], None]:
    return lambda store, _: store.with_name(store.name + name).symlink_to("../outside/precious.txt")


def _instead(make_it: Callable[[Path], object]) -> Callable[[Path, Random], None]:
    def lay(store: Path, _: Random) -> None:
        store.unlink()
        make_it(store)

    return lay


def _through_a_link(store: Path, _: Random) -> None:
    (store.parent / "real").mkdir()
    store.rename(store.parent / "real" / "other-name.sqlite")
    store.symlink_to("real/other-name.sqlite")
    (store.parent / "weights").rename(store.parent / "real" / "weights")


def _weights_path(path: str) -> Callable[[Path, Random], None]:
    """A path of weights that names another file; it is there and has the stored hash."""

    def lay(store: Path, _: Random) -> None:
        good = next((store.parent / "weights").glob("*seed-0*"))
        target = store.parent / path
        with suppress(OSError, ValueError):  # a name that no file can have
            if target.is_relative_to(store.parents[1]) and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(good, target)
        set_cell(store, "weights", "path", path, "trial_id = 1")

    return lay


_NAMED: dict[str, Callable[[Path, Random], str | None]] = {
    "nothing": lambda store, _: None,
    "no version": _sql("DELETE FROM alembic_version"),
    "another version": _sql("UPDATE alembic_version SET version_num = '0999'"),
    "an odd version": _cell("alembic_version", "version_num", "\x1b[31m" + "x" * 5000),
    "a version not UTF-8": _cell("alembic_version", "version_num", _NOT_UTF8[0]),
    "two versions": _sql("INSERT INTO alembic_version VALUES ('0001')"),
    "no view of scores": _sql("DROP VIEW scores"),
    "a view that is wrong": _sql("DROP VIEW scores", "CREATE VIEW scores AS SELECT 1 AS trial_id"),
    "a view of itself": _sql("DROP VIEW scores", "CREATE VIEW scores AS SELECT * FROM scores"),
    "a trigger": _sql("CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM trials; END"),
    "a text file": _instead(lambda store: store.write_text("notes\n" * 50)),
    "zero bytes": _instead(lambda store: store.write_bytes(b"")),
    "a folder": _instead(lambda store: store.mkdir()),
    "a pipe": _instead(lambda store: os.mkfifo(store)),
    "a link to nothing": _instead(lambda store: store.symlink_to("nothing")),
    "a link to /dev/zero": _instead(lambda store: store.symlink_to("/dev/zero")),
    "a link outside": _instead(lambda store: store.symlink_to("../outside/precious.txt")),
    "header and noise": _instead(lambda store: store.write_bytes(b"SQLite format 3\x00" + b"noise" * 3000)),
    "through a link": _through_a_link,
    "a journal of noise": _beside("-journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\x00" * 1000),
    "a write-ahead log of noise": _beside("-wal", b"7\x7f\x06\x82" + b"\x99" * 4000),
    "shared memory of noise": _beside("-shm", b"\x99" * 32768),
    "a lock of noise": _beside(".lock", b"noise"),
    "a lock linked outside": _linked_beside(".lock"),
    "a journal linked outside": _linked_beside("-journal"),
    "a log linked outside": _linked_beside("-wal"),
    "no weights": lambda store, _: shutil.rmtree(store.parent / "weights"),
    "weights a link": lambda store, _: None,
    "a night in year 1": _cell("nights", "date", "0001-01-01"),
    "a night not a day": _cell("nights", "date", "2025-02-30"),
    "a moment with a zone": _cell("runs", "started_at", "2025-03-01 12:00:00.000000+02:00"),
    "a moment a number": _cell("trials", "finished_at", 1_700_000_000),
    "scores infinite": _cell("trials", "score", float("inf")),
    "scores text": _cell("trials", "score", "high"),
    "scores enormous": _cell("trials", "score", 1e308),
    "episodes text": _cell("episodes", "return_", "x"),
    "state unknown": _cell("trials", "state", "resting"),
    "state with escapes": _cell("trials", "state", "\x1b[31mfinished\x1b[0m"),
    "task unknown": _cell("trials", "task", "walker9d-odd-v7"),
    "task with escapes": _cell("trials", "task", "\x1b]0;title\x07hopper"),
    "method unknown": _cell("trials", "algorithm", "alchemy"),
    "method with markup": _cell("trials", "algorithm", "<img src=x onerror=alert(1)>"),
    "command with escapes": _cell("runs", "command", "bench run \x1b[2J\x1b[1;1H\x9b31m"),
    "failure with escapes": _cell("failures", "traceback", "\x1b[31mTraceback\x1b[0m\rhidden"),
    "activity with escapes": _cell("claims", "activity", "\x1b[5mtrain\x07"),
    "note with escapes": _cell("notes", "text", "\x1b[31mnote"),
    "claim without time": _cell("claims", "heartbeat_at", "soon"),
    "claim of no run": _cell("claims", "run_id", "nobody"),
    "claim in the future": _cell("claims", "heartbeat_at", "9999-12-31 23:59:59.999999"),
    "negative rest": _cell("claims", "seconds_left", -5.0),
    "endless rest": _cell("claims", "seconds_left", 1e300),
    "configuration no object": _cell("trials", "config", "[1, 2]"),
    "configuration too deep": _cell("trials", "config", "[" * 50_000),
    "settings no objects": _cell("trials", "config", '{"hyperparameters": {"a": 7}, "evaluation": null}'),
    "hardware a list": _cell("runs", "hardware", "[1]"),
    "packages a number": _cell("executions", "packages", "7"),
    "stack a text": _cell("executions", "stack", '"0, 1"'),
    "reduced a number": _cell("trials", "reduced", "7"),
    "seeds of a night a text": _cell("nights", "seeds", '"x"'),
    "report of a night a number": _cell("nights", "report", "7"),
    "pace a number": _cell("baselines", "pace", "7"),
    "fingerprints a list": _cell("baselines", "fingerprints", "[1]"),
    "no dataset": _sql("DELETE FROM datasets"),
    "no run": _sql("DELETE FROM runs"),
    "no evaluations": _sql("DELETE FROM evaluations"),
    "no episodes": _sql("DELETE FROM episodes"),
    "hash not a hash": _cell("datasets", "sha256", "x"),
    "rows negative": _cell("datasets", "rows", -5),
    "rows text": _cell("datasets", "rows", "many"),
}  # fmt: skip
_NOT_OURS = (
    "../outside/stolen.safetensors", "bench.sqlite-journal", "bench.sqlite-wal", "bench.sqlite",
    "weights/../x.safetensors",
    "weights/a/b.safetensors", "/tmp/bench-fuzz-planted.safetensors", "weights", "weights/", "", ".", "..",
    "weights/.",
    "weights/..", "weights/\x00.safetensors", "into.sqlite-journal", "into.sqlite-wal",
    "weights/../into.sqlite-journal",
    "checkpoints/x.safetensors", "/dev/zero", "/dev/stdin", "nightly.yaml", "into.sqlite",
    "weights/../../outside/precious.txt",
)  # fmt: skip
"""Paths of weights that lie elsewhere than in the folder of weights."""
_HOSTILE_PATHS = {f"weights at {path[:40]!r}" for path in _NOT_OURS}
for _path in (
    *_NOT_OURS, "weights/x", "weights/a\nb.safetensors", "WEIGHTS/x.safetensors", "./weights/x.safetensors",
    "weights//x.safetensors", "weights\\x.safetensors", "weights/" + "x" * 300 + ".safetensors", "weights/~",
    "weights/\x1b[31m.safetensors", "weights/-rf.safetensors", "weights/.hidden",
):  # fmt: skip
    _NAMED[f"weights at {_path[:40]!r}"] = _weights_path(_path)

_NEVER_RIGHT = {
    "no version", "another version", "a text file", "zero bytes", "a folder", "a pipe", "a link to nothing",
    "a link to /dev/zero", "a link outside", "header and noise",
}  # fmt: skip
