"""`bench db`: the results database itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import typer

from bench.cli.options import FRAMES
from bench.cli.output import print_table
from bench.cli.progress import shown_progress
from bench.cli.recorded import recorded_run
from bench.errors import BenchError, WorkFailedError, unknown_name
from bench.records import ILLUSTRATION
from bench.store import export as exporting
from bench.store import merge as merging
from bench.store.damage import damaged_cells
from bench.store.database import Store, open_store, upgrade_store
from bench.store.faults import explained
from bench.store.location import locate
from bench.store.merge import Source, Survey, Verdict
from bench.store.queries import describe
from bench.store.weight_files import MISSING
from bench.store.writer import Writer
from bench.visible_text import count

_STORE, _FRAME = ".sqlite", ".parquet"
_MOST_DAMAGED = 20
"""Damaged cells that are told."""


def upgrade(store: str) -> None:
    """Bring an older results database to the newest schema."""
    before, after = upgrade_store(store)
    done = "already has" if before == after else f"came from schema {before} to"
    typer.echo(f"The store {locate(store)} {done} schema {after}.")


def info(store: str, *, check: bool) -> None:
    """Show the schema, the size, and the rows and columns of every table and view; with `check`, damage."""
    with open_store(store, read_only=True) as opened:
        contents = describe(opened)
        with explained(str(opened.location)):
            damaged = list(islice(damaged_cells(opened.engine), _MOST_DAMAGED + 1)) if check else []
        size = "" if contents.size_bytes is None else f", {contents.size_bytes / 1e6:.1f} MB"
        typer.echo(f"{opened.location}: {contents.dialect}, schema {contents.revision}{size}\n")
    print_table(
        ("name", "rows", "columns"),
        [(table.name, f"{table.rows:,}", ", ".join(table.columns)) for table in contents.tables],
        right=("rows",),
    )
    if damaged:
        more = ["..."] if len(damaged) > _MOST_DAMAGED else []
        raise WorkFailedError(
            f"store {store} is damaged",
            "\n  ".join([*damaged[:_MOST_DAMAGED], *more]),
            "Restore it from a copy, or correct these cells by hand.",
        )
    if check:
        typer.echo("\nEvery cell holds what bench writes there.")


def export(out: Path, what: str | None, store: str, *, weights: bool, force: bool) -> None:
    """Write a portable file: the whole store (.sqlite), or one table for data frames (.parquet)."""
    _check_names(out, what, weights=weights)
    with open_store(store, read_only=True) as opened:
        exporting.check_target(out, opened, force=force)
        try:
            if out.suffix == _FRAME:
                _export_frame(opened, out, what or FRAMES[0])
            else:
                _export_store(opened, out, weights=weights)
        except OSError as error:
            place = error.filename or str(out)
            raise BenchError(f"cannot write {place}", f"{error.strerror}.", "Name another file.") from error


def _check_names(out: Path, what: str | None, *, weights: bool) -> None:
    if out.suffix not in (_STORE, _FRAME):
        advice = (
            f"For example: bench db export {out.stem or 'bench'}{_STORE} (everything), or {_FRAME} (a table)"
        )
        raise BenchError(f"{str(out)!r} ends neither in {_STORE} nor in {_FRAME}", "", advice)
    if what is not None and what not in FRAMES:
        raise unknown_name("table", what, FRAMES, "bench db export --help")
    if what is not None and out.suffix == _STORE:
        raise BenchError(f"--what {what} with a {_STORE} file", "That holds everything.", "Leave --what out.")
    if weights and out.suffix == _FRAME:
        raise BenchError(
            f"--weights with a {_FRAME} file", "", f"Export to {out.with_suffix(_STORE)} instead."
        )


def _export_frame(store: Store, out: Path, what: str) -> None:
    with shown_progress(f"Writing {out}", "rows") as show:
        rows = exporting.export_parquet(store, what, out, show)
    typer.echo(f"Wrote {out}: {rows:,} rows of {what}{_size_of(out)}.")


def _export_store(store: Store, out: Path, *, weights: bool) -> None:
    # What the 2D problems show is a result: without it a report can neither draw nor check anything of them.
    role = None if weights else ILLUSTRATION
    exporting.require_weights(store, out.parent, role)
    with shown_progress(f"Writing {out}", "rows") as show:
        rows = exporting.export_sqlite(store, out, show)
    counts = ", ".join(f"{rows[name]:,} {name}" for name in ("trials", "evaluations", "episodes"))
    typer.echo(f"Wrote {out}: {counts}{_size_of(out)}.")
    what = "of weights" if weights else "of what 2D problems show"
    there, faults = exporting.export_weights(store, out.parent, role)
    if there or weights:
        typer.echo(f"{count(there, 'file')} {what} in {out.parent / 'weights'}.")
    if faults:
        listed = "\n  ".join(f"{name} {fault}" for name, fault in faults.items())
        raise WorkFailedError(f"{count(len(faults), 'file')} {what} could not be copied", listed)


def _size_of(path: Path) -> str:
    return f"; {path.stat().st_size / 1e6:.1f} MB"


def merge(into: str, others: Sequence[str], *, dry_run: bool, leave_out_conflicts: bool) -> None:
    """Unite stores: bring what the others hold into the first, with the files of weights."""
    with merging.opened(others, into) as sources:
        with shown_progress("Comparing", "trials") as show:
            found = merging.survey(into, sources, show)
        if found.conflicts and not leave_out_conflicts:
            raise merging.conflict_error(found.conflicts)
        if dry_run:
            _show_counts(found, "would come")
            return
        try:
            faults = _carry_out(found, sources, into)
        except OSError as error:
            why = f"{error.strerror}."
            raise WorkFailedError(
                f"cannot write {error.filename}", why, "Then the same command goes on where it stopped."
            ) from error
    _show_counts(found, "came")
    _show_conflicts(found)
    _show_faults(faults)
    if found.left_out or any(fault != MISSING for fault in faults.values()):
        raise typer.Exit(1)


def _carry_out(found: Survey, sources: Sequence[Source], into: str) -> dict[str, str]:
    with open_store(into) as store:
        # First, so that no row names a file that is yet to come.
        faults = merging.copy_weights(found, sources, store.folder)
        if not found.is_new:
            return faults
        with (
            Writer(store) as writer,
            shown_progress("Merging", "trials") as show,
            recorded_run(writer),
        ):
            merging.merge(store, writer, found, sources, show)
    return faults


def _show_counts(found: Survey, came: str) -> None:
    """One line per store: what became of its trials."""
    words = {
        Verdict.CAME: came,
        Verdict.COMPLETED: "known in part, now completed"
        if came == "came"
        else "would complete what is there",
        Verdict.THERE: "there already",
        Verdict.BEHIND: "not finished there, and begun here too: ours goes on",
        Verdict.LEFT_OUT: "left out, because they contradict",
        Verdict.HELD: "left for later, because a driver works on them",
    }
    for place in found.verdicts:
        trials = found.count(place)
        parts = [f"{trials[verdict]:,} {word}" for verdict, word in words.items() if trials[verdict]]
        told = count(sum(trials.values()), "trial")
        typer.echo(f"{place}: {told}" + (f": {', '.join(parts)}" if parts else ""))


def _show_conflicts(found: Survey) -> None:
    if found.conflicts:
        print("Left out; what stands in the first store stays:", file=sys.stderr)
    for conflict in found.conflicts:
        print(f"  {conflict}", file=sys.stderr)


def _show_faults(faults: Mapping[str, str]) -> None:
    """Files of weights that could not be brought; those that are only missing are counted."""
    missing = [name for name, fault in faults.items() if fault == MISSING]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        print(f"Weights that are missing: {missing[0]}{more}. Put there, the same command brings them.")
    for name, fault in faults.items():
        if fault != MISSING:
            print(f"{name} {fault}; it was not brought.", file=sys.stderr)
