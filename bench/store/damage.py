"""Where a store is damaged: the first cell that holds what bench does not write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Engine, Table, func, or_, select
from sqlalchemy.exc import DBAPIError

from bench.errors import BenchError
from bench.records import IMPORTED, config_hash, hash_of
from bench.store.columns import IS_NAN, DamagedCellError, number_from
from bench.store.models import Base, Baseline, Episode, Evaluation, Trial
from bench.visible_text import quoted

RESTORE = "Restore it from a copy, or name another store with --store."
_T = TypeVar("_T")
_OF_CONFIGURATIONS = ("algorithm", "variant", "task", "task_version", "physics", "budget")


class DamagedStoreError(BenchError):
    """A store holds what bench does not write; nothing was made of it."""

    def __init__(self, what: str, why: str = "", do_this: str = "") -> None:
        super().__init__(what, why, do_this or RESTORE)


def damage(place: str, error: DamagedCellError, engine: Engine | None) -> DamagedStoreError:
    """The error for the store at `place`, with table, column and row where `engine` finds them."""
    found = None if engine is None else _first_damage(engine)
    where, error = found or (error.where, error)
    return DamagedStoreError(f"store {place} is damaged", f"{where} {described(error)}.")


def damaged_cells(engine: Engine) -> Iterator[str]:
    """Every cell of a store that holds what bench does not write, in a sentence each; reads all of it."""
    with engine.connect() as connection, _any_text(connection):
        for where, error in _all_damage(connection):
            yield f"{where} {described(error)}."


def described(error: DamagedCellError) -> str:
    """What is wrong, to be read after the cell's name."""
    return f"holds {quoted(error.value)}, not {error.expected}"


def restored(kind: type[_T], content: object, what: str) -> _T:
    """What was stored as JSON, as a value of its class again.

    Parameters
    ----------
    kind : a dataclass or a pydantic model.
    what : names it ("the fingerprints of baseline 'release'").

    Raises
    ------
    DamagedStoreError : it has another shape.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except (ValidationError, RecursionError) as error:
        why = "It is nested without end."
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            why = f"At {'.'.join(map(str, first['loc'])) or 'its beginning'}: {first['msg']}."
        raise DamagedStoreError(f"{what} in the store are damaged", why) from error


def require_consistent(row: Mapping[Any, Any]) -> None:
    """Refuse a trial whose configuration is not that of its hash, or whose columns contradict it.

    The hash covers all that determines a number, so that no part of it is changed unnoticed.

    Raises
    ------
    DamagedCellError : names the first that is wrong.
    """
    config = row["config"]
    _require_hash(config, row["config_hash"], config_hash)
    evaluation, dataset = config.get("evaluation", {}), config.get("dataset", {})
    told_twice = {name: config.get(name) for name in _OF_CONFIGURATIONS}
    told_twice |= {name: evaluation.get(name) for name in ("episodes", "protocol")}
    if isinstance(dataset, dict):
        told_twice |= {f"dataset_{name}": dataset.get(name) for name in ("name", "sha256", "rows")}
    for name, value in told_twice.items():
        if value is not None and name in row and row[name] != value:
            where = f"{name.replace('_', ' ').capitalize()} of trial {row['id']}"
            raise DamagedCellError(row[name], f"{value!r}, as its configuration says", where)
    if row["episodes"] == 0 and row["variant"] != IMPORTED:
        raise DamagedCellError(0, "a number of episodes", f"Episodes of trial {row['id']}")
    number_from(row["score"], row["score_is_nan"])


def require_configuration(row: Mapping[Any, Any]) -> None:
    """Refuse a baseline whose configuration is not that of its hash.

    Raises
    ------
    DamagedCellError : it is another.
    """
    _require_hash(row["configuration"], row["configuration_hash"], hash_of)


_OF_ROWS: dict[Table, Callable[[Mapping[Any, Any]], None]] = {
    Trial.__table__: require_consistent,
    Baseline.__table__: require_configuration,
}


def _require_hash(config: object, expected: str, hashed: Callable[[Any], str]) -> None:
    try:
        found = hashed(config)
    except (ValueError, RecursionError) as error:
        raise DamagedCellError(config, "a configuration") from error
    if found != expected:
        raise DamagedCellError(config, f"the configuration with the hash {expected!r}")


def _first_damage(engine: Engine) -> tuple[str, DamagedCellError] | None:
    """The first damaged cell, `Column 'score' of table 'trials', row 17,`, and what is wrong with it."""
    try:
        with engine.connect() as connection, _any_text(connection):
            return next(_all_damage(connection), None)
    except DBAPIError:
        return None  # whoever asks has an error to tell already


def _all_damage(connection: Connection) -> Iterator[tuple[str, DamagedCellError]]:
    for table in Base.metadata.sorted_tables:
        yield from _damaged(connection, table)
    yield from _without_episodes(connection)


def _damaged(connection: Connection, table: Table) -> Iterator[tuple[str, DamagedCellError]]:
    columns = list(table.columns)
    as_name = connection.dialect.identifier_preparer.quote
    listed = ", ".join(as_name(column.name) for column in columns)
    # Plain SQL gives the cells as they are.
    rows = connection.exec_driver_sql(f"SELECT {listed} FROM {as_name(table.name)}")
    read = [
        (column, column.type.dialect_impl(connection.dialect).result_processor(connection.dialect, None))
        for column in columns
    ]
    for row in rows:
        cells = dict(zip((column.name for column in columns), row, strict=True))
        values = {}
        for column, process in read:
            try:
                cell = cells[column.name]
                values[column.name] = cell if process is None else process(cell)
            except DamagedCellError as error:
                yield _named(column, cells), error
        if len(values) == len(columns):
            try:
                _require_whole_row(table, values)
            except DamagedCellError as error:
                yield f"Table {table.name!r}, row {_key(table, cells)},", error


def _require_whole_row(table: Table, values: Mapping[str, Any]) -> None:
    for name in values:
        if name.endswith(IS_NAN):
            number_from(values[_number_of(name, values)], values[name])
    if table in _OF_ROWS:
        _OF_ROWS[table](values)


def _number_of(flag: str, values: Mapping[str, Any]) -> str:
    """`return_` has an underscore of its own."""
    name = flag.removesuffix(IS_NAN)
    return name if name in values else f"{name}_"


def _without_episodes(connection: Connection) -> Iterator[tuple[str, DamagedCellError]]:
    """Evaluations whose episodes are not 1, 2, ... to the last."""
    count, first, last = func.count(Episode.number), func.min(Episode.number), func.max(Episode.number)
    chosen = (
        select(Evaluation.id, count)
        .outerjoin(Episode, Episode.evaluation_id == Evaluation.id)
        .group_by(Evaluation.id)
        .having(or_(count == 0, first != 1, last != count))
    )
    for row in connection.execute(chosen):
        error = DamagedCellError(row[1], "all of its episodes, numbered from 1 on")
        yield f"Table {Evaluation.__tablename__!r}, row {row[0]},", error


def _named(column: Column[Any], cells: Mapping[str, object]) -> str:
    return f"Column {column.name!r} of table {column.table.name!r}, row {_key(column.table, cells)},"


def _key(table: Table, cells: Mapping[str, object]) -> str:
    return " ".join(str(cells[column.name]) for column in table.primary_key.columns)


@contextmanager
def _any_text(connection: Connection) -> Iterator[None]:
    """Let SQLite give text that is not UTF-8 too, so that it can be told where it stands."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name != "sqlite":
        yield
        return
    driver.text_factory = lambda raw: raw.decode(errors="surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str
