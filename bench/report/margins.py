"""Margins of the verdicts: what counts as a difference that matters, declared before the run."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bench.errors import BenchError, unknown_name
from bench.report.matching import own_numbers
from bench.report.paper import PaperCell
from bench.resources import resource
from bench.visible_text import quoted
from bench.yaml_lines import LinedYaml, load_yaml, validated

Points = Annotated[float, Field(gt=0, le=100, strict=True)]


class CellMargin(BaseModel):
    """Of one method on one task: the larger of both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: Points
    deviations: Annotated[float, Field(ge=0, le=10, strict=True)]
    """Times the printed standard deviation over seeds."""


class SuiteMargin(BaseModel):
    """Of the mean over a suite's tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: Points


def _day(value: object) -> date:
    # pydantic would take a number for seconds since 1970.
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise ValueError("it is no day; write it as 2026-11-21") from error


class Margins(BaseModel):
    """The file margins.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    declared: Annotated[date, BeforeValidator(_day)]
    cell: CellMargin
    suite: SuiteMargin
    exceptions: dict[str, Points] = {}

    def of(self, name: str, cell: PaperCell) -> float:
        """Margin of one printed number (score points); `name` as `bench check` prints it."""
        if name in self.exceptions:
            return self.exceptions[name]
        known = cell.spread_kind == "std_over_seeds" and cell.spread is not None
        return max(self.cell.points, self.cell.deviations * cell.spread if known and cell.spread else 0.0)


def load_margins(path: Path | None = None) -> Margins:
    """The margins of `path`, or the project's own.

    Raises
    ------
    BenchError : no such file, or something in it is wrong (line and field are named), or an exception is of a
        number that no paper prints.
    """
    if path is not None and not os.path.isfile(path):  # noqa: PTH113 (Path's raises for a name that is too long)
        what = f"no file of margins at {quoted(str(path))}"
        raise BenchError(what, "", "Without --margins the project's are used.")
    document = load_yaml(path or resource("margins.yaml"))
    margins = validated(Margins, document)
    if margins.exceptions:
        _check_names(margins, document)
    return margins


def _check_names(margins: Margins, document: LinedYaml) -> None:
    """Every exception is of a number that can be judged; a slip of the pen would leave the default margin."""
    known = {"/".join(key[1:]) for key in own_numbers()}
    for name in margins.exceptions:
        if name not in known:
            error = unknown_name("number", name, known, "bench report --tables all")
            raise document.error(("exceptions", name), error.what, error.do_this)
