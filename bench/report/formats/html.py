"""One self-contained page: verdicts, tables, figures, failures, and how each number was made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from jinja2 import Environment
from markupsafe import Markup

from algorithms.registry import methods
from bench.bandit2d.expectations import Finding
from bench.bandit2d.stored import Illustration, Illustrations
from bench.data.manifest import remarks_on
from bench.report.bandit2d_figures import FilledFigure, fill_figures
from bench.report.bandit2d_panels import page_svg
from bench.report.charts import Chart, ChartKind
from bench.report.combined_table import COMBINED
from bench.report.figures import page_figures
from bench.report.formats import facts, latex
from bench.report.formats.facts import (
    Making,
    Number,
    home_of,
    ids_of,
    makings,
    number_of,
    what_would_decide,
)
from bench.report.formats.templates import page_templates
from bench.report.judgement import WORDS, CellVerdict, Comparison, Judgement, Outcome
from bench.report.measured import Measured, ReportData
from bench.report.shortening import condensed
from bench.report.tables import Amount, Block, Cell, Row, Table, note_labels
from bench.visible_text import count, visible

ATTENTION: tuple[Outcome, ...] = ("below", "above", "inconclusive")
"""Verdicts that are open as the page opens."""
ORDER: tuple[Outcome, ...] = (*ATTENTION, "reproduced", "not comparable")
"""What needs attention first; within an outcome verdicts stay as they came."""
OPEN_ROWS = 30
"""Measured tables are open until they have shown so many rows; then each is one line."""
SHOWN_FIGURES = 4
"""Of a section; the others unfold."""
TITLES: dict[ChartKind, str] = {
    "learning-curves": "Learning curves",
    "score-time": "Score against training time",
    "score-latency": "Score against action latency",
    "profiles": "Performance profiles",
}
_SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z\N{DAGGER}])")
_WIDTH, _UNIT = 130, 20
"""Of a strip, and of one margin in it, in its own units."""
_EDGE = _WIDTH / 2 - 4


def render(
    tables: Sequence[Table],
    data: ReportData,
    made_at: datetime,
    judgement: Judgement | None = None,
    store: str = "",
    nights: str = "",
) -> str:
    """The page as one HTML text without any reference to another file.

    Parameters
    ----------
    store : where the results lie, as a person would name it.
    nights : address of the page over all nights, where there is one.
    """
    judgement = judgement or Judgement()
    environment = _environment()
    shown = PageTables(tables)
    made = makings(data, shown.numbers.values())
    of_outcome = {
        outcome: [verdict for verdict in judgement.cells if verdict.outcome == outcome] for outcome in ORDER
    }
    page = environment.get_template("report.html.j2").render(
        made_at=made_at,
        store=store,
        nights=nights,
        judgement=judgement,
        answer=f"{headline(judgement, data)}{of_expectations(data.findings)}",
        # Those first that could be tested.
        suites=sorted(judgement.suites, key=lambda suite: suite.comparison is None),
        open_verdicts=[verdict for outcome in ATTENTION for verdict in of_outcome[outcome]],
        closed_verdicts={outcome: of_outcome[outcome] for outcome in ORDER if outcome not in ATTENTION},
        shown=shown,
        latex={table.id: latex.render([table]) for table in tables},
        ids=_ids(shown, made),
        titles=TITLES,
        figures=_figures(data),
        figures_2d=_figures_2d(data.illustrations),
        makings=made,
        homes={making.id for making in made},
        trials=Counter(
            "imported" if entry.imported else trial.state for entry in data.measured for trial in entry.trials
        ),
        remarks=remarks_on(data.datasets),
        data=data,
        filters=_filters(data, judgement),
    )
    # Names in a store may hold what a browser must not be sent.
    return visible(page)


@cache
def _environment() -> Environment:
    # Compiled once, which takes a third of a page's time: `bench serve` renders whenever the store changes.
    environment = page_templates()
    own = (facts.minute, facts.machine, facts.machines, facts.points, facts.signed, facts.hours)
    for function in (*own, facts.seeds_text, facts.typeset):
        environment.filters[function.__name__] = function
    environment.filters |= {"strip": strip_of, "slug": facts.slug, "to_decide": to_decide, "home": home_of}
    environment.filters |= {"method": _method, "count": count}
    environment.globals |= {"WORDS": WORDS, "MARKS": facts.PAGE_MARKS, "MEANINGS": facts.MEANINGS}
    environment.globals |= {"interval": facts.interval, "note_labels": note_labels}
    environment.globals |= {"PROTOCOLS": facts.PROTOCOL_NAMES, "SHOWN_FIGURES": SHOWN_FIGURES}
    # Macros that are imported see globals alone.
    environment.globals["BEHIND"] = facts.BEHIND
    return environment


def _method(algorithm: str) -> str:
    """A method's name in full, as figures have it; of one that is not installed, that in the store."""
    known = methods().get(algorithm)
    return known.shown if known else algorithm


# Tables


Place = tuple[str, int, int, int]
"""Of a cell: the id of its table, and where its block, its row and it itself stand."""


class PageTables:
    """The tables as the page shows them, and what it knows of them beyond what stands in them."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._anywhere = _algorithms(block for table in tables for block in table.blocks)
        self.throughout: dict[tuple[str, int], str] = {}
        """What is the same in all rows of a block (id of its table and place), where tables have several."""
        shown = [self._condensed(table) for table in tables]
        # The table of all methods first, then the papers' as they come.
        shown.sort(key=lambda table: table.id != COMBINED)
        self.opened: list[Table] = []
        """Those with measurements that are open as the page opens: rows enough to begin with."""
        self.closed: list[Table] = []
        """The others with measurements."""
        self.unmeasured = [table for table in shown if not self.measured(table)]
        rows = 0
        for table in shown:
            if self.measured(table):
                (self.opened if rows < OPEN_ROWS else self.closed).append(table)
                rows += sum(len(block.rows) for block in table.blocks if self.has_measured(block))
        self.numbers: dict[Place, Number] = {}
        """What is known of the numbers in cells, in reading order."""
        for table in (*self.opened, *self.closed, *self.unmeasured):
            for block_place, block in enumerate(table.blocks):
                for row_place, row in enumerate(block.rows):
                    for place, (column, cell) in enumerate(zip(block.columns, row.cells, strict=True)):
                        number = number_of(cell, column.header, table.id)
                        if number is not None:
                            self.numbers[table.id, block_place, row_place, place] = number

    def _condensed(self, table: Table) -> Table:
        """What is the same in all rows is said once, for most blocks together."""
        parts = [condensed(replace(table, blocks=(block,), notes=())) for block in table.blocks]
        said = [" ".join(part.notes) for part in parts]
        ((usual, _),) = Counter(filter(None, said)).most_common(1) or [("", 0)]
        others = {place: text for place, text in enumerate(said) if text not in ("", usual)}
        self.throughout |= {
            (table.id, place): text.replace("Throughout:", "In these rows:") for place, text in others.items()
        }
        if others:
            usual = usual.replace("Throughout:", "Unless said otherwise:")
        blocks = tuple(block for part in parts for block in part.blocks)
        return replace(table, blocks=blocks, notes=(*filter(None, [usual]), *table.notes))

    def algorithms(self, block: Block) -> dict[str, str]:
        """Methods as columns name them -> their names here, known from whichever table measured them."""
        return {**self._anywhere, **_algorithms([block])}

    @staticmethod
    def has_measured(block: Block) -> bool:
        """Whether any row holds a measured number."""
        return any(row.measured() for row in block.rows)

    @staticmethod
    def imported(block: Block) -> bool:
        """Whether its numbers were not measured here."""
        numbers = (cell.measured for row in block.rows for cell in row.cells)
        return any(isinstance(number, Measured) and number.imported for number in numbers)

    @classmethod
    def measured(cls, table: Table) -> bool:
        """Whether any block does."""
        return any(map(cls.has_measured, table.blocks))

    @classmethod
    def folded_notes(cls, table: Table) -> frozenset[str]:
        """Notes of folded blocks alone: of a measured table those in which nothing is measured."""
        if not cls.measured(table):
            return frozenset()
        found: dict[bool, set[str]] = {False: set(), True: set()}
        for block in table.blocks:
            notes = (note for row in block.rows for cell in row.cells for note in cell.notes())
            found[cls.has_measured(block)].update(notes)
        return frozenset(found[False] - found[True])

    @staticmethod
    def noted(block: Block, place: int) -> bool:
        """Whether any cell of a column has notes: room for their marks keeps the numbers in line."""
        return any(row.cells[place].notes() for row in block.rows)

    @staticmethod
    def task(block: Block, row: Row) -> str:
        """The task that a row is of; empty where it is of no particular one."""
        pairs = zip(block.columns, row.cells, strict=True)
        tasks = [cell.text for column, cell in pairs if column.key == "task"]
        return "" if row.aggregate or not tasks else tasks[0]

    @staticmethod
    def methods(block: Block, row: Row) -> str:
        """The methods that a row is of, where columns are of none."""
        of_columns = any(column.method for column in block.columns)
        return "" if of_columns else ", ".join(sorted(set(filter(None, map(_algorithm, row.cells)))))

    @staticmethod
    def outcome(cell: Cell) -> Outcome | None:
        """What is said of a measured number."""
        if cell.kind != "measured":
            return None
        return cell.verdict.outcome if cell.verdict else "not comparable" if cell.not_comparable else None


def _algorithms(blocks: Iterable[Block]) -> dict[str, str]:
    """Methods as columns name them, by what was measured under them."""
    found: dict[str, str] = {}
    for block in blocks:
        for row in block.rows:
            for column, cell in zip(block.columns, row.cells, strict=True):
                if column.method and (algorithm := _algorithm(cell)):
                    found.setdefault(column.method, algorithm)
    return found


def _algorithm(cell: Cell) -> str:
    number = cell.number
    return number.algorithm or "" if isinstance(number, Measured | Amount) else ""


def _ids(shown: PageTables, made: Sequence[Making]) -> dict[Number, str]:
    """Ids of the numbers that the page tells about: those of its cells and of its tables."""
    homes = {making.id for making in made} | {f"{place[0]}-numbers" for place in shown.numbers}
    ids = ids_of(shown.numbers.values())
    return {number: id_ for number, id_ in ids.items() if number.home in homes}


# Verdicts


@dataclass(frozen=True)
class Strip:
    """A difference with its 90 % interval, drawn in units of its margin: inside ±1 it does not matter."""

    dot: float
    low: float
    high: float
    beyond: int
    """-1 or 1 where the difference itself lies farther to that side than is drawn."""
    band: tuple[float, float] = (_WIDTH / 2 - _UNIT, 2 * _UNIT)
    """Left end and width of the margin."""
    width: int = _WIDTH


def strip_of(test: Comparison | None) -> Strip | None:
    """Where dot and ends lie; what reaches beyond the strip ends at its edge."""
    if test is None or not test.margin > 0:
        return None
    places = (test.difference, test.low, test.high)
    off = _UNIT * abs(test.difference) / test.margin > _EDGE
    dot, low, high = (_WIDTH / 2 + max(-_EDGE, min(_EDGE, _UNIT * value / test.margin)) for value in places)
    return Strip(
        round(dot, 1), round(low, 1), round(high, 1), (1 if test.difference > 0 else -1) if off else 0
    )


def to_decide(verdict: CellVerdict) -> str:
    """What is open about a judged cell, and how many seeds would close it."""
    return "; ".join(filter(None, (*verdict.reasons, what_would_decide(verdict))))


def headline(judgement: Judgement, data: ReportData) -> str:
    """The answer in a sentence."""
    counts = Counter(cell.outcome for cell in judgement.cells if cell.comparison is not None)
    judged = counts.total()
    if not data.measured:
        return "Nothing has been measured yet."
    here = [entry for entry in data.measured if not entry.imported]
    if not here:
        return f"{count(len(data.measured), 'cell')} imported, nothing measured here: there is no verdict."
    scored = [entry for entry in here if entry.n]
    if not scored:
        return f"{count(len(here), 'cell')} begun, none of which has a score yet."
    if not judgement.cells:
        begun = f" and {len(here) - len(scored)} begun" if len(here) > len(scored) else ""
        cells = f"{count(len(scored), 'cell')} measured{begun}"
        return f"{cells}, none of which a paper prints a number for: there is no verdict."
    if not judged:
        return (
            f"No printed number can be judged yet: {count(len(judgement.cells), 'cell')} measured, none "
            "under the conditions of its paper and with seeds enough."
        )
    suites = [suite.outcome for suite in judgement.suites if suite.comparison is not None]
    of_suites = (
        f"{suites.count('reproduced')} of {count(len(suites), 'suite mean')} reproduced; " if suites else ""
    )
    missed = counts["below"] + counts["above"]
    return (
        f"{of_suites}{counts['reproduced']} of {count(judged, 'judged cell')} reproduced, {missed} not "
        f"reproduced, {counts['inconclusive']} inconclusive."
    )


def of_expectations(findings: Sequence[Finding]) -> str:
    """How many of the papers' expectations on 2D problems hold, as a further sentence; empty without any."""
    found = [one for one in findings if one.answer != "not measured"]
    if not found:
        return ""
    holding = sum(one.answer == "yes" for one in found)
    size = ", at reduced size" if any(one.reduced for one in found) else ""
    return f" {holding} of {count(len(found), 'expectation')} on 2D problems hold{size}."


# Figures


@dataclass(frozen=True)
class Charts:
    """The charts of a section."""

    about: str
    """What most of their captions say."""
    drawn: tuple[tuple[Chart, Markup, str], ...]
    """Each with its drawing and what is left of its caption."""


def _figures(data: ReportData) -> dict[ChartKind, Charts]:
    """The sections that have charts, in the order of `TITLES`."""
    found: dict[ChartKind, list[Chart]] = {section: [] for section in TITLES}
    for chart in page_figures(data):
        found[chart.section].append(chart)
    sections = {}
    for section, charts in found.items():
        about, own = said_once([chart.about for chart in charts])
        # The SVG is our own and escaped by its maker; it is the one thing the template must not escape.
        drawn = [Markup(chart.svg) for chart in charts]
        if charts:
            sections[section] = Charts(about, tuple(zip(charts, drawn, own, strict=True)))
    return sections


def said_once(captions: Sequence[str]) -> tuple[str, list[str]]:
    """The sentences that a third of the captions have, and three of them, and what is left of each."""
    sentences = [_SENTENCE_END.split(caption) for caption in captions]
    counts = Counter(sentence for caption in sentences for sentence in caption)
    shared = [text for text, number in counts.items() if number >= max(3, len(captions) / 3)]
    own = [" ".join(sentence for sentence in caption if sentence not in shared) for caption in sentences]
    return " ".join(shared), own


def _figures_2d(
    illustrations: Illustrations,
) -> list[tuple[FilledFigure, Sequence[Illustration], Markup]]:
    """Each figure with the trials in it and its drawing."""
    return [
        # As above: our own SVG.
        (figure, figure.cells, Markup(page_svg(figure.sheet, figure.layout.id)))
        for figure in fill_figures(illustrations.items)
    ]


def _filters(data: ReportData, judgement: Judgement) -> Mapping[str, Sequence[str]]:
    """The methods and tasks that a reader may choose from."""
    measured = [(entry.algorithm, entry.task) for entry in data.measured]
    judged = [(cell.key[1], cell.key[2]) for cell in judgement.cells]
    timed = {timing.algorithm for timing in data.timings}
    methods, tasks = {method for method, _ in measured + judged}, {task for _, task in measured + judged}
    return {"methods": sorted(methods | timed), "tasks": sorted(tasks)}
