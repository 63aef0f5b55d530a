"""Nights and the papers: a planted fall turns a verdict, and only a turn from reproduced fails the night."""

import numpy as np
import pytest

from bench.benchmarks.synthetic_study import Design, draw_study, study_cells
from bench.catalog import load_catalog
from bench.nightly.config import load_nightly
from bench.nightly.night import margins_of, turned, verdicts_of
from bench.report.margins import load_margins
from bench.store.database import open_store
from tests.nightly.tiny_nights import write_canary
from tests.report.synthetic import refill, write_store
from tests.store import samples

CATALOG = load_catalog()


def night(verdicts, **changes):
    """A night that ended with these verdicts."""
    return samples.night_record(verdicts=verdicts, **changes)


@pytest.fixture(scope="module")
def cells():
    chosen = [cell for cell in study_cells(CATALOG) if cell.key[:2] == ("BDPO", "bdpo")]
    return tuple(chosen[:3])


def drawn(cells, **design):
    random = np.random.default_rng(3)
    return draw_study(cells, Design(seeds=20, printed_anew=False, **design), load_margins(), CATALOG, random)


def test_a_fall_in_the_store_turns_its_verdict_and_no_other(tmp_path, cells):
    file = load_nightly(write_canary(tmp_path))
    path = write_store(tmp_path / "bench.sqlite", drawn(cells), CATALOG)
    with open_store(path, read_only=True) as store:
        before = verdicts_of(store, CATALOG, margins_of(file))
    assert before == {cell.key: "reproduced" for cell in cells}
    fallen = cells[1].key
    refill(path, drawn(cells, planted={fallen: -10.0}), CATALOG)
    with open_store(path, read_only=True) as store:
        after = verdicts_of(store, CATALOG, margins_of(file))
    (change,) = turned([night(before)], after)
    assert (change.key, change.before, change.after, change.fails) == (fallen, "reproduced", "below", True)


def test_margins_are_those_that_the_configuration_names(tmp_path, cells):
    (tmp_path / "wide.yaml").write_text(
        "declared: 2025-01-01\ncell: {points: 60, deviations: 2}\nsuite: {points: 60}\n"
    )
    study = drawn(cells, planted={cells[1].key: -10.0})
    path = write_store(tmp_path / "bench.sqlite", study, CATALOG)
    with open_store(path, read_only=True) as store:
        assert verdicts_of(store, CATALOG, load_margins())[cells[1].key] == "below"
        wide = load_nightly(write_canary(tmp_path, margins="wide.yaml"))
        assert verdicts_of(store, CATALOG, margins_of(wide))[cells[1].key] == "reproduced"


A, B = ("dtql", "dtql", "a", "last"), ("dtql", "dtql", "b", "last")


@pytest.mark.parametrize(
    ("history", "now", "fails"),
    [
        ([{A: "reproduced"}], {A: "below"}, True),
        ([{A: "reproduced"}], {A: "above"}, True),
        ([{A: "reproduced"}, {A: "inconclusive"}], {A: "below"}, True),
        ([{A: "reproduced"}, {}], {A: "below"}, True),
        ([{A: "reproduced"}], {A: "inconclusive"}, False),
        ([{A: "reproduced"}], {A: "not comparable"}, False),
        ([{A: "reproduced"}, {A: "below"}, {A: "inconclusive"}], {A: "below"}, False),
        ([{A: "inconclusive"}], {A: "below"}, False),
        ([{}], {A: "below"}, False),
    ],
)
def test_only_what_was_reproduced_when_last_decided_can_fail(history, now, fails):
    (change,) = turned([night(verdicts) for verdicts in history], now)
    assert change.fails == fails


def test_on_the_first_night_nothing_has_turned():
    assert turned([], {A: "below", B: "reproduced"}) == ()
    stopped = night({}, cells=())
    assert turned([stopped], {A: "below", B: "reproduced"}) == ()


def test_every_change_is_told_and_what_stands_is_not():
    earlier = [night({A: "reproduced", B: "below"})]
    assert turned(earlier, {A: "reproduced", B: "below"}) == ()
    (change,) = turned(earlier, {A: "reproduced"})
    assert (change.before, change.after, change.sentence) == (
        "below", None, "dtql/b/last: not reproduced, below -> not compared")  # fmt: skip
    # A night that stopped at the exact layers says nothing about the papers.
    stopped = night({}, cells=())
    assert turned([*earlier, stopped], {A: "reproduced", B: "below"}) == ()
