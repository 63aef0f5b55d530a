"""Learning curves: several seeds as one mean with a band, and the charts of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from scipy.special import stdtrit

from bench.records import FINISHED
from bench.report.charts import Chart, Look, draw_interval, frame, line_handle, plain_axes, say, stroke
from bench.report.measured import Measured
from bench.report.series import (
    LEVEL,
    Series,
    Style,
    count_text,
    doubts,
    failures,
    in_order,
    methods_of,
    names_of,
    said,
    series_of,
    styles_of,
)
from bench.report.statistics import Array

# Means over seeds


LEAST_SEEDS = 3
"""For a band. That of two seeds is nine standard deviations wide to either side and hides all others."""


@dataclass(frozen=True, eq=False)
class MeanCurve:
    """Mean score over seeds at each of E evaluations; NaN where a seed's score is not finite."""

    steps: Array
    """(E,) training iterations."""
    mean: Array
    """(E,)"""
    half_width: Array
    """(E,) of the band, Student's interval of the mean at each evaluation by itself; NaN with few seeds."""
    lowest: float
    """Of all seeds and evaluations; NaN where none is finite."""
    highest: float
    seeds: int
    finished: bool
    """False: drawn of what seeds have that still run."""
    finished_at: float
    """When the last of its seeds finished (s since 1970); 0 where that is not known."""


def mean_curves(
    measured: Iterable[Measured], steps: Mapping[int, tuple[int, ...]]
) -> dict[str, dict[Series, MeanCurve]]:
    """By task, in the order of `measured`, and by series with the configuration's hash.

    Finished seeds enter; where a configuration has none yet, those that have not failed. Evaluations that
    some of them lack are left out.

    Parameters
    ----------
    steps : training iterations done before each evaluation of a trial, by its number.
    """
    found: dict[str, dict[Series, MeanCurve]] = {}
    for entry in measured:
        evaluated = [trial for trial in entry.trials if trial.trial_id in steps]
        finished = [trial for trial in evaluated if trial.state == FINISHED]
        if chosen := finished or [trial for trial in evaluated if trial.state == "running"]:
            of_task = found.setdefault(entry.task, {})
            points = [dict(zip(steps[seed.trial_id], seed.evaluations, strict=True)) for seed in chosen]
            of_task[series_of(entry, with_hash=True)] = _mean(points, bool(finished), entry.finished_seconds)
    return {task: {one: means[one] for one in in_order(means)} for task, means in found.items()}


def newest(curves: Mapping[Series, MeanCurve]) -> dict[Series, MeanCurve]:
    """Of each series the configuration that finished last: what stands for it among several tasks."""
    dated = sorted(curves.items(), key=lambda item: item[1].finished_at)
    return {replace(series, config_hash=""): curve for series, curve in dated}


def _mean(by_step: Sequence[Mapping[int, float]], finished: bool, finished_at: float) -> MeanCurve:
    """Of the scores by step of each seed."""
    steps = sorted(set.intersection(*map(set, by_step)))
    scores = np.array([[points[step] for step in steps] for points in by_step], dtype=float)
    scores = np.where(np.isfinite(scores), scores, np.nan)
    seeds, known = len(by_step), scores[np.isfinite(scores)]
    half_width = np.full(len(steps), np.nan)
    if seeds >= LEAST_SEEDS:
        half_width = stdtrit(seeds - 1, (1 + LEVEL) / 2) * scores.std(axis=0, ddof=1) / math.sqrt(seeds)
    return MeanCurve(
        np.array(steps, dtype=float),
        scores.mean(axis=0),
        half_width,
        float(known.min()) if known.size else math.nan,
        float(known.max()) if known.size else math.nan,
        seeds,
        finished,
        finished_at,
    )


# Charts


Curves = Mapping[Series, MeanCurve]

_X, _Y = "training iterations", "normalised score"
_BAND = (
    f"band: {100 * LEVEL:.0f} % t-interval of the mean at each evaluation, none with fewer than "
    f"{LEAST_SEEDS} seeds"
)
_LINE, _MARKER, _BAND_ALPHA = 1.2, 3.2, 0.16
_MARKERS = 5
"""On a line of many evaluations."""
_NOT_IN_IDS = re.compile(r"[^\w-]+")


def task_chart(task: str, curves: Curves, measured: Sequence[Measured]) -> Chart:
    """The learning curves of one task; `measured` are its cells."""
    return Chart(
        "learning-curves",
        f"curves-{_NOT_IN_IDS.sub('-', task)}",
        task,
        _about(list(curves.items()), measured),
        methods_of(curves),
        (task,),
        lambda look: _sheet(look, {task: curves}, titled=False),
    )


def suite_chart(name: str, by_task: Mapping[str, Curves], measured: Sequence[Measured]) -> Chart:
    """The learning curves of the tasks of a suite, one panel each, of every series its newest settings."""
    by_task = {task: newest(curves) for task, curves in by_task.items()}
    everything = [item for curves in by_task.values() for item in curves.items()]
    return Chart(
        "learning-curves",
        f"curves-{name}",
        f"Learning curves, {name}",
        _about(everything, measured),
        methods_of(in_order({series for series, _ in everything})),
        tuple(by_task),
        lambda look: _sheet(look, by_task, titled=True),
        wide=len(by_task) > 1,
    )


def _about(curves: Sequence[tuple[Series, MeanCurve]], measured: Sequence[Measured]) -> str:
    running = {series.style.label for series, curve in curves if not curve.finished}
    return said(
        f"Mean over training seeds ({count_text(curve.seeds for _, curve in curves)}); {_BAND}. "
        "Score 0 is a random policy, 100 an expert.",
        f"Still running, seeds so far: {', '.join(sorted(running))}." if running else "",
        failures(measured),
        doubts(measured),
    )


def _sheet(look: Look, by_task: Mapping[str, Curves], titled: bool) -> Figure:
    series = in_order({one for curves in by_task.values() for one in curves})
    styles = styles_of(series)
    across = _across(len(by_task))
    rows = math.ceil(len(by_task) / across)
    height = 0.52 * look.width if across == 1 else 0.66 * look.width / across
    figure, panels = frame(look, _handles(styles, by_task), rows, across, height, titled=titled)
    for place, (task, curves) in enumerate(by_task.items()):
        axes = panels[place]
        below = place + across >= len(by_task)
        plain_axes(axes, look, _X if below else "", _Y if place % across == 0 else "", task if titled else "")
        for one, curve in curves.items():
            _draw(axes, curve, styles[one], series.index(one) / len(series))
        _scale(axes, look, curves.values())
    for axes in panels[len(by_task) :]:
        axes.set_visible(False)
    return figure


def _across(panels: int) -> int:
    """Panels side by side: three, or two where that leaves no hole."""
    return min(panels, 2 if panels in (2, 4) else 3)


def _handles(styles: Mapping[Series, Style], by_task: Mapping[str, Curves]) -> list[Line2D]:
    names = names_of(list(styles))
    handles = []
    for one, style in styles.items():
        drawn = [curves[one] for curves in by_task.values() if one in curves]
        running = "" if all(curve.finished for curve in drawn) else ", running"
        label = f"{names[one]} ({count_text(curve.seeds for curve in drawn)}{running})"
        handles.append(line_handle(style, label, _LINE, marker=style.marker, markersize=_MARKER))
    return handles


def _draw(axes: Axes, curve: MeanCurve, style: Style, shift: float) -> None:
    axes.plot(
        curve.steps,
        curve.mean,
        color=style.colour,
        linestyle=stroke(style),
        linewidth=_LINE,
        marker=style.marker,
        markersize=_MARKER,
        markevery=_marked(curve, shift),
    )
    if np.isfinite(curve.half_width).any():
        low, high = curve.mean - curve.half_width, curve.mean + curve.half_width
        axes.fill_between(curve.steps, low, high, color=style.colour, alpha=_BAND_ALPHA, linewidth=0)
        for place in _lone(curve):  # a band of one point has no width
            draw_interval(axes, curve.steps[place], low[place], high[place], style.colour, _MARKER)


def _marked(curve: MeanCurve, shift: float) -> list[int]:
    """Evaluations with a marker: a few, at places of each line's own by `shift` (0 to 1), and lone ones.

    A point between gaps has no line and would be lost.
    """
    few = (np.arange(_MARKERS) + shift) * len(curve.mean) / _MARKERS
    return sorted({*_lone(curve), *few.astype(int).tolist()})


def _lone(curve: MeanCurve) -> list[int]:
    """Evaluations without a neighbour."""
    finite = np.isfinite(curve.mean)
    beside = np.pad(finite, 1)
    return np.flatnonzero(finite & ~beside[:-2] & ~beside[2:]).tolist()


def _scale(axes: Axes, look: Look, curves: Iterable[MeanCurve]) -> None:
    """Heights that show every seed, and of bands what lies there."""
    finite = [curve for curve in curves if math.isfinite(curve.lowest)]
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if not finite:
        axes.set(xticks=[], yticks=[])
        say(axes, look, "no finite score")
        return
    low, high = min(curve.lowest for curve in finite), max(curve.highest for curve in finite)
    room = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)
