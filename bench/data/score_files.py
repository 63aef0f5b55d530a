"""Files of scores that people bring: CSV, npz and Parquet, read into rows whose every value is checked.

Columns: `algorithm`, `task`, `seed` and `score`, one row per seed; or one per evaluation, where there is a
`step`. Beside or instead of the score, `episode_returns` holds the undiscounted return of every episode:
in CSV numbers apart by spaces, in npz an array (rows, episodes), in Parquet a list.
`seconds` is how long training took. Nothing is unpickled, and a file that is absurdly large is not read.
"""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import BenchError, unknown_name
from bench.visible_text import count, quoted

REQUIRED = ("task", "seed")
COLUMNS = ("algorithm", *REQUIRED, "score", "step", "episode_returns", "seconds")
MOST_BYTES = 256 * 2**20
"""Of a file, unpacked: a million rows fit."""
MOST_ROWS = 1_000_000
_LARGEST = 2**63 - 1
_DELIMITERS = (",", ";", "\t")
_FOREIGN_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?\s*%?")
"""`98,1` or `98.1 %`."""
_NO_SCORE = "write nan for a seed that diverged"


@dataclass(frozen=True)
class ScoreRow:
    """One line of a file: a seed's score, or one of its evaluations."""

    where: str
    """`line 7`, for people."""
    algorithm: str | None
    task: str
    seed: int
    score: float | None
    """As the file has it; may be NaN. None where only the episodes' returns are given."""
    step: int | None
    episode_returns: tuple[float, ...]
    seconds: float | None


@dataclass(frozen=True)
class ScoreFile:
    """What a file holds."""

    rows: tuple[ScoreRow, ...]
    ignored: tuple[str, ...]
    """Columns that mean nothing here."""


def read_scores(path: Path) -> ScoreFile:
    """The rows of a file, in their order.

    Raises
    ------
    BenchError : no such file, too large, of another kind, empty, a column is missing, or a value is none.
    """
    readers = {".csv": _csv, ".tsv": _csv, ".txt": _csv, ".npz": _npz, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        what = f"no kind of file is known by the name {quoted(str(path))}"
        raise BenchError(what, "", "Scores are read from .csv, .npz and .parquet files.")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise BenchError(f"{quoted(str(path))} is no file", "", "Name a .csv, .npz or .parquet file.")
        _require_size(path, size)
        columns, cells = reader(path)
    except FileNotFoundError as error:
        raise BenchError(f"no file {quoted(str(path))}", "", "Name a file of scores.") from error
    except OSError as error:
        why = f"{error.strerror or error}."
        raise BenchError(f"{quoted(str(path))} cannot be read", why, "Name another file.") from error
    _require_columns(path, columns)
    rows = tuple(_row(path, where, cell) for where, cell in cells)
    if not rows:
        raise BenchError(f"{quoted(str(path))} holds no scores", "Below the header it is empty.", _EXPECTED)
    # A table that pandas wrote has its index first, under no name.
    return ScoreFile(rows, tuple(name for name in columns if name and name not in COLUMNS))


_EXPECTED = "A row is for example: mine,hopper-medium-v2,0,98.5 (algorithm,task,seed,score)."
_Cells = Iterator[tuple[str, Mapping[str, object]]]


def _require_size(path: Path, size: int) -> None:
    if size > MOST_BYTES:
        what = f"{quoted(str(path))} has {size / 2**20:,.0f} MiB"
        limit = f"A file of scores has at most {MOST_BYTES / 2**20:.0f}."
        raise BenchError(what, limit, "Keep one row per evaluation, or leave out the episodes' returns.")


def _require_rows(path: Path, rows: int) -> None:
    if rows > MOST_ROWS:
        what = f"{quoted(str(path))} has more than {MOST_ROWS:,} rows"
        raise BenchError(what, "", "Keep one row per evaluation.")


def _require_columns(path: Path, columns: Sequence[str]) -> None:
    there = f"There are: {', '.join(map(quoted, columns)) or 'none'}."
    for name in REQUIRED:
        if name not in columns:
            raise BenchError(f"{quoted(str(path))} has no column {name!r}", there, _EXPECTED)
    if "score" not in columns and "episode_returns" not in columns:
        what = f"{quoted(str(path))} has no column 'score'"
        raise BenchError(what, there, f"{_EXPECTED} A column episode_returns may stand in its place.")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise BenchError(f"{quoted(str(path))} has the column {quoted(twice[0])} twice", "", "Keep one.")


# The three kinds


def _csv(path: Path) -> tuple[list[str], _Cells]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"{quoted(str(path))} is no text"
        raise BenchError(what, "CSV is read as UTF-8.", "Save it anew as UTF-8.") from error
    header, _, _ = text.partition("\n")
    delimiter = max(_DELIMITERS, key=header.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)

    def told() -> Iterator[list[str]]:
        try:
            yield from lines
        except csv.Error as error:
            what = f"{quoted(str(path))}, line {lines.line_num}: {error}"
            raise BenchError(what, "It is no CSV.", "Give returns of so many episodes as .npz.") from error

    parsed = told()
    columns = [name.strip().lower() for name in next(parsed, [])]

    def cells() -> _Cells:
        for number, line in enumerate(parsed):
            _require_rows(path, number)
            if not any(cell.strip() for cell in line):
                continue
            if len(line) != len(columns):
                what = f"{quoted(str(path))}, line {lines.line_num}: {count(len(line), 'value')}"
                why = f"The header has {count(len(columns), 'column')}."
                raise BenchError(what, why, "Quote values that hold the separator, or complete the line.")
            yield f"line {lines.line_num}", dict(zip(columns, line, strict=True))

    return columns, cells()


def _npz(path: Path) -> tuple[list[str], _Cells]:
    columns: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            _require_size(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                columns[name.lower()] = arrays[name]
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        if "allow_pickle" in str(error):
            what = f"{quoted(str(path))} holds Python objects"
            why = "Those are pickled, and nothing is unpickled here."
            raise BenchError(what, why, "Make names np.array(names, dtype=str) before saving.") from error
        raise BenchError(f"{quoted(str(path))} is no npz file", f"{error}.", "Save it anew.") from error
    lengths = {name: len(array) if array.ndim else 1 for name, array in columns.items() if name in COLUMNS}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise BenchError(
            f"the arrays of {quoted(str(path))} differ in length", f"{told}.", "Make them alike."
        )
    rows = next(iter(lengths.values()), 0)
    _require_rows(path, rows)
    lists = {name: np.atleast_1d(columns[name]).tolist() for name in lengths}
    return list(columns), (
        (f"row {row}", {name: values[row] for name, values in lists.items()}) for row in range(rows)
    )


def _parquet(path: Path) -> tuple[list[str], _Cells]:
    try:
        with pq.ParquetFile(path) as file:
            _require_rows(path, file.metadata.num_rows)
            groups = range(file.metadata.num_row_groups)
            _require_size(path, sum(file.metadata.row_group(group).total_byte_size for group in groups))
            names = file.schema_arrow.names
            known = [name for name in names if name.lower() in COLUMNS]
            table = file.read(columns=known)
    except pa.ArrowException as error:
        what = f"{quoted(str(path))} is no Parquet file that can be read"
        raise BenchError(what, f"{str(error).splitlines()[0]}", "Save it anew.") from error
    lists = {name.lower(): table.column(name).to_pylist() for name in known}
    return [name.lower() for name in names], (
        (f"row {row}", {name: values[row] for name, values in lists.items()}) for row in range(table.num_rows)
    )


# Values


def _row(path: Path, where: str, cells: Mapping[str, object]) -> ScoreRow:
    place = f"{quoted(str(path))}, {where}"
    task = _text(cells.get("task"))
    if not task:
        raise BenchError(f"{place}: no task", "", _EXPECTED)
    seed = _whole(place, "seed", cells.get("seed"))
    if seed is None:
        raise BenchError(f"{place}: no seed", "Seeds are whole numbers.", _EXPECTED)
    score = _number(place, "score", cells.get("score"))
    returns = _numbers(place, cells.get("episode_returns"))
    if score is None and not returns:
        raise BenchError(f"{place}: no score", "The cell is empty.", f"{_NO_SCORE.capitalize()}.")
    seconds = _number(place, "seconds", cells.get("seconds"))
    if seconds is not None and not 0 <= seconds < math.inf:
        raise BenchError(f"{place}: {seconds:g} seconds", "", "Leave the cell empty where it is not known.")
    step = _whole(place, "step", cells.get("step"))
    return ScoreRow(where, _text(cells.get("algorithm")) or None, task, seed, score, step, returns, seconds)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace").strip()
    return "" if value is None else str(value).strip()


def _whole(place: str, name: str, value: object) -> int | None:
    """A whole number from 0 on, which pandas may have written as 3.0."""
    number = _number(place, name, value)
    if number is None:
        return None
    exact = value if isinstance(value, int) else number
    if not math.isfinite(number) or number != int(number) or not 0 <= int(exact) <= _LARGEST:
        raise BenchError(f"{place}: {name} {quoted(value)}", "It is no whole number from 0 on.", _EXPECTED)
    return int(exact)


def _number(place: str, name: str, value: object) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, bytes):
            value = value.decode()
        return float(value)  # type: ignore[arg-type]  # whatever it is, float() tells
    except (TypeError, ValueError, OverflowError) as error:
        why = "It is no number."
        if isinstance(value, str) and _FOREIGN_NUMBER.fullmatch(value.strip()):
            why = "A number has a point before its decimals, and no sign behind them."
        raise BenchError(f"{place}: {name} {quoted(value)}", why, _EXPECTED) from error


def _numbers(place: str, value: object) -> tuple[float, ...]:
    """Returns of episodes: a list, or text with numbers apart by blanks or semicolons, in brackets or not."""
    if isinstance(value, str):
        value = [part for part in re.split(r"[\s;,]+", value.strip().strip("[]")) if part]
    if value is None:
        return ()
    if not isinstance(value, Sequence):
        value = [value]
    found = [_number(place, "episode_returns", one) for one in value]
    if None in found:
        raise BenchError(f"{place}: a return is missing", "", "Leave out the whole cell, or complete it.")
    return tuple(one for one in found if one is not None)


def rows_of(file: ScoreFile, path: Path, algorithm: str | None) -> tuple[ScoreRow, ...]:
    """The rows of one method: of the one that the file holds, or of `algorithm`.

    Raises
    ------
    BenchError : the file holds several and none is chosen, or not the one that is.
    """
    names = list(dict.fromkeys(row.algorithm for row in file.rows))
    if algorithm is not None:
        known = [name for name in names if name is not None]
        if algorithm not in known:
            raise unknown_name("algorithm of the file", algorithm, known, f"head {path}")
        return tuple(row for row in file.rows if row.algorithm == algorithm)
    if len(names) > 1:
        told = ", ".join("none" if name is None else quoted(name) for name in names[:8])
        what = f"{quoted(str(path))} holds {len(names)} algorithms: {told}"
        raise BenchError(what, "A name stands for one.", "Choose one: --algorithm NAME, once for each.")
    return file.rows
