"""A night beside those before it: verdicts on the papers that have turned, and a page over all nights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from bench.records import CellComparison, NightRecord, Outcome, PrintedNumber
from bench.report.formats.facts import minute, points, typeset
from bench.report.formats.templates import page_templates
from bench.report.judgement import WORDS
from bench.visible_text import count, visible

NONE = "not compared"
"""Said of a printed number that one of two nights has no verdict on."""
_NOT_REPRODUCED: tuple[Outcome, ...] = ("below", "above")
_DECIDED: tuple[Outcome, ...] = ("reproduced", *_NOT_REPRODUCED)


@dataclass(frozen=True)
class VerdictChange:
    """A printed number of which tonight's check says something else than the last one."""

    key: PrintedNumber
    before: Outcome | None
    after: Outcome | None
    fails: bool
    """It was reproduced when it was last decided, and now is not."""

    @property
    def sentence(self) -> str:
        """`dtql/hopper-medium-v2/last: reproduced -> not reproduced, below`."""
        before, after = (NONE if outcome is None else WORDS[outcome] for outcome in (self.before, self.after))
        return f"{'/'.join(self.key[1:])}: {before} -> {after}"


def verdict_changes(
    earlier: Sequence[NightRecord], verdicts: Mapping[PrintedNumber, Outcome]
) -> tuple[VerdictChange, ...]:
    """Verdicts that differ from those of the last night that was compared with the papers; failures first.

    On the first night nothing can have turned.

    A number fails the night that is not reproduced, below or above, and was reproduced when it was last
    decided. On its way it may have been inconclusive for some nights: that it was then not *just* reproduced
    is no reason to overlook it.
    """
    checked = [night.verdicts for night in earlier if night.cells]
    if not checked:
        return ()
    before = checked[-1]
    changes = [
        VerdictChange(
            key,
            before.get(key),
            verdicts.get(key),
            verdicts.get(key) in _NOT_REPRODUCED and _last_decided(checked, key) == "reproduced",
        )
        for key in {**before, **verdicts}
        if before.get(key) != verdicts.get(key)
    ]
    return tuple(sorted(changes, key=lambda change: (not change.fails, change.key)))


def margins_before(earlier: Sequence[NightRecord]) -> Mapping[str, Any] | None:
    """By which the last night that was compared with the papers judged; None where that is not known."""
    reports = [night.report or {} for night in earlier if night.cells]
    return reports[-1].get("margins") if reports else None


def _last_decided(checked: Sequence[Mapping[PrintedNumber, Outcome]], key: PrintedNumber) -> Outcome | None:
    outcomes = (night.get(key) for night in reversed(checked))
    return next((outcome for outcome in outcomes if outcome in _DECIDED), None)


# The page over all nights: a line for each cell


MOST = 120
"""Nights on the page, the latest: more would not be told apart."""
_WIDTH, _HEIGHT, _EDGE = 480.0, 46.0, 6.0
"""Of a cell's chart and its empty edge, in its own units."""
NIGHTS_FOLDER, NIGHTS_PAGE = "nights", "nights.html"
"""Beside the store: a folder for each night, and the page over them."""

PointKind = Literal["expected", "above", "alarmed", "confirmed", "lost"]


@dataclass(frozen=True)
class Point:
    """A night of a cell."""

    x: float
    y: float
    kind: PointKind
    title: str
    link: str
    """Address of the night's own page; empty where that is not there."""


@dataclass(frozen=True)
class Band:
    """Nights in a row that were held against the same numbers."""

    x: float
    width: float
    top: float
    bottom: float
    """Where a night alarms when no other cell does; `top` lies as far above the baseline's mean."""
    middle: float
    """The baseline's mean."""


@dataclass(frozen=True)
class CellLine:
    """A cell over the nights."""

    latest: CellComparison
    bands: tuple[Band, ...]
    points: tuple[Point, ...]
    turned: tuple[tuple[float, str], ...]
    """Where a verdict on the papers turned, and what it says."""


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float

    def y(self, score: float) -> float:
        """Where a score lies, downwards."""
        share = (score - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(_HEIGHT - _EDGE - share * (_HEIGHT - 2 * _EDGE), 1)


def nights_page(nights: Sequence[NightRecord], links: Mapping[date, str], report: str = "") -> str:
    """All nights on one page without reference to any other file but the nights' own pages.

    Parameters
    ----------
    nights : that have ended, by date.
    links : addresses of the nights' own pages, where these are.
    report : address of the report's page, where there is one.
    """
    shown = nights[-MOST:]
    step = (_WIDTH - 2 * _EDGE) / max(1, len(shown) - 1)
    places = [round(_EDGE + step * place, 1) for place in range(len(shown))]
    earlier = len(nights) - len(shown)
    changes = [
        verdict_changes(nights[:place], night.verdicts) if night.cells else ()
        for place, night in enumerate(shown, start=earlier)
    ]
    names = dict.fromkeys(cell.name for night in reversed(shown) for cell in night.cells)
    environment = page_templates()
    environment.filters |= {"points": points, "minute": minute, "typeset": typeset, "count": count}
    page = environment.get_template("nights.html.j2").render(
        nights=[*zip(shown, places, strict=True)],
        earlier=earlier,
        lines=[_line(name, shown, places, changes, links) for name in names],
        changes=[*zip(shown, changes, strict=True)],
        links=links,
        report=report,
        width=_WIDTH,
        height=_HEIGHT,
        step=step,
    )
    return visible(page)


def links_from(page: Path, folder: Path, nights: Sequence[NightRecord]) -> dict[date, str]:
    """Addresses, seen from `page`, of the pages that nights have in `folder`."""
    found = {night.date: folder / NIGHTS_FOLDER / str(night.date) / "report.html" for night in nights}
    here = page.parent.absolute()
    return {day: os.path.relpath(path.absolute(), here) for day, path in found.items() if path.is_file()}


def _line(
    name: str,
    nights: Sequence[NightRecord],
    places: Sequence[float],
    changes: Sequence[Sequence[VerdictChange]],
    links: Mapping[date, str],
) -> CellLine:
    cells = [next((cell for cell in night.cells if cell.name == name), None) for night in nights]
    held = [(place, night, cell) for place, night, cell in zip(places, nights, cells, strict=True) if cell]
    ends = [(cell.baseline_mean, cell.alarm_below) for _, _, cell in held]
    scores = [score for mean, alarm in ends for score in _band(mean, alarm)]
    scores += [cell.mean for _, _, cell in held if cell.mean is not None]
    scale = _Scale(min(scores, default=0.0), max(scores, default=1.0))
    latest = held[-1][2]
    key = latest.cell
    turned = [
        (place, f"{night.date}: {change.sentence}")
        for place, night, found in zip(places, nights, changes, strict=True)
        for change in found
        if change.key[1:3] == (key.algorithm, key.task)
    ]
    dots = tuple(_point(place, night, cell, scale, links) for place, night, cell in held)
    return CellLine(latest, tuple(_bands(held, scale)), dots, tuple(turned))


def _band(mean: float | None, alarm: float | None) -> tuple[float, ...]:
    """Upper end, middle and lower end; none where the baseline gives no interval."""
    return () if mean is None or alarm is None else (2 * mean - alarm, mean, alarm)


def _bands(held: Sequence[tuple[float, NightRecord, CellComparison]], scale: _Scale) -> list[Band]:
    found: list[Band] = []
    for place, _, cell in held:
        ends = [scale.y(score) for score in _band(cell.baseline_mean, cell.alarm_below)]
        if not ends:
            continue
        top, middle, bottom = ends
        last = found[-1] if found else None
        if last and (last.top, last.middle, last.bottom) == (top, middle, bottom):
            found[-1] = replace(last, width=place - last.x)
        else:
            found.append(Band(place, 0.0, top, bottom, middle))
    # So that a band of one night is seen, too.
    return [replace(band, x=band.x - _EDGE / 2, width=band.width + _EDGE) for band in found]


def _point(
    place: float, night: NightRecord, cell: CellComparison, scale: _Scale, links: Mapping[date, str]
) -> Point:
    kind: PointKind = "above" if cell.status == "above" else "expected"
    if cell.mean is None or cell.status in ("missing", "unjudged"):
        kind = "lost"
    elif cell.status == "below":
        kind = "alarmed" if cell.confirmed is False else "confirmed"
    said = cell.status if cell.confirmed is None else f"{cell.status}, then {_confirmation(cell)}"
    score = "no score" if cell.mean is None else f"{points(cell.mean)} over {count(cell.seeds, 'seed')}"
    y = _HEIGHT - _EDGE if cell.mean is None else scale.y(cell.mean)
    return Point(place, y, kind, f"{night.date}: {score}, {said}", links.get(night.date, ""))


def _confirmation(cell: CellComparison) -> str:
    return "confirmed by fresh seeds" if cell.confirmed else "not confirmed by fresh seeds"
