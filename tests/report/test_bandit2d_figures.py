"""Figures of the 2D problems: what is drawn where, as pictures in an SVG that stays small."""

import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from bench.bandit2d.stored import interval_bounds
from bench.errors import BenchError
from bench.report.bandit2d_figures import FIGURES, choose_figures, fill_figures
from bench.report.bandit2d_panels import (
    GREEN,
    PLAIN,
    RED,
    Panel,
    Sheet,
    SheetRow,
    data_by_reward,
    interval,
    landscape,
    limit_of,
    page_svg,
    policy_over_data,
    save_sheet,
    spread_over,
)
from tests.bandit2d.clouds import corner_clouds, diffusion_clouds, illustration, moving_clouds, square_grid

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def items():
    return [
        illustration("dtql", clouds=corner_clouds((0,)), trial_id=1),
        illustration("dtql-kl", clouds=corner_clouds(between=100), trial_id=2),
        illustration("bdpo", "bandit-energy-8gaussians", diffusion_clouds(50), trial_id=3),
        illustration("srpo-points", "bandit-energy-rings", moving_clouds(), trial_id=4),
    ]


@pytest.fixture(scope="module")
def drawn(items):
    """Every figure with its drawing for the page."""
    return [(figure, page_svg(figure.sheet, figure.layout.id)) for figure in fill_figures(items)]


def _pixels(draw, limit=4.0):
    """(rows, columns, 3) of one panel, first row at the top, frame and margins cut off."""
    stream = io.BytesIO()
    save_sheet(Sheet((SheetRow("", (Panel(draw, limit),)),)), "x", stream, "png")
    stream.seek(0)
    picture = imread(stream)[..., :3]
    painted = np.argwhere(picture.min(axis=-1) < 0.7)
    (top, left), (bottom, right) = painted.min(axis=0), painted.max(axis=0)
    return picture[top + 4 : bottom - 3, left + 4 : right - 3]


def _centre(pixels, colour):
    """Mean (x, y) in [-1, 1] of the pixels of a colour, y upwards."""
    rows, columns = np.nonzero(np.abs(pixels - to_rgb(colour)).max(axis=-1) < 0.08)
    assert len(rows), f"nothing in {colour}"
    height, width = pixels.shape[:2]
    return 2 * columns.mean() / width - 1, 1 - 2 * rows.mean() / height


def _blob(x, y, count=50):
    return np.tile([[x, y]], (count, 1)) + 0.1 * np.random.default_rng(0).standard_normal((count, 2))


def test_actions_are_red_and_lie_where_they_are():
    clouds = replace(corner_clouds(), actions=_blob(2.0, -1.0), data=_blob(-2, 3), data_reward=np.zeros(50))
    pixels = _pixels(lambda axes: policy_over_data(axes, clouds))
    assert _centre(pixels, RED) == pytest.approx((0.5, -0.25), abs=0.05)
    assert _centre(pixels, PLAIN) == pytest.approx((-0.5, 0.75), abs=0.05)


def test_rewards_are_told_apart_by_colour():
    data = np.concatenate([_blob(-2, 0), _blob(2, 0)])
    clouds = replace(corner_clouds(), data=data, data_reward=np.repeat([0.0, 1.0], 50))
    pixels = _pixels(lambda axes: data_by_reward(axes, clouds))
    assert _centre(pixels, "#6A55A3")[0] == pytest.approx(-0.5, abs=0.05)
    assert _centre(pixels, "#A3C644")[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_landscape_is_bluer_where_values_are_higher(shuffled):
    grid = square_grid(4.0)
    grid = np.random.default_rng(0).permutation(grid) if shuffled else grid
    pixels = _pixels(lambda axes: landscape(axes, grid, grid[:, 0] + 2 * grid[:, 1]))
    red = pixels[..., 0]
    height, width = red.shape
    third = slice(0, height // 3), slice(2 * height // 3, None)
    left, right = slice(0, width // 3), slice(2 * width // 3, None)
    # x + 2 y grows from bottom left over bottom right and top left to top right; blue takes red away.
    means = [red[rows, columns].mean() for rows, columns in (
        (third[1], left), (third[1], right), (third[0], left), (third[0], right),
    )]  # fmt: skip
    assert means == sorted(means, reverse=True)
    assert means[0] > means[-1] + 0.3


def test_an_interval_begins_green_and_ends_red():
    path = np.stack([_blob(3.0 - 2 * level, 0.0) for level in range(4)])
    pixels = _pixels(lambda axes: interval(axes, path, start=3, end=1))
    assert _centre(pixels, GREEN)[0] == pytest.approx(-0.75, abs=0.05)
    assert _centre(pixels, RED)[0] == pytest.approx(0.25, abs=0.05)


def test_panels_hold_all_points():
    assert limit_of(np.array([[1.0, -5.0]]), np.array([[2.0, 3.0]])) == pytest.approx(5.3)


@pytest.mark.parametrize(("steps", "bounds"), [(50, [50, 30, 15, 5, 0]), (20, [20, 10, 5, 1, 0])])
def test_intervals_scale_with_the_number_of_steps(steps, bounds):
    assert interval_bounds(diffusion_clouds(steps)) == bounds


def test_without_landscapes_there_is_no_interval():
    assert interval_bounds(corner_clouds()) == [0]


def test_temperatures_are_spread_over_the_ladder():
    assert list(spread_over(3, 4)) == [0, 1, 2]
    assert list(spread_over(7, 4)) == [0, 2, 4, 6]


def test_only_what_is_measured_is_drawn(items):
    assert [figure.layout.id for figure in fill_figures(items)] == [
        "dtql-fig3", "dtql-fig6", "srpo-fig3", "bdpo-fig4", "bdpo-fig5", "bdpo-fig11", "policies",
    ]  # fmt: skip
    assert fill_figures([]) == []
    assert [figure.layout.id for figure in fill_figures(items, ["dtql-fig1", "dtql-fig3"])] == ["dtql-fig3"]


def test_a_figure_has_the_papers_rows_and_columns(items):
    sheets = {figure.layout.id: figure.sheet for figure in fill_figures(items)}
    assert [row.label for row in sheets["dtql-fig6"].rows] == ["trust region", "KL"]
    assert sheets["dtql-fig6"].across == 5
    assert [panel.title for panel in sheets["bdpo-fig4"].rows[0].panels] == [
        "n = 50 to 30, over V(50)", "n = 30 to 15, over V(30)", "n = 15 to 5, over V(15)",
        "n = 5 to 0, over V(5)", "samples, over Q",
    ]  # fmt: skip
    titles = [panel.title for panel in sheets["srpo-fig3"].rows[0].panels]
    assert titles[3:] == ["β = 10", "β = 1", "β = 0.1", "β = 0.01"]


def test_points_are_pictures_and_text_takes_the_colour_of_the_page(drawn):
    for figure, svg in drawn:
        root = ElementTree.fromstring(svg)
        panels = sum(panel is not None for row in figure.sheet.rows for panel in row.panels)
        assert len(list(root.iter(f"{SVG}image"))) == panels
        assert len(list(root.iter(f"{SVG}use"))) == 0
        assert "currentColor" in svg
        assert "#010203" not in svg
        assert len(svg) < 40_000 * panels
        assert page_svg(figure.sheet, figure.layout.id) == svg


def test_names_in_a_page_are_unique(drawn):
    names = [name for _, svg in drawn for name in re.findall(r' id="([^"]+)"', svg)]
    assert len(names) == len(set(names))


def test_the_rows_name_and_missing_panels_are_text(items):
    (figure,) = fill_figures(items, ["dtql-fig6"])
    texts = [text.text for text in ElementTree.fromstring(page_svg(figure.sheet, "x")).iter(f"{SVG}text")]
    assert "trust region" in texts
    assert texts.count("not measured") == 8


def test_a_policy_that_left_the_plane_is_told(items):
    clouds = corner_clouds()
    gone = replace(clouds, actions=np.concatenate([clouds.actions[:750], np.full((250, 2), 1e6)]))
    (figure,) = fill_figures([items[0], illustration("dtql-kl", clouds=gone)], ["dtql-fig3"])
    texts = [text.text for text in ElementTree.fromstring(page_svg(figure.sheet, "x")).iter(f"{SVG}text")]
    assert [text for text in texts if "outside" in text] == ["25 % of actions outside"]


def test_captions_say_which_trials_and_that_sizes_are_reduced(items):
    reduced = replace(items[1], budget=0.1, reduced=("budget 0.1",))
    (figure,) = fill_figures([items[0], reduced], ["dtql-fig3"])
    assert (
        figure.shown
        == "One seed of each cell (trial 1, 2), at budget 0.1 and 1, reduced: not what the full sizes give."
    )
    (full,) = fill_figures(items, ["dtql-fig3"])
    assert "reduced" not in full.shown


@pytest.mark.parametrize(("format_", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_files(items, format_, start):
    (figure,) = fill_figures(items, ["bdpo-fig5"])
    streams = io.BytesIO(), io.BytesIO()
    for stream in streams:
        save_sheet(figure.sheet, "bdpo-fig5", stream, format_)
    assert streams[0].getvalue().startswith(start)
    assert streams[0].getvalue() == streams[1].getvalue()


def test_every_figure_names_a_command_that_measures_it():
    assert all(layout.command.startswith("bench run ") for layout in FIGURES.values())


@pytest.mark.parametrize(
    ("names", "said"), [("dtql-fig33", "Did you mean dtql-fig3"), (",", "no figure named")]
)
def test_unknown_figures(names, said):
    with pytest.raises(BenchError, match=said):
        choose_figures(names)
    assert choose_figures("all") == list(FIGURES)
    assert choose_figures(" bdpo-fig4 ,bdpo-fig4") == ["bdpo-fig4"]
