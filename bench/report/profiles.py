"""Distributions of scores over runs and tasks, aggregates with intervals, and the charts of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from bench.report.charts import TEXT_WIDTH, Chart, Look, frame, line_handle, plain_axes, stroke
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
    names_of,
    said,
    styles_of,
    tasks_of,
)
from bench.report.statistics import (
    EXPERT,
    Array,
    Interval,
    bootstrap_caveat,
    interquartile_mean,
    median_of_tasks,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
    stratified_t_interval,
)

# Numbers


RESAMPLES = 2000
_THRESHOLDS = 121
_MOST_PAIRED = 5
"""Methods of which every pair is shown."""


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
    """What one number says of a method's runs over tasks, by the names of Agarwal et al. 2021."""

    interquartile_mean: Interval
    """Percentile bootstrap, seeds resampled within tasks; so are the two below."""
    median: Interval
    """Of the tasks' means."""
    optimality_gap: Interval
    """By how much runs fall short of a score of 100 on average."""
    mean: Interval
    """Student's: bootstrap intervals are too narrow for few seeds."""


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
    """Of one method's cells."""
    scores = [entry.scores for entry in entries]
    return Aggregates(
        stratified_bootstrap(scores, interquartile_mean, resamples=RESAMPLES, level=LEVEL),
        median_of_tasks(scores, resamples=RESAMPLES, level=LEVEL),
        stratified_bootstrap(scores, optimality_gap, resamples=RESAMPLES, level=LEVEL),
        stratified_t_interval(scores, LEVEL),
    )


@dataclass(frozen=True)
class Pair:
    """Two methods, and the probability that a run of the first scores higher."""

    first: Series
    second: Series
    probability: Interval


def pairs_of(series: Cells) -> list[Pair]:
    """Every method against every one that is behind it by its mean; of many methods the first against all.

    Over the tasks that both have; without such there is no pair.
    """
    ranked = sorted(series, key=lambda one: -_mean(series[one].values()))
    all_pairs = list(combinations(ranked, 2))
    chosen = (
        all_pairs if len(ranked) <= _MOST_PAIRED else [pair for pair in all_pairs if pair[0] == ranked[0]]
    )
    found = []
    for first, second in chosen:
        tasks = [task for task in series[first] if task in series[second]]
        if tasks:
            scores = ([series[one][task].scores for task in tasks] for one in (first, second))
            chance = probability_of_improvement(*scores, resamples=RESAMPLES, level=LEVEL)
            found.append(Pair(first, second, chance))
    return found


def _mean(entries: Iterable[Measured]) -> float:
    return float(np.mean([np.mean(entry.scores) for entry in entries]))


def fewest_seeds(series: Cells) -> int:
    """Of any cell."""
    return min((entry.n for entry in entries_of(series)), default=0)


def bounded(interval: Interval) -> bool:
    """Whether there is an interval at all: with one seed per task there is none."""
    return math.isfinite(interval.low) and math.isfinite(interval.high)


# Charts


_LINE, _BAND_ALPHA = 1.3, 0.15
_MOST_HEIGHT = 2.7
"""Inches, of a panel."""
_MOST_IN_COLUMN = 8
"""Lines, above which a profile is as wide as the text."""


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
        wide=len(series) > _MOST_IN_COLUMN,
    )


def aggregate_chart(data: ReportData, name: str, tasks: Sequence[str]) -> Chart | None:
    """What one number says of every method over the tasks of a suite; None for a single task."""
    series = by_series(data.measured, tasks)
    if max(map(len, series.values()), default=0) < 2:
        return None
    level = f"{100 * LEVEL:.0f} %"
    what = (
        "Normalised scores of the final evaluation over all seeds and tasks. IQM: interquartile mean, that "
        "of the middle half of the runs. Median: of the tasks' means. Optimality gap: by how much runs fall "
        f"short of {EXPERT:.0f} on average, less is better. Line: estimate; bar: {level} bootstrap interval "
        f"over seeds within tasks, of the mean a {level} t-interval."
    )
    return Chart(
        "profiles",
        f"aggregate-{name}",
        f"Aggregate scores, {name}",
        _about(what, series, data, tasks),
        methods_of(series),
        tasks_of(series, tasks),
        lambda look: _drawn_aggregates(look, series),
        wide=True,
    )


def improvement_chart(data: ReportData, name: str, tasks: Sequence[str]) -> Chart | None:
    """How probably one method beats another on a task of a suite; None where no two can be compared."""
    series = by_series(data.measured, tasks)
    pairs = pairs_of(series)
    if not pairs:
        return None
    best = "ahead of Y" if len(series) <= _MOST_PAIRED else "ahead of all"
    what = (
        "Probability that a run of method X scores higher than a run of method Y on the same task, over the "
        f"tasks that both have; ties count half. X is {best} by its mean score. Line: estimate; bar: "
        f"{100 * LEVEL:.0f} % bootstrap interval over seeds within tasks, none where in every task all runs "
        "of one method beat all of the other."
    )
    return Chart(
        "profiles",
        f"improvement-{name}",
        f"Probability of improvement, {name}",
        _about(what, series, data, tasks, sound_from=3),
        methods_of(series),
        tasks_of(series, tasks),
        lambda look: _drawn_improvements(look, pairs, names_of(list(series))),
    )


def _about(
    what: str, series: Cells, data: ReportData, tasks: Sequence[str], sound_from: int | None = None
) -> str:
    """A caption with what bootstrap over so few seeds is worth, where it is not sound from so many on."""
    seeds = fewest_seeds(series)
    caveat = "" if sound_from is not None and seeds >= sound_from else bootstrap_caveat(seeds)
    warning = f"{caveat[0].upper()}{caveat[1:]}." if caveat else ""
    return said(what, warning, caveats(series, data.measured, tasks))


def _drawn_profiles(look: Look, series: Cells) -> Figure:
    labels, styles = labels_of(series), styles_of(list(series))
    handles = [line_handle(styles[one], labels[one], _LINE) for one in series]
    height = min(0.56 * look.width, _MOST_HEIGHT)
    figure, (axes,) = frame(look, handles, 1, 1, height, titled=False, left=5.2)
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
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol="\N{NO-BREAK SPACE}%"))
    return figure


_ROW = 1.9
"""Height of a row, in sizes of the type."""


def _drawn_aggregates(look: Look, series: Cells) -> Figure:
    labels = list(labels_of(series).values())
    em = look.font_size / 72
    across = 4 if look.width >= TEXT_WIDTH.width else 2
    left = _label_room(look, labels, 0.4)
    height = _ROW * em * (len(series) + 0.4)
    figure, panels = frame(look, [], 4 // across, across, height, titled=True, left=left, gap=1.8)
    found = [aggregates_of(list(by_task.values())) for by_task in series.values()]
    columns = (
        ("IQM", [one.interquartile_mean for one in found]),
        ("Median", [one.median for one in found]),
        ("Mean", [one.mean for one in found]),
        ("Optimality gap", [one.optimality_gap for one in found]),
    )
    colours = [one.style.colour for one in series]
    for place, (axes, (title, intervals)) in enumerate(zip(panels, columns, strict=True)):
        plain_axes(axes, look, "score" if place < 3 else f"score below {EXPERT:.0f}", "", title)
        _draw_intervals(axes, colours, intervals, labels if place % across == 0 else [])
    # Scores are on one scale; what is missing of them has its own.
    for together in (panels[:3], panels[3:]):
        limits = [axes.get_xlim() for axes in together]
        for axes in together:
            axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
    return figure


def _drawn_improvements(look: Look, pairs: Sequence[Pair], names: Mapping[Series, str]) -> Figure:
    firsts = [names[pair.first] for pair in pairs]
    seconds = [names[pair.second] for pair in pairs]
    height = _ROW * look.font_size / 72 * (len(pairs) + 0.4)
    left, right = (_label_room(look, labels, 0.3) for labels in (firsts, seconds))
    figure, (axes,) = frame(look, [], 1, 1, height, titled=True, left=left, right=right)
    plain_axes(axes, look, "P(X > Y)")
    _draw_intervals(axes, [pair.first.style.colour for pair in pairs], [p.probability for p in pairs], firsts)
    axes.axvline(0.5, color=look.ink, linewidth=0.6, linestyle=(0, (3, 2)), zorder=0)
    low = min(0.5, *(pair.probability.low for pair in pairs))
    axes.set_xlim(max(-0.02, low - 0.05), 1.02)
    for place, name in enumerate(seconds):
        _beside(axes, look, place, name)
    for letter, x, side in (("X", -0.02, "right"), ("Y", 1.02, "left")):
        axes.text(x, 1.0, letter, color=look.ink, ha=side, va="bottom", transform=axes.transAxes)
    return figure


def _beside(axes: Axes, look: Look, place: int, name: str) -> None:
    """A label to the right of a row."""
    where = axes.get_yaxis_transform()
    axes.text(1.02, place, name, color=look.ink, fontsize=look.small, va="center", transform=where)


def _draw_intervals(
    axes: Axes, colours: Sequence[str], intervals: Sequence[Interval], labels: Sequence[str]
) -> None:
    """Bars of intervals in which a line marks the estimate: it is narrower than any interval that shows."""
    for place, (colour, interval) in enumerate(zip(colours, intervals, strict=True)):
        if bounded(interval):
            width = interval.high - interval.low
            axes.barh(place, width, 0.56, left=interval.low, color=colour, alpha=0.4, linewidth=0)
        axes.plot([interval.estimate] * 2, [place - 0.28, place + 0.28], color=colour, linewidth=1.6)
    axes.set_ylim(len(intervals) - 0.3, -0.7)
    axes.use_sticky_edges = False
    axes.margins(x=0.08)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_yticks(range(len(intervals)) if labels else [], labels)


def _label_room(look: Look, labels: Sequence[str], most: float) -> float:
    """Room for labels beside panels in sizes of the type, at most a share of the figure."""
    return min(0.55 * max(map(len, labels)) + 1.4, most * 72 * look.width / look.font_size)
