"""JUnit XML, read again by a parser that knows nothing of its writer."""

from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from bench.report.check import Check
from bench.report.formats import junit
from bench.report.judgement import CellVerdict, Comparison, Judgement, SuiteVerdict
from tests.report.builders import measured, printed

MADE_AT = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
COMPARISON = Comparison(-9.0, 1.0, 7.5, -10.9, -7.1, 5.0, 0.002, 1.0, 0.02, 1.0)
AWKWARD = "a<b>&\"c'd\x00\x1b]]>\ud800"


def cell(outcome, task="hopper-medium-v2", **other):
    """A verdict on DTQL."""
    return CellVerdict("dtql-1", printed(task, "DTQL", 99.6), measured(task), outcome=outcome, **other)


def rendered(*cells, suites=()):
    """The root of the document, parsed from its text."""
    tasks = {"gym": ("hopper-medium-v2",), "maze": ("antmaze-umaze-v0",)}
    text = junit.render(Check("s.sqlite", MADE_AT, Judgement(cells, suites), suites=tasks))
    return ElementTree.fromstring(text.encode())


def test_below_alone_fails_with_its_arithmetic():
    below = cell("below", comparison=COMPARISON, arithmetic=("d = 90.6 - 99.6 = -9", "P = 0.002"))
    (case,) = rendered(below).iter("testcase")
    failure = case.find("failure")
    assert (case.get("classname"), case.get("name")) == ("DTQL gym", "dtql/hopper-medium-v2/last")
    assert failure.text.splitlines() == ["d = 90.6 - 99.6 = -9", "P = 0.002"]
    assert failure.get("type") == "below"
    assert failure.get("message").startswith(
        "not reproduced, below: d = -9.00, 90 % interval [-10.90, -7.10]"
    )


def test_above_passes_with_a_note():
    (case,) = rendered(cell("above", comparison=COMPARISON, arithmetic=("the sum",))).iter("testcase")
    assert [part.tag for part in case] == ["system-out"]
    assert case[0].text.startswith("not reproduced, above: ")
    assert case[0].text.endswith("the sum")


def test_reproduced_passes_in_silence():
    (case,) = rendered(cell("reproduced", comparison=COMPARISON)).iter("testcase")
    assert len(case) == 0


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (cell("not comparable", reasons=("physics modern", "budget 0.1")), "physics modern; budget 0.1"),
        (cell("inconclusive", comparison=COMPARISON, further_seeds=3), "3 further seeds would decide"),
        (cell("inconclusive", reasons=("1 seed: no spread",)), "1 seed: no spread"),
    ],
)
def test_what_was_not_decided_is_skipped_with_its_reason(verdict, message):
    (case,) = rendered(verdict).iter("testcase")
    assert [part.tag for part in case] == ["skipped"]
    assert case[0].get("message").endswith(message)


def test_one_suite_of_tests_per_paper_and_suite_with_right_counts():
    mean = SuiteVerdict("gym", "DTQL", "dtql", "last", "below", 9, 9, 80.0, 88.0, COMPARISON)
    root = rendered(
        cell("below"),
        cell("reproduced", "antmaze-umaze-v0"),
        replace(cell("inconclusive", "antmaze-umaze-v0"), table="dtql-6"),
        cell("above", "elsewhere-v0"),
        suites=(mean,),
    )
    counted = {suite.get("name"): suite for suite in root}
    assert list(counted) == ["DTQL gym", "DTQL maze", "DTQL other tasks"]
    numbers = ("tests", "failures", "skipped", "errors")
    found = {name: tuple(suite.get(number) for number in numbers) for name, suite in counted.items()}
    assert found == {
        "DTQL gym": ("2", "2", "0", "0"),
        "DTQL maze": ("2", "0", "1", "0"),
        "DTQL other tasks": ("1", "0", "0", "0"),
    }
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "2", "0")
    assert [suite.get("timestamp") for suite in root] == ["2026-11-21T03:04:05"] * 3
    assert counted["DTQL gym"][0].get("name") == "dtql/gym/last (mean over tasks)"


def test_awkward_characters_survive_or_are_replaced():
    awkward = cell("below", AWKWARD, comparison=COMPARISON, arithmetic=(AWKWARD,), reasons=(AWKWARD,))
    (case,) = rendered(awkward).iter("testcase")
    expected = "a<b>&\"c'd\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}]]>\N{REPLACEMENT CHARACTER}"
    assert case.get("name") == f"dtql/{expected}/last"
    assert case.find("failure").text == expected


def test_only_tags_and_attributes_that_readers_of_junit_know():
    """As in the schema that Jenkins publishes (junit-10.xsd)."""
    known = {
        "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
        "testsuite": (
            {
                "name",
                "tests",
                "failures",
                "errors",
                "time",
                "skipped",
                "timestamp",
                "hostname",
                "id",
                "package",
            },
            {"testcase", "properties", "system-out", "system-err"},
        ),
        "testcase": (
            {"name", "classname", "time", "group"},
            {"skipped", "error", "failure", "system-out", "system-err"},
        ),
        "failure": ({"type", "message"}, set()),
        "skipped": ({"type", "message"}, set()),
        "system-out": (set(), set()),
    }
    root = rendered(cell("below", comparison=COMPARISON), cell("above"), cell("inconclusive"))
    for element in root.iter():
        attributes, children = known[element.tag]
        assert set(element.keys()) <= attributes
        assert {child.tag for child in element} <= children


def test_nothing_judged_is_an_empty_document():
    root = rendered()
    assert (root.tag, root.get("tests"), len(root)) == ("testsuites", "0", 0)
