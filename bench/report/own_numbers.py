"""The numbers that may be judged: what each paper prints of its own methods."""

from __future__ import annotations

from collections.abc import Mapping

from bench.report.judgement import Key
from bench.report.methods import algorithm_of
from bench.report.paper import PaperCell, load_paper_table, paper_tables
from bench.report.score_table import AGGREGATES

SCORE = "d4rl_normalized_score"

Printed = Mapping[Key, tuple[str, PaperCell]]
"""Numbers that may be judged, each with the id of its table."""


def own_numbers() -> Printed:
    """Every score that a paper prints of its own method, with its table: of two the first without erratum.

    Aggregates, quoted numbers and ablations are not judged. EDP names its pen tasks once as -v0, once as -v1:
    a number is known by the task that it is of, so that these are one.
    """
    found: dict[Key, tuple[str, PaperCell]] = {}
    for table_id in paper_tables():
        for cell in load_paper_table(table_id).rows:
            aggregate = cell.task in AGGREGATES or cell.metric != SCORE
            if aggregate or not cell.accepts_variants or cell.mean is None:
                continue
            key = (cell.paper, algorithm_of(cell.method, cell.domain), cell.task_meant, cell.protocol)
            if key not in found or (found[key][1].errata and not cell.errata):
                found[key] = (table_id, cell)
    return found
