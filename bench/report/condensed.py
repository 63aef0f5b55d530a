"""A table for paper: what holds throughout is said once below it, and takes no room in columns and cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from bench.report.tables import Block, Cell, Table


def condensed(table: Table) -> Table:
    """`table` without columns of conditions that are the same in all rows, and without the usual n."""
    said = []
    dropped = set()
    for key, header in _conditions(table).items():
        cells = [cell for cell in _column(table, key) if cell.text]
        texts = {cell.text for cell in cells}
        if len(texts) <= 1 and not any(cell.notes() for cell in cells):
            dropped.add(key)
            said += [f"{header[0].lower()}{header[1:]} {text}" for text in texts]
    usual = _usual_count(table)
    counts = {cell.n for cell in table.cells() if _count(cell)}
    if usual is not None:
        said.append(f"n = {usual}" + (" unless said otherwise" if len(counts) > 1 else ""))
    blocks = tuple(_block(block, dropped, usual) for block in table.blocks)
    notes = (f"Throughout: {', '.join(said)}.",) if said else ()
    return replace(table, blocks=blocks, notes=(*table.notes, *notes))


def _conditions(table: Table) -> dict[str, str]:
    """Key -> header of the columns of conditions."""
    columns = [column for block in table.blocks for column in block.columns]
    return {column.key: column.header for column in columns if column.kind == "condition"}


def _column(table: Table, key: str) -> list[Cell]:
    """The cells of the columns with this key, in all blocks."""
    return [
        cell
        for block in table.blocks
        for row in block.rows
        for column, cell in zip(block.columns, row.cells, strict=True)
        if column.key == key
    ]


def _count(cell: Cell) -> str:
    """` (n=5)` where a measured cell ends so."""
    count = f" (n={cell.n})"
    return count if cell.kind == "measured" and cell.text.endswith(count) else ""


def _usual_count(table: Table) -> int | None:
    """The n of more than half of the measured cells; None where there is none."""
    counts = Counter(cell.n for cell in table.cells() if _count(cell))
    ((count, cells),) = counts.most_common(1) or [(None, 0)]
    return count if 2 * cells > counts.total() else None


def _block(block: Block, dropped: set[str], usual: int | None) -> Block:
    keep = [place for place, column in enumerate(block.columns) if column.key not in dropped]
    rows = []
    for row in block.rows:
        cells = [row.cells[place] for place in keep]
        shortened = (
            replace(cell, text=cell.text.removesuffix(_count(cell))) if cell.n == usual else cell
            for cell in cells
        )
        rows.append(replace(row, cells=tuple(shortened)))
    return replace(block, columns=tuple(block.columns[place] for place in keep), rows=tuple(rows))
