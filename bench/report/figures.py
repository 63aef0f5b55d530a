"""Learning curves as SVG to be put inside the page: no files, no scripts, readable in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import ArrayLike

from bench.report.measured import LearningCurve
from bench.report.svg import TEXT_COLOUR, drawing_settings, inline_svg

# Colours that colour-blind people tell apart (after Okabe and Ito), and that stand out on white and black.
COLOURS = ("#2F86C6", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def learning_curves_svg(task: str, curves: Sequence[LearningCurve]) -> str:
    """An `<svg>` element: normalised score against training iterations.

    One thin line per seed and one thick line for the mean over the seeds of each configuration, taken where
    all its seeds have been evaluated.
    """
    with drawing_settings(task):
        figure = Figure(figsize=(5.4, 3.2))
        FigureCanvasSVG(figure)
        # A fixed frame: letting Matplotlib find one draws every figure twice.
        axes = figure.add_axes((0.1, 0.15, 0.87, 0.7))
        for colour, (label, group) in zip(cycle(COLOURS), _configurations(curves).items(), strict=False):
            _draw(axes, group, colour, label)
        _decorate(axes)
        return inline_svg(figure)


def _configurations(curves: Sequence[LearningCurve]) -> dict[str, list[LearningCurve]]:
    """Curves by configuration, labelled as shortly as tells them apart."""
    groups: dict[tuple[str, str, str], list[LearningCurve]] = {}
    for curve in curves:
        groups.setdefault((curve.algorithm, curve.variant, curve.config_hash), []).append(curve)
    short = [f"{algorithm} {variant}" for algorithm, variant, _ in groups]
    return {
        name if short.count(name) == 1 else f"{name} {key[2][:7]}": group
        for name, (key, group) in zip(short, groups.items(), strict=True)
    }


def _draw(axes: Axes, group: Sequence[LearningCurve], colour: str, label: str) -> None:
    for curve in group:
        _line(axes, curve.steps, curve.scores, color=colour, linewidth=0.8, alpha=0.6)
    by_step = [dict(zip(curve.steps, curve.scores, strict=True)) for curve in group]
    shared = sorted(set.intersection(*map(set, by_step)))
    scores = [[points[step] for step in shared] for points in by_step]
    mean = np.mean(np.asarray(scores, dtype=float).reshape(len(group), len(shared)), axis=0)
    _line(axes, shared, mean, color=colour, linewidth=2.2, label=f"{label} (n={len(group)})")


def _line(axes: Axes, steps: Sequence[int], scores: ArrayLike, **style: Any) -> None:  # noqa: ANN401
    # A lone point has no line; points on every line would make a full page many megabytes.
    axes.plot(steps, scores, marker="o" if len(steps) == 1 else None, markersize=4, **style)


def _decorate(axes: Axes) -> None:
    axes.set_xlabel("training iterations")
    axes.set_ylabel("normalised score")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, color=TEXT_COLOUR)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.tick_params(colors=TEXT_COLOUR)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(TEXT_COLOUR)
    for spine in axes.spines.values():
        spine.set_color(TEXT_COLOUR)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, labelcolor=TEXT_COLOUR, fontsize=8
    )
