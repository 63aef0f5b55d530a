"""The papers' printed tables as data: every cell with its protocol, the meaning of its spread, and errata."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, RootModel

from bench.catalog import shipped_domains
from bench.errors import BenchError, unknown_name
from bench.resources import resource
from bench.visible_text import quoted
from bench.yaml_lines import load_yaml, validated

SpreadKind = Literal["std_over_seeds", "se_over_rollouts", "unknown", ""]
PaperProtocol = Literal["last", "rat", "oms", ""]

AGGREGATES = ("average", "sum")
"""What the CSV files name as task for a printed aggregate of a domain."""
SCORE = "d4rl_normalized_score"
"""The metric of every number that is a score."""

_SPREAD_KINDS = ("std_over_seeds", "se_over_rollouts", "unknown", "")
_PROTOCOLS = ("last", "rat", "oms", "")
_KEY_COLUMNS = ("metric", "domain", "task", "method")
_CELL_COLUMNS = (
    "paper", "table", *_KEY_COLUMNS, "mean", "spread", "spread_kind", "seeds", "episodes", "protocol",
    "protocol_as_stated", "accepts_variants", "note",
)  # fmt: skip
_ERRATA_COLUMNS = ("table", *_KEY_COLUMNS, "protocol", "field", "corrected", "reason")


class TableInfo(BaseModel):
    """What a paper's table is called and where its cells stand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^[\w.]+\.csv$")]
    paper: Literal["DTQL", "SRPO", "EDP", "BDPO"]
    label: str
    """As the paper names it (`Table 1`)."""
    title: str
    remarks: tuple[str, ...] = ()
    """What is inconsistent in it and cannot be said as the erratum of one cell."""


class _Index(RootModel[dict[str, TableInfo]]):
    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class Erratum:
    """A correction of one field of one cell."""

    field: Literal["mean", "spread", "task"]
    corrected: str
    """Right value; empty where the printed one is wrong and the right one unknown."""
    reason: str


@dataclass(frozen=True)
class PaperCell:
    """One printed number; wrong ones too are as printed, with their corrections in `errata`."""

    paper: str
    table: str
    """As the paper names it (`Table 1`)."""
    metric: str
    """`d4rl_normalized_score` (0-100), `train_time_s_per_1k_steps`, `inference_time_s_per_trajectory`, ..."""
    domain: str
    """As in tasks.yaml: locomotion, antmaze, adroit or kitchen."""
    task: str
    """Task name; `average` or `sum` for the printed aggregate of the domain."""
    method: str
    """As the paper names it; its own method by its name where it prints `Ours`."""
    mean: float | None
    """None where nothing is printed."""
    printed: str
    """The mean's digits as printed."""
    spread: float | None
    """What stands after the plus-minus sign."""
    printed_spread: str
    """The spread's digits as printed."""
    spread_kind: SpreadKind
    """What `spread` means; empty where there is none."""
    seeds: int | None
    """Training seeds behind the number; None for quoted numbers."""
    episodes: int | None
    """Evaluation episodes per seed."""
    protocol: PaperProtocol
    """How evaluations became this score; empty where it is not known or not a score."""
    protocol_as_stated: str
    accepts_variants: tuple[str, ...]
    """Variants that may be held against this number; none for quoted numbers, aggregates and times."""
    note: str
    errata: tuple[Erratum, ...] = ()

    @property
    def task_meant(self) -> str:
        """The task that the number is of: as printed, unless an erratum corrects its name."""
        named = (erratum.corrected for erratum in self.errata if erratum.field == "task")
        return next((task for task in named if task), self.task)

    @property
    def succeeds_or_fails(self) -> bool:
        """Whether an episode of its task scores 0 or 100."""
        domain = shipped_domains().get(self.domain)
        return domain is not None and domain.succeeds_or_fails


@dataclass(frozen=True)
class PaperTable:
    """A printed table, its cells in the paper's row order and, within a row, in its column order."""

    id: str
    info: TableInfo
    rows: tuple[PaperCell, ...]

    @property
    def full_title(self) -> str:
        """`DTQL Table 1: D4RL scores, ...`."""
        return f"{self.info.paper} {self.info.label}: {self.info.title}"

    @property
    def tasks(self) -> tuple[str, ...]:
        """Rows in the paper's order; aggregates appear once however many domains have one."""
        return tuple(dict.fromkeys(cell.task for cell in self.rows))

    @property
    def methods(self) -> tuple[str, ...]:
        """Columns in the paper's order."""
        return tuple(dict.fromkeys(cell.method for cell in self.rows))


def paper_tables() -> Mapping[str, TableInfo]:
    """All tables by id (`dtql-1`), in the order of paper_tables/tables.yaml."""
    return validated(_Index, load_yaml(resource("paper_tables") / "tables.yaml")).root


def load_paper_table(table_id: str) -> PaperTable:
    """The printed table called `table_id`.

    Raises
    ------
    BenchError : unknown id, or a cell that cannot be read (file and line are named).
    """
    known = paper_tables()
    if table_id not in known:
        raise unknown_name("table", table_id, known, "bench list tables")
    info = known[table_id]
    folder = resource("paper_tables")
    errata = _errata(folder / "errata.csv", table_id)
    cells = tuple(
        _cell(path, line, row, errata) for path, line, row in _rows(folder / info.file, _CELL_COLUMNS)
    )
    if errata:
        raise BenchError(f"errata.csv: {table_id} has no cell {next(iter(errata))}")
    return PaperTable(table_id, info, cells)


CellKey = tuple[str, str, str, str, str]
"""Metric, domain, task, method, protocol: what tells the cells of a table apart."""


def _errata(path: Path, table_id: str) -> dict[CellKey, tuple[Erratum, ...]]:
    found: dict[CellKey, tuple[Erratum, ...]] = {}
    for _, line, row in _rows(path, _ERRATA_COLUMNS):
        if row["table"] != table_id:
            continue
        if row["field"] not in ("mean", "spread", "task"):
            raise BenchError(f"{path.name} line {line}: unknown field {quoted(row['field'])}")
        field = cast(Literal["mean", "spread", "task"], row["field"])
        before = found.get(_key(row), ())
        if any(erratum.field == field for erratum in before):
            raise BenchError(f"{path.name} line {line}: a second erratum for the {field} of the same cell")
        found[_key(row)] = (*before, Erratum(field, row["corrected"], row["reason"]))
    return found


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[Path, int, dict[str, str]]]:
    """The rows of a CSV file with just these columns.

    Raises
    ------
    BenchError : it cannot be read, or is no such file; the line is named.
    """
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != tuple(columns):
                raise BenchError(f"{path.name} line 1: the columns are not {', '.join(columns)}")
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    raise BenchError(f"{path.name} line {line}: wrong number of fields")
                yield path, line, row
    except OSError as error:
        why = f"{error.strerror}."
        raise BenchError(f"cannot read {quoted(str(path))}", why, "Install bench again.") from error
    except UnicodeDecodeError as error:
        raise BenchError(f"{path.name}: not UTF-8 text", f"{error.reason}.", "Save it as UTF-8.") from error
    except csv.Error as error:
        raise BenchError(f"{path.name} after line {line}: {error}") from error


def _key(row: Mapping[str, str]) -> CellKey:
    return row["metric"], row["domain"], row["task"], row["method"], row["protocol"]


def _cell(
    path: Path, line: int, row: dict[str, str], errata: dict[CellKey, tuple[Erratum, ...]]
) -> PaperCell:
    """One row as a cell; takes its errata out of `errata`, so that what is left over has no cell."""
    if row["spread_kind"] not in _SPREAD_KINDS or row["protocol"] not in _PROTOCOLS:
        raise BenchError(f"{path.name} line {line}: unknown spread_kind or protocol")
    try:
        return PaperCell(
            **{name: row[name] for name in ("paper", "table", "metric", "domain", "task", "method")},
            mean=_number(row["mean"]),
            printed=row["mean"],
            spread=_number(row["spread"]),
            printed_spread=row["spread"],
            spread_kind=cast(SpreadKind, row["spread_kind"]),
            seeds=_count(row["seeds"]),
            episodes=_count(row["episodes"]),
            protocol=cast(PaperProtocol, row["protocol"]),
            protocol_as_stated=row["protocol_as_stated"],
            accepts_variants=tuple(row["accepts_variants"].split()),
            note=row["note"],
            errata=errata.pop(_key(row), ()),
        )
    except ValueError as error:
        raise BenchError(f"{path.name} line {line}: {error}") from error


def _number(text: str) -> float | None:
    """A number as printed; None where nothing is."""
    if text and not re.fullmatch(r"-?\d{1,12}(\.\d{1,12})?", text):
        raise ValueError(f"{quoted(text)} is no number as papers print them")
    return float(text) if text else None


def _count(text: str) -> int | None:
    if text and not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise ValueError(f"{quoted(text)} is no number of seeds or episodes")
    return int(text) if text else None
