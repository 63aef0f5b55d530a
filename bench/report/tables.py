"""Tables as data: what a report says, apart from how it is printed.

A cell holds what stands in it (the printed number, what was measured, the verdict), not its text. Every
format reads this model and nothing else, so that they cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeVar

from bench.presets import RELEASED
from bench.records import IMPORTED
from bench.report.judgement import WORDS, Verdict
from bench.report.measured import Measured
from bench.report.paper import DEFAULT_DIGITS, Bold, Digits, Erratum, PaperCell
from bench.visible_text import count

CellKind = Literal["label", "printed", "measured", "condition"]
RowKey = TypeVar("RowKey")
PrintedOrNone = TypeVar("PrintedOrNone", bound="PaperCell | Amount | None")

TEXT_MARKS: Mapping[str, str] = {
    WORDS["reproduced"]: "≈",
    WORDS["below"]: "↓",
    WORDS["above"]: "↑",
    WORDS["inconclusive"]: "?",
    WORDS["not comparable"]: "†",
}
"""What stands behind a measured number in text for its verdict."""


@dataclass(frozen=True)
class Amount:
    """A number that is no cell's score (an average, a time, a distance) and what is known of it."""

    value: float | None = None
    spread: float | None = None
    n: int | None = None
    algorithm: str | None = None
    variant: str | None = None
    task: str | None = None
    quantity: str | None = None
    """What was measured; empty where it was computed."""
    spread_kind: str | None = None
    seeds: tuple[int, ...] | None = None
    scores: tuple[float, ...] | None = None
    """The number of each seed."""
    trials: tuple[int, ...] | None = None
    budget: float | None = None
    config_hash: str | None = None
    device: str | None = None
    threads: int | None = None
    runner: str | None = None
    matmul_precision: str | None = None


@dataclass(frozen=True)
class Cell:
    """One place in a table; blank where nothing stands in it."""

    kind: CellKind
    words: str = ""
    """What stands in a cell that is no number: a label, a condition, an answer."""
    printed: PaperCell | Amount | None = None
    """The number that the paper prints; of a measured cell: that it is held against."""
    measured: Measured | Amount | None = None
    verdict: Verdict | None = None
    """What is said of the measured number held against the printed one."""
    not_comparable: tuple[str, ...] = ()
    """Why a measured number must not be held against the printed one; empty where it may."""
    footnotes: tuple[str, ...] = ()
    digits: Digits = DEFAULT_DIGITS
    bold: bool = False
    count_said: bool = True
    """Whether a score says over how many seeds it is; not where its table says it once for all."""

    @property
    def number(self) -> PaperCell | Measured | Amount | None:
        """What the number in it is."""
        return self.printed if self.kind == "printed" else self.measured

    @cached_property
    def _parts(self) -> tuple[float | None, float | None, int | None]:
        number = self.number
        if isinstance(number, PaperCell):
            return number.mean, number.spread, number.seeds
        if isinstance(number, Measured):
            return number.mean, number.standard_deviation, number.n or None
        return (number.value, number.spread, number.n) if number is not None else (None, None, None)

    @property
    def value(self) -> float | None:
        """The number, in full precision."""
        return self._parts[0]

    @property
    def spread(self) -> float | None:
        """What stands after ±."""
        return self._parts[1]

    @property
    def n(self) -> int | None:
        """Training seeds (scores) or measurements (timings) behind the number."""
        return self._parts[2]

    @cached_property
    def text(self) -> str:
        """As every format shows it, without marks: `99.6 ± 0.87`, `99.5 ± 1.50 (n=3)`; empty where blank."""
        if self.words:
            return self.words
        if self.kind == "printed" and isinstance(self.printed, PaperCell):
            return self.printed.text
        spread = "" if self.spread is None else f"{self.spread:.{self.digits.spread}f}"
        seeds = f" (n={self.n})" if self.says_count else ""
        return number_text(self.value, self.digits.mean, spread) + seeds

    @property
    def says_count(self) -> bool:
        """Whether its text ends with the number of seeds."""
        return self.count_said and isinstance(self.number, Measured) and self.value is not None

    @property
    def verdict_words(self) -> str:
        """The verdict as a reader is told it; empty where there is none."""
        return "" if self.verdict is None else WORDS[self.verdict.outcome]

    @property
    def interval(self) -> tuple[float, float] | None:
        """90 % interval of the difference, measured minus printed, where it was tested."""
        test = None if self.verdict is None else self.verdict.comparison
        return None if test is None else (test.low, test.high)

    @property
    def mark(self) -> str:
        """The sign of its verdict, or of not being comparable; empty where there is nothing to say."""
        return TEXT_MARKS.get(WORDS["not comparable"] if self.not_comparable else self.verdict_words, "")

    def notes(self) -> tuple[str, ...]:
        """Everything that the cell's marks point at, reasons first."""
        reasons = (f"not comparable: {'; '.join(self.not_comparable)}",) if self.not_comparable else ()
        return reasons + self.footnotes


BLANK = Cell("measured")


@dataclass(frozen=True)
class Column:
    """A column; cells of a row stand in the order of the block's columns."""

    key: str
    header: str
    kind: CellKind
    method: str = ""
    """The paper's name of the method that a printed or measured column belongs to."""
    quoted: bool = False
    """Its printed scores are copied from another paper."""


CONDITIONS = (
    Column("budget", "Budget", "condition"),
    Column("physics", "Physics", "condition"),
    Column("task_version", "Task v.", "condition"),
    Column("precision", "Precision", "condition"),
)
"""Under which conditions the scores of a row were measured; the last one where it is not fp32 throughout."""


@dataclass(frozen=True)
class Row:
    """A row of a block."""

    cells: tuple[Cell, ...]
    aggregate: bool = False
    """An average or a sum, set apart by a rule."""
    counted: bool = True
    """Its measured cells count; not so for averages, for rows that a paper lacks or that are not measured."""

    def measured(self) -> bool:
        """Whether any cell of the row holds a measured number."""
        return any(cell.kind == "measured" and cell.text for cell in self.cells)


@dataclass(frozen=True)
class Block:
    """Rows under one header; a paper's table may hold several with different methods."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    of_paper: bool = True
    """False for rows that the paper does not have (collected twins, further configurations)."""


@dataclass(frozen=True)
class Coverage:
    """Counts of a table's measurable cells."""

    cells: int
    measured: int
    comparable: int
    further: int = 0
    """Measured rows that the paper does not have."""
    imported: int = 0
    """Rows of imported scores."""
    sentence: str = ""
    """What a table says of itself that has no cells of a paper."""

    def __str__(self) -> str:
        if self.sentence:
            return self.sentence
        further = f"; {self.further} measured beyond the paper's cells" if self.further else ""
        imported = f"; {count(self.imported, 'row')} imported" if self.imported else ""
        return (
            f"{self.measured} of {self.cells} cells measured, {self.comparable} comparable{further}{imported}"
        )


@dataclass(frozen=True)
class Table:
    """A table of a paper with the measured numbers beside the printed ones."""

    id: str
    title: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    coverage: Coverage
    """Counted when the table is made (`counted_table`): a shortened table still says how much there is."""
    rows_are_tasks: bool
    """Rows of tasks may be left out where nothing was measured; rows of quantities stay."""
    statements: tuple[str, ...] = ()
    """Margins and error rates of the verdicts in its cells, the same in every table of a report."""

    def cells(self) -> Iterator[Cell]:
        """All cells, in reading order."""
        for block in self.blocks:
            for row in block.rows:
                yield from row.cells


# Making tables


def columns_of(
    name: str, header: str, *, printed: bool = True, measured: bool = True, quoted: bool = False
) -> list[Column]:
    """The columns of a method: what is printed, and beside it what was measured."""
    columns = [Column(f"{name} printed", header, "printed", name, quoted)] if printed else []
    beside = f"{header.removesuffix(' (Ours)')} measured"
    return columns + ([Column(f"{name} measured", beside, "measured", name, quoted)] if measured else [])


def printed_cell(number: PaperCell | Amount | None) -> Cell:
    """A number as the paper prints it; a known misprint carries its correction as a footnote."""
    if not isinstance(number, PaperCell):
        return Cell("printed", printed=number)
    if number.mean is None:
        return Cell("printed")
    return Cell("printed", printed=number, footnotes=tuple(map(_correction, number.errata)))


def _correction(erratum: Erratum) -> str:
    what = "" if erratum.field == "mean" else f"the {erratum.field} "
    if not erratum.corrected:
        return f"as printed; {what}in doubt, the right value unknown. {erratum.reason}"
    return f"as printed; {what}should be {erratum.corrected}. {erratum.reason}"


def variant_note(variant: str) -> tuple[str, ...]:
    """A variant as footnotes of what was measured of it; none of the released one, nor of imported scores."""
    return () if variant in (RELEASED, IMPORTED) else (f"variant {variant}",)


def filled_block(
    title: str,
    columns: Sequence[Column],
    rows: Iterable[RowKey],
    label: Callable[[RowKey, Column], str],
    printed: Callable[[RowKey, Column], PrintedOrNone],
    measured: Callable[[RowKey, Column, PrintedOrNone], Cell],
    *,
    bold: Bold | None = None,
    aggregates: Container[RowKey] = (),
    uncounted: Container[RowKey] = (),
    of_paper: bool = True,
) -> Block:
    """Rows and columns filled in; conditions follow from the scores that stand in a row.

    Parameters
    ----------
    columns : the conditions last, where the block has them.
    label, printed : what stands in such a column, row by row.
    measured : the cell of a measured column; beside the number that is printed there.
    aggregates : rows that are averages or sums; these are not counted.
    uncounted : further rows that are not counted.
    """

    def cell(key: RowKey, column: Column) -> Cell:
        if column.kind == "label":
            return Cell("label", label(key, column))
        number = printed(key, column)
        return printed_cell(number) if column.kind == "printed" else measured(key, column, number)

    def row(key: RowKey) -> Row:
        aggregate = key in aggregates
        cells = [cell(key, column) for column in columns if column.kind != "condition"]
        conditions = conditions_of(cells) if len(cells) < len(columns) else ()
        cells = emboldened(cells, bold, aggregate)
        return Row((*cells, *conditions), aggregate, counted=not aggregate and key not in uncounted)

    return _without_usual_precision(Block(title, tuple(columns), tuple(map(row, rows)), of_paper))


def _without_usual_precision(block: Block) -> Block:
    """The block without its column of precisions, where all that is measured is in fp32, as on every CPU."""
    usual = all(row.cells[-1].text in ("", "fp32") for row in block.rows)
    if not (block.columns and block.columns[-1] == CONDITIONS[-1] and usual):
        return block
    rows = tuple(replace(row, cells=row.cells[:-1]) for row in block.rows)
    return replace(block, columns=block.columns[:-1], rows=rows)


def conditions_of(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Budget, physics, task version and precision of a row; several where its scores differ."""
    scores = [cell.measured for cell in cells if isinstance(cell.measured, Measured) and cell.measured.n]
    values = (
        [f"{score.budget:g}" for score in scores],
        [score.physics for score in scores],
        [str(score.task_version) for score in scores],
        [score.precision for score in scores if score.precision],
    )
    return tuple(Cell("condition", " / ".join(dict.fromkeys(texts))) for texts in values)


def emboldened(cells: Sequence[Cell], rule: Bold | None, aggregate: bool = False) -> list[Cell]:
    """A row's cells with the bold ones set; a measured number that stands alone is not bold."""
    if rule is None or (aggregate and not rule.averages):
        return list(cells)
    thresholds = {}
    for kind, at_least in (("printed", 1), ("measured", 2)):
        values = [cell.value for cell in cells if cell.kind == kind and cell.value is not None]
        if len(values) >= at_least:
            thresholds[kind] = rule.threshold(values)
    return [
        replace(cell, bold=cell.value is not None and cell.value >= thresholds.get(cell.kind, math.inf))
        for cell in cells
    ]


def counted_table(
    table_id: str, title: str, blocks: Sequence[Block], notes: tuple[str, ...], rows_are_tasks: bool = True
) -> Table:
    """A table with its measurable cells counted: those of counted rows in the paper's blocks."""
    cells = [
        cell
        for block in blocks
        if block.of_paper
        for row in block.rows
        if row.counted
        for cell in row.cells
        if cell.kind == "measured"
    ]
    measured = [cell for cell in cells if cell.text]
    comparable = sum(not cell.not_comparable for cell in measured)
    further = sum(
        row.measured() for block in blocks if not block.of_paper for row in block.rows if not row.aggregate
    )
    imported = sum(map(_is_imported, (row for block in blocks for row in block.rows)))
    coverage = Coverage(len(cells), len(measured), comparable, further - imported, imported)
    return Table(table_id, title, tuple(blocks), notes, coverage, rows_are_tasks)


def _is_imported(row: Row) -> bool:
    """Whether the numbers of a row were not measured here; imported ones stand in blocks of their own."""
    numbers = (cell.measured for cell in row.cells)
    return any(isinstance(number, Measured) and bool(number.imported) for number in numbers)


# Reading tables


def finite(value: float | None) -> float | None:
    """The value, or None where there is no number to show."""
    return value if value is not None and math.isfinite(value) else None


def number_text(value: float | None, decimals: int, spread_text: str = "") -> str:
    """`12.3 ± 1.2`; empty where there is no finite value."""
    if finite(value) is None:
        return ""
    return f"{value:z.{decimals}f}" + (f" ± {spread_text}" if spread_text else "")


def legend(table: Table) -> tuple[str, ...]:
    """What the marks in a table mean, only those that it has."""
    used = {cell.mark for cell in table.cells()}
    reason = {WORDS["not comparable"]: " with the printed number, for the reason named"}
    return tuple(f"{mark} {word}{reason.get(word, '')}" for word, mark in TEXT_MARKS.items() if mark in used)


def note_labels(table: Table) -> dict[str, str]:
    """Labels a, b, ..., z, aa, ... of a table's footnotes, in order of first appearance."""
    texts = dict.fromkeys(note for cell in table.cells() for note in cell.notes())
    return {text: _letters(number) for number, text in enumerate(texts)}


def _letters(number: int) -> str:
    prefix, letter = divmod(number, 26)
    return (_letters(prefix - 1) if prefix else "") + chr(ord("a") + letter)


# A part of a block


def with_columns(block: Block, places: Sequence[int]) -> Block:
    """Only the columns at these places."""
    rows = (replace(row, cells=tuple(row.cells[place] for place in places)) for row in block.rows)
    return replace(block, columns=tuple(block.columns[place] for place in places), rows=tuple(rows))
