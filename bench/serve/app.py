"""What is served: the page, others beside it, and what is new (a WSGI application, without a server)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench.errors import BenchError
from bench.serve.live import LivePage
from bench.visible_text import visible_line

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]

_LOG = logging.getLogger(__name__)
_PLAIN, _HTML = "text/plain; charset=utf-8", "text/html; charset=utf-8"
_DEFECT = b"A defect of bench: this could not be answered. The terminal of `bench serve` shows why.\n"
_HEADERS = [
    # The page holds everything itself; nothing may be fetched, framed or sent elsewhere.
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]


class App:
    """Answers GET and HEAD of `/` (the page), `/change_token` (version, who works, trouble) and `beside`.

    Parameters
    ----------
    working : one line for each stack that is worked on now.
    hosts : names that a browser may have asked for; None allows all. A page elsewhere that has its own name
        point at this machine is kept out by it.
    beside : further pages by their paths, made when they are asked for; empty where there is nothing to show.
    """

    def __init__(
        self,
        page: LivePage,
        working: Callable[[], Sequence[str]],
        hosts: frozenset[str] | None,
        beside: Mapping[str, Callable[[], str]],
    ) -> None:
        self._page, self._working, self._hosts, self._beside = page, working, hosts, beside

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        try:
            status, kind, body = self._answer(environ)
        except Exception:  # noqa: BLE001 (logged, with its traceback)
            # A defect of ours: the details are for whoever serves, not for whoever looks.
            _LOG.exception("cannot answer %s", visible_line(environ["PATH_INFO"]))
            status, kind, body = "500 Internal Server Error", _PLAIN, _DEFECT
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: Environ) -> tuple[str, str, bytes]:
        if self._hosts is not None and _name(environ.get("HTTP_HOST", "")) not in self._hosts:
            return "403 Forbidden", _PLAIN, b"Ask for localhost.\n"
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", _PLAIN, b"Only reading is possible here.\n"
        if environ["PATH_INFO"] in ("/", ""):
            return "200 OK", _HTML, self._page.page().body
        if environ["PATH_INFO"] == "/change_token":
            return "200 OK", "application/json", self._change_token()
        made = self._beside.get(environ["PATH_INFO"])
        if made is not None and (text := made()):
            return "200 OK", _HTML, text.encode()
        return "404 Not Found", _PLAIN, b"The page is at /.\n"

    def _change_token(self) -> bytes:
        version = self._page.page().version
        trouble = self._page.trouble()
        working: list[str] = []
        # While the store is in trouble nobody can say who works.
        if not trouble:
            try:
                working = list(self._working())
            except BenchError as error:
                trouble = str(error)
        return json.dumps({"version": version, "working": working, "trouble": trouble}).encode()


def _name(host: str) -> str:
    """`localhost` of `localhost:8000`, `[::1]` of `[::1]:8000`."""
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
