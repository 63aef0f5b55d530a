"""Tables as LaTeX that goes into a paper, and charts as floats, to be read with \\input.

A table stands upright in one size of type, aligned at the decimal points. One that fits into a column of a
two-column class is a `table`, a wider one a `table*`, and where all columns are too wide for the text, blocks
of methods stand on top of each other. Below it are at most three lines of notes; everything else that is to
be said of it stands in comments, and in a legend of its own (`render_legend`).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.report.formats.latex_tabular import LINE, MARKS, MISPRINT, REMARK, Stack, escape
from bench.report.shortening import condensed
from bench.report.tables import TEXT_MARKS, Block, Table, with_columns
from bench.visible_text import visible

if TYPE_CHECKING:
    from bench.report.charts import Chart

TEXT_WIDTH = 6.2
"""Inches of text: what two columns of article have at least; those of IEEE, ACM and ICML are wider."""

HEADER = "% In the preamble: \\usepackage{array,booktabs,threeparttable}\n"
LEGEND_HEADER = "% The legend of tables.tex: \\input it where the appendix is.\n"
CHART_HEADER = "% In the preamble: \\usepackage{graphicx}\n"
_DOCUMENT = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{lmodern}
\usepackage[a4paper,margin=2.5cm]{geometry}
\renewcommand{\floatpagefraction}{0.8}\renewcommand{\dblfloatpagefraction}{0.8}
"""
PREAMBLE = r"""\usepackage{array,booktabs}
\IfFileExists{threeparttable.sty}{\usepackage{threeparttable}}{% Debian has it in texlive-latex-extra
  \newenvironment{threeparttable}{}{}
  \newenvironment{tablenotes}[1][]{\par\smallskip\raggedright\def\item{}}{\par}}
\extrafloats{64}
"""
"""What the tables need, with a stand-in for the one package that a small installation lacks."""


@dataclass(frozen=True)
class TableStyle:
    """What of a table a paper shows."""

    blanks: bool = False
    """Whether rows and columns stand in which nothing does."""
    marked: bool = True
    """Whether verdicts and misprints are marked."""
    text_width: float = TEXT_WIDTH
    """Inches."""

    def shown(self, table: Table) -> Table:
        """The part of a table that is shown; what holds throughout is said once."""
        short = condensed(table)
        return short if self.blanks else replace(short, blocks=tuple(map(_without_blanks, short.blocks)))

    @property
    def text_points(self) -> float:
        """The width of the text."""
        return 72.27 * self.text_width

    @property
    def column_points(self) -> float:
        """The width of one of two columns, in points."""
        return (self.text_points - _COLUMN_SEPARATION) / 2


def render(tables: Sequence[Table], style: TableStyle | None = None) -> str:
    """All tables as floats, each with everything that is to be said of it in comments behind."""
    chosen = style or TableStyle()
    parts = [_table(table, chosen) + _comment(chosen.shown(table)) for table in tables]
    statements = dict.fromkeys(text for table in tables for text in table.statements)
    about = "".join(f"% {line}\n" for text in statements for line in _folded(text))
    return HEADER + about + "\n".join(parts)


def document(tables: Sequence[Table], style: TableStyle | None = None) -> str:
    """A document of its own that shows the tables as a two-column paper sets them."""
    return f"{_DOCUMENT}{PREAMBLE}\\begin{{document}}\n{render(tables, style)}\\end{{document}}\n"


def render_legend(tables: Sequence[Table], style: TableStyle | None = None) -> str:
    """What every mark, note and verdict in the tables means: running text for an appendix."""
    chosen = style or TableStyle()
    parts = []
    for table in tables:
        shown = chosen.shown(table)
        meanings = list(_meanings(shown)) if chosen.marked else []
        said = [*([_listed(meanings)] if meanings else []), *map(escape, _details(shown))]
        parts.append(f"\\paragraph{{Table~\\ref{{tab:{table.id}}}.}} {' '.join(said)}\n")
    statements = dict.fromkeys(text for table in tables for text in table.statements)
    if statements:
        parts.append(f"\\paragraph{{Verdicts.}} {escape(' '.join(statements))}\n")
    body = "\n".join(parts)
    return f"{LEGEND_HEADER}\\begingroup\\sloppy\n{body}\\par\\endgroup\n"


# What is said of a table

_FEW_ROWS = 3
"""That are named in a sentence; more are counted."""
_COMMENT_WIDTH = 108
_NOTE_LINES, _NOTE_CHARACTER = 3, 4.0
"""Lines below a table, and points of a character there."""


def _without_blanks(block: Block) -> Block:
    """The block without rows and columns in which nothing stands."""
    rows = [row for row in block.rows if any(cell.text for cell in row.cells if cell.kind != "label")]
    filled = [
        place
        for place, column in enumerate(block.columns)
        if column.kind == "label" or any(row.cells[place].text for row in rows)
    ]
    return with_columns(replace(block, rows=tuple(rows)), filled)


def _listed(meanings: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"${sign}$~{word}" for sign, word in meanings) + "."


def _details(table: Table) -> list[str]:
    """Everything that is said of a table and its cells, each as a sentence."""
    places: dict[str, dict[str, list[str]]] = {}
    for block in table.blocks:
        for row in block.rows:
            for column, cell in zip(block.columns, row.cells, strict=True):
                for note in cell.notes():
                    of_column = places.setdefault(note, {}).setdefault(column.header, [])
                    of_column.append(row.cells[0].text or block.title)
    of_cells = [f"{'; '.join(map(_place, found, found.values()))}: {note}" for note, found in places.items()]
    return [*table.notes, *map(_sentence, of_cells)]


def _place(column: str, rows: Sequence[str]) -> str:
    return f"{column}, {', '.join(rows)}" if len(rows) <= _FEW_ROWS else f"{column}, {len(rows)} cells"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _comment(table: Table) -> str:
    """The details as LaTeX comments."""
    return "".join(f"% {line}\n" for text in _details(table) for line in _folded(text))


def _folded(text: str) -> list[str]:
    return textwrap.wrap(visible(text), _COMMENT_WIDTH, break_long_words=False, break_on_hyphens=False)


def _notes(table: Table, marked: bool, width: float) -> str:
    """What stands below a table, in three lines of `width` points: its marks, then what else fits."""
    left = _NOTE_LINES * width / _NOTE_CHARACTER
    parts = []
    if marked and (meanings := list(_meanings(table))):
        # Set apart by their signs, which are no text to be measured or escaped.
        parts.append(_listed(meanings))
        left -= sum(len(word) + 4 for _, word in meanings)
    throughout = [note for note in table.notes if note.startswith("Throughout:")]
    for note in dict.fromkeys((*throughout, *table.notes)):
        if len(note) <= left:
            parts.append(escape(note))
            left -= len(note) + 1
    return " ".join(parts)


def _meanings(table: Table) -> Iterator[tuple[str, str]]:
    """The signs that a table uses, with their meanings in few words."""
    cells = list(table.cells())
    used = {cell.mark for cell in cells}
    yield from ((MARKS[mark], word) for word, mark in TEXT_MARKS.items() if mark in used)
    if any(cell.footnotes for cell in cells if cell.kind == "printed"):
        yield MISPRINT, "misprint, as printed"
    if any(cell.footnotes for cell in cells if cell.kind != "printed"):
        yield REMARK, "see the legend"


# Floats

_CAPTION, _FLOAT = 60.0, 540.0
"""Points: of a caption with notes, and of a whole float in the shortest of texts."""
_COLUMN_SEPARATION = 12.0
_LEAST_SHARE = 0.6
"""Of the text's width, for a table over both columns."""
_FEWEST_ROWS = 3
"""Of a block that goes on in another float."""
_BETWEEN = "\\midrule[\\heavyrulewidth]"
"""Between blocks, and between the stacks of one."""


def _table(table: Table, style: TableStyle) -> str:
    """One float, or several where the rows are too many for a page."""
    shown = style.shown(table)
    whole = [Stack(block, style.marked) for block in shown.blocks]
    narrow = all(stack.width <= style.column_points for stack in whole)
    room = style.column_points if narrow else style.text_points
    pages = list(_pages([stack for block in whole for stack in block.within(room)]))
    coverage = f"; {table.coverage}" if style.marked else ""
    heading = f"\\caption{{{escape(f'{table.title}{coverage}.')}}}\n\\label{{tab:{table.id}}}\n"
    floats = []
    for page in pages:
        width = room if narrow else min(room, max(_LEAST_SHARE * room, *(stack.width for stack in page)))
        notes = _notes(shown, style.marked, width) if page is pages[-1] else ""
        share = math.ceil(100 * width / room) / 100  # rounded down it would be too narrow by a point or two
        floats.append(_float(page, heading, notes, "" if narrow else f"{share:.2f}"))
        heading = f"\\addtocounter{{table}}{{-1}}\n\\caption{{{escape(table.title)} (continued).}}\n"
    return "\n".join(floats)


def _pages(stacks: Sequence[Stack]) -> Iterator[list[Stack]]:
    """The stacks of each float; one that is longer than a page goes on in the next."""
    page: list[Stack] = []
    left = _FLOAT - _CAPTION
    for stack in stacks:
        rest = stack
        if page and rest.height > left:
            yield page
            page, left = [], _FLOAT - _CAPTION
        while rest.height > left and len(rest.block.rows) > _FEWEST_ROWS:
            rows = rest.block.rows
            fitting = max(_FEWEST_ROWS, len(rows) - 1 - int((rest.height - left) / LINE))
            yield [rest.of_rows(rows[:fitting])]
            rest = rest.of_rows(rows[fitting:])
        page.append(rest)
        left -= rest.height
    if page:
        yield page


def _float(page: Sequence[Stack], heading: str, notes: str, share: str) -> str:
    """A float over one column, or as wide as a share of the text."""
    environment = "table*" if share else "table"
    below = ["\\begin{tablenotes}[para,flushleft]\\footnotesize", f"\\item {notes}", "\\end{tablenotes}"]
    lines = (
        f"\\begin{{{environment}}}[tp]",
        "\\centering\\footnotesize",
        "\\setlength{\\tabcolsep}{3pt}\\setlength{\\belowcaptionskip}{4pt}",
        f"{heading}\\begin{{threeparttable}}",
        # Within threeparttable \\linewidth would be that of the tabular before.
        *_tabulars(page, f"{share}\\textwidth" if share else "\\columnwidth"),
        *(below if notes else ()),
        "\\end{threeparttable}",
        f"\\end{{{environment}}}",
    )
    return "\n".join(lines) + "\n"


def _tabulars(page: Sequence[Stack], width: str) -> Iterator[str]:
    """Equally wide ones; stacks of one shape share one, as in the papers: equal columns, equal headers."""
    for place, stack in enumerate(page):
        if place and stack.specification == page[place - 1].specification:
            yield _BETWEEN
        else:
            yield from ["\\end{tabular*}", ""] if place else []
            yield f"\\begin{{tabular*}}{{{width}}}{{{stack.specification}}}"
            yield _BETWEEN if place else "\\toprule"
        yield from stack.lines
    yield from ["\\bottomrule", "\\end{tabular*}"]


# Charts


def render_charts(charts: Sequence[Chart], format_: str) -> str:
    """One float per chart, as wide as its column; wide ones span both columns."""
    return CHART_HEADER + "".join(_chart(chart, format_) for chart in charts)


def _chart(chart: Chart, format_: str) -> str:
    name = "figure*" if chart.wide else "figure"
    lines = (
        f"\\begin{{{name}}}",
        "  \\centering",
        f"  \\includegraphics[width=\\linewidth]{{{chart.id}.{format_}}}",
        f"  \\caption{{{escape(chart.title)}. {escape(chart.about)}}}",
        f"  \\label{{fig:{chart.id}}}",
        f"\\end{{{name}}}",
    )
    return "\n".join(lines) + "\n"
