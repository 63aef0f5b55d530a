"""Tables as LaTeX with booktabs, to be put into a paper with \\input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from bench.report.tables import Block, Cell, Table, legend, note_labels

HEADER = "% In the preamble: \\usepackage{booktabs,graphicx}\n"

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
    return HEADER + "\n".join(_table(table) for table in tables)


def document(tables: Sequence[Table]) -> str:
    """A document of its own that shows the tables."""
    return (
        "\\documentclass[10pt]{article}\n"
        "\\usepackage[T1]{fontenc}\n\\usepackage[utf8]{inputenc}\n\\usepackage{lmodern}\n"
        "\\usepackage[a4paper,margin=1.5cm]{geometry}\n"
        "\\usepackage{booktabs,graphicx}\n"
        f"\\begin{{document}}\n{render(tables)}\\end{{document}}\n"
    )


def _table(table: Table) -> str:
    labels = note_labels(table)
    notes = [f"{label}: {text}" for text, label in labels.items()]
    notes = [*legend(table), *notes]
    sentences = [*(f"{note}." if not note.endswith(".") else note for note in notes), *table.notes]
    # Blocks of one shape share a tabular, as in the papers: equal columns under equal headers.
    tabulars = [_tabular(shape, blocks, labels) for shape, blocks in groupby(table.blocks, key=_alignment)]
    body = "\n\n\\medskip\n".join(tabulars)
    return (
        "\\begin{table*}[p]\n\\centering\n"
        f"\\caption{{{escape(table.title)}; {escape(str(table.coverage))}.}}\n"
        f"\\label{{tab:{table.id}}}\n\\setlength{{\\tabcolsep}}{{4pt}}\n"
        f"{body}\n\n\\medskip\n"
        f"\\parbox{{\\textwidth}}{{\\scriptsize {escape(' '.join(sentences))}}}\n"
        "\\end{table*}\n"
    )


def _tabular(alignment: str, blocks: Iterable[Block], labels: Mapping[str, str]) -> str:
    lines = ["\\toprule"]
    for place, block in enumerate(blocks):
        lines += ["\\midrule"] if place else []
        lines += _block(block, labels)
    body = "\n".join([*lines, "\\bottomrule"])
    # Wide tables shrink to the page; narrow ones keep their size.
    width = "\\ifdim\\width>\\textwidth\\textwidth\\else\\width\\fi"
    tabular = f"\\begin{{tabular}}{{{alignment}}}\n{body}\n\\end{{tabular}}"
    return f"\\resizebox{{{width}}}{{!}}{{%\n{tabular}}}"


def _block(block: Block, labels: Mapping[str, str]) -> list[str]:
    lines = []
    if not block.of_paper:
        lines.append(f"\\multicolumn{{{len(block.columns)}}}{{l}}{{{escape(block.title)}}} \\\\")
    lines += [_line(escape(column.header) for column in block.columns), "\\midrule"]
    for place, row in enumerate(block.rows):
        if row.aggregate and place:
            lines.append("\\midrule")
        lines.append(_line(_cell(cell, labels) for cell in row.cells))
    return lines


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
        for character in " ".join(text.split())
    )
    return escaped.replace("--", "-{}-")  # two hyphens would be set as one dash
