"""Panels of the 2D problems: what is drawn on one pair of axes, and sheets of such panels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from bench.bandit2d.stored import Array, Clouds
from bench.report.charts import TEXT_COLOUR, drawing_settings, inline_svg

# Mid-tones only, so that both ends stand out on white and on black; red stays free for the policy.
REWARD_COLOURS = LinearSegmentedColormap.from_list("reward", ["#6A55A3", "#2F86C6", "#3FB58B", "#A3C644"])
# From nothing to blue: low values show the page, light or dark, and dots and paths stay legible everywhere.
VALUE_COLOURS = LinearSegmentedColormap.from_list("value", ["#2F86C600", "#2F86C6B0"])
RED, GREEN, GREY, PLAIN, PALE = "#E8202E", "#00A070", "#7A858F", "#2F86C6", "#86A8C4"

# Thousands of dots as shapes would make megabytes: all below this order of drawing becomes one picture.
_PICTURE = 2.4
_PANEL_INCHES = 1.55
_DOTS_PER_INCH = 150

Draw = Callable[[Axes], None]


@dataclass(frozen=True)
class Panel:
    """One pair of axes: what is drawn, within +-`limit`."""

    draw: Draw
    limit: float
    title: str = ""
    note: str = ""
    """Small, in the lower left corner."""


@dataclass(frozen=True)
class SheetRow:
    """A row of panels with its name; None leaves a place that says `not measured`."""

    label: str
    panels: tuple[Panel | None, ...]


@dataclass(frozen=True)
class Sheet:
    """A figure as data: rows of panels under column titles."""

    rows: tuple[SheetRow, ...]
    columns: tuple[str, ...] = ()
    """Titles over the first row; panels with titles of their own need none."""

    @property
    def across(self) -> int:
        """Panels of the longest row."""
        return max(len(row.panels) for row in self.rows)


def limit_of(*clouds: Array, margin: float = 1.06) -> float:
    """Half width of square axes that hold all points of the clouds (..., 2)."""
    return margin * max(float(np.abs(cloud).max()) for cloud in clouds)


def data_by_reward(axes: Axes, clouds: Clouds) -> None:
    """The dataset, coloured by reward; in one colour where all rewards are equal."""
    if np.ptp(clouds.data_reward) == 0:
        samples(axes, clouds.data)
    else:
        _dots(axes, clouds.data, 2.0, 1.0, clouds.data_reward, REWARD_COLOURS)


def policy_over_data(axes: Axes, clouds: Clouds, shown: int = 1000) -> None:
    """The dataset coloured by reward, and on it `shown` actions of the policy in red (as DTQL's figures)."""
    data_by_reward(axes, clouds)
    _dots(axes, clouds.actions[:shown], 3.0, 2.0, RED)


def samples(axes: Axes, points: Array, colour: str = PLAIN) -> None:
    """A cloud (M, 2) in one colour."""
    _dots(axes, points, 2.0, 1.0, colour)


def landscape(axes: Axes, grid: Array, values: Array) -> None:
    """Values (G*G,) at grid points (G*G, 2): the higher, the bluer."""
    x, column = np.unique(grid[:, 0], return_inverse=True)
    y, row = np.unique(grid[:, 1], return_inverse=True)
    picture = np.full((len(y), len(x)), np.nan)
    picture[row, column] = values
    axes.pcolormesh(x, y, picture, cmap=VALUE_COLOURS, shading="nearest", zorder=0)


def interval(axes: Axes, path: Array, start: int, end: int, shown: int = 300) -> None:
    """Generation from level `start` (green) down to `end` (red), grey in between; path (T+1, M, 2)."""
    steps = path[end : start + 1, :shown]
    lines = LineCollection(list(steps.transpose(1, 0, 2)), colors=GREY, linewidths=0.4, alpha=0.5, zorder=1)
    axes.add_collection(lines)
    _dots(axes, steps[-1], 3.0, 1.5, GREEN)
    _dots(axes, steps[0], 3.0, 2.0, RED)


def moves(axes: Axes, targets: Array, points: Array) -> None:
    """A line from every target (P, 2) to its optimised point (P, 2), which is red."""
    pairs = np.stack([targets, points], axis=1)
    axes.add_collection(LineCollection(list(pairs), colors=GREY, linewidths=0.5, alpha=0.7, zorder=1.5))
    _dots(axes, points, 6.0, 2.0, RED)


def page_svg(sheet: Sheet, name: str) -> str:
    """The sheet as an `<svg>` element for a page, in the colour of the text around it."""
    with drawing_settings(name):
        return inline_svg(_drawn(sheet, TEXT_COLOUR), _DOTS_PER_INCH)


def save_sheet(sheet: Sheet, name: str, stream: BinaryIO, format_: str) -> None:
    """Write the sheet as svg, png or pdf on white."""
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[format_]
    with drawing_settings(name):
        figure = _drawn(sheet, "black")
        figure.savefig(stream, format=format_, facecolor="white", dpi=2 * _DOTS_PER_INCH, metadata=dated)


def _dots(
    axes: Axes, points: Array, size: float, order: float, colour: str | Array, cmap: Colormap | None = None
) -> None:
    """Points (M, 2) in one colour, or each in that of its value (M,) on `cmap`."""
    axes.scatter(points[:, 0], points[:, 1], s=size, c=colour, cmap=cmap, linewidths=0, zorder=order)


def _drawn(sheet: Sheet, ink: str) -> Figure:
    titled = any(panel and panel.title for row in sheet.rows for panel in row.panels)
    height = _PANEL_INCHES + (0.22 if titled else 0.06)
    head, side = 0.25 if sheet.columns else 0.05, 0.3
    inches = (side + sheet.across * (_PANEL_INCHES + 0.06), head + len(sheet.rows) * height)
    figure = Figure(figsize=inches)
    FigureCanvasAgg(figure)
    for down, row in enumerate(sheet.rows):
        for place, panel in enumerate(row.panels):
            left = side + place * (_PANEL_INCHES + 0.06)
            bottom = inches[1] - head - (down + 1) * height + 0.03
            box = (left / inches[0], bottom / inches[1], _PANEL_INCHES / inches[0], _PANEL_INCHES / inches[1])
            axes = figure.add_axes(box)
            _fill(axes, panel, ink)
            if down == 0 and place < len(sheet.columns):
                axes.set_title(sheet.columns[place], color=ink, fontsize=8, pad=3)
            if place == 0:
                axes.set_ylabel(row.label, color=ink, fontsize=8)
    return figure


def _fill(axes: Axes, panel: Panel | None, ink: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.patch.set_visible(False)
    axes.set_rasterization_zorder(_PICTURE)
    axes.set_axisbelow(False)  # the row's name is part of an axis and must not become pixels
    for spine in axes.spines.values():
        spine.set(color=ink, linewidth=0.5, alpha=0.6)
    if panel is None:
        small = axes.text(0.5, 0.5, "not measured", color=ink, fontsize=7, alpha=0.7, zorder=3)
        small.set(ha="center", va="center", transform=axes.transAxes)
        return
    panel.draw(axes)
    axes.set(xlim=(-panel.limit, panel.limit), ylim=(-panel.limit, panel.limit))
    if panel.title:
        axes.set_title(panel.title, color=ink, fontsize=7.5, pad=2)
    if panel.note:
        axes.text(0.03, 0.03, panel.note, color=ink, fontsize=7, transform=axes.transAxes, zorder=3)


def spread_over(count: int, chosen: int) -> Sequence[int]:
    """At most `chosen` places out of `count`, evenly spaced, first and last among them."""
    if count <= chosen:
        return range(count)
    return [math.floor(0.5 + place * (count - 1) / (chosen - 1)) for place in range(chosen)]
