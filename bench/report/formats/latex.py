"""Tables as LaTeX with booktabs, and charts as floats, to be put into a paper with \\input.

How a table is set (size of type, orientation, the pages that its rows are spread over) follows from
estimates of width and height, for the page of the stand-alone document; in a narrower one \\resizebox shrinks
what is still too wide.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from bench.report.tables import Block, Cell, Column, Table, condensed, legend, note_labels
from bench.visible_text import visible

if TYPE_CHECKING:
    from bench.report.charts import Chart

HEADER = "% In the preamble: \\usepackage{booktabs,graphicx,rotating}\n"
CHART_HEADER = "% In the preamble: \\usepackage{graphicx}\n"

_MATHS = {"†": r"\dagger", "≈": r"\approx", "↓": r"\downarrow", "↑": r"\uparrow"}
"""Marks as pdflatex sets them in formulas."""
_SPECIAL = {
    **{mark: f"${command}$" for mark, command in _MATHS.items()},
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    # At the beginning of a row these two would belong to the end of the one before.
    "[": "{[}",
    "*": "{*}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\`{}",
    '"': "''",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "β": r"$\beta$",
    "η": r"$\eta$",
    "\N{EN DASH}": "-",
    "\N{MINUS SIGN}": "$-$",
}


def render(tables: Sequence[Table]) -> str:
    """All tables as floats; what they need stands in a comment."""
    judged = [table.id for table in tables if table.statements]
    return HEADER + "\n".join(_table(table, judged[0] if judged else "") for table in tables)


def document(tables: Sequence[Table]) -> str:
    """A document of its own that shows the tables."""
    return (
        "\\documentclass[10pt]{article}\n"
        "\\usepackage[T1]{fontenc}\n\\usepackage[utf8]{inputenc}\n\\usepackage{lmodern}\n"
        "\\usepackage[a4paper,margin=1.5cm]{geometry}\n"
        "\\usepackage{booktabs,graphicx,rotating}\n\\extrafloats{64}\n"
        f"\\begin{{document}}\n{render(tables)}\\end{{document}}\n"
    )


def _table(table: Table, first_judged: str) -> str:
    """One float, or several where the rows do not fit onto a page.

    Parameters
    ----------
    first_judged : id of the table that states margins and error rates for all others.
    """
    short = condensed(table)
    labels = note_labels(short)
    notes = _notes(short, labels, first_judged)
    setting = typesetting_of(short.blocks)
    pages = spread(short.blocks, setting, notes)
    caption = f"{escape(table.title)}; {escape(str(table.coverage))}."
    floats = []
    for number, blocks in enumerate(pages):
        first, last = number == 0, number == len(pages) - 1
        heading = f"\\caption{{{caption}}}\n\\label{{tab:{table.id}}}\n" if first else _continued(table)
        floats.append(_float(heading, _body(blocks, labels), notes if last else "", setting))
    return "\n".join(floats)


def _notes(table: Table, labels: Mapping[str, str], first_judged: str) -> str:
    """What stands below a table, as LaTeX: marks, footnotes, notes, and where the verdicts come from."""
    marked = [*legend(table), *(f"{label}: {text}" for text, label in labels.items())]
    sentences = [*(text if text.endswith(".") else f"{text}." for text in marked), *table.notes]
    stated = table.id == first_judged
    text = escape(" ".join([*sentences, *(table.statements if stated else ())]))
    return text + (
        "" if stated or not table.statements else f" Verdicts: see Table~\\ref{{tab:{first_judged}}}."
    )


def _continued(table: Table) -> str:
    return f"\\addtocounter{{table}}{{-1}}\n\\caption{{{escape(table.title)} (continued).}}\n"


def _float(heading: str, body: str, notes: str, setting: Typesetting) -> str:
    environment = "sidewaystable*" if setting.sideways else "table*"
    place = "" if setting.sideways else "[p]"
    parts = [body] if body else []
    if notes:
        parts.append(f"\\parbox{{\\linewidth}}{{\\scriptsize {notes}}}")
    return (
        f"\\begin{{{environment}}}{place}\n\\centering\n\\setlength{{\\belowcaptionskip}}{{5pt}}\n{heading}"
        f"{setting.size.command}\n\\setlength{{\\tabcolsep}}{{3pt}}\n"
        + "\n\n\\medskip\n".join(parts)
        + f"\n\\end{{{environment}}}\n"
    )


def _body(blocks: Sequence[Block], labels: Mapping[str, str]) -> str:
    # Blocks of one shape share a tabular, as in the papers: equal columns under equal headers.
    tabulars = [_tabular(shape, same, labels) for shape, same in groupby(blocks, key=_alignment)]
    return "\n\n\\medskip\n".join(tabulars)


def _tabular(alignment: str, blocks: Iterable[Block], labels: Mapping[str, str]) -> str:
    lines = ["\\toprule"]
    for place, block in enumerate(blocks):
        lines += ["\\midrule"] if place else []
        lines += _block(block, labels)
    body = "\n".join([*lines, "\\bottomrule"])
    # Wide tables shrink to the page; narrow ones keep their size.
    width = "\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi"
    tabular = f"\\begin{{tabular}}{{{alignment}}}\n{body}\n\\end{{tabular}}"
    return f"\\resizebox{{{width}}}{{!}}{{%\n{tabular}}}"


def _block(block: Block, labels: Mapping[str, str]) -> list[str]:
    lines = []
    if not block.of_paper:
        lines.append(f"\\multicolumn{{{len(block.columns)}}}{{l}}{{{escape(block.title)}}} \\\\")
    lines += [_line(_header(column) for column in block.columns), "\\midrule"]
    for place, row in enumerate(block.rows):
        if row.aggregate and place:
            lines.append("\\midrule")
        lines.append(_line(_cell(cell, labels) for cell in row.cells))
    return lines


def _header(column: Column) -> str:
    """A header, its lines on top of each other."""
    lines = [escape(line) for line in header_lines(column)]
    return lines[0] if len(lines) == 1 else "\\shortstack[r]{" + r"\\".join(lines) + "}"


def _alignment(block: Block) -> str:
    return "".join("l" if column.kind == "label" else "r" for column in block.columns)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell, labels: Mapping[str, str]) -> str:
    text = escape(cell.text)
    if cell.bold:
        text = f"\\textbf{{{text}}}"
    marks = [_MATHS.get(cell.mark, cell.mark)] if cell.mark else []
    marks += [labels[note] for note in cell.notes()]
    return f"{text}$^{{{','.join(marks)}}}$" if marks else text


def escape(text: str) -> str:
    """Text that LaTeX sets as it is; a character that pdflatex may not know becomes a question mark."""
    escaped = "".join(
        _SPECIAL.get(character, character if character.isascii() else "?")
        for character in visible(" ".join(text.split()))
    )
    return escaped.replace("--", "-{}-")  # two hyphens would be set as one dash


# How a table is set

_HEADER_WIDTH = 13
"""Characters of a header before it is broken into lines."""
_COLUMN_GAP = 6.0
_RULE = 6.0
"""Points around a rule."""


@dataclass(frozen=True)
class TypeSize:
    """A size of type: its command, and points per character and line."""

    command: str
    character: float
    line: float


SMALL, FOOTNOTE, SCRIPT = (
    TypeSize("\\small", 4.7, 11.0),
    TypeSize("\\footnotesize", 4.2, 9.5),
    TypeSize("\\scriptsize", 3.7, 8.2),
)


@dataclass(frozen=True)
class PageSize:
    """Room on a page, in points."""

    width: float
    height: float


PORTRAIT, LANDSCAPE = PageSize(510.0, 700.0), PageSize(750.0, 470.0)


@dataclass(frozen=True)
class Typesetting:
    """How one table is set."""

    size: TypeSize
    page: PageSize

    @property
    def sideways(self) -> bool:
        """Whether it is turned."""
        return self.page is LANDSCAPE

    def notes_height(self, text: str) -> float:
        """Points that notes take at \\scriptsize."""
        return SCRIPT.line * (1 + len(text) * SCRIPT.character / self.page.width)


def typesetting_of(blocks: Sequence[Block]) -> Typesetting:
    """The largest type in which the widest block fits, upright if at all possible."""
    for page in (PORTRAIT, LANDSCAPE):
        for size in (SMALL, FOOTNOTE, SCRIPT):
            if all(_width(block, size) <= page.width for block in blocks):
                return Typesetting(size, page)
    return Typesetting(SCRIPT, LANDSCAPE)


def header_lines(column: Column) -> list[str]:
    """A column's header, broken where it would widen the column."""
    if column.kind == "label":
        return [column.header]
    return textwrap.wrap(column.header, _HEADER_WIDTH, break_long_words=False) or [""]


def spread(blocks: Sequence[Block], setting: Typesetting, notes: str) -> list[tuple[Block, ...]]:
    """The blocks page by page, long ones continued; the last page may be empty: for notes that need it."""
    pages: list[list[Block]] = [[]]
    left = setting.page.height
    for block in blocks:
        rows = list(block.rows)
        header = _header_height(block, setting.size)
        while rows:
            fitting = int((left - header) // setting.size.line)
            if fitting < min(3, len(rows)) and pages[-1]:
                pages.append([])
                left = setting.page.height
                continue
            taken, rows = rows[: max(fitting, 3)], rows[max(fitting, 3) :]
            pages[-1].append(replace(block, rows=tuple(taken)))
            left -= header + len(taken) * setting.size.line
    if left < setting.notes_height(notes):
        pages.append([])
    return [tuple(page) for page in pages]


def _width(block: Block, size: TypeSize) -> float:
    widths = [
        max(
            *(len(line) for line in header_lines(column)),
            *(_characters(row.cells[place]) for row in block.rows),
            1,
        )
        for place, column in enumerate(block.columns)
    ]
    return size.character * sum(widths) + _COLUMN_GAP * len(widths)


def _characters(cell: Cell) -> float:
    """Characters of a cell; marks are small, bold type is wide."""
    marks = len(cell.notes()) + bool(cell.mark)
    return len(cell.text) * (1.1 if cell.bold else 1.0) + 1.2 * marks


def _header_height(block: Block, size: TypeSize) -> float:
    lines = max(len(header_lines(column)) for column in block.columns)
    aggregates = sum(row.aggregate for row in block.rows)
    return size.line * (lines + (0 if block.of_paper else 1)) + _RULE * (3 + aggregates)


# Charts


def render_charts(charts: Sequence[Chart], format_: str) -> str:
    """One float per chart, in its printed size; wide ones span both columns."""
    return CHART_HEADER + "".join(_chart(chart, format_) for chart in charts)


def _chart(chart: Chart, format_: str) -> str:
    name = "figure*" if chart.wide else "figure"
    lines = (
        f"\\begin{{{name}}}",
        "  \\centering",
        f"  \\includegraphics{{{chart.id}.{format_}}}",
        f"  \\caption{{{escape(chart.title)}. {escape(chart.about)}}}",
        f"  \\label{{fig:{chart.id}}}",
        f"\\end{{{name}}}",
    )
    return "\n".join(lines) + "\n"
