"""Odd requests to what `bench serve` serves, without a socket."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from random import Random

from tests.fuzz.mutation import ODD_TEXTS
from tests.fuzz.outcomes import Case, Place, WrongAcceptedError
from tests.fuzz.stores import MAY_CHANGE, STORE

REQUESTS = 8
"""Per input, so that starting is a small part of it."""
_PATHS = (
    "/", "", "/change_token", "/change_token/", "//", "/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/",
    "/bench.sqlite", "/index.html",
    "/\x00", "/change_token\x00", "/é", "/\xff\xfe", "/" + "a" * 9000, "*", "http://localhost/",
    "/change_token;x", "change_token", "/CHANGE_TOKEN", "/./change_token",
)  # fmt: skip
_METHODS = (
    "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "",
    "G\x00T", "GET ",
    "X" * 500, "PROPFIND",
)  # fmt: skip
_HOSTS = (
    "localhost", "localhost:8265", "127.0.0.1", "[::1]:80", "evil.example", "localhost.evil.example", "",
    "[::1", "]", "[",
    "127.0.0.1.evil.example", "localhost:", ":80", "LOCALHOST", "localhost@evil.example", "0.0.0.0", "é",
    "\x00", "localhost\x00",
    "a" * 5000, "2130706433", "127.1",
)  # fmt: skip
_GOOD_HOSTS = {"localhost", "localhost:8265", "127.0.0.1", "[::1]:80", "localhost:", "LOCALHOST"}
_QUERIES = ("", "x=1", "a" * 5000, "%", "%zz", "\x00", "é", "a=<script>", "&&&&")


def make(number: int, place: Place, random: Random) -> Case:
    """Input `number` of this target."""
    store = Path(shutil.copy(place.material / "stores" / STORE, place.work / STORE))
    requests = [_request(random) for _ in range(REQUESTS)]
    # The page takes long to make.
    if random.random() < 0.8:
        requests = [
            one if one["PATH_INFO"] not in ("/", "") else one | {"PATH_INFO": "/x"} for one in requests
        ]
    run = ["serve", "--port", "0", "--store", str(store)]
    return Case("requests", lambda: _answered(run, requests), may_change=MAY_CHANGE)


def _request(random: Random) -> dict:
    method, path = random.choice(_METHODS), random.choice(_PATHS)
    environ = {
        "REQUEST_METHOD": method, "SCRIPT_NAME": random.choice(("", "", "/x", "..")), "PATH_INFO": path,
        "QUERY_STRING": random.choice(_QUERIES), "SERVER_NAME": "localhost", "SERVER_PORT": "8265",
        "SERVER_PROTOCOL": random.choice(("HTTP/1.1", "HTTP/1.0", "HTTP/9.9", "")), "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(random.randbytes(random.choice((0, 10, 1000)))),
    }  # fmt: skip
    if random.random() < 0.95:
        environ["HTTP_HOST"] = random.choice(_HOSTS)
    for name in random.sample(
        ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_RANGE", "HTTP_ORIGIN", "HTTP_REFERER",
        "HTTP_X_FORWARDED_HOST",
         "HTTP_COOKIE", "HTTP_ACCEPT_ENCODING", "HTTP_IF_MODIFIED_SINCE", "HTTP_TRANSFER_ENCODING"), 3
    ):  # fmt: skip
        environ[name] = random.choice((*ODD_TEXTS, "-1", "1e9", "bytes=0-", "bytes=-1", "gzip", "chunked"))
    return environ


def _answered(run: list[str], requests: list[dict]) -> None:
    """Start serving; instead of listening, answer the requests and end."""
    import bench.cli.serve as serving
    from bench.cli import main

    def answer(application: object, **_: object) -> None:
        for request in requests:
            _answer(application, request)
        raise KeyboardInterrupt

    serving.create_server = answer
    sys.argv = ["bench", *run]
    try:
        main(list(run))
    except SystemExit as ended:
        if ended.code != 130:
            raise


def _answer(application: object, environ: dict) -> None:
    told: list[str] = []
    environ = environ | {"wsgi.errors": sys.stderr, "wsgi.version": (1, 0), "wsgi.multithread": True}
    body = b"".join(application(environ, lambda status, headers, info=None: told.append(status)))
    (status,) = told
    host = environ.get("HTTP_HOST", "")[:60]
    asked = f"{environ['REQUEST_METHOD']!r} {environ['PATH_INFO'][:60]!r} of {host!r}: {status}"
    if status[:3] not in ("200", "400", "403", "404", "405"):
        raise WrongAcceptedError(asked)
    if status.startswith("200") and environ.get("HTTP_HOST", "") not in _GOOD_HOSTS:
        raise WrongAcceptedError(f"a strange host is served: {asked}")
    if status.startswith("200") and environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        raise WrongAcceptedError(f"a strange method is served: {asked}")
    if b"not to be touched" in body or body.startswith(b"SQLite format 3"):
        raise WrongAcceptedError(f"a file is served: {asked}")
