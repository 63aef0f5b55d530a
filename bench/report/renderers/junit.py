"""A check as JUnit XML, for services for continuous integration: a suite of tests per paper and suite."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from xml.etree import ElementTree

from bench.report.check import Check
from bench.report.judgement import CellVerdict, SuiteVerdict
from bench.report.verdict_words import sentence

Verdict = CellVerdict | SuiteVerdict

_NO_SUITE = "other tasks"
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, escaped or not."""


def render(check: Check) -> str:
    """*Below* fails with its arithmetic, *above* passes with a note, what was not decided is skipped."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for mean in check.judgement.suites:
        groups.setdefault((mean.paper, mean.suite), []).append(mean)
    for cell in check.judgement.cells:
        groups.setdefault((cell.key[0], check.suite_of(cell.key[2]) or _NO_SUITE), []).append(cell)
    root = ElementTree.Element(
        "testsuites", name="bench check --against paper", **_totals(_all(groups.values()))
    )
    made_at = check.made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    for (paper, suite), verdicts in groups.items():
        name = clean(f"{paper} {suite}")
        of_suite = ElementTree.SubElement(
            root, "testsuite", name=name, timestamp=made_at, skipped=_skipped(verdicts), **_totals(verdicts)
        )
        for verdict in verdicts:
            _add_case(of_suite, name, verdict)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(parent: ElementTree.Element, classname: str, verdict: Verdict) -> None:
    name = verdict.id if isinstance(verdict, CellVerdict) else f"{verdict.id} (mean over tasks)"
    case = ElementTree.SubElement(parent, "testcase", classname=classname, name=clean(name), time="0")
    message = clean(sentence(verdict))
    if verdict.outcome == "below":
        failure = ElementTree.SubElement(case, "failure", type="below", message=message)
        failure.text = clean("\n".join(verdict.arithmetic))
    elif verdict.outcome in ("inconclusive", "not comparable"):
        ElementTree.SubElement(case, "skipped", message=message)
    elif verdict.outcome == "above":
        ElementTree.SubElement(case, "system-out").text = clean("\n".join((message, *verdict.arithmetic)))


def _all(groups: Sequence[Sequence[Verdict]]) -> list[Verdict]:
    return [verdict for group in groups for verdict in group]


def _totals(verdicts: Sequence[Verdict]) -> dict[str, str]:
    failures = sum(verdict.outcome == "below" for verdict in verdicts)
    return {"tests": str(len(verdicts)), "failures": str(failures), "errors": "0", "time": "0"}


def _skipped(verdicts: Sequence[Verdict]) -> str:
    return str(sum(verdict.outcome in ("inconclusive", "not comparable") for verdict in verdicts))


def clean(text: str) -> str:
    """The text with what XML cannot hold replaced."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
