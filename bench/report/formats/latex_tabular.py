"""How a block of a table is set in LaTeX: its columns aligned, its header, and its methods in stacks.

Numbers are aligned by \\phantom digits instead of siunitx's S columns: these are for one number and its own
uncertainty, not for 99.6 +- 0.87, with more decimals behind the sign than before it, and siunitx is not in
every installation.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bench.report.tables import Block, Cell, Column, Row, with_columns
from bench.visible_text import visible

MARKS = {"≈": r"\approx", "↓": r"\downarrow", "↑": r"\uparrow", "?": r"\circ", "†": r"\dagger"}
"""Marks of verdicts as formulas; a question mark behind a number would look like a slip."""
MISPRINT, REMARK = r"\ast", r"\ddagger"
"""Behind a printed number that is wrong, and behind a measured one of which there is more to say."""

_SPECIAL = {
    **{mark: f"${command}$" for mark, command in MARKS.items() if mark != "?"},
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


def escape(text: str) -> str:
    """Text that LaTeX sets as it is; a character that pdflatex may not know becomes a question mark."""
    escaped = "".join(
        _SPECIAL.get(character, character if character.isascii() else "?")
        for character in visible(" ".join(text.split()))
    )
    return escaped.replace("--", "-{}-")  # two hyphens would be set as one dash


# Widths

_GAP = 6.0
"""Points between columns: two of \\tabcolsep."""
_MARK, _OVERHANG = 6.0, 2.0
"""Of a mark, and by how much the widest is wider: it takes that of the gap behind, where there is one."""
_LONGEST_LINE = 120.0
"""Points of a column of words, before it is broken into lines."""
LINE, _RULES = 9.6, 14.0
"""Points: of a line of \\footnotesize, and of what the rules of a block take."""
_WIDTHS = {**dict.fromkeys("iljtfr.,:;!'()[]/ -", 2.9), **dict.fromkeys("mwMW%+=±≈", 6.7)}
_CAPITAL, _CHARACTER, _BOLD = 6.2, 4.35, 2.5


def points(text: str) -> float:
    """About how wide a text is in Computer Modern at 8 points, which is wider than Times."""
    return sum(_WIDTHS.get(sign, _CAPITAL if sign.isupper() else _CHARACTER) for sign in text)


# Columns

_NUMBER = re.compile(r"(-?\d+)(\.\d+)?(?: ± (\d+)(\.\d+)?)?(?: (\(n=\d+\)))?")
"""The text of a number: its digits before and behind the point, those of its spread, and how many seeds."""


@dataclass(frozen=True)
class _Places:
    """How many characters the numbers of a column have at most before and behind their points."""

    whole: int
    decimals: int
    spread: int
    spread_decimals: int
    count: int

    @staticmethod
    def of(numbers: Iterable[re.Match[str]]) -> _Places:
        """Of all numbers of a column."""
        parts = [match.groups(default="") for match in numbers]
        return _Places(*(max((len(part[place]) for part in parts), default=0) for place in range(5)))

    @property
    def behind_point(self) -> str:
        return _decimals(self.decimals)

    @property
    def behind_spread(self) -> str:
        return _decimals(self.spread_decimals)

    @property
    def with_spread(self) -> str:
        return f" ± {'0' * self.spread}{self.behind_spread}" if self.spread else ""

    @property
    def with_count(self) -> str:
        return f" {'0' * self.count}" if self.count else ""

    @property
    def width(self) -> float:
        """Points of a number that fills all places."""
        return points("0" * self.whole + self.behind_point + self.with_spread + self.with_count)


def _decimals(length: int) -> str:
    return "." + "0" * (length - 1) if length else ""


@dataclass(frozen=True)
class Aligned:
    """A column as it is set."""

    column: Column
    texts: tuple[str, ...]
    """LaTeX of every row."""
    width: float
    """Points, without marks."""
    marks: int
    """Of the cell with most; they hang behind their numbers."""
    is_text: bool

    def specification(self, gap: float) -> str:
        """Its letter, with room for its marks and the gap behind it."""
        if self.is_text:
            broken = f">{{\\raggedright\\arraybackslash}}p{{{_LONGEST_LINE:.0f}pt}}"
            return broken if self.width > _LONGEST_LINE else "l"
        return f"r@{{\\hspace{{{gap + self.marks * _MARK:.0f}pt}}}}" if self.marks else "r"

    def room(self, header: str = "") -> float:
        """Points that it takes under a header of one line, with its marks and the gap behind."""
        width = min(self.width, _LONGEST_LINE) if self.is_text else max(self.width, points(header))
        return width + self.marks * _MARK + _GAP


def _aligned(column: Column, cells: Sequence[Cell], marked: bool) -> Aligned:
    """The cells of a column; numbers share the places of their decimal points and of ±."""
    matches = [_NUMBER.fullmatch(cell.text) for cell in cells]
    places = _Places.of(match for match in matches if match)
    signs = [_signs(cell) if marked else () for cell in cells]
    texts = tuple(
        _number(cell, match, places, _hung(some)) if match else _words(cell) + _hung(some)
        for cell, match, some in zip(cells, matches, signs, strict=True)
    )
    words = max(
        (points(cell.text) for cell, match in zip(cells, matches, strict=True) if not match), default=0.0
    )
    is_text = column.kind == "label" or words > max(places.width, _LONGEST_LINE)
    more = _BOLD * any(cell.bold for cell in cells) + 4.0 * any(cell.text.startswith("-") for cell in cells)
    return Aligned(column, texts, max(words, places.width + more), max(map(len, signs), default=0), is_text)


def _signs(cell: Cell) -> tuple[str, ...]:
    """What hangs behind a number: its verdict, and whether there is more to be said."""
    verdict = (MARKS[cell.mark],) if cell.mark else ()
    return (*verdict, MISPRINT if cell.kind == "printed" else REMARK) if cell.footnotes else verdict


def _hung(signs: Sequence[str]) -> str:
    return f"\\rlap{{\\,${''.join(signs)}$}}" if signs else ""


def _words(cell: Cell) -> str:
    return f"\\textbf{{{escape(cell.text)}}}" if cell.bold else escape(cell.text)


def _number(cell: Cell, match: re.Match[str], places: _Places, hung: str) -> str:
    """A number with phantoms where others of its column have digits; of a bold one the mean is bold."""
    whole, decimals, spread, spread_decimals, count = match.groups(default="")
    mean = whole.replace("-", "$-$") + decimals
    text, missing = (
        f"\\textbf{{{mean}}}" if cell.bold else mean,
        _phantom(places.behind_point[len(decimals) :]),
    )
    if spread:
        text += f"{missing} $\\pm$ {_phantom('0' * (places.spread - len(spread)))}{spread}{spread_decimals}"
        text += _phantom(places.behind_spread[len(spread_decimals) :])
    else:
        text, hung = text + hung + missing + _phantom(places.with_spread.replace("±", "$\\pm$")), ""
    return text + (f" {count}" if count else _phantom(places.with_count)) + hung


def _phantom(text: str) -> str:
    return f"\\phantom{{{text}}}" if text else ""


# Headers

_PAIR = ("printed", "measured")
_HEADER_CHARACTERS = 9
"""Of a line of a header over one narrow column, unless a word is longer."""


@dataclass(frozen=True)
class Group:
    """Columns under one heading: of a method what is printed and what was measured, or one column alone."""

    heading: str
    columns: tuple[Aligned, ...]

    @property
    def paired(self) -> bool:
        """Whether it is of two columns."""
        return len(self.columns) > 1

    @cached_property
    def inner(self) -> float:
        """Points that its columns take by themselves."""
        headers = _PAIR if self.paired else ("",)
        return sum(column.room(header) for column, header in zip(self.columns, headers, strict=True))

    @cached_property
    def lines(self) -> list[str]:
        """The heading, broken where it would widen the columns."""
        if self.columns[0].is_text:
            return [self.heading]
        room = max(_HEADER_CHARACTERS, int(self.inner / _CHARACTER))
        return textwrap.wrap(self.heading, room, break_long_words=False, break_on_hyphens=False) or [""]

    @property
    def room(self) -> float:
        """Points that it takes, with the gap behind."""
        if not self.paired:
            return max(map(self.columns[0].room, self.lines))
        return max(self.inner, max(map(points, self.lines)) + 2 * _GAP)


def _header(groups: Sequence[Group]) -> list[str]:
    """The lines of a header, the lowest last; over a pair of columns stands its method, ruled off."""
    depth = max(len(group.lines) + group.paired for group in groups)
    lines = []
    for level in range(depth):
        cells: list[str] = []
        for group in groups:
            at = level - depth + len(group.lines) + group.paired
            text = escape(group.lines[at]) if 0 <= at < len(group.lines) else ""
            if group.paired and level == depth - 1:
                cells += _PAIR
            else:
                cells.append(f"\\multicolumn{{2}}{{c}}{{{text}}}" if group.paired else text)
        lines.append(line(cells))
    if rules := _rules(groups):
        lines[-1] = f"{rules}\n{lines[-1]}"
    return lines


def _rules(groups: Sequence[Group]) -> str:
    """A short rule below the method over every pair of columns."""
    rules, at = "", 1
    for group in groups:
        rules += f"\\cmidrule(lr){{{at}-{at + 1}}}" if group.paired else ""
        at += len(group.columns)
    return rules


def line(cells: Iterable[str]) -> str:
    """A row of a tabular."""
    return " & ".join(cells) + r" \\"


# Stacks


@dataclass(frozen=True)
class Stack:
    """Rows of a block under those of its columns that stand side by side."""

    block: Block
    marked: bool
    """Whether verdicts and misprints are marked."""

    @cached_property
    def groups(self) -> list[Group]:
        """Its columns, those of a method together."""
        groups: list[Group] = []
        for place, column in enumerate(self.block.columns):
            one = _aligned(column, [row.cells[place] for row in self.block.rows], self.marked)
            before = groups[-1].columns if groups else ()
            kinds = [(found.column.kind, found.column.method) for found in before]
            if column.kind == "measured" and kinds == [("printed", column.method)]:
                heading = before[0].column.header.removesuffix(" printed")
                groups[-1] = Group(heading, (*before, one))
            else:
                groups.append(Group(column.header, (one,)))
        return groups

    @property
    def columns(self) -> list[Aligned]:
        """In order."""
        return [column for group in self.groups for column in group.columns]

    @cached_property
    def width(self) -> float:
        """Points that it takes."""
        title = 0.0 if self.block.of_paper else points(self.block.title)
        end = _OVERHANG if self.columns[-1].marks else 0.0
        return max(sum(group.room for group in self.groups) - _GAP + end, title)

    @cached_property
    def specification(self) -> str:
        """Of its tabular."""
        *others, last = self.columns
        letters = [*(column.specification(_GAP) for column in others), last.specification(_OVERHANG)]
        return "@{\\extracolsep{\\fill}}" + "".join(letters) + ("" if last.marks else "@{}")

    @cached_property
    def lines(self) -> list[str]:
        """Its rows, header first."""
        lines = []
        if not self.block.of_paper:
            lines.append(f"\\multicolumn{{{len(self.columns)}}}{{@{{}}l}}{{{escape(self.block.title)}}} \\\\")
        lines += [*_header(self.groups), "\\midrule"]
        for place, row in enumerate(self.block.rows):
            lines += ["\\midrule"] if row.aggregate and place else []
            lines.append(line(column.texts[place] for column in self.columns))
        return lines

    @property
    def height(self) -> float:
        """Points that it takes."""
        rows = len(self.lines) - self.lines.count("\\midrule")
        return _RULES + LINE * (rows + sum(map(self._further_lines, self.block.rows)))

    def _further_lines(self, row: Row) -> int:
        """Of a row, for the longest of its words."""
        lengths = [
            points(cell.text) for cell, one in zip(row.cells, self.columns, strict=True) if one.is_text
        ]
        longest = max(lengths, default=0.0)
        return int(1.15 * longest / _LONGEST_LINE) if longest > _LONGEST_LINE else 0

    def of_rows(self, rows: Sequence[Row]) -> Stack:
        """Only these of its rows."""
        return replace(self, block=replace(self.block, rows=tuple(rows)))

    def within(self, room: float) -> list[Stack]:
        """As it is where there is room, else its methods in as few stacks as hold them, evenly."""
        if self.width <= room:
            return [self]
        labels = [group for group in self.groups if group.columns[0].is_text]
        others = [group for group in self.groups if not group.columns[0].is_text]
        room += _GAP - sum(group.room for group in labels)
        fewest = len(_packed(others, room))
        sums = {sum(group.room for group in others[a:b]) for b in range(len(others) + 1) for a in range(b)}
        limits = sorted(limit for limit in sums if limit < room)
        even = next(found for limit in (*limits, room) if len(found := _packed(others, limit)) <= fewest)
        return [self._of_groups([*labels, *stack]) for stack in even]

    def _of_groups(self, groups: Iterable[Group]) -> Stack:
        columns = [one.column for group in groups for one in group.columns]
        return replace(
            self, block=with_columns(self.block, [self.block.columns.index(one) for one in columns])
        )


def _packed(groups: Iterable[Group], room: float) -> list[list[Group]]:
    """Groups one after the other, as many side by side as there is room for."""
    stacks: list[list[Group]] = []
    left = 0.0
    for group in groups:
        if not stacks or group.room > left:
            stacks.append([])
            left = room
        stacks[-1].append(group)
        left -= group.room
    return stacks
