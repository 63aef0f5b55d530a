"""Distributions of scores over runs and tasks, aggregates with intervals, and the charts of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from bench.report.charts import Chart, Look, frame, line_handle, plain_axes, stroke
from bench.report.measured import Measured, ReportData
from bench.report.series import (
    LEVEL,
    Cells,
    Series,
    by_series,
    caveats,
    entries_of,
    labels_of,
    methods_of,
    said,
    styles_of,
    tasks_of,
)
from bench.report.statistics import (
    Array,
    Interval,
    bootstrap_caveat,
    interquartile_mean,
    performance_profile,
    stratified_bootstrap,
    stratified_t_interval,
)

# Numbers


RESAMPLES = 2000
_THRESHOLDS = 121


@dataclass(frozen=True, eq=False)
class Profile:
    """Share of a method's runs above each of T thresholds, every task weighing the same."""

    share: Array
    """(T,)"""
    low: Array
    """(T,) of a pointwise bootstrap band; equal to `share` where every task has one seed."""
    high: Array


@dataclass(frozen=True)
class Aggregates:
    """Mean and interquartile mean of a method's runs over tasks."""

    mean: Interval
    """Student's: bootstrap intervals are too narrow for few seeds."""
    interquartile_mean: Interval
    """Percentile bootstrap, seeds resampled within tasks."""


def thresholds_of(series: Cells) -> Array:
    """(T,) from a little below the lowest score of all to a little above the highest."""
    scores = [score for entry in entries_of(series) for score in entry.scores]
    low, high = min(0.0, *scores), max(scores)
    room = 0.03 * (high - low) or 1.0
    return np.linspace(low - room, high + room, _THRESHOLDS)


def profile_of(entries: Sequence[Measured], thresholds: Array, seed: int = 0) -> Profile:
    """The profile of one method's cells with its band; the same seed gives the same band.

    All thresholds share the resamples, which `stratified_bootstrap` would draw anew for each of them.
    """
    scores = [np.array(entry.scores) for entry in entries]
    generator = np.random.default_rng(seed)
    shares = np.zeros((RESAMPLES, len(thresholds)))
    for task in scores:
        drawn = task[generator.integers(len(task), size=(RESAMPLES, len(task)))]
        shares += (drawn[:, :, None] > thresholds).mean(axis=1) / len(scores)
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Profile(performance_profile(scores, thresholds), low, high)


def aggregates_of(entries: Sequence[Measured]) -> Aggregates:
    """Mean and interquartile mean of one method's cells."""
    scores = [entry.scores for entry in entries]
    bootstrap = stratified_bootstrap(scores, interquartile_mean, resamples=RESAMPLES, level=LEVEL)
    return Aggregates(stratified_t_interval(scores, LEVEL), bootstrap)


def fewest_seeds(series: Cells) -> int:
    """Of any cell."""
    return min((entry.n for entry in entries_of(series)), default=0)


def bounded(interval: Interval) -> bool:
    """Whether there is an interval at all: with one seed per task there is none."""
    return math.isfinite(interval.low) and math.isfinite(interval.high)


# Charts


_LINE, _BAND_ALPHA = 1.3, 0.15


def profile_chart(data: ReportData, name: str, tasks: Sequence[str]) -> Chart | None:
    """Share of runs above a score, for every score; None where nothing is measured."""
    series = by_series(data.measured, tasks)
    if not series:
        return None
    what = (
        "Share of runs (seeds of all tasks, tasks weighing the same) whose final evaluation scores above "
        f"a threshold; further right is better. Band: {100 * LEVEL:.0f} % bootstrap over seeds, pointwise."
    )
    title = f"Performance profile, {name}"
    return Chart(
        "profiles",
        f"profile-{name}",
        title,
        _about(what, series, data, tasks),
        methods_of(series),
        tasks_of(series, tasks),
        lambda look: _drawn_profiles(look, series),
    )


def aggregate_chart(data: ReportData, name: str, tasks: Sequence[str]) -> Chart | None:
    """Mean and interquartile mean of every method over the tasks of a suite; None for a single task."""
    series = by_series(data.measured, tasks)
    if max(map(len, series.values()), default=0) < 2:
        return None
    what = (
        "Normalised scores of the final evaluation over all seeds and tasks. Mean: "
        f"{100 * LEVEL:.0f} % t-interval. IQM: interquartile mean, that of the middle half of the runs; "
        f"{100 * LEVEL:.0f} % bootstrap interval over seeds within tasks."
    )
    return Chart(
        "profiles",
        f"aggregate-{name}",
        f"Aggregate scores, {name}",
        _about(what, series, data, tasks),
        methods_of(series),
        tasks_of(series, tasks),
        lambda look: _drawn_aggregates(look, series),
    )


def _about(what: str, series: Cells, data: ReportData, tasks: Sequence[str]) -> str:
    caveat = bootstrap_caveat(fewest_seeds(series))
    warning = f"{caveat[0].upper()}{caveat[1:]}." if caveat else ""
    return said(what, warning, caveats(series, data.measured, tasks))


def _drawn_profiles(look: Look, series: Cells) -> Figure:
    labels, styles = labels_of(series), styles_of(list(series))
    handles = [line_handle(styles[one], labels[one], _LINE) for one in series]
    figure, (axes,) = frame(look, handles, 1, 1, 0.56 * look.width, titled=False)
    plain_axes(axes, look, "normalised score τ", "runs scoring above τ")
    thresholds = thresholds_of(series)
    for one, by_task in series.items():
        profile = profile_of(list(by_task.values()), thresholds)
        axes.plot(
            thresholds,
            profile.share,
            drawstyle="steps-post",
            color=one.style.colour,
            linestyle=stroke(styles[one]),
            linewidth=_LINE,
        )
        if np.any(profile.high > profile.low):
            axes.fill_between(
                thresholds,
                profile.low,
                profile.high,
                step="post",
                color=one.style.colour,
                alpha=_BAND_ALPHA,
                linewidth=0,
            )
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def _drawn_aggregates(look: Look, series: Cells) -> Figure:
    labels = labels_of(series)
    row = 1.9 * look.font_size / 72
    figure, panels = frame(look, [], 1, 2, row * (len(series) + 0.4), titled=True)
    _make_room(panels, look, max(map(len, labels.values())))
    aggregates = [aggregates_of(list(by_task.values())) for by_task in series.values()]
    columns: tuple[tuple[str, list[Interval]], ...] = (
        ("mean", [both.mean for both in aggregates]),
        ("IQM", [both.interquartile_mean for both in aggregates]),
    )
    for axes, (title, intervals) in zip(panels, columns, strict=True):
        plain_axes(axes, look, "score", "", title)
        _draw_intervals(axes, list(series), intervals)
        axes.set_yticks(range(len(series)), list(labels.values()) if axes is panels[0] else [])
    panels[0].sharex(panels[1])
    return figure


def _draw_intervals(axes: Axes, series: Sequence[Series], intervals: Sequence[Interval]) -> None:
    styles = styles_of(series)
    for place, (one, interval) in enumerate(zip(series, intervals, strict=True)):
        if bounded(interval):
            axes.plot([interval.low, interval.high], [place] * 2, color=one.style.colour, linewidth=1.4)
        axes.plot(interval.estimate, place, styles[one].marker, color=one.style.colour, markersize=4.5)
    axes.set_ylim(len(series) - 0.3, -0.7)
    axes.margins(x=0.08)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _make_room(panels: Sequence[Axes], look: Look, letters: int) -> None:
    """Shift the panels to the right: names of methods, up to so many letters, stand left of the first."""
    em = look.font_size / 72 / look.width
    left, right, gap = min((0.5 * letters + 1) * em, 0.55), 1 - 0.8 * em, 1.8 * em
    width = (right - left - gap) / len(panels)
    for place, axes in enumerate(panels):
        box = axes.get_position()
        axes.set_position((left + place * (width + gap), box.y0, width, box.height))
