"""What a person sees while a grid runs: bars on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from bench.execute.events import Event, Progress
    from bench.records import TrialKey

SECONDS_BETWEEN_LINES = 10.0


class Lines:
    """Prints every result as a line, and progress every ten seconds per stack."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, float] = {}

    def watch(self, event: Event) -> None:
        """Show one event."""
        from bench.execute.events import Progress

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
            self._print(f"{event.stack}: {place(event)}")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class BarsAndLines(Lines):
    """The same lines above one bar per stack in training."""

    def __init__(self, console: Console, bars: Bars) -> None:
        super().__init__(console)
        self._bars = bars
        self._shown: dict[str, TaskID] = {}
        self._open: dict[str, set[TrialKey]] = {}

    def progress(self, event: Progress) -> None:
        """Move the stack's bar."""
        # Started late: while data is being collected another bar is on the screen.
        self._bars.start()
        if event.stack not in self._shown:
            self._shown[event.stack] = self._bars.add_task(event.stack, total=event.total, place="")
        self._bars.update(self._shown[event.stack], completed=event.done, place=place(event))

    def watch(self, event: Event) -> None:
        """Show one event; the bar of a stack goes away with the last of its trials."""
        from bench.execute.events import Started, Stopped
        from bench.records import FailureRecord, FinishedRecord

        super().watch(event)
        match event:
            case Started():
                self._open[event.stack] = set(event.trials)
            case Stopped():
                self._remove(event.stack)
            case FinishedRecord() | FailureRecord():
                for stack, trials in self._open.items():
                    trials.discard(event.trial)
                    if not trials:
                        self._remove(stack)

    def _remove(self, stack: str) -> None:
        if stack in self._shown:
            self._bars.remove_task(self._shown.pop(stack))


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
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=20),
        progress.TextColumn("{task.fields[place]}"),
    )
    bars = progress.Progress(*columns, console=console)
    try:
        yield BarsAndLines(console, bars)
    finally:
        bars.stop()


def place(event: Progress) -> str:
    """`train 12,000/60,000 iterations, 412 it/s, 0:02:10 to go`, or where in an evaluation."""
    left = timedelta(seconds=round(event.seconds_left))
    if event.activity.startswith("evaluation"):
        return f"{event.activity}, {left} to go"
    rate = f"{event.iterations_per_second:,.0f} it/s, " if event.done else ""
    return f"{event.activity} {event.done:,}/{event.total:,} iterations, {rate}{left} to go"


def described(event: Event) -> str | None:
    """One line about a result; None where there is nothing to say."""
    from bench.execute.events import Started, Stopped
    from bench.records import EvaluationRecord, FailureRecord, FinishedRecord

    match event:
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
        case FinishedRecord():
            score = "none" if event.score is None else f"{event.score:.1f}"
            spent = timedelta(seconds=round(event.training_seconds + event.evaluation_seconds))
            return f"{_named(event.trial)}: finished, score {score}, in {spent}"
    return None


def _named(key: TrialKey) -> str:
    return f"{key.algorithm} {key.task} seed {key.seed}"
