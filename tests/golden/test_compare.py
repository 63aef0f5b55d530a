"""That a comparison notices what differs, and what is said of it in `intended.yaml`."""

import pytest

from tests.golden import compare
from tests.golden.compare import Difference, Intended, compared

RECORD = {
    "dtql released": {"metrics": {"loss": [(0.5).hex(), (0.25).hex()]}, "weights after": {"a": "12"}},
    "show dtql": {"code": 0, "out": ["discount 0.99", "rate 0.1"]},
    "table": {"rows": [{"mean": 1.5}, {"mean": float("nan")}]},
}


@pytest.fixture
def found(monkeypatch):
    """A record as it is, with nothing intended; `found` may be changed."""
    monkeypatch.setattr(compare, "read_record", lambda section: _copy(RECORD))
    monkeypatch.setattr(compare, "intended_differences", lambda: ())
    return _copy(RECORD)


def _copy(value):
    if isinstance(value, dict):
        return {name: _copy(inner) for name, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def test_the_same_is_as_recorded(found):
    result = compared("a section", found)
    assert (result.failed, result.headline) == (False, "as recorded")


def test_a_line_a_number_and_an_entry_that_differ_are_shown_old_and_new(found):
    found["show dtql"]["out"][1] = "rate 0.2"
    found["table"]["rows"][0]["mean"] = 1.25
    del found["dtql released"]["weights after"]
    result = compared("a section", found)
    assert result.failed
    told = list(result.lines())
    assert told[:3] == ["dtql released / weights after", "    - {'a': '12'}", "    + (absent)"]
    assert told[3:6] == ["show dtql / out", "    -rate 0.1", "    +rate 0.2"]
    assert told[6:] == ["table / rows / 0 / mean", "    - 1.5", "    + 1.25"]


def test_an_intended_difference_is_told_and_does_not_fail(found, monkeypatch):
    listed = Intended("a section", "show * / out", "a better rate", was="rate 0.1", now="rate 0.2")
    monkeypatch.setattr(compare, "intended_differences", lambda: (listed,))
    found["show dtql"]["out"][1] = "rate 0.2"
    result = compared("a section", found)
    assert not result.failed
    assert list(result.lines()) == ["intended (1): a better rate"]
    found["show dtql"]["out"][0] = "discount 0.9"  # and nothing besides
    assert compared("a section", found).failed


def test_an_intended_difference_that_is_not_there_any_more_fails(found, monkeypatch):
    monkeypatch.setattr(compare, "intended_differences", lambda: (Intended("a section", "table*", "why"),))
    result = compared("a section", found)
    assert result.failed
    assert "remove it" in next(iter(result.lines()))
    assert not compared("another section", found).failed


def test_numbers_of_another_machine_may_differ_in_their_last_digits(found, monkeypatch):
    monkeypatch.setattr(compare, "read_record", lambda section: {"machine": "one", **losses(0.25, "12")})
    assert not compared("losses", {"machine": "two", **losses(0.25 * (1 + 1e-9), "34")}).failed
    assert compared("losses", {"machine": "two", **losses(0.2501, "12")}).failed
    assert compared("losses", {"machine": "one", **losses(0.25 * (1 + 1e-9), "12")}).failed


def losses(last, weights):
    """What a training is recorded as."""
    return {"dtql": {"metrics": {"loss": [(0.5).hex(), last.hex()]}, "weights after": {"a": weights}}}


def test_a_long_difference_is_cut():
    lines = list(Difference("text", [], [str(number) for number in range(100)]).lines())
    assert lines[-1] == "    ... and 88 lines more"
