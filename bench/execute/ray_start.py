"""Ray's processes: started on this machine for one run, reachable by nobody else, and ended with it.

What Ray reads from the environment is set before it is imported; so this module imports it late.
"""

from __future__ import annotations

import atexit
import logging
import os
import resource
import secrets
import shutil
import signal
import site
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import BenchError
from bench.store.process_lock import is_held, locked
from bench.visible_text import shortened

CONNECT_SECONDS = 5
PREFIX = "bench-"
LOCK = "ray-of-bench.lock"
NEW_SECONDS = 60.0
LONGEST_BASE = 28
"""Bytes of a temporary folder's path, so that Ray's sockets below it stay within the 107 that a socket's may
have."""
LONGEST_REASON = 300
LEAST_FREE_BYTES = 20e6
LEAST_FILES = 256


@contextmanager
def running_ray(address: str | None) -> Iterator[Path]:
    """Connect to the cluster at an address, or start Ray here where it is None; yields a folder for a while.

    Raises
    ------
    BenchError : no cluster there; Ray cannot be imported or started, with the reason.
    """
    with scratch_folder() as scratch:
        _set_environment(address, scratch)
        try:
            import ray
        except ImportError as error:
            raise BenchError(
                "Ray cannot be imported", _reason(error), "Install it again, or add --executor local."
            ) from error
        try:
            _start(address, scratch)
            yield scratch
        finally:
            if address is None:
                _shorten_the_end()
            ray.shutdown()
            _leave_colours_alone()


def _leave_colours_alone() -> None:
    """Colorama, which Ray brings along, resets colours at exit: behind our last line, as visible text."""
    colorama = sys.modules.get("colorama.initialise")
    if colorama is not None:
        atexit.unregister(colorama.reset_all)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder that is removed at the end; if this process is killed, the next one removes it."""
    try:
        base = _base()
        _sweep(base)
        folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=base, ignore_cleanup_errors=True)
    except OSError as error:
        raise _not_started(error) from error
    with folder as name, locked(Path(name) / LOCK, "set RAY_TMPDIR to another folder"):
        yield Path(name)


def check_listening(address: str) -> None:
    """Refuse an address `host:port` where nothing listens; Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _base() -> Path:
    """Where temporary folders go: where Ray would put its own."""
    if chosen := os.environ.get("RAY_TMPDIR"):
        return Path(chosen).absolute()
    usual = tempfile.gettempdir()
    return Path(usual if len(os.fsencode(usual)) <= LONGEST_BASE else "/tmp")


def _sweep(base: Path) -> None:
    """Remove what killed processes of this user left."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process removes it too
            seen = folder.lstat()
            is_new = time.time() - seen.st_mtime < NEW_SECONDS
            is_ours = seen.st_uid == os.getuid() and folder.is_dir()
            # Where no lock is, a process was ended while it removed the folder, or it is not one of ours.
            if is_ours and not is_new and is_held(folder / LOCK) is False:
                shutil.rmtree(folder)


def _set_environment(address: str | None, scratch: Path) -> None:
    # Results go to our store; Tune's own files would only be a second, partial truth.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # One more than fits: Tune's usual 200 would make an autoscaled cluster grow for one run.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    try:
        Path.home()
    except RuntimeError:
        # A container's user may have none; Ray asks for it as it is imported.
        os.environ["HOME"] = str(scratch)
    if address is not None:
        return
    # Under this name it takes 127.0.0.1 for this machine's address, and all its processes listen there alone.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if "RAY_AUTH_MODE" not in os.environ:
        # A token of this run's own. The one in the home folder may be missing, and its folder closed.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _start(address: str | None, scratch: Path) -> None:
    import ray
    from ray._private import utils, worker
    from ray.job_config import JobConfig

    # Ray and Tune tell of failed workers with tracebacks; they are told in our words.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    worker.print_to_stdstream = lambda data, ignore_prefix: None
    # Ray's processes inherit what is blocked. What a terminal, `timeout` or a batch system sends to the whole
    # group is for the driver: workers that it ended could not save their state. Ray blocks SIGINT itself.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    # Ray's own would end the process at once, without waiting for stacks to save their state.
    set_handler, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda handler: None
    try:
        ray.init(
            # `local` starts Ray here even where RAY_ADDRESS names a cluster that was not asked for.
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            # Its `_client_job` keeps the folder that one stands in out of the workers' path.
            job_config=JobConfig(_client_job=True, _py_driver_sys_path=_own_path()),
            _temp_dir=None if address else str(scratch),
        )
    except ConnectionError as error:
        if address is None:
            raise _not_started(error) from error
        raise _no_cluster(address, error) from error
    except Exception as error:
        # Ray has no type for what can go wrong on a machine; it tells each in its own way.
        raise _not_started(error) from error
    finally:
        utils.set_sigterm_handler = set_handler
        # Another of its handlers lies below Python's, and aborts the process three seconds after a SIGTERM.
        for number in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.getsignal(number))
        signal.alarm(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGHUP})


def _own_path() -> list[str]:
    """The folder of this very package, where workers could find another: `python -m bench` in a checkout."""
    folder = str(Path(__file__).resolve().parents[2])
    installed = [*site.getsitepackages(), site.getusersitepackages()]
    return [folder] if folder in sys.path and folder not in installed else []


def _shorten_the_end() -> None:
    """Ray would wait a second for each of its processes to follow a SIGTERM, which they have blocked."""
    from ray._private import worker

    if worker._global_node is not None:
        for processes in worker._global_node.all_processes.values():
            for process in processes:
                process.process.terminate = process.process.kill


def _not_started(error: Exception) -> BenchError:
    return BenchError(
        "Ray does not start on this machine",
        " ".join([_reason(error), *_shortages()]),
        "Its files go to the folder that RAY_TMPDIR names (a short path, some 100 MB free), else to that of"
        " temporary files. Without Ray: add --executor local.",
    )


def _shortages() -> Iterator[str]:
    """What this machine lacks that Ray itself waits for in vain, without a word."""
    with suppress(OSError):
        free = shutil.disk_usage(_base()).free
        if free < LEAST_FREE_BYTES:
            yield f"Only {free / 1e6:.1f} MB are free in {_base()}."
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < LEAST_FILES:
        yield f"A process may open only {files} files here (ulimit -n)."


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[0], LONGEST_REASON) if lines else type(error).__name__


def _no_cluster(address: str, error: Exception) -> BenchError:
    advice = "`ray start --head` starts one here, and --address auto finds it; or leave --address out."
    if address != "auto":
        advice += (
            "\nRay refuses those without its token: where the cluster has one (in ~/.ray/auth_token of its"
            " machines), copy it here and begin the command with RAY_AUTH_MODE=token."
        )
    return BenchError(f"no Ray cluster at {address!r}", str(error), advice)
