"""What a person sees while a grid runs: bars on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from bench.cli.output import stop_printing
from bench.visible_text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from bench.execute.messages import Progress, Shown
    from bench.records import StackProgress, TrialKey

SECONDS_BETWEEN_LINES = 10.0


class Lines:
    """Prints every result as a line, and progress every ten seconds per stack."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, float] = {}

    def watch(self, event: Shown) -> None:
        """Show one event; where nobody reads any more, work goes on in silence."""
        try:
            self._show(event)
        except (OSError, SystemExit):
            # The terminal was closed, or a pipe's other end has gone, as `tee` does at the same Ctrl-C; of
            # that Rich makes a SystemExit.
            stop_printing()

    def _show(self, event: Shown) -> None:
        from bench.execute.messages import Progress

        if isinstance(event, Progress):
            self.progress(event)
            return
        text = described(event)
        if text:
            self._print(text)

    def progress(self, event: Progress) -> None:
        """Show how far a stack is, unless it was shown a moment ago."""
        now = time.monotonic()
        if now - self._last.get(event.stack, 0.0) >= SECONDS_BETWEEN_LINES:
            self._last[event.stack] = now
            self._print(f"{event.stack}: {place(event.progress)}")

    def _print(self, text: str) -> None:
        # Folded at spaces on a terminal; in a pipe a line stays one line.
        folded = self._console.is_terminal
        self._console.print(visible(text), highlight=False, markup=False, soft_wrap=not folded)


class BarsAndLines(Lines):
    """The same lines above one bar per stack in training."""

    def __init__(self, console: Console, bars: Bars) -> None:
        super().__init__(console)
        self._bars = bars
        self._shown: dict[str, TaskID] = {}

    def progress(self, event: Progress) -> None:
        """Move the stack's bar."""
        # Started late: while data is being collected another bar is on the screen.
        self._bars.start()
        if event.stack not in self._shown:
            self._shown[event.stack] = self._bars.add_task(visible(event.stack), total=None, place="")
        stand = event.progress
        self._bars.update(
            self._shown[event.stack],
            total=stand.iterations_total,
            completed=stand.iterations_done,
            place=place(stand),
        )

    def _show(self, event: Shown) -> None:
        """A stack's bar goes away with its process."""
        from bench.execute.messages import Ended

        super()._show(event)
        if isinstance(event, Ended) and event.stack in self._shown:
            self._bars.remove_task(self._shown.pop(event.stack))


@contextmanager
def watching() -> Iterator[Lines]:
    """Yield what shows events, as suits standard output."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        yield Lines(console)
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=20),
        progress.TextColumn("{task.fields[place]}"),
    )
    bars = progress.Progress(*columns, console=console)
    try:
        yield BarsAndLines(console, bars)
    finally:
        bars.stop()


def place(stand: StackProgress) -> str:
    """`train 12,000/60,000 iterations, 412 it/s, 0:02:10 to go`, or where in an evaluation."""
    left = timedelta(seconds=round(stand.seconds_left))
    if stand.activity.startswith("evaluation"):
        return f"{stand.activity}, {left} to go"
    rate = f"{stand.iterations_per_second:,.0f} it/s, " if stand.iterations_done else ""
    done = f"{stand.iterations_done:,}/{stand.iterations_total:,} iterations"
    return f"{stand.activity} {done}, {rate}{left} to go"


def described(event: Shown) -> str | None:
    """One line about a result; None where there is nothing to say."""
    from bench.execute.messages import Notice, Started, Stopped, TrialFinished
    from bench.records import EvaluationRecord, FailureRecord

    match event:
        case Notice():
            return event.text
        case Started():
            return "\n".join(f"{event.stack}: {note}" for note in event.notes) or None
        case Stopped():
            return f"{event.stack}: state saved"
        case EvaluationRecord():
            score = sum(event.scores) / len(event.scores)
            return (
                f"{_named(event.trial)}: evaluation {event.number} after {event.step:,} iterations: "
                f"score {score:.1f} ({len(event.scores)} episode{'s' if len(event.scores) > 1 else ''})"
            )
        case FailureRecord():
            return f"{_named(event.trial)}: FAILED at step {event.step}: {event.error}: {event.message}"
        case TrialFinished():
            done = event.finished
            score = "none" if done.score is None else f"{done.score:.1f}"
            spent = timedelta(seconds=round(done.training_seconds + done.evaluation_seconds))
            return f"{_named(done.trial)}: finished, score {score}, in {spent}"
    return None


def _named(key: TrialKey) -> str:
    return f"{key.algorithm} {key.task} seed {key.seed}"
