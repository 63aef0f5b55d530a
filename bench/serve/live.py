"""A page that is made anew, in the background, when what it shows has changed and somebody looks at it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock

from bench.errors import BenchError

WATCHED_SECONDS = 60.0
"""So long after the last request a page is kept fresh: nobody's training is slowed down for nobody."""
_REST = 4.0
"""Times the time that making it took: training goes on beside it."""


@dataclass(frozen=True)
class Page:
    """One state of the page."""

    body: bytes
    version: str


class LivePage:
    """The latest page; readers never wait for the next one.

    Parameters
    ----------
    change_token : text that changes with what the page shows; cheap.
    render : makes the page; may take seconds.
    strip : text that goes in at the page's end, made from its version; it asks for the next one.
    pause_seconds : least time between two looks at the token.
    """

    def __init__(
        self,
        change_token: Callable[[], str],
        render: Callable[[], str],
        strip: Callable[[str], str],
        pause_seconds: float = 3.0,
    ) -> None:
        self._change_token, self._render, self._strip = change_token, render, strip
        self._pause = pause_seconds
        self._lock = Lock()
        self._seen = change_token()
        self._page = self._made()
        self._trouble = ""
        self._asked = time.monotonic()

    def page(self) -> Page:
        """The latest page; tells that somebody looks."""
        with self._lock:
            self._asked = time.monotonic()
            return self._page

    def trouble(self) -> str:
        """Why the page could not be made anew; empty while it can."""
        with self._lock:
            return self._trouble

    def keep_fresh(self, stop: Event) -> None:
        """Make it anew when something has changed, until `stop`; meant for a thread of its own.

        Trouble with the store is shown and tried again; anything else ends the thread with its error.
        """
        pause = self._pause
        while not stop.wait(pause):
            begun = time.monotonic()
            try:
                self._look()
            except BenchError as error:
                with self._lock:
                    self._trouble = str(error)
            pause = max(self._pause, _REST * (time.monotonic() - begun))

    def _look(self) -> None:
        with self._lock:
            watched = time.monotonic() - self._asked < WATCHED_SECONDS
        if not watched:
            return
        token = self._change_token()
        if token != self._seen:
            page = self._made()
            with self._lock:
                self._page = page
            self._seen = token
        with self._lock:
            self._trouble = ""

    def _made(self) -> Page:
        text = self._render()
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        return Page(text.replace("</body>", f"{self._strip(version)}</body>", 1).encode(), version)
