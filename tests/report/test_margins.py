"""The file of margins: what it means, and what is wrong with it said with its line."""

import pytest

from bench.errors import BenchError
from bench.report.margins import load_margins
from tests.report.judging import own

GOOD = """\
declared: 2025-01-01
cell: {points: 5, deviations: 2}
suite: {points: 2.5}
exceptions:
  dtql/hopper-medium-v2/last: 8
"""


@pytest.fixture
def load(tmp_path):
    def loaded(text):
        path = tmp_path / "margins.yaml"
        path.write_text(text, encoding="utf-8")
        return load_margins(path)

    return loaded


def test_the_projects_own_are_as_the_verdicts_promise():
    margins = load_margins()
    assert (margins.cell.points, margins.cell.deviations, margins.suite.points) == (5, 2, 2.5)


@pytest.mark.parametrize(
    ("spread", "kind", "margin"),
    [(None, "", 5), (1.0, "std_over_seeds", 5), (2.5, "std_over_seeds", 5), (13.9, "std_over_seeds", 27.8),
     (13.9, "se_over_rollouts", 5), (13.9, "unknown", 5)],
)  # fmt: skip
def test_a_margin_is_the_larger_of_points_and_printed_deviations_over_seeds(load, spread, kind, margin):
    cell = own(spread=spread, spread_kind=kind)
    assert load(GOOD).of("srpo/hopper-medium-v2/last", cell) == pytest.approx(margin)


def test_an_exception_replaces_both(load):
    wide = own(spread=13.9, spread_kind="std_over_seeds")
    assert load(GOOD).of("dtql/hopper-medium-v2/last", wide) == 8


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "deviations: 2",
            "deviation: 2",
            "margins.yaml line 2: cell.deviation: unknown key; did you mean devia",
        ),
        ("suite:", "suites:", "margins.yaml line 3: suites: unknown key; did you mean suite?"),
        ("points: 2.5", "points: 0", "margins.yaml line 3: suite.points: "),
        ("points: 2.5", "points: 101", "margins.yaml line 3: suite.points: "),
        ("points: 5", "points: five", "margins.yaml line 2: cell.points: "),
        ("points: 5", "points: .nan", "margins.yaml line 2: cell.points: "),
        ("deviations: 2", "deviations: -1", "margins.yaml line 2: cell.deviations: "),
        ("2025-01-01", "soon", "margins.yaml line 1: declared: "),
        ("declared: 2025-01-01\n", "", "declared: Field required"),
        ("last: 8", "last: -8", "margins.yaml line 5: exceptions.dtql/hopper-medium-v2/last: "),
        ("hopper", "hoper", "margins.yaml line 5: exceptions.dtql/hoper-medium-v2/last: unknown number"),
        ("hopper", "hoper", "Did you mean dtql/hopper-medium-v2/last"),
        ("suite", "- suite", "not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(load, old, new, says):
    with pytest.raises(BenchError) as error:
        load(GOOD.replace(old, new, 1))
    assert says in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BenchError, match=r"no file of margins at .*absent\.yaml"):
        load_margins(tmp_path / "absent.yaml")
