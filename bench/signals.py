"""Ctrl-C, SIGTERM and SIGHUP, from the first line of a command until its process has ended.

Imports nothing that takes time: the handlers stand before anything else of a command is imported.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
"""Exit code of an interrupted command; 128 + the number of the signal, if another than Ctrl-C's came."""

SAME_MOMENT_SECONDS = 0.2
"""`timeout` and a closing terminal send a signal twice at once; that is no second wish."""
IMPORT_SECONDS = 1.0
LOOK_SECONDS = 0.05


class Interrupted(KeyboardInterrupt):
    """A signal asks the command to end, and no work is in hand whose state is to be saved."""


class Signals:
    """The handler of all three signals of a process.

    The first signal raises `Interrupted` in the main thread; within `saving` it makes the call asked for
    instead. A second one ends the process at once.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        """Number of the signal that came first."""
        self._at = 0.0
        self._save: Callable[[], None] | None = None

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal that came first."""
        assert self.first is not None, "no signal has come"
        return 128 + self.first

    def install(self) -> None:
        """Put it in place of the handlers that are there."""
        for number in HANDLED:
            # Ignored from the start means that somebody used nohup: the command is to outlive its terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self)
        signal.signal(signal.SIGALRM, self._look_again)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """A signal has come."""
        now = time.monotonic()
        if number == signal.SIGHUP:
            _leave_terminal()
        if self.first is None:
            self.first, self._at = number, now
            self._act(frame)
        elif number != signal.SIGHUP and now - self._at > SAME_MOMENT_SECONDS:
            os._exit(128 + number)

    @contextmanager
    def saving(self, save: Callable[[], None]) -> Iterator[None]:
        """Until the end of the block a signal raises nothing, but makes this call, which must be brief."""
        self._save = save
        if self.first is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._act(None)
        try:
            yield
        finally:
            self._save = None

    def _act(self, frame: FrameType | None) -> None:
        if self._save is not None:
            _say("\nStopping: stacks save their state. Ctrl-C again ends at once.\n")
            self._save()
        elif not _is_importing(frame):
            raise Interrupted
        elif time.monotonic() - self._at > IMPORT_SECONDS:
            _say("Interrupted. The same command continues.\n")
            os._exit(self.exit_code)
        else:
            # Modules written in C swallow an exception that meets them while they are imported, or tell it as
            # an ImportError.
            signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS)

    def _look_again(self, number: int, frame: FrameType | None) -> None:
        self._act(frame)


@contextmanager
def handled_signals() -> Iterator[None]:
    """For a whole command: a signal ends it with a sentence and exit code 130, 143 or 129."""
    signals = Signals()
    try:
        signals.install()
        yield
    except Interrupted:
        _say("Interrupted. The same command continues.\n")
        sys.exit(signals.exit_code)
    except SystemExit as ending:
        if ending.code == INTERRUPTED and signals.first is not None:
            sys.exit(signals.exit_code)
        raise
    finally:
        # The exit code is decided. Python, as it ends, puts back what ends a process by the signal itself.
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in HANDLED:
            signal.signal(number, signal.SIG_IGN)


def asked_to_end() -> bool:
    """Whether a signal has come to this command, and so to the processes that it has started."""
    present = signal.getsignal(signal.SIGTERM)
    return isinstance(present, Signals) and present.first is not None


@contextmanager
def saving_at_signals(save: Callable[[], None]) -> Iterator[None]:
    """Until the end of the block Ctrl-C, SIGTERM and SIGHUP make this call; a second signal ends at once."""
    present = signal.getsignal(signal.SIGTERM)
    if isinstance(present, Signals):
        with present.saving(save):
            yield
        return
    # Called as a library: the caller's own handlers come back.
    before = {number: signal.getsignal(number) for number in (*HANDLED, signal.SIGALRM)}
    signals = Signals()
    signals.install()
    try:
        with signals.saving(save):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


def _say(text: str) -> None:
    # os.write is safe inside a handler, print is not; nobody may be there to read it any more.
    with suppress(OSError):
        os.write(2, text.encode())


def _leave_terminal() -> None:
    """What is printed after the terminal has gone would raise an error instead of letting work be saved."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        if os.isatty(descriptor):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)
