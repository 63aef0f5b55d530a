"""How a command ends that could not do what was asked: what is said of it, and which exit code it means.

A wrong request is told with what to type instead; what the machine refuses, as such; an exception that nobody
foresaw is a defect of bench, or of the method from outside whose code raised it, told with a file to report.
"""

from __future__ import annotations

import errno
import os
import platform
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from typer import exceptions

from bench.cli.options import typed_command
from bench.cli.output import print_lines, stop_printing
from bench.errors import BenchError, WorkFailedError
from bench.store.location import without_password
from bench.visible_text import is_text, quoted, shortened

if TYPE_CHECKING:
    from algorithms.registry import Method

DEFECT = 70
"""Exit code (EX_SOFTWARE of sysexits.h): never that of a wrong request or of a check that fails."""
OF_THE_MACHINE = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
        errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR,
    }
)  # fmt: skip
"""Errors of files and disks that say themselves what is wrong."""
OF_THE_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Those that name no file where standard output cannot take any more."""


def show_error(error: BenchError) -> None:
    """Print what is wrong, why, and what to do, on standard error."""
    lines = [f"bench: {error.what}", *(f"  {line}" for line in (error.why, error.do_this) if line)]
    print_lines((part for line in lines for part in line.split("\n")), sys.stderr)


def show_usage_error(error: exceptions.TyperException) -> None:
    """Print an error of options or arguments, what a person typed cut to a sensible length."""
    context = getattr(error, "ctx", None)
    if context is not None:
        print(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n", file=sys.stderr)
    for line in error.format_message().splitlines():
        print_lines([f"Error: {shortened(line)}"], sys.stderr)


def exit_code_of(error: BenchError) -> int:
    """1 where something ran and failed, 2 where the request was wrong."""
    return 1 if isinstance(error, WorkFailedError) else 2


def tell_unforeseen(error: Exception, arguments: list[str], *, debug: bool) -> int:
    """Tell an error that no command expected, the machine's, a method's or ours; its exit code."""
    if isinstance(error, UnicodeEncodeError) and (odd := [one for one in arguments if not is_text(one)]):
        why = f"It holds bytes that are no text in this terminal's encoding, {sys.getfilesystemencoding()}."
        advice = "Begin the command with PYTHONUTF8=1, or rename the file."
        show_error(BenchError(f"argument {quoted(odd[0])}", why, advice))
        return 2
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        if debug:
            traceback.print_exc()
        if error.filename is None and error.errno in OF_THE_OUTPUT:
            stop_printing()
            advice = "Make room where the output goes." if error.errno == errno.ENOSPC else ""
            show_error(BenchError("cannot write the output", f"{error.strerror}.", advice))
        elif error.filename is None:
            show_error(BenchError("the machine refuses what the command needs", f"{error.strerror}."))
        else:
            show_error(BenchError(f"cannot use {quoted(str(error.filename))}", f"{error.strerror}."))
        return 2
    if isinstance(error, MemoryError):
        advice = "Ask for less at once, or use another machine."
        show_error(BenchError("not enough memory", str(error), advice))
        return 1
    return _tell_fault(error, debug=debug)


def keep_traceback(error: Exception) -> str:
    """Write an error's traceback into a file; says in words where it is, or why it is nowhere."""
    try:
        return f"its traceback is in {_written(_traceback_of(error))}"
    except OSError as trouble:
        return f"no file could be written for its traceback ({trouble.strerror or trouble})"


def _tell_fault(error: Exception, *, debug: bool) -> int:
    """Say whose code is at fault, ours or that of a method from outside; the exit code.

    The traceback goes into a file, and with `debug` to the terminal as well.
    """
    told = _traceback_of(error)
    if debug:
        print(told, file=sys.stderr)
    first = str(error).partition("\n")[0]
    raised = type(error).__name__ + (f": {without_password(first)}" if first else "")
    method = _method_at_fault(error)
    if method is None:
        what, why = f"a defect of bench: {raised}", "The request is not to blame."
        advice, code = "Please report it", DEFECT
    else:
        what, why = f"method {method.name!r} of {method.distribution} failed: {raised}", "Its own code did."
        advice, code = "Please report it to its author", 1
    try:
        path = _written(told)
    except OSError as trouble:
        if not debug:
            print(told, file=sys.stderr)
        why = f"The traceback is above; no file could be written for it ({trouble.strerror or trouble})."
        show_error(BenchError(what, why, f"{advice}."))
    else:
        show_error(BenchError(what, why, f"{advice} with this file: {path}"))
    return code


def _method_at_fault(error: Exception) -> Method | None:
    """The method from outside this package through whose files an error came; None where it was none."""
    from algorithms.registry import methods  # takes time that no other end of a command need wait for

    seen = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    for method in methods().values():
        if any(str(path) in seen for _, path in method.files()):
            return method
    return None


def _traceback_of(error: Exception) -> str:
    # Line by line, because a password may hold anything but a line's end.
    return "\n".join(map(without_password, "".join(traceback.format_exception(error)).split("\n")))


def _written(told: str) -> str:
    from bench.provenance import package_versions  # imports the methods, which every command would wait for

    now = datetime.now(UTC)
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    text = (
        f"command: {typed_command()}\ntime: {now:%Y-%m-%d %H:%M:%S} UTC\nfolder: {_folder()}\n"
        f"platform: {platform.platform()}\nversions: {versions}\n\n{told}"
    )
    # A name that nobody can foresee: in a folder of all a link might lie in wait.
    handle, path = tempfile.mkstemp(prefix=f"bench-defect-{now:%Y%m%dT%H%M%S}-{os.getpid()}-", suffix=".txt")
    with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 (a descriptor)
        file.write(text)
    return path


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 (as text, whatever it is)
    except OSError as error:
        return f"unknown ({error.strerror})"
