"""The papers' printed tables as data: every cell with its protocol, the meaning of its spread, and errata.

Also how a paper sets them (headings, notes, decimals, bold type), and what methods are called there and here.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from algorithms.registry import methods
from bench.catalog import shipped_domains
from bench.errors import BenchError
from bench.presets import method_on
from bench.records import PrintedNumber
from bench.resources import resource
from bench.visible_text import quoted
from bench.yaml_lines import load_yaml, validated

SpreadKind = Literal["std_over_seeds", "se_over_rollouts", "unknown", ""]
PaperProtocol = Literal["last", "rat", "oms", "mean5", "bc-select", "last-bestN", ""]
Doubted = Literal["mean", "spread", "task"]
"""Fields of a cell that an erratum may correct."""

AVERAGE = "average"
AGGREGATES = (AVERAGE, "sum")
"""What the CSV files name as task for a printed aggregate of a domain."""
SCORE = "d4rl_normalized_score"
"""The metric of every number that is a score."""

_SAID = {
    "rat": "RAT",
    "oms": "OMS",
    "last": "last",
    "mean5": "mean of 5",
    "bc-select": "BC selection",
    "last-bestN": "best N",
}
"""Protocols in the header of a column."""
_KEY_COLUMNS = ("metric", "domain", "task", "method")
_CELL_COLUMNS = (
    "paper", "table", *_KEY_COLUMNS, "mean", "spread", "spread_kind", "seeds", "episodes", "protocol",
    "protocol_as_stated", "accepts_variants", "note",
)  # fmt: skip
_ERRATA_COLUMNS = ("table", *_KEY_COLUMNS, "protocol", "field", "corrected", "reason")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bold(_Entry):
    """Which numbers of a row are bold: all within a share of the highest one."""

    within: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """0.05: no more than 5 % of its size below the highest; 0: the highest only."""
    averages: bool = True
    """Whether averages and sums have bold numbers, too."""
    stated: str = ""
    """The paper's own words; empty where it states no rule."""

    def threshold(self, values: Sequence[float]) -> float:
        """The lowest value that is bold."""
        highest = max(values)
        return highest - self.within * abs(highest)

    @property
    def sentence(self) -> str:
        """What bold type means, for a table's notes."""
        near = (
            f"all within {100 * self.within:g} % of the highest number"
            if self.within
            else "the highest number"
        )
        where = "row" if self.averages else "task"
        stated = f'says the paper: "{self.stated}"' if self.stated else "the paper states no rule"
        return (
            f"Bold: {near} of a {where}, printed among printed and, where there are two, measured "
            f"among measured ({stated})."
        )


class Scores(_Entry):
    """Scores: a row for each task, in blocks by domain."""

    headings: dict[str, tuple[str, str]]
    """Domain in the CSV -> (heading of its block, name of its average)."""


class Averages(_Entry):
    """Averages over domains, a row for each."""

    of: str
    """Id of the table that prints what is averaged."""
    heading: str


class SpeedRow(_Entry):
    """A row: its name, where the printed number stands, and which stored quantity it is."""

    label: str
    metric: str = ""
    """Metric in the paper's CSV; empty for a row that the paper does not have."""
    quantity: str | None = None
    """Quantity of the timing records; None: only printed."""
    reading: Literal[
        "as_stored", "milliseconds", "per_second", "iterations_per_second", "epochs", "hours"
    ] = "as_stored"
    """How the stored number (seconds) is shown; epochs and hours follow from the preset's phases."""
    decimals: int = 2
    caveat: str = ""
    """What the measured number holds or leaves out."""


class SpeedBlock(_Entry):
    """Rows under one header, and the places of the paper that print their numbers."""

    title: str
    printed_in: tuple[str, ...]
    """Labels in the CSV's column `table`."""
    rows: tuple[SpeedRow, ...]


class Speed(_Entry):
    """Speeds on one task: a row for each quantity."""

    task: str
    hardware: str
    """What the paper measured on."""
    blocks: tuple[SpeedBlock, ...]


class WallTime(_Entry):
    """Hours and epochs of whole trials: a row for each task."""

    heading: str
    """Above the tasks."""
    hardware: str


class TableInfo(_Entry):
    """What a paper's table is called, where its cells stand, and what its CSV file does not say."""

    file: Annotated[str, Field(pattern=r"^[\w.]+\.csv$")]
    paper: Literal["DTQL", "SRPO", "EDP", "BDPO", "CORL"]
    label: str
    """As the paper names it (`Table 1`)."""
    title: str
    own: dict[str, str] = {}
    """The paper's own methods -> their headers: they always have a measured column, blank or not."""
    notes: tuple[str, ...] = ()
    """What stands below it."""
    bold: Bold | None = None
    remarks: tuple[str, ...] = ()
    """What is inconsistent in it and cannot be said as the erratum of one cell."""
    scores: Scores | None = None
    averages: Averages | None = None
    speed: Speed | None = None
    wall_time: WallTime | None = None
    """What kind of table it is: one of the four is given."""


class _Index(_Entry):
    """The file tables.yaml."""

    notes: dict[str, str]
    """Sentences that several tables share, by the name that tables use."""
    tables: dict[str, TableInfo]

    @model_validator(mode="after")
    def _all_notes_are_known(self) -> _Index:
        for table_id, info in self.tables.items():
            for note in info.notes:
                if " " not in note and note not in self.notes:
                    raise ValueError(f"{table_id} has the note {quoted(note)}, which is no shared sentence")
        return self


@dataclass(frozen=True)
class Erratum:
    """A correction of one field of one cell."""

    field: Doubted
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
    def text(self) -> str:
        """The paper's own digits: `99.6 ± 0.87`."""
        return self.printed + (f" ± {self.printed_spread}" if self.printed_spread else "")

    @property
    def algorithm(self) -> str:
        """Name in this suite of its method."""
        return algorithm_of(self.method, self.domain)

    @property
    def key(self) -> PrintedNumber:
        """What the number is of, in however many tables it stands."""
        return self.paper, self.algorithm, self.task_meant, self.protocol

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
    def notes(self) -> tuple[str, ...]:
        """All that stands below it: notes, what bold type means, and remarks."""
        bold = (self.info.bold.sentence,) if self.info.bold else ()
        return (*self.info.notes, *bold, *self.info.remarks)

    @property
    def methods(self) -> tuple[str, ...]:
        """Columns in the paper's order."""
        return tuple(dict.fromkeys(cell.method for cell in self.rows))


@dataclass(frozen=True)
class Digits:
    """Decimals of a column's numbers and of what stands after their plus-minus sign."""

    mean: int = 1
    spread: int = 1


DEFAULT_DIGITS = Digits()


def digits_of(cells: Iterable[PaperCell]) -> Digits:
    """The most decimals that are printed among `cells` (`110` stands in a column of `99.6`).

    A column without any printed spread shows measured ones with the decimals of its means.
    """
    cells = list(cells)
    means = [_decimals(cell.printed) for cell in cells if cell.printed]
    spreads = [_decimals(cell.printed_spread) for cell in cells if cell.printed_spread]
    mean = max(means, default=Digits.mean)
    return Digits(mean, max(spreads, default=mean))


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


def paper_tables() -> Mapping[str, TableInfo]:
    """All tables by id (`dtql-1`), in the order of paper_tables/tables.yaml."""
    index = validated(_Index, load_yaml(resource("paper_tables") / "tables.yaml"))
    return {
        table_id: info.model_copy(update={"notes": tuple(index.notes.get(note, note) for note in info.notes)})
        for table_id, info in index.tables.items()
    }


def load_paper_tables() -> dict[str, PaperTable]:
    """All printed tables by id, in the order of paper_tables/tables.yaml.

    Raises
    ------
    BenchError : a cell cannot be read (file and line are named).
    """
    errata, found = _errata(), {}
    for table_id, info in paper_tables().items():
        path, of_table = resource("paper_tables") / info.file, errata.get(table_id, {})
        cells = tuple(_cell(path, line, row, of_table) for line, row in _rows(path, _CELL_COLUMNS))
        if of_table:
            raise BenchError(f"errata.csv: {table_id} has no cell {next(iter(of_table))}")
        found[table_id] = PaperTable(table_id, info, cells)
    return found


CellKey = tuple[str, str, str, str, str]
"""Metric, domain, task, method, protocol: what tells the cells of a table apart."""


def _errata() -> dict[str, dict[CellKey, tuple[Erratum, ...]]]:
    """Corrections by table and cell."""
    path = resource("paper_tables") / "errata.csv"
    found: dict[str, dict[CellKey, tuple[Erratum, ...]]] = {}
    for line, row in _rows(path, _ERRATA_COLUMNS):
        if row["field"] not in get_args(Doubted):
            raise BenchError(f"{path.name} line {line}: unknown field {quoted(row['field'])}")
        field = cast(Doubted, row["field"])
        of_table = found.setdefault(row["table"], {})
        before = of_table.get(_key(row), ())
        if any(erratum.field == field for erratum in before):
            raise BenchError(f"{path.name} line {line}: a second erratum for the {field} of the same cell")
        of_table[_key(row)] = (*before, Erratum(field, row["corrected"], row["reason"]))
    return found


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with just these columns, each with its line.

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
                yield line, row
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
    if row["spread_kind"] not in get_args(SpreadKind) or row["protocol"] not in get_args(PaperProtocol):
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


# What methods are called


def ablations() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Printed names of methods of ours with other hyper-parameters (`bench run --set NAME=VALUE`).

    Each with the method's name here and what was changed, as a trial's `reduced` says it, sorted.
    """
    return {
        printed: (name, tuple(sorted(f"{key} set to {value}" for key, value in changes.items())))
        for name, method in methods().items()
        for printed, changes in method.ablations.items()
    }


def algorithm_of(method: str, domain: str) -> str:
    """Name in this suite of a method as papers print it: `TD3+BC` -> `td3bc`."""
    declared = (name for name, own in methods().items() if method in own.printed)
    name = next(declared, None) or re.sub(r"[^a-z0-9]", "", method.lower())
    return method_on(name, domain)


def column_of(cells: Iterable[PaperCell]) -> dict[PaperCell, str]:
    """Column that each cell stands in: its method, with the protocol where a method has several."""
    cells = list(cells)
    protocols: dict[str, set[str]] = {}
    for cell in cells:
        protocols.setdefault(cell.method, set()).add(cell.protocol)
    return {
        cell: cell.method
        if len(protocols[cell.method]) == 1
        else f"{cell.method} ({_SAID.get(cell.protocol, 'protocol unknown')})"
        for cell in cells
    }
