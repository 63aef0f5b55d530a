"""What becomes of an exception that nobody foresaw: a defect of bench, told with a file to report."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from datetime import UTC, datetime

from bench.cli.common import show_error, typed_command
from bench.errors import BenchError
from bench.store.location import without_password

DEFECT = 70
"""Exit code (EX_SOFTWARE of sysexits.h): never that of a wrong request or of a check that fails."""


def report_defect(error: BaseException, *, debug: bool) -> None:
    """Say that bench is at fault, and write the traceback into a file; with `debug` show it as well."""
    # Line by line, because a password may hold anything but a line's end.
    lines = "".join(traceback.format_exception(error)).split("\n")
    told = "\n".join(map(without_password, lines))
    if debug:
        print(told, file=sys.stderr)
    first = str(error).partition("\n")[0]
    what = f"a defect of bench: {type(error).__name__}" + (f": {without_password(first)}" if first else "")
    try:
        path = _written(told)
    except OSError as trouble:
        if not debug:
            print(told, file=sys.stderr)
        why = f"The traceback is above; no file could be written for it ({trouble.strerror or trouble})."
        show_error(BenchError(what, why, "Please report it."))
        return
    show_error(BenchError(what, "The request is not to blame.", f"Please report it with this file: {path}"))


def _written(told: str) -> str:
    from bench.provenance import package_versions

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
