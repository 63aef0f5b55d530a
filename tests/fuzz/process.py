"""Runs a case in a forked process, watches it and its files, and ends it where it hangs."""

from __future__ import annotations

import faulthandler
import functools
import hashlib
import io
import os
import random
import resource
import select
import shutil
import signal
import socket
import stat
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

from tests.fuzz.outcomes import WRONG_CODE, Case, Ended, Place, WrongAcceptedError

LIMIT_SECONDS = 20.0
MEMORY_BYTES = 6 << 30
"""Address space beyond that of the process forked from."""
FILE_BYTES = 256 << 20
ALWAYS = ("home/.cache/*", "home/.config/*", "home/.bench*", "temporary/*", "home/.local/*")
"""What libraries keep, and where a traceback of a defect may go."""


def random_of(target: str, seed: int, number: int) -> random.Random:
    """The random numbers of one input."""
    return random.Random(f"{target} {seed} {number}")


def fresh_place(root: Path, material: Path, code: Path) -> Place:
    """An empty place at `root`, instead of whatever lies there."""
    if root.exists():
        _remove(root)
    for name in ("work", "data", "outside", "home", "temporary"):
        (root / name).mkdir(parents=True)
    (root / "outside" / "precious.txt").write_text("not to be touched\n")
    return Place(root, material, code)


def run_case(case: Case, place: Place, limit: float = LIMIT_SECONDS) -> Ended:
    """Run a case in a process of its own; its files are compared before and after."""
    before = dict(_files(place.root))
    told = (
        place.root.with_name(place.root.name + ".output"),
        place.root.with_name(place.root.name + ".errors"),
    )
    began = time.monotonic()
    process = os.fork()
    if process == 0:
        _be_the_child(case, place, *told)
    code, hung, busy = _awaited(process, limit)
    seconds = time.monotonic() - began
    after = dict(_files(place.root))
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    allowed = case.may_change + ALWAYS
    unexpected = tuple(name for name in changed if not any(fnmatch(name, pattern) for pattern in allowed))
    output, errors = (_text(path) for path in told)
    return Ended(code, hung, output, errors, seconds, busy, unexpected)


def _awaited(process: int, limit: float) -> tuple[int, bool, float]:
    """(exit code, or minus the signal; whether it had to be ended; seconds of processor time)."""
    handle, hung = os.pidfd_open(process), False
    if not select.select([handle], [], [], limit)[0]:
        hung = True
        # faulthandler tells where it stands.
        os.kill(process, signal.SIGABRT)
        if not select.select([handle], [], [], 2.0)[0]:
            os.kill(process, signal.SIGKILL)
    os.close(handle)
    # Whatever it started; before its number is free for another process.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    _, status, used = os.wait4(process, 0)
    return os.waitstatus_to_exitcode(status), hung, used.ru_utime + used.ru_stime


def _be_the_child(case: Case, place: Place, output: Path, errors: Path) -> NoReturn:
    code = 1
    try:
        os.setsid()
        _redirect(output, errors, case.encoding)
        _confine(place)
        os.environ.update(case.environment)
        os.chdir(place.work)
        code = _run(case)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(case: Case) -> int:
    try:
        if case.undo:
            forget_files()
        if callable(case.run):
            case.run()
        else:
            from bench.cli import main

            sys.argv = ["bench", *case.run]
            main(list(case.run))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except WrongAcceptedError as error:
        print(error, file=sys.stderr)
        return WRONG_CODE
    return 0


def forget_files() -> None:
    """Drop what functions of the product remember of the files of the installation."""
    for name, module in list(sys.modules.items()):
        if name.startswith("bench."):
            for one in vars(module).values():
                if isinstance(one, functools._lru_cache_wrapper):
                    one.cache_clear()


def _redirect(output: Path, errors: Path, encoding: str) -> None:
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    for number, path in ((1, output), (2, errors)):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(target, number)
        os.close(target)
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding, errors="strict")  # noqa: SIM115
    sys.stderr = io.TextIOWrapper(
        open(2, "wb", closefd=False),  # noqa: SIM115
        encoding,
        errors="backslashreplace",
        line_buffering=True,
    )
    faulthandler.enable(open(2, "wb", closefd=False))  # noqa: SIM115


def _confine(place: Place) -> None:
    """Its own home and data, no network, no endless memory or files, no core dumps."""
    os.environ.update(
        HOME=str(place.root / "home"),
        TMPDIR=str(place.root / "temporary"),
        BENCH_DATA_DIR=str(place.data),
        COLUMNS="100",
    )
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(101, "Network is unreachable")
        connect(self, address)

    def known_here(host: object, *_: object, **__: object) -> list:
        if host not in ("127.0.0.1", "localhost", "::1", None, ""):
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return resolve(host, *_, **__)

    resolve = socket.getaddrinfo
    socket.socket.connect, socket.getaddrinfo = connect_here, known_here


def _files(root: Path) -> Iterator[tuple[str, object]]:
    """(name, what it is) of everything below a folder; links are not followed."""
    stack = [root]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                name = os.path.relpath(entry.path, root)
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    stack.append(Path(entry.path))
                    yield name, "folder"
                elif stat.S_ISREG(status.st_mode):
                    yield name, (status.st_size, _digest(Path(entry.path), status.st_size))
                elif stat.S_ISLNK(status.st_mode):
                    yield name, ("link", os.readlink(entry.path))  # noqa: PTH115
                else:
                    yield name, stat.S_IFMT(status.st_mode)


def _digest(path: Path, size: int) -> str:
    # Sparse files of many gigabytes are inputs too; their beginning tells enough.
    try:
        with path.open("rb") as file:
            return hashlib.blake2b(file.read(min(size, 8 << 20))).hexdigest()
    except OSError as error:
        return str(error.errno)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(4 << 20).decode("utf-8", "replace")


def _remove(root: Path) -> None:
    def again(function, path, _) -> None:
        Path(path).parent.chmod(0o700)
        Path(path).chmod(0o700)
        function(path)

    shutil.rmtree(root, onerror=again)
