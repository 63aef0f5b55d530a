"""`bench status`: what ran, what is left, what failed and why, time to go; and `bench baseline list`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer
from pydantic_core import to_json

from bench.cli.output import (
    NARROW,
    left_words,
    line_width,
    moment,
    print_command,
    print_json,
    print_lines,
    print_table,
    progress_text,
    roughly,
    short,
)
from bench.data.manifest import remarks_on
from bench.records import IMPORTED, DatasetRecord
from bench.store.database import open_store, opened_if_made
from bench.store.nights import baselines, notes
from bench.store.queries import StoredFailure, datasets, failures
from bench.store.status import (
    CellCounts,
    RunningStack,
    TimeLeft,
    cells,
    commands_left,
    running_stacks,
    time_left,
)
from bench.text_tables import COLUMN_GAP
from bench.visible_text import count, quoted, visible_line

_COUNTS = ("finished", "running", "cut off", "planned", "failed")
_METRICS_LENGTH = 72
_CONDITIONS = ("variant", "physics", "budget")


@dataclass(frozen=True)
class Status:
    """All that is told."""

    cells: Sequence[CellCounts]
    """Of what was or will be trained."""
    imported: Sequence[CellCounts]
    """Of scores that people brought."""
    datasets: Sequence[DatasetRecord]
    """That they are on."""
    at_work: Sequence[RunningStack]
    left: TimeLeft
    failures: Sequence[StoredFailure]
    """Of trials that stand as failed."""
    commands: Sequence[str]
    """Which go on with what is left and is not being worked on."""

    def total(self, name: str) -> int:
        """Trials in a state."""
        return sum(_number(cell, name) for cell in self.cells)


def status(format: Literal["text", "json"], store: str) -> None:
    """Show what ran, what runs, what is left, what failed and why, and which commands go on."""
    found = _status(store)
    if format == "json":
        print_json(to_json(vars(found), indent=2, inf_nan_mode="strings"))
    elif found.cells or found.imported:
        if found.cells:
            print_lines([_headline(found)])
            _show_cells(found.cells)
        _show_datasets(found.datasets)
        _show_at_work(found.at_work)
        _show_failures(found.failures)
        if found.cells:
            _show_left(found)
        _show_imported(found.imported)
    else:
        typer.echo(f"The store {store} holds no trials yet; `bench run` makes them.")


def _status(store: str) -> Status:
    with open_store(store, read_only=True) as opened:
        at_work = running_stacks(opened)
        counted = cells(opened, at_work)
        return Status(
            [cell for cell in counted if cell.variant != IMPORTED],
            [cell for cell in counted if cell.variant == IMPORTED],
            datasets(opened),
            at_work,
            time_left(opened, at_work),
            [failure for failure in failures(opened) if failure.current],
            commands_left(opened, at_work),
        )


def _show_cells(cells: Sequence[CellCounts]) -> None:
    """A matrix of tasks and methods; conditions that all cells share are said once."""
    texts = [_texts(cell) for cell in cells]
    differing = [name for name in _CONDITIONS if len({text[name] for text in texts}) > 1]
    shared = [f"{name} {texts[0][name]}" for name in _CONDITIONS if name not in differing]
    if shared:
        print_lines([f"{'All cells' if len(cells) > 1 else 'The cell'}: {', '.join(shared)}."])
        typer.echo()
    names = ["algorithm", *differing]
    if len({tuple(text[name] for name in ("task", *names)) for text in texts}) < len(cells):
        # They differ in a hyper-parameter, in their evaluations or in the dataset's content.
        names.append("config")
    headings = [" ".join(text[name] for name in names) for text in texts]
    columns = list(dict.fromkeys(headings))
    rows: dict[str, dict[str, str]] = {}
    for cell, heading in zip(cells, headings, strict=True):
        rows.setdefault(cell.task, {})[heading] = _states(cell)
    for number, part in enumerate(_side_by_side(columns, rows)):
        if number:
            typer.echo()
        shown = [[task, *(of.get(name, "") for name in part)] for task, of in rows.items()]
        print_table(("task", *part), [row for row in shown if any(row[1:])], narrow=part)


def _side_by_side(columns: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> Iterator[list[str]]:
    """The columns in parts that fit a line beside the tasks' names."""
    room = line_width() - max(map(len, ("task", *rows)))
    part: list[str] = []
    left = room
    for column in columns:
        lines = [line for of in rows.values() for line in of.get(column, "").split("\n")]
        width = max(*map(len, column.split()), min(NARROW, max(map(len, lines)))) + COLUMN_GAP
        if part and width > left:
            yield part
            part, left = [], room
        part.append(column)
        left -= width
    if part:
        yield part


def _states(cell: CellCounts) -> str:
    """`5/5`, and below it what runs, failed or was cut off."""
    total = sum(_number(cell, name) for name in _COUNTS)
    others = [
        f"{_number(cell, name)} {name}" for name in ("running", "cut off", "failed") if _number(cell, name)
    ]
    return "\n".join([f"{cell.finished}/{total}", *others])


def _texts(cell: CellCounts) -> dict[str, str]:
    """What a cell is told apart by."""
    names = {"task": cell.task, "algorithm": cell.algorithm, "config": cell.config_hash[:8]}
    return names | {"variant": cell.variant, "physics": cell.physics, "budget": f"{cell.budget:g}"}


def _number(cell: CellCounts, name: str) -> int:
    return getattr(cell, name.replace(" ", "_"))


def _show_datasets(datasets: Sequence[DatasetRecord]) -> None:
    for remark in remarks_on(datasets):
        typer.echo()
        print_lines(remark.lines)


def _show_at_work(stacks: Sequence[RunningStack]) -> None:
    if stacks:
        typer.echo(f"\nAt work ({count(len(stacks), 'stack')}):")
    for stack in stacks:
        seeds = f"seed{'s' if len(stack.seeds) > 1 else ''} {', '.join(str(seed) for seed in stack.seeds)}"
        doing = "starting" if stack.progress is None else progress_text(stack.progress)
        where = stack.hostname if stack.device is None else f"{stack.hostname}, {stack.device}"
        print_lines([f"  {stack.cell} {seeds}: {doing}"])
        print_lines([f"    on {where}; last sign of life {stack.seconds_since_heartbeat:.0f} s ago"])


def _show_imported(cells: Sequence[CellCounts]) -> None:
    for name in dict.fromkeys(cell.algorithm for cell in cells):
        own = [cell for cell in cells if cell.algorithm == name]
        tasks, scores = len({cell.task for cell in own}), sum(cell.finished for cell in own)
        told = f"Imported as {name}, not measured here: {count(scores, 'score')} of {count(tasks, 'task')}."
        print_lines([told])


def _show_failures(failures: Sequence[StoredFailure]) -> None:
    if not failures:
        return
    typer.echo(f"\nFailed ({count(len(failures), 'trial')}; `bench explain TRIAL` tells all of one):")
    for failure in failures:
        record = failure.record
        place = f"attempt {failure.attempt}, step {record.step:,}"
        why = f"{record.error}: {record.message}".partition("\n")[0]
        print_lines([f"  trial {failure.trial_id}: {record.trial}, {place}: {why}"])
        metrics = ", ".join(f"{name} {value:.3g}" for name, value in record.last_metrics.items())
        if metrics:
            print_lines([f"    last metrics: {short(metrics, _METRICS_LENGTH)}"])
    typer.echo("\nTo try just those again:")
    for command in dict.fromkeys(failure.command for failure in failures):
        print_command(_with_retry(_offered(command)))


def _headline(status: Status) -> str:
    """`37/180 trials, about 14 h left`."""
    done = f"{status.total('finished'):,}/{sum(status.total(name) for name in _COUNTS):,} trials"
    return done if status.left.seconds is None else f"{done}, {left_words(status.left.seconds)}"


def _show_left(status: Status) -> None:
    counts = ", ".join(f"{status.total(name):,} {name}" for name in _COUNTS if status.total(name))
    typer.echo()
    print_lines([f"{count(sum(status.total(name) for name in _COUNTS), 'trial')}: {counts}."])
    left = status.total("running") + status.total("cut off") + status.total("planned")
    if left:
        print_lines([_time_to_go(status.left, len(status.at_work))])
    if status.commands:
        typer.echo("What nobody works on goes on with:")
    for command in status.commands:
        print_command(_offered(command))


def _time_to_go(left: TimeLeft, stacks: int) -> str:
    if left.seconds is None:
        return "Time to go: unknown; nothing of the kind has been timed yet."
    how = f"with {count(stacks, 'stack')} at once" if stacks else "stack after stack"
    grounds = [count(left.finished_trials, "finished trial")] if left.finished_trials else []
    grounds += [f"{count(stacks, 'stack')} at work"] if stacks else []
    text = f"Time to go: about {roughly(left.seconds)} {how}, estimated from {' and '.join(grounds)}."
    if left.unknown_trials:
        text += f" Not in it: {count(left.unknown_trials, 'trial')} of a kind not timed yet."
    return text


def _with_retry(command: str) -> str:
    return command if "--retry" in command or command.startswith("(") else f"{command} --retry failed"


def _offered(command: str) -> str:
    """A command from a store as it may be typed again: one of bench, in which the shell finds nothing to do.

    Whoever wrote into the store wrote the command, and a person copies it from the screen.
    """
    try:
        words = shlex.split(visible_line(command))
    except ValueError:
        words = []
    if words[:1] != ["bench"]:
        return f"(none: the store names {quoted(command)}, which is no command of bench)"
    return shlex.join(words)


# bench baseline list


def list_baselines(config: Path | None, store: str | None) -> None:
    """Show the baselines of a store with their notes, the latest first."""
    # It declares the canary, for which `bench status` need not wait.
    from bench.nightly.config import store_of_nights

    configured = store_of_nights(config)
    place = store or configured
    # A store that was named is there, or its name is a slip of the pen.
    opening = opened_if_made(place) if store is None else open_store(place, read_only=True)
    with opening as opened:
        found, written = [], []
        if opened is not None:
            found = baselines(opened)
            written = [note for baseline in found for note in notes(opened, baseline.name)]
    if not found:
        print('No baseline yet. Freeze one: bench baseline freeze NAME --reason "..."')
        return
    rows = [
        (
            baseline.name,
            moment(baseline.frozen_at),
            baseline.author,
            str(len(baseline.cells)),
            str(len(baseline.scores)),
            baseline.reason,
        )
        for baseline in found
    ]
    print_table(("name", "frozen", "by", "cells", "scores", "reason"), rows, right=("cells", "scores"))
    if written:
        print()
        lines = [
            (
                note.baseline,
                moment(note.written_at),
                note.author,
                "" if note.fingerprints is None else "yes",
                note.text,
            )
            for note in written
        ]
        print_table(("baseline", "written", "by", "accepts", "note"), lines)
