"""A check as JSON, for programs: everything, in full precision."""

from __future__ import annotations

from dataclasses import asdict

from pydantic_core import to_json

from bench.report.check import Check
from bench.report.judgement import WORDS, CellVerdict, SuiteVerdict
from bench.visible_text import visible_json

SCHEMA_VERSION = 1
"""Raised when a field changes its meaning or goes; new fields do not raise it."""


def render(check: Check) -> str:
    """One object; a number that is not finite (the end of an interval without bounds) becomes null."""
    judgement = check.judgement
    content = {
        "schema_version": SCHEMA_VERSION,
        "against": "paper",
        "store": check.store,
        "made_at": check.made_at,
        "restricted_to": list(check.suites) if check.restricted else None,
        "failed": judgement.failed(),
        "judged_together": {"cells": check.judged, "suite_means": check.judged_suites},
        "counts": judgement.counts(),
        "statements": judgement.statements,
        "suites": [_record(verdict) for verdict in judgement.suites],
        "cells": [_record(verdict) for verdict in judgement.cells],
        "beside": [asdict(reason) for reason in check.beside],
    }
    return visible_json(to_json(content, indent=2, inf_nan_mode="null").decode()) + "\n"


def _record(verdict: CellVerdict | SuiteVerdict) -> dict[str, object]:
    fields = asdict(verdict)
    if isinstance(verdict, CellVerdict):
        named = zip(("paper", "algorithm", "task", "protocol"), fields.pop("key"), strict=True)
        fields = {**dict(named), **fields}
    return {"id": verdict.id, **fields, "words": WORDS[verdict.outcome]}
