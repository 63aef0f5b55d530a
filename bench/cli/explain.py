"""`bench explain`: everything about one number."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import StoreOption, TrialArgument
from bench.cli.explained import execution_facts, facts_of, hyperparameters_of, settings_of
from bench.cli.output import print_json
from bench.cli.tables import print_table
from bench.cli.words import count, moment
from bench.store.location import DEFAULT_STORE

if TYPE_CHECKING:
    from bench.store.explanation import Explanation

_FEW_EVALUATIONS = 20


class ExplanationFormat(StrEnum):
    """How the explanation is printed."""

    text = "text"
    json = "json"


def explain(
    trial: TrialArgument,
    format: Annotated[
        ExplanationFormat, typer.Option(help="For people, or for programs.")
    ] = ExplanationFormat.text,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show all that a trial's number depends on: settings, data, simulator, code, machines, time, weights."""
    from bench.store.database import open_store
    from bench.store.explanation import explain

    with open_store(store, read_only=True) as opened:
        found = explain(opened, trial)
    if format is ExplanationFormat.json:
        from pydantic_core import to_json

        # Programs that read it know the executions by an older name.
        named = {"stretches" if name == "executions" else name: part for name, part in vars(found).items()}
        print_json(to_json(named, indent=2, inf_nan_mode="strings"))
        return
    key = found.trial.record.key
    typer.echo(f"Trial {trial}: {key.algorithm} ({key.variant}) on {key.task}, seed {key.seed}\n")
    _print_facts(facts_of(found))
    _show_settings(found)
    _show_work(found)
    _show_evaluations(found)
    _show_failures(found)


def _show_settings(found: Explanation) -> None:
    rows = hyperparameters_of(found.trial.record)
    if rows:
        typer.echo("\nHyper-parameters:")
        print_table(("name", "value", "unit; meaning [source]"), rows, right=("value",), narrow=("value",))
    typer.echo("\nOther settings:")
    _print_facts(settings_of(found.trial.record.config))


def _show_work(found: Explanation) -> None:
    if not found.executions:
        hardware = ", ".join(f"{name} {value}" for name, value in found.run.hardware.items())
        typer.echo(f"\nWho worked on it was not noted; the command's machine: {hardware}.")
        return
    typer.echo("\nWork:" if len(found.executions) == 1 else f"\nWork, in {len(found.executions)} stretches:")
    earlier = (None, *found.executions)
    for number, (stretch, previous) in enumerate(zip(found.executions, earlier, strict=False), start=1):
        goes_on = found.at_work is not None and number == len(found.executions)
        typer.echo(f"{number}.")
        _print_facts(execution_facts(stretch, previous, goes_on=goes_on))


def _show_evaluations(found: Explanation) -> None:
    if not found.evaluations:
        typer.echo("\nNot evaluated yet.")
        return
    shown = found.evaluations[-_FEW_EVALUATIONS:]
    which = f" (the last {len(shown)} of {len(found.evaluations)})" if shown != found.evaluations else ""
    typer.echo(f"\nEvaluations{which}:")
    columns = ("number", "step", "mean score", "n", "mean return", "mean length", "seconds", "physics")
    rows = [
        (
            str(evaluation.number),
            f"{evaluation.step:,}",
            f"{evaluation.mean_score:.2f}",
            str(evaluation.episodes),
            f"{evaluation.mean_return:.1f}",
            f"{evaluation.mean_length:.0f}",
            f"{evaluation.seconds:.1f}",
            evaluation.physics,
        )
        for evaluation in shown
    ]
    print_table(columns, rows, right=columns[:-1])
    if any(evaluation.number < 1 for evaluation in shown):
        typer.echo("Numbers below 1 are fresh episodes by `bench evaluate`, no part of the score.")


def _show_failures(found: Explanation) -> None:
    for failure in found.failures:
        record = failure.record
        when = f", {moment(record.failed_at)}" if record.failed_at else ""
        typer.echo(f"\nAttempt {failure.attempt} failed after {count(record.step, 'iteration')}{when}:")
        typer.echo(textwrap.indent(f"{record.error}: {record.message}", "  "))
        if record.last_metrics:
            metrics = ", ".join(f"{name} {value:.4g}" for name, value in record.last_metrics.items())
            typer.echo(f"  last metrics: {metrics}")
        if record.traceback:
            typer.echo(textwrap.indent(record.traceback.rstrip(), "  | "))


def _print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and texts; on a terminal folded to its width, in a pipe one line each."""
    facts = list(facts)
    indent = max((len(name) for name, _ in facts), default=0) + 2
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for name, text in facts:
        line = textwrap.fill(
            f"{name:<{indent}}{text}",
            width,
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
        typer.echo(line)
