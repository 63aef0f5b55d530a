"""`bench serve`: the report's page, live from the store, in a browser on this machine."""

from __future__ import annotations

import ipaddress
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import typer
from waitress.server import create_server

from bench.catalog import load_catalog
from bench.cli.options import DEFAULT_PORT
from bench.errors import BenchError
from bench.nightly.history import NIGHTS_PAGE, nights_page
from bench.report.margins import Margins, load_margins
from bench.serve.app import App
from bench.serve.live import LivePage
from bench.serve.page import page_of, strip, working_lines
from bench.store.database import Store, open_store
from bench.store.nights import nights
from bench.store.queries import change_token

_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


def serve(host: str, port: int, margins: Path | None, store: str, *, public: bool) -> None:
    """Serve the report's page until Ctrl-C: it follows what is stored, and only reads."""
    _refuse_strangers(host, public)
    chosen = load_margins(margins)
    with open_store(store, read_only=True) as opened:
        _serve(opened, chosen, host, port, public)


def _refuse_strangers(host: str, public: bool) -> None:
    if public or _is_local(host):
        return
    raise BenchError(
        f"--host {host} can be reached from other machines",
        "Whoever reaches it reads your results, hostnames and commands; nobody is asked for a password.",
        f"Leave --host out, reach it through ssh -L {DEFAULT_PORT}:localhost:{DEFAULT_PORT}, or say: "
        f"--host {host} --public",
    )


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _serve(store: Store, margins: Margins, host: str, port: int, public: bool) -> None:
    catalog = load_catalog()
    typer.echo(f"Making the page from {store.location} ...")

    def made() -> str:
        return page_of(store, catalog, margins, NIGHTS_PAGE if nights(store) else "")

    def made_of_nights() -> str:
        held = nights(store)
        return nights_page(held, {}, "/") if held else ""

    page = LivePage(lambda: change_token(store), made, strip)
    beside = {f"/{NIGHTS_PAGE}": made_of_nights}
    app = App(page, lambda: working_lines(store), None if public else _LOCAL, beside)
    try:
        # One address: a name such as localhost may stand for several.
        address = "127.0.0.1" if host == "localhost" else host
        server = create_server(app, host=address, port=port, ident=None, threads=4)
    except OSError as error:
        advice = "Name another --port; 0 takes a free one."
        raise BenchError(f"cannot listen at {host}:{port}", f"{error.strerror}.", advice) from error
    except ValueError as error:  # what waitress makes of a name that nobody knows
        advice = "Name an address of this machine: --host ADDRESS"
        raise BenchError(f"cannot listen at {host}:{port}", "There is no such host.", advice) from error
    typer.echo(f"http://{_shown(host)}:{server.effective_port}/   Ctrl-C ends it.")
    _until_ctrl_c(server.run, page.keep_fresh)


def _until_ctrl_c(serve: Callable[[], object], keep_fresh: Callable[[Event], None]) -> None:
    """Both in threads of their own; an error of either ends it and is raised.

    Ctrl-C and SIGTERM end it, also where the shell that started it in the background had SIGINT ignored. The
    thread that serves dies with the process, since a browser may keep its connection open for minutes.
    """
    stop, serving = Event(), Future[object]()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    Thread(target=_run, args=(serving, serve), name="server", daemon=True).start()
    with ThreadPoolExecutor(1, "page") as background:
        keeping = background.submit(keep_fresh, stop)
        try:
            for work in (serving, keeping):
                work.add_done_callback(lambda _: stop.set())
            stop.wait()
        except KeyboardInterrupt:
            pass
        finally:
            stop.set()
    keeping.result()
    if serving.done():
        serving.result()


def _run(told: Future[object], work: Callable[[], object]) -> None:
    try:
        told.set_result(work())
    except BaseException as error:  # noqa: BLE001 (raised again by whoever asks for the result)
        told.set_exception(error)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
