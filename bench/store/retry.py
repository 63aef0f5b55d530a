"""Waits while a store cannot take anything in (disk full, database locked, server away) and then goes on."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from bench.store.faults import StoreUnavailableError

_T = TypeVar("_T")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_LOOK_SECONDS = 0.2
"""How soon a wish to stop is noticed."""


def retry_while_unavailable(
    action: Callable[[], _T],
    log: Callable[[str], None],
    stopped: Callable[[], bool],
    *,
    pause_seconds: float = 5.0,
) -> _T:
    """Do `action`, again and again while a trouble that may pass keeps it from succeeding.

    Parameters
    ----------
    action : safe to repeat: a transaction that was rolled back, a file that is written whole.
    log : is told each trouble once, and when it is over.
    stopped : whether to give up; asked several times a second while waiting.

    Raises
    ------
    StoreUnavailableError : the trouble was still there when `stopped` said so.
    """
    logged = ""
    while True:
        try:
            result = action()
        except StoreUnavailableError as error:
            trouble = error
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            trouble = _no_room(error)
        else:
            if logged:
                log("It works again; going on.")
            return result
        if stopped():
            raise trouble
        if trouble.what != logged:
            log(_announcement(trouble, pause_seconds))
            logged = trouble.what
        _pause(pause_seconds, stopped)


def _no_room(error: OSError) -> StoreUnavailableError:
    place = f"cannot write {error.filename}" if error.filename else "cannot write a file"
    return StoreUnavailableError(place, f"{error.strerror}.", "Make room on that disk.")


def _announcement(trouble: StoreUnavailableError, pause_seconds: float) -> str:
    waiting = f"It is tried again every {pause_seconds:g} s; Ctrl-C ends the waiting."
    return "\n  ".join(part for part in (trouble.what, trouble.why, trouble.remedy, waiting) if part)


def _pause(seconds: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stopped():
        time.sleep(min(left, _LOOK_SECONDS))
