"""A night's report in a folder: a page for people, JSON for programs, JUnit XML for services that build."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from bench.files import write_text
from bench.nightly.as_records import as_json
from bench.nightly.findings import Findings, number, slower
from bench.nightly.summary import course
from bench.report.renderers.junit import Case, document
from bench.report.renderers.templates import page_templates
from bench.visible_text import visible, visible_json

TEMPLATE = "night.html.j2"


def write_report(found: Findings, folder: Path) -> list[Path]:
    """Write `report.html`, `report.json` and `junit.xml`; return their paths.

    Raises
    ------
    OSError : the folder cannot be written.
    """
    record = json.dumps(as_json(found), indent=1, ensure_ascii=False, allow_nan=False)
    contents = {
        "report.html": html(found),
        "report.json": visible_json(record) + "\n",
        "junit.xml": junit(found, datetime.now(UTC)),
    }
    for name, text in contents.items():
        write_text(folder / name, text)
    return [folder / name for name in contents]


def html(found: Findings) -> str:
    """One page without reference to any other file."""
    environment = page_templates()
    environment.filters |= {"number": number, "slower": slower}
    confirmation = () if found.confirmation is None else found.confirmation.cells
    page = environment.get_template(TEMPLATE).render(
        found=found,
        cells=() if found.comparison is None else found.comparison.cells,
        fresh={cell.cell: cell for cell in confirmation},
        problems=found.problems(),
        course="\n".join(course(found)),
    )
    return visible(page)


def junit(found: Findings, made_at: datetime) -> str:
    """A test per exact difference, canary cell, timing and verdict that turned."""
    groups = {
        "exact": _exact_cases(found),
        "scores": _score_cases(found),
        "drift": _drift_cases(found),
        "speed": _speed_cases(found),
        "papers": [_case("/".join(change.key), change.sentence, change.fails) for change in found.changes],
    }
    held = {name: cases for name, cases in groups.items() if cases}
    return document(f"bench nightly, {found.date}", held, made_at)


def _case(name: str, message: str, failed: bool) -> Case:
    return Case(name, "failed" if failed else "passed", "regression", message)


def _exact_cases(found: Findings) -> list[Case]:
    differing = [
        _case(f"{finding.layer}, {finding.name}", finding.sentence, finding.fails) for finding in found.exact
    ]
    differing += [_case("canary", sentence, True) for sentence in found.changed_cells]
    return differing if found.stopped else [_case("losses, data and simulators", "", False), *differing]


def _score_cases(found: Findings) -> list[Case]:
    cases = []
    for cell in () if found.comparison is None else found.comparison.cells:
        red = [problem.what for problem in found.score_problems(cell.cell)]
        cases.append(_case(cell.cell, "; ".join(red) or cell.status, bool(red)))
    return cases


def _drift_cases(found: Findings) -> list[Case]:
    return [
        _case(name, f"cumulative sum {total:.1f} of {found.drift.limit:.1f}", name in found.drift.cells)
        for name, total in found.drift.sums.items()
        if found.drift.limit is not None
    ]


def _speed_cases(found: Findings) -> list[Case]:
    return [
        _case(
            f"{timed.method}, {timed.quantity}",
            timed.reason or slower(timed),
            timed.status in ("slower", "missing"),
        )
        for timed in found.pace
    ]
