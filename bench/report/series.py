"""Measured cells as figures need them: what a line or point stands for, and how its method looks."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from algorithms.registry import methods
from bench.presets import RELEASED
from bench.report.measured import Measured
from bench.visible_text import count

# How methods look in every figure, on paper and on the page


Dashes = tuple[float, ...]
"""Lengths of line and gap in line widths; empty: a solid line."""

# After Okabe and Ito: told apart by colour-blind people. Mid-tones only, so that each stands out on white and
# on black; in greyscale, where mid-tones are alike, dashes and markers tell methods apart.
BROWN, VIOLET, GREY, OLIVE = "#A6761D", "#7B5FB5", "#7A858F", "#7F8F1F"
SOLID: Dashes = ()
DASHED: Dashes = (5, 1.8)
DASH_DOTTED: Dashes = (6, 1.6, 1.4, 1.6)
SHORT_DASHED: Dashes = (2.4, 1.3)
LONG_DASHED: Dashes = (9, 2)
TWICE_DOTTED: Dashes = (6, 1.5, 1.2, 1.5, 1.2, 1.5)


@dataclass(frozen=True)
class Style:
    """The look of a method."""

    label: str
    """As the papers print it."""
    colour: str
    dashes: Dashes
    marker: str
    """Matplotlib's code of a marker that can be hollow."""


LINES: dict[str, Dashes] = {
    "solid": SOLID,
    "dashed": DASHED,
    "dash-dotted": DASH_DOTTED,
    "short-dashed": SHORT_DASHED,
    "long-dashed": LONG_DASHED,
    "twice-dotted": TWICE_DOTTED,
}
"""By the names that a method's declaration uses."""

FURTHER_DASHES: tuple[Dashes, ...] = ((1, 1.2), (3.5, 1.2, 1, 1.2), (1, 2.4), (3.5, 1.2, 1, 1.2, 1, 1.2))
"""Of a method's second and later configuration on the same axes."""
FURTHER_MARKERS = ("P", "X", "*", "8")

_SPARE = tuple(
    (colour, dashes) for dashes in (SOLID, DASHED, DASH_DOTTED) for colour in (BROWN, VIOLET, OLIVE, GREY)
)


def styles() -> dict[str, Style]:
    """Looks by name in this suite, of the methods that declare one."""
    return {
        name: Style(method.shown, method.look.colour, LINES[method.look.line], method.look.marker)
        for name, method in methods().items()
        if method.look is not None
    }


def style_of(algorithm: str) -> Style:
    """The look of a method; one that declares none gets a spare look that depends on its name alone."""
    if (known := styles().get(algorithm)) is not None:
        return known
    number = zlib.crc32(algorithm.encode())
    colour, dashes = _SPARE[number % len(_SPARE)]
    label = methods()[algorithm].shown if algorithm in methods() else algorithm
    return Style(label, colour, dashes, "ospd^v"[number % 6])


# What one line or point stands for, over the tasks of a figure


PROTOCOL = "last"
"""Every method is scored alike where methods are held against each other, whatever its paper reports."""
LEVEL = 0.95
"""Of every band and interval in figures."""
REDUCED = "†"
"""Marks what is below its preset."""


@dataclass(frozen=True, order=True)
class Series:
    """What one line or point of a figure stands for: a method under one kind of conditions."""

    algorithm: str
    variant: str
    physics: str
    budget: float
    reduced: tuple[str, ...]
    config_hash: str = ""
    """Empty where the series is one of several tasks: each has a hash of its own."""

    @property
    def style(self) -> Style:
        """The look of its method."""
        return style_of(self.algorithm)

    @property
    def name(self) -> str:
        """`DTQL†, paper, budget 0.001`; nothing is said of what is as in the preset."""
        parts = (
            self.style.label + (REDUCED if self.reduced else ""),
            self.variant if self.variant != RELEASED else "",
            f"{self.physics} physics" if self.physics == "modern" else "",
            f"budget {self.budget:g}" if self.budget != 1 else "",
        )
        return ", ".join(part for part in parts if part)


Cells = Mapping[Series, Mapping[str, Measured]]
"""What was measured, by series and task."""


def series_of(entry: Measured, with_hash: bool = False) -> Series:
    """The series that a measured cell belongs to."""
    config_hash = entry.config_hash if with_hash else ""
    return Series(entry.algorithm, entry.variant, entry.physics, entry.budget, entry.reduced, config_hash)


def by_series(measured: Iterable[Measured], tasks: Sequence[str]) -> dict[Series, dict[str, Measured]]:
    """Scored cells on `tasks` by series and task, all under the protocol `last`, in order of the methods.

    Cells that cannot be scored so are left out; where a task has several configurations of a series, the one
    that finished last counts.
    """
    found: dict[Series, dict[str, Measured]] = {}
    for entry in sorted(measured, key=lambda entry: entry.finished_seconds):
        scored = entry.under(PROTOCOL)
        if entry.task in tasks and scored.n and scored.protocol == PROTOCOL:
            found.setdefault(series_of(entry), {})[entry.task] = scored
    return {series: found[series] for series in in_order(found)}


def in_order(series: Iterable[Series]) -> list[Series]:
    """Full budgets first, then released before others; methods in the order of their styles."""
    order = {name: place for place, name in enumerate(styles())}

    def place(one: Series) -> tuple[object, ...]:
        released = one.variant == RELEASED
        return bool(one.reduced), not released, -one.budget, order.get(one.algorithm, len(order)), one

    return sorted(series, key=place)


def names_of(series: Sequence[Series]) -> dict[Series, str]:
    """Names that tell the series apart; where nothing else does, by hash or by what is below the preset."""
    short = [one.name for one in series]
    return {
        one: name if short.count(name) == 1 else f"{name} ({one.config_hash[:7] or ', '.join(one.reduced)})"
        for one, name in zip(series, short, strict=True)
    }


def styles_of(series: Sequence[Series]) -> dict[Series, Style]:
    """Looks: a method's own for the first of its series; then its colour with other dashes and markers."""
    found: dict[Series, Style] = {}
    further = 0
    for one in series:
        found_before = any(other.algorithm == one.algorithm for other in found)
        place = further % len(FURTHER_DASHES)
        other_look = replace(one.style, dashes=FURTHER_DASHES[place], marker=FURTHER_MARKERS[place])
        found[one] = other_look if found_before else one.style
        further += found_before
    return found


def count_text(counts: Iterable[int]) -> str:
    """`n = 5`, or `n = 3-5` where it differs."""
    low, high = min(found := tuple(counts)), max(found)
    return f"n = {low}" if low == high else f"n = {low}\N{EN DASH}{high}"


def labels_of(series: Cells) -> dict[Series, str]:
    """Names with seeds, `DTQL (n = 5)`, and with tasks where these differ."""
    names, same = names_of(list(series)), len({len(by_task) for by_task in series.values()}) == 1
    return {
        one: f"{names[one]} ({count_text(e.n for e in by_task.values())}"
        + ("" if same else f", {count(len(by_task), 'task')}")
        + ")"
        for one, by_task in series.items()
    }


def doubts(entries: Iterable[Measured]) -> str:
    """Sentences on what was measured below the preset, on other data or by other physics; often empty."""
    reduced: dict[str, list[str]] = {}
    collected, foreign, modern = False, False, False
    imported = dict[str, None]()
    for entry in entries:
        if entry.imported:
            imported[style_of(entry.algorithm).label] = None
        if entry.reduced:
            names = reduced.setdefault(", ".join(entry.reduced), [])
            label = style_of(entry.algorithm).label
            names += [] if label in names else [label]
        collected |= entry.twin_of is not None and not entry.foreign
        foreign |= entry.foreign
        modern |= entry.physics == "modern"
    parts = [f"{' and '.join(names)} with {what}" for what, names in reduced.items()]
    return said(
        f"{REDUCED} Below the preset, not to be judged: {'; '.join(parts)}." if parts else "",
        "Data collected here, not D4RL's: not comparable with the papers." if collected else "",
        "Foreign data, of no paper." if foreign else "",
        "Modern physics: not comparable with the papers." if modern else "",
        f"Imported, not measured here: {', '.join(imported)}." if imported else "",
    )


def methods_of(series: Iterable[Series]) -> tuple[str, ...]:
    """Each method once, in their order."""
    return tuple(dict.fromkeys(one.algorithm for one in series))


def said(*sentences: str) -> str:
    """The sentences that are not empty, as one text."""
    return " ".join(filter(None, sentences))


def failures(measured: Iterable[Measured]) -> str:
    """A sentence on the trials that failed, and so are in no mean; often empty."""
    counts: dict[str, tuple[int, int]] = {}
    for entry in measured:
        failed = sum(trial.state == "failed" for trial in entry.trials)
        before, total = counts.get(entry.algorithm, (0, 0))
        counts[entry.algorithm] = (before + failed, total + len(entry.trials))
    parts = [
        f"{style_of(algorithm).label} {failed} of {total}"
        for algorithm, (failed, total) in sorted(counts.items())
        if failed
    ]
    return f"Failed trials are left out: {', '.join(parts)}." if parts else ""


def entries_of(series: Cells) -> list[Measured]:
    """The cells alone, in order."""
    return [entry for by_task in series.values() for entry in by_task.values()]


def tasks_of(series: Cells, tasks: Iterable[str]) -> tuple[str, ...]:
    """Those among `tasks` on which anything was measured."""
    return tuple(task for task in tasks if any(task in by_task for by_task in series.values()))


def caveats(series: Cells, measured: Iterable[Measured], tasks: Sequence[str], *more: str) -> str:
    """What means over tasks leave out or rest on: tasks, `more`, what failed of all `measured`, doubts."""
    return said(
        _coverage(series),
        *more,
        failures(entry for entry in measured if entry.task in tasks),
        doubts(entries_of(series)),
    )


def _coverage(series: Cells) -> str:
    """On how many tasks the series were measured; a warning where not all on the same."""
    tasks = {frozenset(by_task) for by_task in series.values()}
    if len(tasks) == 1:
        (same,) = tasks
        return f"Every method on {count(len(same), 'task')}." if len(same) > 1 else ""
    return "Not all methods cover the same tasks, which moves their means."
