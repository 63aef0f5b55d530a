"""The rates of comparisons: what is counted, and that the page has what was recorded."""

from __future__ import annotations

import json

import pytest

from benchmarks.compare_rates import KINDS, Rates, page_table, rates
from tests.documents.pages import ROOT, text_of

NORMAL = KINDS[0]
RECORD = json.loads((ROOT / "reports/benchmarks/compare-rates.json").read_text(encoding="utf-8"))


def test_differences_without_doubt_are_found_and_none_is_made_up():
    far = rates(NORMAL, 40.0, 5, 6, printed=False)
    assert (far.found_cells, far.found_mean, far.any_wrong_cell, far.wrong_mean) == (1, 1, 0, 0)
    equal = rates(NORMAL, 0.0, 10, 6, printed=True)
    assert (equal.found_cells, equal.covered) == (0, None)
    assert equal.equivalent_cells > 0.3


@pytest.mark.parametrize("against", ["a method's seeds", "a printed mean"])
def test_the_page_has_the_recorded_rates(against):
    found = [Rates(**one) for one in RECORD["rates"]]
    page = text_of("docs/verdicts.md").splitlines()
    lines = page_table(found, against)
    assert len(lines) == 2 + 12
    assert set(lines) <= set(page)


def test_the_recorded_errors_are_as_stated():
    sure = 0.021  # 95 % of as many comparisons
    for one in RECORD["rates"]:
        few_of_two_kinds = one["seeds_are"] == "two kinds" and one["seeds"] == 3
        assert one["any_wrong_cell"] <= (0.075 if few_of_two_kinds else 0.05 + sure)
        assert one["wrong_mean"] <= 0.05 + sure
        if abs(one["difference"]) >= 5:
            assert one["equivalent_cells"] <= 0.055
