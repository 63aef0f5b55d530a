"""Charts of the page and of papers: what is drawn, named and said."""

import io
import re
from typing import get_args
from xml.etree import ElementTree

import pytest

from bench.report.charts import ChartKind, save_chart
from bench.report.figures import page_figures, paper_charts
from bench.report.measured import ReportData, SeedScore
from bench.report.series import style_of, styles
from tests.report.builders import AWKWARD, Curve, measured, toy_data, with_curves

SVG = "{http://www.w3.org/2000/svg}"
NAN = float("nan")
TASK = "hopper-medium-v2"


def curve(seed, scores, task=TASK, algorithm="dtql", config_hash="ab" * 32):
    steps = tuple(100 * (place + 1) for place in range(len(scores)))
    return Curve(task, algorithm, "released", config_hash, seed, steps, scores)


def figure_of(curves, *cells):
    data = ReportData(**with_curves(cells or (measured(TASK),), curves))
    (found,) = [figure for figure in page_figures(data) if figure.section == "learning-curves"]
    return found


DTQL = style_of("dtql").colour


def lines(svg, colour=DTQL):
    """Paths drawn in a colour within axes, as lists of (x, y)."""
    found = []
    for path in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        if path.get("clip-path") and f"stroke: {colour.lower()}" in path.get("style", ""):
            numbers = [float(text) for text in re.findall(r"-?[\d.]+", path.get("d"))]
            found.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return found


def test_the_line_lies_where_the_mean_does():
    figure = figure_of([curve(0, (0.0, 40.0, 20.0)), curve(1, (20.0, 80.0, 40.0))])
    (line,) = lines(figure.svg)
    (x0, y0), (x1, y1), (x2, y2) = line
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02)
    # Means 10, 60, 30: heights in proportion, downwards in SVG.
    assert (y0 - y2) / (y0 - y1) == pytest.approx(20 / 50, abs=0.01)


def test_few_seeds_have_a_line_and_no_band_three_have_both():
    three = [curve(seed, (1.0 + seed, 2.0)) for seed in range(3)]
    assert "fill-opacity" not in figure_of(three[:2]).svg
    assert "fill-opacity" in figure_of(three).svg


def test_the_page_learns_what_is_shown():
    figure = figure_of([curve(seed, (1.0, 2.0 + seed)) for seed in range(3)])
    assert (figure.section, figure.id, figure.title) == ("learning-curves", f"curves-{TASK}", TASK)
    assert (figure.methods, figure.tasks) == (("dtql",), (TASK,))
    assert "n = 3" in figure.about
    assert "95 % t-interval" in figure.about
    assert "DTQL (n = 3)" in figure.svg
    assert f"<title>{TASK}</title>" in figure.svg
    assert "<desc>Mean over training seeds" in figure.svg


def test_text_takes_the_colour_of_the_page_and_groups_have_no_ids():
    svg = figure_of([curve(0, (1.0, 2.0))]).svg
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert "<g id" not in svg
    assert "metadata" not in svg
    assert "training iterations" in svg
    assert not re.search(r' d="[^"]*\.\d{3}', svg)


def test_configurations_of_one_method_are_told_apart_by_name_and_line():
    cells = (measured(TASK), measured(TASK, config_hash="cd" * 32), measured(TASK, variant="paper"))
    curves = [curve(0, (1.0, 2.0)), curve(0, (3.0, 2.0), config_hash="cd" * 32)]
    svg = figure_of(curves, *cells).svg
    assert "DTQL (abababa) (n = 1)" in svg
    assert "DTQL (cdcdcdc) (n = 1)" in svg
    dashes = re.findall(r"stroke-dasharray: ([\d., ]+)", svg)
    assert dashes
    assert "paper" not in svg


def test_reduced_and_failed_trials_are_told():
    states = ("finished", "failed")
    trials = tuple(SeedScore(seed, seed, state, None) for seed, state in enumerate(states))
    reduced = ("budget 0.001", "episodes 3")
    figure = figure_of([curve(0, (1.0, 2.0))], measured(TASK, budget=0.001, reduced=reduced, trials=trials))
    assert "DTQL†, budget 0.001 (n = 1)" in figure.svg
    assert "† Below the preset, not to be judged: DTQL with budget 0.001, episodes 3." in figure.about
    assert "Failed trials are left out: DTQL 1 of 2." in figure.about


@pytest.mark.filterwarnings("error")
def test_names_and_missing_scores_do_no_harm():
    cells = (measured(AWKWARD, algorithm="x<script>"), measured(AWKWARD, scores=(NAN,)))
    curves = [
        curve(0, (NAN, NAN), task=AWKWARD, algorithm="x<script>"),
        curve(0, (1.0,), task=AWKWARD),
    ]
    for of_some in (curves, curves[:1]):
        figure = figure_of(of_some, *cells)
        ElementTree.fromstring(figure.svg)
        assert "<script>" not in figure.svg
    assert "no finite score" in figure.svg
    assert "50m" not in figure.svg  # no scale where there is nothing to read off it


def test_a_name_is_no_formula_and_an_id_has_no_spaces_or_quotes():
    name = 'a $\\frac{$ "b" &c'
    cells = (measured(name), measured("another"))
    curves = [curve(0, (1.0, 2.0), task=name), curve(0, (1.0, 2.0), task="another")]
    data = ReportData(**with_curves(cells, curves))
    assert [figure.id for figure in page_figures(data)] == ["curves-a-frac-b-c", "curves-another"]
    stream = io.BytesIO()
    save_chart(paper_charts(data, ["learning-curves"])[0], stream, "svg")
    (title, *_) = [text for text in ElementTree.fromstring(stream.getvalue()).itertext() if "frac" in text]
    assert title == name


def test_same_data_same_bytes_and_nothing_of_nothing():
    once, again = ([chart.svg for chart in page_figures(toy_data())] for _ in range(2))
    assert once == again
    assert once
    assert page_figures(ReportData()) == []
    assert paper_charts(ReportData(), get_args(ChartKind)) == []


def test_papers_have_a_sheet_per_suite_with_the_newest_settings():
    tasks = (TASK, "walker2d-medium-v2", "collected-hopper-medium", "of-no-suite")
    cells = [measured(task) for task in tasks] + [measured(TASK, config_hash="cd" * 32, finished_at=None)]
    curves = [curve(0, (1.0, 2.0), task=task) for task in tasks] + [curve(0, (9.0,), config_hash="cd" * 32)]
    charts = paper_charts(ReportData(**with_curves(cells, curves)), ["learning-curves"])
    assert [chart.id for chart in charts] == [
        "curves-d4rl-locomotion", "curves-collected-locomotion", "curves-other-tasks"
    ]  # fmt: skip
    assert charts[0].tasks == (TASK, "walker2d-medium-v2")
    svg = io.BytesIO()
    save_chart(charts[0], svg, "svg")
    text = svg.getvalue().decode()
    assert text.count("DTQL (n = 1)") == 1
    assert all(task in text for task in charts[0].tasks)


@pytest.mark.parametrize(("format_", "width"), [("svg", b'width="486pt"'), ("pdf", b"/MediaBox [ 0 0 486 ")])
def test_sheets_of_papers_are_as_wide_as_the_text_with_fonts_as_text(format_, width):
    cells = (measured(TASK), measured("walker2d-medium-v2"))
    curves = (curve(0, (1.0, 2.0)), curve(0, (1.0, 2.0), task="walker2d-medium-v2"))
    (chart, *_) = paper_charts(ReportData(**with_curves(cells, curves)), ["learning-curves"])
    stream = io.BytesIO()
    save_chart(chart, stream, format_)
    assert width in stream.getvalue()
    if format_ == "pdf":
        assert b"/FontFile2" in stream.getvalue()
        assert b"/Type3" not in stream.getvalue()


def test_every_method_has_one_look_that_no_other_has():
    looks = {(style.colour, style.dashes, style.marker) for style in styles().values()}
    assert len(looks) == len(styles())
    assert {"dql", "idql", "iql", "td3bc"} < styles().keys()
    assert style_of("a-new-method") == style_of("a-new-method")
    assert style_of("a-new-method").label == "a-new-method"


def test_colours_stand_out_on_white_and_on_the_dark_page():
    for style in styles().values():
        light = _luminance(style.colour)
        assert 1.05 / (light + 0.05) >= 3
        assert (light + 0.05) / (_luminance("#14181c") + 0.05) >= 3


def _luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_suites_of_the_same_tasks_are_drawn_once():
    task = "collected-hopper-quickstart"
    data = ReportData(**with_curves((measured(task),), [curve(0, (1.0, 2.0), task=task)]))
    shown = [chart.id for chart in paper_charts(data, get_args(ChartKind))]
    assert "curves-quickstart" in shown
    assert not any("demo-scores" in name for name in shown)
