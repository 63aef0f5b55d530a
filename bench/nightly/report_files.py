"""A night's report in a folder: a page for people, JSON for programs, JUnit XML for services that build."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.files import write_text
from bench.nightly.as_records import as_json
from bench.nightly.findings import Findings, number, slower
from bench.nightly.summary import summary
from bench.report.renderers.junit import clean
from bench.resources import resource

TEMPLATE = "night.html.j2"


def write_report(found: Findings, folder: Path) -> list[Path]:
    """Write `report.html`, `report.json` and `junit.xml`; return their paths.

    Raises
    ------
    OSError : the folder cannot be written.
    """
    contents = {
        "report.html": html(found),
        "report.json": json.dumps(as_json(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "junit.xml": junit(found),
    }
    for name, text in contents.items():
        write_text(folder / name, text)
    return [folder / name for name in contents]


def html(found: Findings) -> str:
    """One page without reference to any other file."""
    environment = Environment(
        loader=FileSystemLoader(resource("reports/templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "slower": slower}
    confirmation = () if found.confirmation is None else found.confirmation.cells
    return environment.get_template(TEMPLATE).render(
        found=found,
        cells=() if found.comparison is None else found.comparison.cells,
        fresh={cell.cell: cell for cell in confirmation},
        problems=found.problems(),
        summary=summary(found),
    )


def junit(found: Findings) -> str:
    """A test per exact difference, canary cell, timing and verdict that turned."""
    cases = list(_cases(found))
    failures = sum(failure is not None for _, _, failure in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0", "time": "0"}
    root = ElementTree.Element("testsuites", name="bench nightly", **counts)
    suite = ElementTree.SubElement(root, "testsuite", name=f"night of {found.date}", **counts)
    for group, name, failure in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=group, name=clean(name), time="0")
        if failure is not None:
            ElementTree.SubElement(case, "failure", type=group, message=clean(failure))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _cases(found: Findings) -> Iterator[tuple[str, str, str | None]]:
    """Group, name, and why it fails."""
    if not found.stopped:
        yield "exact", "losses, data and simulators", None
    for finding in found.exact:
        if finding.fails:
            yield "exact", f"{finding.layer}, {finding.name}", finding.sentence
    for sentence in found.changed_cells:
        yield "exact", "canary", sentence
    second = {} if found.confirmation is None else {cell.cell: cell for cell in found.confirmation.cells}
    for cell in () if found.comparison is None else found.comparison.cells:
        problems = [
            problem.what for problem in found.score_problems() if problem.what.startswith(f"{cell.cell}:")
        ]
        assert cell.status != "below" or cell.cell in second, "every alarm was looked at again"
        yield "scores", cell.cell, "; ".join(problems) or None
        if found.drift.limit is not None:
            drifts = cell.cell in found.drift.cells
            yield "drift", cell.cell, "the cumulative sum is at its limit" if drifts else None
    for timed in found.pace:
        failing = timed.status in ("slower", "missing")
        yield "speed", f"{timed.method}, {timed.quantity}", slower(timed) if failing else None
    for change in found.changes:
        yield "papers", "/".join(change.key), change.sentence if change.fails else None
