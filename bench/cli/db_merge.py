"""`bench db merge`: several stores become one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import typed_command
from bench.cli.progress import shown_progress
from bench.errors import WorkFailedError

if TYPE_CHECKING:
    from bench.store.merging import Source, Survey


def merge(
    into: Annotated[str, typer.Argument(metavar="INTO", help="Store to bring the others into.")],
    others: Annotated[list[str], typer.Argument(metavar="FROM...", help="Stores that are only read.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    leave_out_conflicts: Annotated[
        bool, typer.Option("--leave-out-conflicts", help="Merge all that does not contradict.")
    ] = False,
) -> None:
    """Unite stores: bring what the others hold into the first, with the files of weights.

    Where two stores contradict each other, all contradictions are listed and nothing is written. Merging
    twice changes nothing; after an interruption the same command goes on.
    """
    from bench.store.merging import conflict_error, opened, survey
    from bench.store.weight_files import MISSING

    with opened(others, into) as sources:
        with shown_progress("Comparing", "trials") as show:
            found = survey(into, sources, show)
        if found.conflicts and not leave_out_conflicts:
            raise conflict_error(found.conflicts)
        if dry_run:
            _show_counts(found, "would come")
            return
        try:
            found, faults = _carry_out(found, sources, into)
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


def _carry_out(found: Survey, sources: Sequence[Source], into: str) -> tuple[Survey, dict[str, str]]:
    from bench.provenance import describe_run
    from bench.store.database import open_store
    from bench.store.merging import bring_weights, merge
    from bench.store.writer import Writer

    with open_store(into) as store:
        # First, so that no row names a file that is yet to come.
        faults = bring_weights(found, sources, store.folder)
        if not found.is_new:
            return found, faults
        with Writer(store) as writer, shown_progress("Merging", "trials") as show:
            run = describe_run(typed_command())
            writer.begin_run(run)
            found = merge(writer, found, sources, show)
            writer.end_run(run.run_id)
    return found, faults


def _show_counts(found: Survey, came: str) -> None:
    """One line per store: what became of its trials."""
    from bench.store.uniting import Verdict

    words = {
        Verdict.CAME: came,
        Verdict.COMPLETED: "known in part, now completed"
        if came == "came"
        else "would complete what is there",
        Verdict.THERE: "there already",
        Verdict.LEFT_OUT: "left out, because they contradict",
        Verdict.HELD: "left for later, because a driver works on them",
    }
    for place in found.verdicts:
        count = found.count(place)
        parts = [f"{count[verdict]:,} {word}" for verdict, word in words.items() if count[verdict]]
        trials = sum(count.values())
        typer.echo(
            f"{place}: {trials:,} trial{'s' * (trials != 1)}" + (f": {', '.join(parts)}" if parts else "")
        )


def _show_conflicts(found: Survey) -> None:
    if found.conflicts:
        print("Left out; what stands in the first store stays:", file=sys.stderr)
    for conflict in found.conflicts:
        print(f"  {conflict}", file=sys.stderr)


def _show_faults(faults: Mapping[str, str]) -> None:
    """Files of weights that could not be brought; those that are only missing are counted."""
    from bench.store.weight_files import MISSING

    missing = [name for name, fault in faults.items() if fault == MISSING]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        print(f"Weights that are missing: {missing[0]}{more}. Put there, the same command brings them.")
    for name, fault in faults.items():
        if fault != MISSING:
            print(f"{name} {fault}; it was not brought.", file=sys.stderr)
