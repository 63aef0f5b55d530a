"""What may be typed for an option: bounds, choices and the options that commands share; the command as typed.

Only what is light to import: `bench --help` does.
"""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from bench.errors import unknown_name
from bench.files import typed_path
from bench.records import Device, Executor
from bench.store.location import without_password
from bench.visible_text import visible

MOST_THREADS = 1024
"""Of one process; more would only hinder each other, and a system gives no process as many as one likes."""
MOST_ROWS = 1_000_000_000
LARGEST_NUMBER = 2**63 - 1
"""What a database's whole numbers hold."""


def finite(value: float | None) -> float | None:
    """Refuse nan, which no range keeps out; a callback of options."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number.")
    return value


def choice(kind: str, names: object, *flags: str, help: str, metavar: str = "<str>") -> Any:  # noqa: ANN401
    """An option, as of Typer, that takes one of a Literal's names; another one is told with the nearest."""

    def name_of(typed: str) -> str:
        if typed not in get_args(names):
            raise unknown_name(kind, typed, get_args(names), "--help")
        return typed

    return typer.Option(*flags, metavar=metavar, parser=name_of, help=help)


Retry = Literal["failed"]
"""Which trials that have ended a command gives another attempt."""
CheckFormat = Literal["text", "json", "junit"]
ReportFormat = Literal["markdown", "latex", "html", "csv", "json", "summary", "figures"]
PictureFormat = Literal["pdf", "svg", "png"]
LatexColumns = Literal["all", "own"]
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
    str, typer.Option("--store", metavar="URL", help="Results database: a file, or postgresql+psycopg://...")
]
StoreOfNightsOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Results database; by default the configuration's."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", parser=typed_path, help="Instead of the shipped nightly.yaml."),
]
ExecutorOption = Annotated[
    Executor, choice("executor", Executor, help="ray: a process per stack; local: one after the other.")
]
DeviceOption = Annotated[Device, choice("device", Device, help="auto, cpu or cuda.")]
MarginsOption = Annotated[
    Path | None,
    typer.Option(
        "--margins",
        metavar="FILE",
        parser=typed_path,
        help="Margins of the verdicts, instead of the project's.",
    ),
]
TrialArgument = Annotated[
    int, typer.Argument(min=1, max=LARGEST_NUMBER, help="Number of a trial, as in the view `scores`.")
]
SeedsPerStackOption = Annotated[
    int | None,
    typer.Option(min=1, max=1000, help="Seeds trained side by side. Default: 5 on a GPU, 1 on a CPU."),
]
GpusPerStackOption = Annotated[
    float | None,
    typer.Option(min=0, max=1000, callback=finite, help="GPUs per stack. Default: 0.5 where there is one."),
]
CpusPerStackOption = Annotated[
    int, typer.Option(min=1, max=MOST_THREADS, help="CPU cores (threads) per stack.")
]
AcceptMismatchOption = Annotated[
    bool,
    typer.Option(
        "--accept-mismatch",
        help="Train at full budget on a dataset, too, that is not the task's; its scores are never judged.",
    ),
]


def typed_command() -> str:
    """The command as it was typed, for the record of the run, without passwords; always proper text."""
    return visible(shlex.join(["bench", *map(without_password, sys.argv[1:])]))
