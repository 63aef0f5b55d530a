"""What may be typed for an option: bounds, choices and the options that commands share; the command as typed.

Only what is light to import: `bench --help` does.
"""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from bench.cli.completion import lists_of, names_of, one_of, trials
from bench.errors import unknown_name
from bench.files import typed_path
from bench.records import Device, Executor
from bench.store.location import DEFAULT_STORE, STORE_VARIABLE, without_password
from bench.visible_text import visible

MOST_THREADS = 1024
"""Of one process; more would only hinder each other, and a system gives no process as many as one likes."""
MOST_ROWS = 1_000_000_000
DEFAULT_PORT = 8642
"""Of the live page; 8265, which many pages have, is that of Ray's dashboard."""
LARGEST_NUMBER = 2**63 - 1
"""What a database's whole numbers hold."""


# Panels of the helps, and what an option takes


WHAT, BUDGET, WHERE = "What", "Budget", "Where it runs"
DECLARED = "What you declare of them, shown as declared by their owner"
FORM, LATEX, VERDICTS, STORE = "Form", "LaTeX", "Verdicts", "Store"
"""In this order in each command's help."""


class Panelled(TyperCommand):
    """A command whose options stand in panels, with what is wanted of each and no types.

    `--help` has no panel of its own, but stands in the last.
    """

    def get_help_option(self, ctx: Any) -> Any:  # noqa: ANN401 (of Typer's own Click)
        """The option of help."""
        option = super().get_help_option(ctx)
        if option is not None and self.params:
            option.rich_help_panel = getattr(self.params[-1], "rich_help_panel", None)
        return option

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
        """The parameters, help among them."""
        return _without_types(super().get_params(ctx))


class PanelledGroup(TyperGroup):
    """A group whose options show no types."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
        """The parameters, help among them."""
        return _without_types(super().get_params(ctx))


def _without_types(parameters: list[Any]) -> list[Any]:
    """Parameters whose help says no `<bool>` of a switch, and no `<str>` beside an argument's own word."""
    for parameter in parameters:
        if isinstance(parameter, TyperArgument):
            # Typer gives arguments no setting for it.
            vars(parameter)["display_type_rich"] = lambda ctx: None
        elif parameter.metavar is None and getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


def between(low: float, high: float) -> Callable[[Any], Any]:
    """Refuse a number outside [low, high], and nan; a callback of options.

    Typer's own `min` and `max` say the same, and would print both in every help.
    """

    def checked(value: Any) -> Any:  # noqa: ANN401 (a number or None, given back as it is)
        if value is None:
            return value
        if isinstance(value, float) and not math.isfinite(value):
            raise typer.BadParameter(f"{value} is no finite number.")
        if not low <= value <= high:
            raise typer.BadParameter(f"{value} is not in the range {low}<=x<={high}.")
        return value

    return checked


def choice(
    kind: str, names: object, *flags: str, help: str, metavar: str = "NAME", panel: str | None = None
) -> Any:  # noqa: ANN401
    """An option, as of Typer, that takes one of a Literal's names; another one is told with the nearest."""

    def name_of(typed: str) -> str:
        if typed not in get_args(names):
            raise unknown_name(kind, typed, get_args(names), "--help")
        return typed

    return typer.Option(
        *flags,
        metavar=metavar,
        parser=name_of,
        help=help,
        rich_help_panel=panel,
        autocompletion=one_of(get_args(names)),
    )


def default_store() -> str:
    """The store where none is named: that of BENCH_STORE, else the usual place below this folder."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


# Options that commands share


Retry = Literal["failed"]
"""Which trials that have ended a command gives another attempt."""
CheckFormat = Literal["text", "json", "junit"]
CompareFormat = Literal["text", "json", "junit", "latex"]
ReportFormat = Literal["terminal", "markdown", "latex", "html", "csv", "json", "summary", "figures"]
PictureFormat = Literal["pdf", "svg", "png"]
ColumnChoice = Literal["own", "measured", "all"]
LatexMarks = Literal["all", "none"]
CHARTS = {
    "learning-curves": "bench run --suite SUITE",
    "score-time": "bench run --suite SUITE, and bench speed for times measured alone",
    "score-latency": "bench run --suite SUITE, and bench speed for latencies measured alone",
    "profiles": "bench run --suite SUITE",
}
"""Charts by what they are asked for with, and what measures them."""
FRAMES = ("scores", "timings", "provenance", "evaluations", "episodes")
"""Tables and views that are exported for data frames."""

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar=STORE_VARIABLE,
        help="Results database: a file, or postgresql+psycopg://...",
        rich_help_panel=STORE,
    ),
]
StoreOfNightsOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Results database; by default the configuration's.",
        rich_help_panel=STORE,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        parser=typed_path,
        help="Instead of the shipped nightly.yaml.",
        rich_help_panel=WHAT,
    ),
]
ExecutorOption = Annotated[
    Executor,
    choice(
        "executor",
        Executor,
        metavar="ray|local",
        help="ray: a process per stack; local: one after the other.",
        panel=WHERE,
    ),
]
DeviceOption = Annotated[
    Device, choice("device", Device, metavar="DEVICE", help="auto, cpu or cuda.", panel=WHERE)
]
MarginsOption = Annotated[
    Path | None,
    typer.Option(
        "--margins",
        metavar="FILE",
        parser=typed_path,
        help="Margins of the verdicts, instead of the project's.",
        rich_help_panel=VERDICTS,
    ),
]
TrialArgument = Annotated[
    int,
    typer.Argument(
        metavar="TRIAL",
        callback=between(1, LARGEST_NUMBER),
        help="Number of a trial, as in the view `scores`.",
        autocompletion=trials,
    ),
]
SeedsPerStackOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=between(1, 1000),
        help="Seeds trained side by side. Default: 5 on a GPU, 1 on a CPU.",
        rich_help_panel=WHERE,
    ),
]
GpusPerStackOption = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        callback=between(0, 1000),
        help="GPUs per stack. Default: 0.5 where there is one.",
        rich_help_panel=WHERE,
    ),
]
CpusPerStackOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=between(1, MOST_THREADS),
        help="CPU cores (threads) per stack. Default: 1; on a GPU all cores, shared out.",
        rich_help_panel=WHERE,
    ),
]
MethodArgument = Annotated[
    str,
    typer.Argument(
        metavar="METHOD", help="As in `bench list algorithms`.", autocompletion=names_of("method")
    ),
]
EpisodesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=between(1, 100_000),
        help="Episodes per evaluation. Default: the preset's.",
        rich_help_panel=BUDGET,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        parser=typed_path,
        help="Write there instead of printing.",
        rich_help_panel=FORM,
    ),
]
PresetOfOption = Annotated[
    str | None,
    typer.Option(
        "--preset-of",
        metavar="TASK",
        help="Presets of this task are followed on tasks of your own.",
        rich_help_panel=WHAT,
        autocompletion=names_of("task"),
    ),
]
AcceptMismatchOption = Annotated[
    bool,
    typer.Option(
        "--accept-mismatch",
        help="Train at full budget on another dataset than the task's, too. Its scores are never judged.",
        rich_help_panel=WHAT,
    ),
]


def of_grid(kind: str, help: str, *flags: str) -> Any:  # noqa: ANN401 (as `choice`)
    """An option that takes names of a kind (suite, task, method), separated by commas."""
    metavar = {"suite": "SUITE,...", "task": "TASK,...", "method": "METHOD,..."}[kind]
    completed = lists_of("method or group" if kind == "method" else kind)
    return typer.Option(*flags, metavar=metavar, help=help, rich_help_panel=WHAT, autocompletion=completed)


def typed_command() -> str:
    """The command as it was typed, for the record of the run, without passwords; always proper text."""
    return visible(shlex.join(["bench", *map(without_password, sys.argv[1:])]))
