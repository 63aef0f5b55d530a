"""`bench db export`: the store, or a part of it, in a file that can be carried anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import StoreOption
from bench.cli.progress import shown_progress
from bench.errors import BenchError, WorkFailedError, unknown_name
from bench.files import typed_path
from bench.store.location import DEFAULT_STORE

if TYPE_CHECKING:
    from bench.store.database import Store

FRAMES = ("scores", "timings", "provenance", "evaluations", "episodes")
_STORE, _FRAME = ".sqlite", ".parquet"


def export(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", parser=typed_path, help="File to write: .sqlite or .parquet.")
    ],
    what: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"For .parquet: {', '.join(FRAMES)}; the first if left out."),
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="For .sqlite: copy the files of weights beside it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a portable file: the whole store (.sqlite), or one table for data frames (.parquet).

    Every command opens the .sqlite file as it does any store, and `bench db merge` unites it with another.
    """
    from bench.store.database import open_store
    from bench.store.export import check_target

    _check(out, what, weights=weights)
    with open_store(store, read_only=True) as opened:
        check_target(out, opened, force=force)
        try:
            if out.suffix == _FRAME:
                _export_frame(opened, out, what or FRAMES[0])
            else:
                _export_store(opened, out, weights=weights)
        except OSError as error:
            place = error.filename or str(out)
            raise BenchError(f"cannot write {place}", f"{error.strerror}.", "Name another file.") from error


def _check(out: Path, what: str | None, *, weights: bool) -> None:
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
    from bench.store.export import export_parquet

    with shown_progress(f"Writing {out}", "rows") as show:
        rows = export_parquet(store, what, out, show)
    typer.echo(f"Wrote {out}: {rows:,} rows of {what}{_size(out)}.")


def _export_store(store: Store, out: Path, *, weights: bool) -> None:
    from bench.store.export import export_sqlite, export_weights, require_weights

    if weights:
        require_weights(store, out.parent)
    with shown_progress(f"Writing {out}", "rows") as show:
        rows = export_sqlite(store, out, show)
    counts = ", ".join(f"{rows[name]:,} {name}" for name in ("trials", "evaluations", "episodes"))
    typer.echo(f"Wrote {out}: {counts}{_size(out)}.")
    if not weights:
        return
    there, faults = export_weights(store, out.parent)
    typer.echo(f"{there:,} files of weights are in {out.parent / 'weights'}.")
    if faults:
        listed = "\n  ".join(f"{name} {fault}" for name, fault in faults.items())
        raise WorkFailedError(f"{len(faults):,} files of weights could not be copied", listed)


def _size(path: Path) -> str:
    return f"; {path.stat().st_size / 1e6:.1f} MB"
