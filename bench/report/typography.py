"""How a paper sets its numbers: decimals of a column, and which numbers of a row are bold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bench.report.paper import PaperCell
from bench.report.tables import Cell


@dataclass(frozen=True)
class Digits:
    """Decimals of a column's numbers and of what stands after their plus-minus sign."""

    mean: int = 1
    spread: int = 1


DEFAULT_DIGITS = Digits()


def digits_of(cells: Iterable[PaperCell]) -> Digits:
    """The most decimals that are printed among `cells` (`110` stands in a column of `99.6`).

    A column without any printed spread shows measured ones with the decimals of its means.
    """
    cells = list(cells)
    means = [_decimals(cell.printed) for cell in cells if cell.printed]
    spreads = [_decimals(cell.printed_spread) for cell in cells if cell.printed_spread]
    mean = max(means, default=Digits.mean)
    return Digits(mean, max(spreads, default=mean))


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


@dataclass(frozen=True)
class Bold:
    """Which numbers of a row are bold: all within a share of the highest one."""

    within: float = 0.0
    """0.05: no more than 5 % of its size below the highest; 0: the highest only."""
    averages: bool = True
    """Whether averages and sums have bold numbers, too."""
    stated: str = ""
    """The paper's own words; empty where it states no rule."""

    def threshold(self, values: Sequence[float]) -> float:
        """The lowest value that is bold."""
        highest = max(values)
        return highest - self.within * abs(highest)

    @property
    def sentence(self) -> str:
        """What bold type means, for a table's notes."""
        near = (
            f"all within {100 * self.within:g} % of the highest number"
            if self.within
            else "the highest number"
        )
        where = "row" if self.averages else "task"
        stated = f'says the paper: "{self.stated}"' if self.stated else "the paper states no rule"
        return (
            f"Bold: {near} of a {where}, printed among printed and, where there are two, measured "
            f"among measured ({stated})."
        )


def emboldened(cells: Sequence[Cell], rule: Bold | None, aggregate: bool = False) -> tuple[Cell, ...]:
    """A row's cells with the bold ones set; a measured number that stands alone is not bold."""
    if rule is None or (aggregate and not rule.averages):
        return tuple(cells)
    thresholds = {}
    for kind, at_least in (("printed", 1), ("measured", 2)):
        values = [cell.value for cell in cells if cell.kind == kind and cell.value is not None]
        if len(values) >= at_least:
            thresholds[kind] = rule.threshold(values)
    return tuple(
        replace(cell, bold=cell.value is not None and cell.value >= thresholds.get(cell.kind, math.inf))
        for cell in cells
    )
