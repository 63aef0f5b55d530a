"""Progress of one long job: a bar with time to go on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress
from rich.text import Text

from bench.cli.output import console_of
from bench.records import Progress
from bench.visible_text import visible

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def shown_progress(what: str, unit: str) -> Iterator[Progress]:
    """Yield the function to call with what is done and the total (0 where it is unknown).

    `unit` names what is counted ("transitions"); "bytes" is shown as sizes.
    """
    console = console_of(sys.stderr)
    if not console.is_terminal:
        yield _plain_lines(what, unit)
        return
    amount: tuple[progress.ProgressColumn, ...] = (
        (progress.DownloadColumn(), progress.TransferSpeedColumn())
        if unit == "bytes"
        else (progress.MofNCompleteColumn(), progress.TextColumn(unit))
    )
    # As it is, neither obeyed by the terminal nor read as markup: it may hold the name of a file.
    name = progress.TextColumn("{task.description}", markup=False)
    columns = (name, progress.BarColumn(), *amount, progress.TimeRemainingColumn())
    with progress.Progress(*columns, console=console) as bar:
        job = bar.add_task(visible(what), total=None)
        yield lambda done, total: bar.update(job, completed=done, total=total or None)


@contextmanager
def saying(text: str) -> Iterator[None]:
    """Within, a terminal says what is being done; the line goes away again."""
    console = console_of(sys.stderr)
    if not console.is_terminal:
        yield
        return
    with console.status(Text(visible(text))):
        yield


def _plain_lines(what: str, unit: str) -> Progress:
    started = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        if total and done:
            to_go = (now - started) * (total - done) / done
            print(f"{what}: {done:,} of {total:,} {unit}, {to_go:.0f} s to go", flush=True)
        else:
            print(f"{what}: {done:,} {unit}", flush=True)

    return show
