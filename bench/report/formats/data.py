"""Tables as CSV and JSON: full precision, every field, one cell per record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from bench.records import IMPORTED
from bench.report.judgement import CellVerdict, Verdict
from bench.report.measured import Measured
from bench.report.paper import PaperCell
from bench.report.tables import Amount, Block, Cell, Column, Row, Table
from bench.visible_text import csv_text, to_json

CSV_FIELDS = (
    "table", "block", "row", "column", "kind", "method", "value", "spread", "n", "text", "bold",
    "not_comparable", "verdict", "interval_low", "interval_high", "difference", "margin", "adjusted_p_below",
    "adjusted_p_above", "further_seeds", "verdict_reasons", "verdict_id", "footnotes", "spread_kind",
    "paper", "algorithm", "variant", "task", "seeds", "scores",
    "trials", "protocol", "protocol_as_stated", "episodes", "budget", "physics", "task_version", "precision",
    "dataset", "verification", "replay", "config_hash", "quantity", "device", "threads", "runner",
    "matmul_precision", "accepts_variants", "note",
)  # fmt: skip
"""Columns of the CSV: one line per printed or measured cell, blank ones of the shown columns included."""
_OF_PRINTED = (
    "paper", "spread_kind", "protocol", "protocol_as_stated", "episodes", "accepts_variants", "note",
)  # fmt: skip
_OF_AMOUNT = tuple(field.name for field in fields(Amount) if field.name not in ("value", "spread", "n"))


def render_csv(tables: Sequence[Table]) -> str:
    """One line per printed or measured cell; lists are joined by `; `, missing numbers are empty."""
    return csv_text(
        CSV_FIELDS, ([_csv_value(record.get(name)) for name in CSV_FIELDS] for record in _records(tables))
    )


def _records(tables: Sequence[Table]) -> Iterator[dict[str, Any]]:
    for table in tables:
        for block in table.blocks:
            for row in block.rows:
                for column, cell in zip(block.columns, row.cells, strict=True):
                    if cell.kind in ("printed", "measured"):
                        low, high = cell.interval or (None, None)
                        yield {
                            "table": table.id,
                            "block": block.title,
                            "row": row.cells[0].text,
                            **_cell_record(column, cell),
                            "interval_low": low,
                            "interval_high": high,
                        }


def render_json(tables: Sequence[Table]) -> str:
    """The whole model as one object; numbers that are not finite become null."""
    return to_json({"tables": [_table_record(table) for table in tables]})


def _cell_record(column: Column, cell: Cell) -> dict[str, Any]:
    return {
        "column": column.header,
        "kind": IMPORTED if getattr(cell.number, "variant", None) == IMPORTED else cell.kind,
        "method": column.method,
        "value": cell.value,
        "spread": cell.spread,
        "n": cell.n,
        "text": cell.text,
        "bold": cell.bold,
        "not_comparable": list(cell.not_comparable),
        "verdict": cell.verdict_words,
        "interval": None if cell.interval is None else list(cell.interval),
        "footnotes": list(cell.footnotes),
        **_about_number(cell.number),
        **_about_verdict(cell.verdict),
    }


def _about_number(number: PaperCell | Measured | Amount | None) -> dict[str, Any]:
    """What else is known of it (seeds, scores, protocol, episodes, ...)."""
    if isinstance(number, Measured):
        return _about_score(number)
    names = _OF_PRINTED if isinstance(number, PaperCell) else _OF_AMOUNT if number else ()
    found = {name: getattr(number, name) for name in names}
    if isinstance(number, Amount):
        found = {name: value for name, value in found.items() if value is not None}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _about_score(entry: Measured) -> dict[str, Any]:
    scored = sorted((t for t in entry.trials if t.score is not None), key=lambda trial: trial.seed)
    return {
        "algorithm": entry.algorithm,
        "variant": entry.variant,
        "task": entry.task,
        "spread_kind": "std_over_seeds",
        "seeds": [trial.seed for trial in scored],
        "scores": [trial.score for trial in scored],
        "trials": list(entry.trial_ids),
        "protocol": entry.protocol,
        "episodes": entry.episodes,
        "budget": entry.budget,
        "physics": entry.physics,
        "task_version": entry.task_version,
        "precision": entry.precision,
        "dataset": entry.dataset,
        "verification": entry.verification,
        "replay": entry.replay,
        "config_hash": entry.config_hash,
        **({} if entry.declared is None else {"declared": asdict(entry.declared)}),
    }


def _about_verdict(verdict: Verdict | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if verdict is None:
        return found
    if verdict.comparison is not None:
        test = verdict.comparison
        found |= {"difference": test.difference, "margin": test.margin}
        found |= {"adjusted_p_below": test.adjusted_below, "adjusted_p_above": test.adjusted_above}
    if isinstance(verdict, CellVerdict):
        found |= {"verdict_id": verdict.id, "further_seeds": verdict.further_seeds}
    return found | ({"verdict_reasons": list(verdict.reasons)} if verdict.reasons else {})


def _csv_value(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, list):
        return "; ".join(_csv_value(entry) for entry in value)
    if isinstance(value, bool):
        return "yes" if value else ""
    return repr(value) if isinstance(value, float) else str(value)


def _table_record(table: Table) -> dict[str, Any]:
    coverage = table.coverage
    return {
        "id": table.id,
        "title": table.title,
        "cells": coverage.cells,
        "measured": coverage.measured,
        "comparable": coverage.comparable,
        "notes": list(table.notes),
        "statements": list(table.statements),
        "blocks": [_block_record(block) for block in table.blocks],
    }


def _block_record(block: Block) -> dict[str, Any]:
    return {
        "title": block.title,
        "of_paper": block.of_paper,
        "columns": [
            {"key": column.key, "header": column.header, "kind": column.kind, "method": column.method}
            for column in block.columns
        ],
        "rows": [_row_record(block, row) for row in block.rows],
    }


def _row_record(block: Block, row: Row) -> dict[str, Any]:
    cells = {
        column.key: _cell_record(column, cell) for column, cell in zip(block.columns, row.cells, strict=True)
    }
    return {"label": row.cells[0].text, "aggregate": row.aggregate, "cells": cells}
