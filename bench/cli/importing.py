"""`bench import`: scores of elsewhere into the results database, under a name of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from algorithms.registry import GROUPS
from bench.catalog import load_catalog
from bench.cli.output import print_lines
from bench.cli.recorded import recorded_run
from bench.data.score_files import read_scores, rows_of
from bench.errors import BenchError, unknown_name
from bench.evaluation.imported import imported_trials, remarks, undeclared
from bench.presets import method_names
from bench.records import Declaration
from bench.store import importing
from bench.store.database import open_store
from bench.store.importing import ImportedTrial
from bench.store.location import locate
from bench.store.writer import Writer
from bench.visible_text import count, quoted

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TAKEN = {*GROUPS, "paper", "baseline"}
_MOST_TOLD = 8


def bring(
    file: Path | None,
    name: str,
    algorithm: str | None,
    declared: Declaration,
    store: str,
    *,
    returns: bool,
    replace: bool,
) -> None:
    """Store what a file says under `name`, and tell what became of it."""
    if file is None:
        raise BenchError("no file to import", "", "Name one: bench import scores.csv --as NAME")
    _require_name(name)
    catalog, found = load_catalog(), read_scores(file)
    rows = rows_of(found, file, algorithm)
    trials = imported_trials(rows, name, declared, catalog, returns=returns)
    with (
        open_store(store) as opened,
        Writer(opened) as writer,
        recorded_run(writer) as run_id,
        writer.transaction() as connection,
    ):
        done = importing.bring(connection, trials, run_id, replace_stored=replace)
    print_lines([f"{_outcome(name, trials, done)}. Store: {locate(store)}"])
    tasks = {trial.record.key.task: catalog.tasks[trial.record.key.task] for trial in trials}
    told = remarks(trials, tasks, returns=returns)
    if found.ignored:
        told.append(f"Columns that mean nothing here: {', '.join(found.ignored[:_MOST_TOLD])}.")
    print_lines(told)
    _tell_next(name, undeclared(declared, tasks.values()))


def remove(name: str, store: str) -> None:
    """Take all imported scores of a method out of the store."""
    with (
        open_store(store, create=False) as opened,
        Writer(opened) as writer,
        recorded_run(writer),
        writer.transaction() as connection,
    ):
        known = importing.imported_names(connection)
        if name not in known:
            raise _not_imported(name, known)
        seeds = importing.remove(connection, name)
    print_lines([f"Removed {name}: {count(seeds, 'imported score')}. Store: {locate(store)}"])


def _not_imported(name: str, known: Sequence[str]) -> BenchError:
    if not known:
        return BenchError(f"nothing is imported as {quoted(name)}", "", "Nothing is imported at all.")
    return unknown_name("import", name, known, "bench status")


def _require_name(name: str) -> None:
    if name in method_names() or name in _TAKEN:
        what = f"--as {name}: the name is taken"
        why = "It stands for a method that bench trains, or for several."
        raise BenchError(what, why, f"Choose another one: --as my-{name}")
    if not _NAME.fullmatch(name):
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        what = f"--as {quoted(name)}"
        why = "A name is made of small letters, digits and single hyphens."
        raise BenchError(what, why, f"For example: --as {near or 'mine'}")


def _outcome(name: str, trials: Sequence[ImportedTrial], done: importing.Imported) -> str:
    """`Imported as mine: 45 scores of 9 tasks`."""
    tasks = len({trial.record.key.task for trial in trials})
    if not done.new and not done.replaced:
        return f"{name}: all {count(done.same, 'score')} of {count(tasks, 'task')} were stored already"
    parts = [f"Imported as {name}: {count(done.new, 'score')} of {count(tasks, 'task')}"]
    parts += [f"{done.same:,} were there already"] if done.same else []
    parts += [f"{count(done.replaced, 'earlier one')} gave way"] if done.replaced else []
    return ", ".join(parts)


def _tell_next(name: str, missing: Sequence[str]) -> None:
    if missing:
        print_lines(
            [
                f"Not declared: {', '.join(missing)}. The scores are shown, and held against nothing until"
                " you say how they were made: the same command again with these options and --replace."
            ]
        )
    else:
        print_lines(
            [f"What you declared stands with every number. Next: bench compare {name} --against paper"]
        )
