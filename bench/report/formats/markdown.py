"""Tables as Markdown, aligned so that they also read well as plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bench.report.tables import Block, Cell, Table, legend, note_labels
from bench.visible_text import visible


def render(tables: Sequence[Table]) -> str:
    """All tables, each with its counts and notes; what is stated about their verdicts, once at the end."""
    parts = [_table(table) for table in tables]
    statements = dict.fromkeys(text for table in tables for text in table.statements)
    if statements:
        parts.append("## Verdicts\n\n" + "\n".join(f"- {escape(text)}" for text in statements) + "\n")
    return "\n".join(parts)


def _table(table: Table) -> str:
    labels = note_labels(table)
    parts = [f"## {escape(table.title)}", f"{str(table.coverage).capitalize()}."]
    for block in table.blocks:
        if not block.of_paper:
            parts.append(f"### {escape(block.title)}")
        parts.append(_block(block, labels))
    notes = [f"- [{label}] {escape(text)}" for text, label in labels.items()]
    notes = [f"- {escape(meaning)}" for meaning in legend(table)] + notes
    notes += [f"- {escape(note)}" for note in table.notes]
    return "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def _block(block: Block, labels: Mapping[str, str]) -> str:
    lines = [[escape(column.header) for column in block.columns]]
    lines += [[_cell(cell, labels) for cell in row.cells] for row in block.rows]
    widths = [max(3, *(len(line[place]) for line in lines)) for place in range(len(block.columns))]
    left = [column.kind == "label" for column in block.columns]
    rule = [
        "-" * width if is_left else "-" * (width - 1) + ":"
        for width, is_left in zip(widths, left, strict=True)
    ]
    padded = [
        [
            text.ljust(w) if is_left else text.rjust(w)
            for text, w, is_left in zip(line, widths, left, strict=True)
        ]
        for line in lines
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])


def _cell(cell: Cell, labels: Mapping[str, str]) -> str:
    text = escape(cell.text)
    if cell.bold:
        text = f"**{text}**"
    marks = cell.mark + "".join(f"[{labels[note]}]" for note in cell.notes())
    return f"{text} {marks}".strip()


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no cell borders, emphasis or HTML from a name."""
    text = visible(" ".join(text.split()))
    for character, safe in (
        ("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("*", "\\*"), ("`", "\\`"), ("[", "\\["),
        ("~", "\\~"),
    ):  # fmt: skip
        text = text.replace(character, safe)
    # Within a word an underscore is just that.
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    return text
