"""Tables as LaTeX with booktabs, to be put into a paper with \\input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from bench.report.condensed import condensed
from bench.report.renderers.latex_setting import Setting, header_lines, setting_of, spread
from bench.report.tables import Block, Cell, Column, Table, legend, note_labels
from bench.visible_text import visible

HEADER = "% In the preamble: \\usepackage{booktabs,graphicx,rotating}\n"

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
    setting = setting_of(short.blocks)
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


def _float(heading: str, body: str, notes: str, setting: Setting) -> str:
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
