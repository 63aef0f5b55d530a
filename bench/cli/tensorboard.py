"""`bench export tensorboard`, and the same files while `bench run` goes on."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from bench.cli.progress import shown_progress
from bench.errors import BenchError
from bench.execute.keeper import Watcher
from bench.execute.messages import Notice, Shown, TrialFinished
from bench.records import PLANNED, EvaluationRecord, FailureRecord, TrialKey
from bench.report.narrowing import Only
from bench.store.database import Store, open_store
from bench.store.queries import trial_of, trials
from bench.store.tensorboard import append, bring_up_to_date, evaluation_records
from bench.visible_text import count, quoted


def export(folder: Path, only: Only, store: str) -> None:
    """Write a run of TensorBoard's for every trial that has begun, or bring it up to date."""
    with open_store(store, read_only=True) as opened:
        chosen = [
            trial
            for trial in trials(opened)
            if trial.state != PLANNED and only.has(trial.record.key.algorithm, trial.record.key.task)
        ]
        if not chosen:
            raise BenchError(
                "there is no trial to export",
                f"Of what was asked for nothing has begun in {opened.location}.",
                "`bench status` shows what is there.",
            )
        with shown_progress(f"Writing {folder}", "trials") as show:
            try:
                for number, trial in enumerate(chosen, start=1):
                    bring_up_to_date(folder, trial, opened)
                    show(number, len(chosen))
            except OSError as error:
                what = f"cannot write {quoted(error.filename or str(folder))}"
                raise BenchError(what, f"{error.strerror}.", "Name another folder.") from error
    typer.echo(f"Wrote {count(len(chosen), 'trial')} to {folder}.")
    typer.echo(f"To look at them: pip install tensorboard; tensorboard --logdir {shlex.quote(str(folder))}")


class LiveLog:
    """Shows what another watcher shows, and keeps the trials' files below `folder` up to date.

    The store has taken in what is watched, so the file of a trial that is met for the first time, or has
    ended, is made from it; each evaluation in between is added. A folder that takes nothing in any more ends
    the log and not the run.
    """

    def __init__(self, watcher: Watcher, folder: Path, store: str) -> None:
        self._watcher = watcher
        self._folder = folder
        self._store = store
        self._opened: Store | None = None
        self._files: dict[TrialKey, tuple[Path, int]] = {}
        """File and number of the last evaluation in it, of trials that go on here."""
        self._ended = False

    def watch(self, event: Shown) -> None:
        """Show the event, and add it to its trial's file."""
        self._watcher.watch(event)
        if self._ended:
            return
        try:
            self._log(event)
        except (OSError, BenchError) as error:
            self._ended = True
            why = getattr(error, "strerror", None) or error
            text = f"The log for TensorBoard ends: {why}; `bench export tensorboard` writes it anew."
            self._watcher.watch(Notice(text))

    def close(self) -> None:
        """Let go of the store."""
        if self._opened is not None:
            self._opened.close()

    def _log(self, event: Shown) -> None:
        match event:
            case EvaluationRecord() if event.trial in self._files:
                path, last = self._files[event.trial]
                # A stack that was lost and taken up again tells once more what it told before.
                if event.number > last:
                    append(path, evaluation_records(event))
                    self._files[event.trial] = path, event.number
            case EvaluationRecord():
                self._files[event.trial] = self._from_store(event.trial), event.number
            case TrialFinished():
                self._end(event.finished.trial)
            case FailureRecord():
                self._end(event.trial)

    def _end(self, key: TrialKey) -> None:
        self._from_store(key)
        self._files.pop(key, None)

    def _from_store(self, key: TrialKey) -> Path:
        if self._opened is None:
            self._opened = open_store(self._store, read_only=True)
        return bring_up_to_date(self._folder, trial_of(self._opened, key), self._opened)
