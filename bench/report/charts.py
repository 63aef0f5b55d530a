"""What all charts share: frames in inches, axes, legends, and the ways to print them: page or paper."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, Literal

import matplotlib
import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.series import Dashes, Style

# SVG that stands inside a page: no files, no scripts, readable in light and dark


# Matplotlib knows no "colour of the surrounding text"; this unlikely colour is replaced by it afterwards.
TEXT_COLOUR = "#010203"

_PATH = re.compile(r' d="([^"]*)"')
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def drawing_settings(salt: str, font_size: float = 9) -> AbstractContextManager[None]:
    """Settings under which a figure is drawn and saved; `salt` makes its SVG names repeatable and unique.

    Text stays text: in SVG as such, in PDF by embedded TrueType fonts, which publishers ask for.
    """
    return matplotlib.rc_context(
        {
            "svg.hashsalt": salt,
            "svg.fonttype": "none",
            "pdf.fonttype": 42,
            "font.family": "sans-serif",
            "font.size": font_size,
            # A dollar sign in a name is a dollar sign.
            "text.parse_math": False,
        }
    )


def inline_svg(figure: Figure, dpi: int = 100, title: str = "", about: str = "") -> str:
    """The `<svg>` element alone, scaling with its box, in the colour of the text around it.

    `dpi` is the resolution of the parts that are drawn as pixels; `title` and `about` are for screen readers.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, dpi=dpi, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    element = svg[svg.index("<svg") :]
    element = re.sub(r'(<svg [^>]*?)width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", element, count=1)
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
    # Groups are called the same in every figure; on one page a name may occur once.
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    element = _PATH.sub(_short_path, element).replace(TEXT_COLOUR, "currentColor")
    return _titled(element, title, about) if title else element


def _short_path(path: re.Match[str]) -> str:
    """The same path to a hundredth of a point: a page of curves is a third smaller for it."""
    shorter = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}", path[1])
    return f' d="{" ".join(shorter.split())}"'


def _titled(element: str, title: str, about: str) -> str:
    end = element.index(">")
    said = f"<title>{escape(title)}</title>\n <desc>{escape(about)}</desc>"
    return f'{element[:end]} role="img">\n {said}{element[end + 1 :]}'


# Charts


ChartKind = Literal["learning-curves", "score-time", "score-latency", "profiles"]
PNG_DOTS_PER_INCH = 300


@dataclass(frozen=True)
class Look:
    """Where a chart will stand."""

    width: float
    """Inches."""
    font_size: float
    """Points, of titles and names of axes."""
    ink: str
    """Colour of text and axes."""

    @property
    def small(self) -> float:
        """Points, of the numbers at axes, of legends and of labels."""
        return self.font_size - 1


PAGE = Look(4.8, 9.0, TEXT_COLOUR)
COLUMN = Look(3.3, 7.5, "black")
TEXT_WIDTH = Look(6.75, 7.5, "black")


@dataclass(frozen=True)
class Chart:
    """A figure that has something to show, before it is drawn."""

    section: ChartKind
    id: str
    title: str
    about: str
    """What is shown, how bands came about and over how many seeds: the caption."""
    methods: tuple[str, ...]
    """Shown in it, by their names in this suite."""
    tasks: tuple[str, ...]
    draw: Callable[[Look], Figure]
    wide: bool = False
    """As wide as a paper's text, rather than one column of two."""

    @cached_property
    def svg(self) -> str:
        """An `<svg>` element for a page, in the colour of the text around it, escaped by its maker."""
        with drawing_settings(self.id, PAGE.font_size):
            return inline_svg(self.draw(PAGE), title=self.title, about=self.about)


def save_chart(chart: Chart, stream: BinaryIO, format_: str) -> None:
    """Write the chart on white in its printed size, as svg, png or pdf with its text as text."""
    look = TEXT_WIDTH if chart.wide else COLUMN
    metadata = {
        "svg": {"Date": None, "Title": chart.title, "Description": chart.about},
        "pdf": {"CreationDate": None, "Title": chart.title, "Subject": chart.about},
        "png": {"Title": chart.title, "Description": chart.about},
    }[format_]
    with drawing_settings(chart.id, look.font_size):
        drawn = io.BytesIO()
        figure = chart.draw(look)
        figure.savefig(drawn, format=format_, facecolor="white", dpi=PNG_DOTS_PER_INCH, metadata=metadata)
    stream.write(drawn.getvalue())


def frame(
    look: Look,
    handles: Sequence[Line2D],
    rows: int,
    columns: int,
    panel_height: float,
    *,
    titled: bool,
    left: float = 4.6,
    right: float = 0.8,
    gap: float = 3.2,
) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of panels and a legend over them, and the axes row by row.

    Sizes are fixed instead of fitted: letting Matplotlib find them draws every figure twice.

    Parameters
    ----------
    panel_height : inches.
    left, right, gap : room beside the panels and between two of them, in sizes of the type.
    """
    em = look.font_size / 72
    left, right, bottom, gap = left * em, right * em, 3.6 * em, gap * em
    head, between = (1.8 if titled else 0.6) * em, (4.0 if titled else 3.0) * em
    small = look.small / 72
    legend = _legend_columns((look.width - left - right) / small, handles)
    above = math.ceil(len(handles) / legend) * 1.36 * small + (0.9 * em if handles else 0.0)
    height = above + head + rows * panel_height + (rows - 1) * between + bottom
    width = (look.width - left - right - (columns - 1) * gap) / columns
    figure = Figure(figsize=(look.width, height))
    FigureCanvasAgg(figure)
    found = []
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        x = left + column * (width + gap)
        y = height - above - head - (row + 1) * panel_height - row * between
        box = (x / look.width, y / height, width / look.width, panel_height / height)
        found.append(figure.add_axes(box))
    if handles:
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(left / look.width, 1 - 0.3 * em / height),
            ncols=legend,
            frameon=False,
            labelcolor=look.ink,
            fontsize=look.small,
            handlelength=_handle_length(handles),
            columnspacing=1.4,
            borderpad=0.0,
            borderaxespad=0.0,
            labelspacing=0.3,
        )
    return figure, found


def plain_axes(axes: Axes, look: Look, x_label: str = "", y_label: str = "", title: str = "") -> None:
    """Two thin spines, a faint grid, small ticks; all in the look's ink."""
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set(color=look.ink, linewidth=0.6)
    axes.grid(alpha=0.15, color=look.ink, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", color=look.ink, labelcolor=look.ink, labelsize=look.small)
    axes.tick_params(which="both", length=2.5, width=0.6, pad=2)
    axes.set_xlabel(x_label, color=look.ink, labelpad=2)
    axes.set_ylabel(y_label, color=look.ink, labelpad=2)
    if title:
        axes.set_title(title, color=look.ink, fontsize=look.font_size, loc="left", pad=3)


def say(axes: Axes, look: Look, text: str) -> None:
    """A word in the middle of axes that have nothing to show."""
    axes.text(0.5, 0.5, text, color=look.ink, ha="center", va="center", transform=axes.transAxes, alpha=0.7)


def draw_interval(axes: Axes, x: float, low: float, high: float, colour: str, marker: float) -> None:
    """An interval at a marker of this size; caps reach beyond it, which may be taller than the interval."""
    ends = ([x, x], [low, high])
    axes.plot(*ends, color=colour, linewidth=1.0, marker="_", markersize=1.7 * marker, zorder=4)


def line_handle(style: Style, label: str, width: float, **marker: Any) -> Line2D:  # noqa: ANN401
    """What a line looks like, for the legend; `marker`: Matplotlib's settings of its markers, if any."""
    return Line2D([], [], color=style.colour, linewidth=width, linestyle=stroke(style), label=label, **marker)


def stroke(style: Style) -> tuple[float, Dashes]:
    """Matplotlib's name of a line style."""
    # None is a solid line with butt ends, of which the type stubs of Matplotlib do not know.
    return (0, style.dashes or None)  # type: ignore[return-value]


def _legend_columns(room: float, handles: Sequence[Line2D]) -> int:
    """As many as fit side by side in sizes of the type; DejaVu Sans takes about 0.53 of one per character."""
    lengths = [0.53 * len(str(handle.get_label())) + _handle_length(handles) + 2.2 for handle in handles]
    for columns in range(len(handles), 1, -1):
        # As Matplotlib spreads them.
        if sum(max(column) for column in np.array_split(lengths, columns)) <= room:
            return columns
    return 1


def _handle_length(handles: Sequence[Line2D]) -> float:
    """In font sizes: dashes need room to be told apart, markers do not."""
    return 1.0 if all(handle.get_linestyle() == "None" for handle in handles) else 2.8
