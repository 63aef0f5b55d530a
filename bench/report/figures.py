"""Learning curves as SVG to be put inside the page: no files, no scripts, readable in light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from bench.report.measured import LearningCurve

# Colours that people with colour-blindness tell apart (after Okabe and Ito), and that stand out on white and black.
COLOURS = ("#2F86C6", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Matplotlib knows no "colour of the surrounding text"; this unlikely colour is replaced by it afterwards.
_TEXT_COLOUR = "#010203"


def learning_curves_svg(task: str, curves: Sequence[LearningCurve]) -> str:
    """An `<svg>` element: normalised score against training iterations.

    One thin line per seed and one thick line for the mean over the seeds of each configuration, taken where
    all its seeds have been evaluated.
    """
    settings = {"svg.hashsalt": task, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(5.4, 3.2), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for colour, (label, group) in zip(_cycle(curves), _configurations(curves).items(), strict=False):
            _draw(axes, group, colour, label)
        _decorate(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(stream.getvalue())


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


def _cycle(curves: Sequence[LearningCurve]) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(len(curves))]


def _draw(axes: Axes, group: Sequence[LearningCurve], colour: str, label: str) -> None:
    for curve in group:
        axes.plot(curve.steps, curve.scores, color=colour, linewidth=0.8, alpha=0.6, marker=".", markersize=3)
    shared = sorted(set.intersection(*(set(curve.steps) for curve in group)))
    scores = [[dict(zip(curve.steps, curve.scores, strict=True))[step] for step in shared] for curve in group]
    mean = np.mean(np.asarray(scores, dtype=float).reshape(len(group), len(shared)), axis=0)
    axes.plot(
        shared, mean, color=colour, linewidth=2.2, marker="o", markersize=4, label=f"{label} (n={len(group)})"
    )


def _decorate(axes: Axes) -> None:
    axes.set_xlabel("training iterations")
    axes.set_ylabel("normalised score")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, color=_TEXT_COLOUR)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.tick_params(colors=_TEXT_COLOUR)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(_TEXT_COLOUR)
    for spine in axes.spines.values():
        spine.set_color(_TEXT_COLOUR)
    axes.legend(frameon=False, labelcolor=_TEXT_COLOUR, fontsize=8)


def _inline(svg: str) -> str:
    """The `<svg>` element alone, scaling with its box, in the colour of the text around it."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r'(<svg [^>]*?)width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", element, count=1)
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
    # Groups are called the same in every figure; on one page a name may occur once.
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    return element.replace(_TEXT_COLOUR, "currentColor")
