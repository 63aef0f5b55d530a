"""What training cost in the papers, with the scores that they print beside it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.report.paper import PaperCell, load_paper_table

Numbers = Mapping[tuple[str, str], float]
"""Printed numbers by method and task."""

AVERAGE = "average"


@dataclass(frozen=True)
class PrintedCost:
    """A method's hours and score on some tasks, as printed."""

    method: str
    hours: float
    score: float
    source: str
    """`DTQL Table 7`"""
    remark: str
    """What must be known of the two numbers; often empty."""


@dataclass(frozen=True)
class CostSource:
    """A place in a paper that prints hours, and the one that prints the scores to them."""

    name: str
    hours: Numbers
    scores: Numbers
    remark: str = ""
    only_of: frozenset[str] = frozenset()
    """The tasks that its averages are of; empty where it prints task by task."""

    def on(self, tasks: Sequence[str]) -> Iterable[PrintedCost]:
        """Methods with hours and a score on every one of `tasks`, averaged over them."""
        if self.only_of and self.only_of != set(tasks):
            return
        wanted = [AVERAGE] if self.only_of else tasks
        for method in dict.fromkeys(method for method, _ in self.hours):
            keys = [(method, task) for task in wanted]
            if keys and all(key in self.hours and key in self.scores for key in keys):
                hours = statistics.mean(self.hours[key] for key in keys)
                score = statistics.mean(self.scores[key] for key in keys)
                yield PrintedCost(method, hours, score, self.name, self.remark)


def load_cost_sources() -> list[CostSource]:
    """The papers' training times: DTQL's Tables 2 and 7 with the scores of Table 1, EDP's Appendix C.5."""
    scores = _numbers(load_paper_table("dtql-1").rows)
    edp = load_paper_table("edp-4").rows
    locomotion = frozenset(c.task for c in edp if c.domain == "locomotion" and c.task != AVERAGE)
    # EDP names hours once per method; its text (sections 1 and C.5) says that they are those of the
    # locomotion tasks.
    hours = _numbers(load_paper_table("edp-figure-2").rows, "total_training_time_h")
    of_domain = {(method, AVERAGE): value for (method, _), value in hours.items()}
    best = _numbers(cell for cell in load_paper_table("edp-1").rows if cell.domain == "locomotion")
    return [
        CostSource(
            "DTQL Table 2", _numbers(load_paper_table("dtql-2").rows, "total_training_time_h"), scores
        ),
        CostSource(
            "DTQL Table 7",
            _numbers(load_paper_table("dtql-7").rows, "total_wall_time_h"),
            scores,
            "evaluations included",
        ),
        CostSource("EDP App. C.5", of_domain, best, "scores of the best evaluations", locomotion),
    ]


def printed_costs(sources: Iterable[CostSource], tasks: Sequence[str]) -> list[PrintedCost]:
    """What the papers print on `tasks`; of a method that several sources have, the first counts."""
    found: dict[str, PrintedCost] = {}
    for source in sources:
        for cost in source.on(tasks):
            found.setdefault(cost.method, cost)
    return list(found.values())


def _numbers(
    cells: Iterable[PaperCell], metric: str = "d4rl_normalized_score"
) -> dict[tuple[str, str], float]:
    """Those of a metric; a number that is in doubt is left out."""
    return {
        (cell.method, cell.task): cell.mean
        for cell in cells
        if cell.metric == metric and cell.mean is not None and not _in_doubt(cell)
    }


def _in_doubt(cell: PaperCell) -> bool:
    return any(erratum.field == "mean" for erratum in cell.errata)
