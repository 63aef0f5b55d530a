"""Learning curves: one line per seed and one mean, as SVG that can stand inside a page."""

from xml.etree import ElementTree

import pytest

from bench.report.figures import learning_curves_svg
from bench.report.measured import LearningCurve

SVG = "{http://www.w3.org/2000/svg}"


def _curve(seed, scores, **other):
    facts = {"task": "t", "algorithm": "dtql", "variant": "released", "config_hash": "ab" * 32} | other
    steps = tuple(100 * (place + 1) for place in range(len(scores)))
    return LearningCurve(seed=seed, steps=steps, scores=scores, **facts)


def _lines(svg, width):
    root = ElementTree.fromstring(svg)
    drawn = (path for path in root.iter(f"{SVG}path") if path.get("clip-path"))
    return [path for path in drawn if f"stroke-width: {width}" in path.get("style", "")]


def _heights(path):
    tokens = path.get("d").replace("M", "L").split("L")
    return [float(token.split()[1]) for token in tokens if token.strip()]


def test_the_mean_lies_between_its_seeds():
    svg = learning_curves_svg("t", [_curve(0, (0.0, 40.0)), _curve(1, (20.0, 80.0))])
    (mean,) = _lines(svg, 2.2)
    first, second = (path for path in _lines(svg, 0.8) if "opacity: 0.6" in path.get("style"))
    for low, high, middle in zip(_heights(first), _heights(second), _heights(mean), strict=True):
        assert middle == pytest.approx((low + high) / 2, abs=1e-3)


def test_the_mean_ends_where_a_seed_ends():
    svg = learning_curves_svg("t", [_curve(0, (1.0, 2.0, 3.0)), _curve(1, (1.0, 2.0))])
    (mean,) = _lines(svg, 2.2)
    assert len(_heights(mean)) == 2


def test_text_takes_the_colour_of_the_page_and_groups_have_no_ids():
    svg = learning_curves_svg("t", [_curve(0, (1.0, 2.0))])
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert "<g id" not in svg
    assert "metadata" not in svg
    assert "normalised score" in svg


def test_configurations_of_one_method_are_told_apart():
    svg = learning_curves_svg("t", [_curve(0, (1.0, 2.0)), _curve(0, (3.0, 2.0), config_hash="cd" * 32)])
    assert "dtql released abababa (n=1)" in svg
    assert "dtql released cdcdcdc (n=1)" in svg


@pytest.mark.filterwarnings("error")
def test_names_and_missing_scores_do_no_harm():
    nan = float("nan")
    svg = learning_curves_svg(
        "a_b&c<script>", [_curve(0, (nan, nan), algorithm="x<script>"), _curve(1, (1.0,))]
    )
    ElementTree.fromstring(svg)
    assert "<script>" not in svg


def test_same_curves_same_bytes():
    curves = [_curve(0, (1.0, 2.0))]
    assert learning_curves_svg("t", curves) == learning_curves_svg("t", curves)
