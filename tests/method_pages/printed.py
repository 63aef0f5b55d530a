"""What the papers print of a method, and what of it may be judged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.report.matching import never_judged
from bench.report.paper import AGGREGATES, SCORE, Erratum, PaperCell, PaperTable, ablations
from tests.method_pages.settings import DOMAINS, merged
from tests.method_pages.tables import table

MOST_COLUMNS = 6
"""Of printed numbers side by side."""
SPREADS = {
    "std_over_seeds": "standard deviation over seeds",
    "se_over_rollouts": "standard error over pooled rollouts",
    "unknown": "not stated",
    "": "",
}


class Column(NamedTuple):
    """Where numbers are printed side by side."""

    table: str
    """Id of the table."""
    printed: str
    """The method, as the table calls it; of other quantities than scores the quantity."""
    protocol: str


Columns = Mapping[Column, list[PaperCell]]


def printed_numbers(name: str, tables: Mapping[str, PaperTable]) -> Iterator[str]:
    """Every number that a table prints of the method called `name`, and whether it may be judged."""
    scores: dict[Column, list[PaperCell]] = {}
    others: dict[Column, list[PaperCell]] = {}
    changed = ablations()
    for table_id, printed in tables.items():
        for cell in printed.rows:
            if cell.mean is None or changed.get(cell.method, (cell.algorithm,))[0] != name:
                continue
            if cell.metric == SCORE:
                scores.setdefault(Column(table_id, cell.method, cell.protocol), []).append(cell)
            else:
                quantity = f"{cell.metric.replace('_', ' ')} ({cell.method})"
                others.setdefault(Column(table_id, quantity, ""), []).append(cell)
    yield "## Printed numbers"
    yield ""
    if not scores and not others:
        yield "No table prints any."
        yield ""
    if scores:
        yield (
            "As printed. A bold number may be judged: a run of a variant that the first table names is held "
            "against it, if protocol, episodes and data are the printed ones ([verdicts](../verdicts.md)). "
            "Averages are not judged; † has a correction below."
        )
        yield ""
        yield from _what_columns_are(scores, tables)
        yield from _side_by_side(scores)
        yield from _notes(scores)
    if others:
        yield "Times and other quantities, which no verdict is given on:"
        yield ""
        columns = enumerate(others.items(), 1)
        yield from table(
            ("", "table", "quantity", "of what"),
            [
                (str(number), f"`{key.table}`", key.printed, _each(cell.protocol_as_stated for cell in cells))
                for number, (key, cells) in columns
            ],
        )
        yield from _side_by_side(others)


def _each(texts: Iterable[object]) -> str:
    """What there is, each once."""
    return "; ".join(dict.fromkeys(str(text) for text in texts if text))


def _what_columns_are(columns: Columns, tables: Mapping[str, PaperTable]) -> list[str]:
    rows = []
    for number, (key, cells) in enumerate(columns.items(), 1):
        info = tables[key.table].info
        rows.append(
            (
                str(number),
                f"{info.paper} {info.label} (`{key.table}`)",
                key.printed,
                f"`{key.protocol}`" if key.protocol else "not known",
                _each(cell.protocol_as_stated for cell in cells),
                _each(cell.seeds for cell in cells),
                _each(cell.episodes for cell in cells),
                _each(SPREADS[cell.spread_kind] for cell in cells),
                _judged(cells),
            )
        )
    heads = ("", "table", "printed as", "protocol", "as stated", "seeds", "episodes", "±", "judged")
    return table(heads, rows)


def _judged(cells: list[PaperCell]) -> str:
    """Variants that may be held against a column's numbers, those of most tasks first, or why none may."""
    tasks: dict[str, list[str]] = {}
    for cell in cells:
        if cell.task in AGGREGATES:
            continue
        if cell.errata:
            told = "no: the printed number is in doubt"
        else:
            told = f"no: {refused}" if (refused := never_judged(cell)) else _ticked(cell.accepts_variants)
        tasks.setdefault(told, []).append(cell.task)
    if not tasks:
        return "no: averages alone"
    (first, _), *rest = sorted(tasks.items(), key=lambda item: -len(item[1]))
    return "\n".join((first, *(f"{', '.join(_places(of, cells))}: {told}" for told, of in rest)))


def _places(tasks: Collection[str], cells: Iterable[PaperCell]) -> list[str]:
    """Tasks of a column: whole domains by name, the rest task by task."""
    domains: dict[str, list[str]] = {}
    for cell in cells:
        if cell.task not in AGGREGATES:
            domains.setdefault(cell.domain, []).append(cell.task)
    places: list[str] = []
    for domain, members in domains.items():
        inside = [task for task in members if task in tasks]
        places += [DOMAINS.get(domain, domain)] if inside == members else merged(inside)
    return places


def _ticked(variants: Iterable[str]) -> str:
    return ", ".join(f"`{variant}`" for variant in variants)


def _side_by_side(columns: Columns) -> Iterator[str]:
    """The numbers, a row for each task, a few columns at once."""
    keys = list(columns)
    for start in range(0, len(keys), MOST_COLUMNS):
        chosen = {
            number: columns[keys[number]] for number in range(start, min(start + MOST_COLUMNS, len(keys)))
        }
        rows: dict[tuple[str, str], dict[int, str]] = {}
        for number, cells in chosen.items():
            for cell in cells:
                rows.setdefault((cell.domain, cell.task), {})[number] = _shown(cell)
        domains = list(dict.fromkeys(domain for domain, _ in rows))
        ordered = sorted(rows, key=lambda place: (domains.index(place[0]), place[1] in AGGREGATES))
        yield from table(
            ("task", *(str(number + 1) for number in chosen)),
            [(_place(*place), *(rows[place].get(number, "") for number in chosen)) for place in ordered],
        )


def _shown(cell: PaperCell) -> str:
    judged = cell.accepts_variants and not cell.errata and cell.task not in AGGREGATES
    return (f"**{cell.text}**" if judged else cell.text) + ("†" if cell.errata else "")


def _place(domain: str, task: str) -> str:
    return f"{task} of {DOMAINS.get(domain, domain)}" if task in AGGREGATES else task


def _notes(columns: Columns) -> Iterator[str]:
    """Corrections and notes of printed numbers, each with its column and tasks."""
    told: dict[tuple[int, str], list[tuple[PaperCell, str]]] = {}
    for number, cells in enumerate(columns.values(), 1):
        for cell in cells:
            texts = [(f"† {erratum.reason}", _read(cell, erratum)) for erratum in cell.errata]
            for text, detail in texts or [(cell.note, "")]:
                if text:
                    told.setdefault((number, text), []).append((cell, detail))
    if not told:
        return
    yield "Corrections and notes:"
    yield ""
    lines: dict[str, list[str]] = {}
    for (number, text), noted in told.items():
        lines.setdefault(text, []).append(_noted(number, list(columns.values())[number - 1], noted))
    yield from (f"- {'; '.join(places)}: {text}" for text, places in lines.items())
    yield ""


def _noted(number: int, cells: Sequence[PaperCell], noted: Sequence[tuple[PaperCell, str]]) -> str:
    """`column 1, AntMaze, pen-human-v1 (mean 1.0, read 2.0)`; a whole column by its number."""
    plain = {cell.task for cell, detail in noted if not detail and cell.task not in AGGREGATES}
    places = _places(plain, cells)
    averages = [
        _place(cell.domain, cell.task) for cell, detail in noted if not detail and cell.task in AGGREGATES
    ]
    if plain == {cell.task for cell in cells if cell.task not in AGGREGATES}:
        places = []
        averages = [] if plain else averages
    details = [f"{_place(cell.domain, cell.task)} ({detail})" for cell, detail in noted if detail]
    return ", ".join((f"column {number}", *places, *averages, *details))


def _read(cell: PaperCell, erratum: Erratum) -> str:
    """What is printed and what to read instead; empty where that is not known."""
    printed = {"mean": cell.printed, "spread": cell.printed_spread, "task": cell.task}[erratum.field]
    return f"{erratum.field} {printed}, read {erratum.corrected}" if erratum.corrected else ""
