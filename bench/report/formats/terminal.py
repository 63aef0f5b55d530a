"""Tables for a terminal, as wide as it is: methods side by side as far as they fit, the rest stacked below.

What is made are Rich's tables and texts; whoever prints them knows the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from bench.records import Outcome
from bench.report.judgement import WORDS, Judgement
from bench.report.tables import TEXT_MARKS, Block, Cell, Row, Table, legend, note_labels
from bench.text_tables import COLUMN_GAP, TextColumn, text_table

STYLES: Mapping[Outcome, str] = {
    "reproduced": "green",
    "below": "red",
    "above": "magenta",
    "inconclusive": "yellow",
    "not comparable": "dim",
}
"""Beside the marks, so that nothing is told by colour alone."""
_STYLE_OF_MARK = {TEXT_MARKS[WORDS[outcome]]: style for outcome, style in STYLES.items()}
_LONGEST_LINE = 24
"""Characters of a label that is not folded further: a task's name is longer, and stays whole."""

Shown = Callable[[str], str]
"""Makes a text what the terminal can show, without anything that acts on it."""


def counts(judgement: Judgement, shown: Shown) -> Text:
    """How many printed numbers have which verdict, and where each is told."""
    if not judgement.cells:
        return Text("No printed number has a verdict yet.")
    parts = [
        Text(shown(f"{TEXT_MARKS[WORDS[outcome]]} {number} {WORDS[outcome]}"), style=STYLES[outcome])
        for outcome, number in judgement.counts().items()
        if number
    ]
    return Text("Verdicts: ", style="bold") + Text("; ").join(parts) + Text(". `bench check` tells of each.")


def rendered(
    tables: Sequence[Table], judgement: Judgement, width: int, shown: Shown
) -> Iterator[RenderableType]:
    """The counts, every table, and what is stated about all verdicts, part by part."""
    yield counts(judgement, shown)
    for table in tables:
        yield Text()
        yield _table(table, width, shown)
    statements = dict.fromkeys(text for table in tables for text in table.statements)
    if statements:
        yield Text()
        yield Text("What the verdicts mean", style="bold")
        yield _notes([("-", text) for text in statements], shown)


def _table(table: Table, width: int, shown: Shown) -> RenderableType:
    labels = note_labels(table)
    parts: list[RenderableType] = [
        Text(shown(table.title), style="bold"),
        Text(shown(f"{str(table.coverage).capitalize()}."), style="dim"),
    ]
    for block in table.blocks:
        if not block.of_paper:
            parts += [Text(), Text(shown(block.title), style="italic")]
        for places in _stacked(block, labels, width, shown):
            parts += [Text(), _part(block, places, labels, width, shown)]
    notes = [(meaning[:1], meaning[2:]) for meaning in legend(table)]
    notes += [(f"[{label}]", text) for text, label in labels.items()]
    notes += [("-", text) for text in table.notes]
    if notes:
        parts += [Text(), _notes(notes, shown)]
    return Group(*parts)


def _notes(notes: Sequence[tuple[str, str]], shown: Shown) -> RenderableType:
    grid = RichTable.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in notes:
        grid.add_row(Text(shown(label)), Text(shown(" ".join(text.split()))))
    return Padding(grid, (0, 0, 0, 1))


# Columns: which stand side by side


def _stacked(block: Block, labels: Mapping[str, str], width: int, shown: Shown) -> list[list[int]]:
    """Places of the columns of each part: all begin with the labels; a method's numbers stay together."""
    widths = [_width(block, place, labels, shown) for place in range(len(block.columns))]
    heading = [place for place, column in enumerate(block.columns) if column.kind == "label"]
    room = width - sum(widths[place] + COLUMN_GAP for place in heading)
    parts: list[list[int]] = []
    left = 0
    for group in _groups(block, heading):
        needed = sum(widths[place] + COLUMN_GAP for place in group)
        if not parts or needed > left:
            parts.append([*heading])
            left = room
        parts[-1] += group
        left -= needed
    return parts or [heading]


def _groups(block: Block, heading: Sequence[int]) -> list[list[int]]:
    """Places of what belongs side by side: the numbers of a method; the conditions of a row."""
    rest = [place for place in range(len(block.columns)) if place not in heading]

    def of(place: int) -> str:
        column = block.columns[place]
        return column.method or ("" if column.kind == "condition" else column.key)

    return [list(places) for _, places in groupby(rest, of)]


def _width(block: Block, place: int, labels: Mapping[str, str], shown: Shown) -> int:
    """Places that a column takes when its header is folded at spaces and its cells are not."""
    column = block.columns[place]
    texts = [_cell(row.cells[place], labels, shown).plain for row in block.rows]
    words = shown(column.header).split() or [""]
    if column.kind == "label":
        # Long sentences fold; the first word of each, a task's name, is whole.
        texts = [word for text in texts for word in ([text] if len(text) <= _LONGEST_LINE else text.split())]
    return max(cell_len(text) for text in (*words, *texts))


def _part(
    block: Block, places: Sequence[int], labels: Mapping[str, str], width: int, shown: Shown
) -> RichTable:
    columns = ((place, block.columns[place]) for place in places)
    table = text_table(
        [
            # What is too wide for any terminal folds, and nothing else.
            TextColumn(
                shown(column.header),
                right=column.kind != "label",
                least=min(_width(block, place, labels, shown), width // 2),
            )
            for place, column in columns
        ]
    )
    for row, following in zip(block.rows, (*block.rows[1:], None), strict=True):
        cells = [_cell(row.cells[place], labels, shown) for place in places]
        table.add_row(*cells, end_section=_ends_section(row, following))
    return table


def _ends_section(row: Row, following: Row | None) -> bool:
    return following is not None and following.aggregate and not row.aggregate


def _cell(cell: Cell, labels: Mapping[str, str], shown: Shown) -> Text:
    text = Text(shown(cell.text), style="bold" if cell.bold else "")
    marks = cell.mark + "".join(f"[{labels[note]}]" for note in cell.notes())
    if not marks:
        return text
    return Text.assemble(text, " " if cell.text else "", (shown(marks), _STYLE_OF_MARK.get(cell.mark, "")))
