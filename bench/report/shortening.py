"""What of a table is shown: which columns, which rows, and what need not be said in each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import replace

from bench.report.tables import Block, Cell, Table, with_columns
from bench.visible_text import count

# Columns


def without_unmeasured(table: Table) -> Table:
    """Without the measured columns in which nothing stands."""
    return replace(table, blocks=tuple(map(_without_unmeasured, table.blocks)))


def _without_unmeasured(block: Block) -> Block:
    def stays(place: int) -> bool:
        cells = [row.cells[place] for row in block.rows]
        return block.columns[place].kind != "measured" or any(cell.text or cell.notes() for cell in cells)

    return with_columns(block, [place for place in range(len(block.columns)) if stays(place)])


def own_columns(table: Table) -> Table:
    """The columns of methods that the paper ran itself, and the rows of tasks that were measured.

    None is bold: the numbers that it would stand out from are left out.
    """
    short = replace(compact(table), notes=tuple(note for note in table.notes if not note.startswith("Bold:")))
    return replace(short, blocks=tuple(_plain(_without_quoted(block)) for block in short.blocks))


def _plain(block: Block) -> Block:
    rows = (replace(row, cells=tuple(replace(cell, bold=False) for cell in row.cells)) for row in block.rows)
    return replace(block, rows=tuple(rows))


def _without_quoted(block: Block) -> Block:
    """The block without methods of which the paper quotes the numbers; all where it ran none."""
    kept = [place for place, column in enumerate(block.columns) if not column.quoted]
    ran = any(block.columns[place].method for place in kept)
    return with_columns(block, kept) if ran else block


# Rows and methods that were measured


def compact(table: Table, *, methods: bool = True) -> Table:
    """Only what was measured: methods and tasks with a measured number; tasks alone without `methods`.

    Averages stay in the blocks that stay. A table without any measured number keeps its rows and the methods
    that could be measured.
    """
    rows_too = table.rows_are_tasks and any(row.measured() for block in table.blocks for row in block.rows)
    blocks = [_compact_block(block, rows_too, methods) for block in table.blocks]
    kept = tuple(block for block in blocks if block.rows)
    hidden = sum(len(block.rows) for block in table.blocks) - sum(len(block.rows) for block in kept)
    left_out = [f"{count(hidden, 'row')} without a measurement"] if hidden else []
    if methods and any(column.kind == "printed" for block in table.blocks for column in block.columns):
        left_out.append("methods without one" if hidden else "methods without a measurement")
    note = (f"Left out here: {' and '.join(left_out)}. --full shows them.",) if left_out else ()
    return replace(table, blocks=kept, notes=(*table.notes, *note))


def _compact_block(block: Block, rows_too: bool, methods_too: bool) -> Block:
    if rows_too and not any(row.measured() for row in block.rows):
        return replace(block, rows=())
    rows = [row for row in block.rows if not rows_too or row.aggregate or row.measured()]
    shorter = replace(block, rows=tuple(rows))
    return with_columns(shorter, _compact_columns(block)) if methods_too else shorter


def _compact_columns(block: Block) -> list[int]:
    """Places of the columns of methods with a measured number; of all that could have one where none has."""
    could, has = set(), set()
    for place, column in enumerate(block.columns):
        if column.kind == "measured":
            could.add(column.method)
            if any(row.cells[place].text for row in block.rows):
                has.add(column.method)
    shown = has or could
    return [
        place
        for place, column in enumerate(block.columns)
        if column.kind in ("label", "condition") or column.method in shown
    ]


def condensed(table: Table) -> Table:
    """What holds throughout is said once below the table, and takes no room in columns and cells.

    So it is with columns of conditions that are the same in all rows, and with the usual number of seeds.
    """
    said = []
    dropped = set()
    columns = [column for block in table.blocks for column in block.columns if column.kind == "condition"]
    for key, header in {column.key: column.header for column in columns}.items():
        cells = [cell for cell in _cells_under(table, key) if cell.text]
        texts = {cell.text for cell in cells}
        if len(texts) <= 1 and not any(cell.notes() for cell in cells):
            dropped.add(key)
            said += [f"{header[0].lower()}{header[1:]} {text}" for text in texts]
    counts = Counter(cell.n for cell in table.cells() if cell.says_count)
    ((usual, cells_with_it),) = counts.most_common(1) or [(None, 0)]
    if 2 * cells_with_it > counts.total():
        said.append(f"n = {usual}" + (" unless said otherwise" if len(counts) > 1 else ""))
    else:
        usual = None
    blocks = tuple(_condensed_block(block, dropped, usual) for block in table.blocks)
    notes = (f"Throughout: {', '.join(said)}.",) if said else ()
    return replace(table, blocks=blocks, notes=(*table.notes, *notes))


def _cells_under(table: Table, key: str) -> Iterator[Cell]:
    """The cells of the columns with this key, in all blocks."""
    for block in table.blocks:
        for place, column in enumerate(block.columns):
            if column.key == key:
                yield from (row.cells[place] for row in block.rows)


def _condensed_block(block: Block, dropped: Container[str], usual: int | None) -> Block:
    def shortened(cell: Cell) -> Cell:
        return replace(cell, count_said=False) if cell.says_count and cell.n == usual else cell

    rows = [replace(row, cells=tuple(map(shortened, row.cells))) for row in block.rows]
    keep = [place for place, column in enumerate(block.columns) if column.key not in dropped]
    return with_columns(replace(block, rows=tuple(rows)), keep)
