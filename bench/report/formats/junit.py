"""JUnit XML, for services for continuous integration: a suite of tests per paper and suite of tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from xml.etree import ElementTree

from bench.report.check import Check, sentence
from bench.report.judgement import Outcome, Verdict

State = Literal["passed", "failed", "skipped"]

_NO_SUITE = "other tasks"
_STATES: Mapping[Outcome, State] = {
    "reproduced": "passed",
    "above": "passed",
    "below": "failed",
    "inconclusive": "skipped",
    "not comparable": "skipped",
}
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, escaped or not."""


@dataclass(frozen=True)
class Case:
    """One test."""

    name: str
    state: State
    kind: str
    """Of a failure."""
    message: str = ""
    """Why it failed or was skipped; what is to be known of it though it passed."""
    detail: str = ""


def render(check: Check) -> str:
    """*Below* fails with its arithmetic, *above* passes with a note, what was not decided is skipped."""
    groups: dict[str, list[Case]] = {}
    for mean in check.judgement.suites:
        groups.setdefault(f"{mean.paper} {mean.suite}", []).append(
            _case(mean, f"{mean.id} (mean over tasks)")
        )
    for cell in check.judgement.cells:
        suite = check.suite_of(cell.key[2]) or _NO_SUITE
        groups.setdefault(f"{cell.paper} {suite}", []).append(_case(cell, cell.id))
    return document("bench check --against paper", groups, check.made_at)


def _case(verdict: Verdict, name: str) -> Case:
    if verdict.outcome == "reproduced":
        return Case(name, "passed", verdict.outcome)
    detail = "\n".join(verdict.arithmetic)
    return Case(name, _STATES[verdict.outcome], verdict.outcome, sentence(verdict), detail)


def document(name: str, groups: Mapping[str, Sequence[Case]], made_at: datetime) -> str:
    """The text of a whole document, one suite of tests per group."""
    everything = [case for cases in groups.values() for case in cases]
    root = ElementTree.Element("testsuites", {"name": name, **_totals(everything)})
    moment = made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    for group, cases in groups.items():
        title, skipped = clean(group), str(sum(case.state == "skipped" for case in cases))
        told = {"name": title, "timestamp": moment, "skipped": skipped, **_totals(cases)}
        suite = ElementTree.SubElement(root, "testsuite", told)
        for case in cases:
            _add(suite, title, case)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add(suite: ElementTree.Element, classname: str, case: Case) -> None:
    element = ElementTree.SubElement(suite, "testcase", classname=classname, name=clean(case.name), time="0")
    message, detail = clean(case.message), clean(case.detail)
    if case.state == "failed":
        ElementTree.SubElement(element, "failure", type=case.kind, message=message).text = detail
    elif case.state == "skipped":
        ElementTree.SubElement(element, "skipped", message=message)
    elif message:
        ElementTree.SubElement(element, "system-out").text = "\n".join(filter(None, (message, detail)))


def _totals(cases: Iterable[Case]) -> dict[str, str]:
    states = [case.state for case in cases]
    return {"tests": str(len(states)), "failures": str(states.count("failed")), "errors": "0", "time": "0"}


def clean(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
