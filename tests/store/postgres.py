"""A PostgreSQL server of the tests' own, on a free port, with a fresh database for each test."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # nothing here outlives its test
    "timezone": "Asia/Tokyo",  # whatever it is, results are in UTC
}
# Sorts as people do, not by bytes as SQLite does.
_INITIAL = ("--username=bench", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8",
            "--locale-provider=icu", "--icu-locale=en-US")  # fmt: skip


@dataclass(frozen=True)
class Server:
    """A server that may be stopped and started while it is used."""

    programs: Path
    folder: Path
    port: int
    user: str | None
    """Who runs it: root may not."""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {**_SETTINGS, "port": self.port, "unix_socket_directories": self.folder}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run("pg_ctl", "start", "--wait", f"--log={self.folder / 'log'}", f"--options={options}")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` tells its clients, `immediate` is as a crash."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}")

    def make(self) -> None:
        """Make its folder of data; the owner needs no password, everybody else does."""
        self._run("initdb", *_INITIAL)
        rules = "local all all trust\nhost all bench all trust\nhost all all all scram-sha-256\n"
        (self.folder / "data" / "pg_hba.conf").write_text(rules)

    @contextmanager
    def removed_at_the_end(self) -> Iterator[None]:
        """Stop the server and remove its folder afterwards, even where the tests are killed."""
        # The kernel closes the pipe that the guard reads from, however this process ends.
        script = 'read end; "$1" stop --silent --mode=immediate --pgdata="$2"/data; rm -rf "$2"'
        command = ["sh", "-c", script, "sh", self.programs / "pg_ctl", self.folder]
        outputs = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        guard = subprocess.Popen(
            command, stdin=subprocess.PIPE, start_new_session=True, cwd="/", **outputs, **self._owner
        )
        try:
            yield
        finally:
            guard.communicate()

    def execute(self, sql: str, database: str = "postgres") -> list[tuple]:
        """Run SQL as the server's owner; return the rows, if any."""
        import psycopg  # every test session reads this module, also where there is no PostgreSQL

        with psycopg.connect(self.url(database, driver=""), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str, *, login: str = "bench", driver: str = "+psycopg") -> str:
        """The URL of one of its databases."""
        return f"postgresql{driver}://{login}@127.0.0.1:{self.port}/{database}"

    @property
    def _owner(self) -> dict[str, object]:
        return {"user": self.user, "extra_groups": []} if self.user else {}

    def _run(self, program: str, *arguments: str) -> None:
        command = [self.programs / program, f"--pgdata={self.folder / 'data'}", *arguments]
        # Into files: the server inherits the outputs, so a pipe would stay open for as long as it runs.
        with (self.folder / "output").open("w+") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd=self.folder, **self._owner)
            output.seek(0)
            assert done.returncode == 0, output.read()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A running server; skips where PostgreSQL is not installed."""
    programs = _programs()
    user = _other_user() if os.geteuid() == 0 else None
    folder = Path(
        tempfile.mkdtemp(prefix="bench-postgres-")
    )  # short: a socket's path may have 107 characters
    if user:
        shutil.chown(folder, user)
    server = Server(programs, folder, _free_port(), user)
    with server.removed_at_the_end():
        server.make()
        server.start()
        yield server


@pytest.fixture
def postgres_url(postgres: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database of the test's own."""
    (number,) = postgres.execute("SELECT COUNT(*) FROM pg_database")[0]
    name = f"test{number}"
    postgres.execute(f"CREATE DATABASE {name}")
    yield postgres.url(name)


def _programs() -> Path:
    # Debian keeps them off the path, one folder per version.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    initdb = shutil.which("initdb", path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))
    if initdb is None:
        pytest.skip("PostgreSQL is not installed: make system-deps")
    return Path(initdb).parent


def _other_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
