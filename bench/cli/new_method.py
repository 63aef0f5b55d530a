"""`bench new-method`: a package with a method that trains, to be changed into one's own.

Its files are `method_template/`, which is itself the method `toy`; only names are replaced in it.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable
from keyword import iskeyword
from pathlib import Path

import typer

from algorithms.registry import ALIASES, GROUPS, methods
from bench.cli.output import print_lines
from bench.errors import BenchError
from bench.files import write_text
from bench.resources import resource
from bench.visible_text import quoted

TEMPLATE = "method_template"
TASK = "collected-hopper-quickstart"
"""Trains in seconds, on data that are collected here."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 40


def new_method(name: str, into: Path | None) -> None:
    """Write the package of a method called `name` into a new folder, and say how it is used."""
    _require_free(name)
    folder = into or Path(f"{name}-method")
    names = write_package(name, folder)
    place = shlex.quote(str(folder))
    typer.echo(f"Wrote {folder}/:")
    for relative in names:
        typer.echo(f"  {relative}")
    print_lines(
        ["It trains as it is. To install it, to test that it keeps a method's rules, and to train it:"]
    )
    typer.echo(f"  pip install -e {shlex.quote(f'{folder}[test]')}")
    typer.echo(f"  pytest {place}")
    typer.echo(f"  bench run --tasks {TASK} --algos {name} --budget 0.001")


def write_package(name: str, folder: Path) -> list[str]:
    """Write the template with its names replaced, whole or not at all; the names of its files.

    Raises
    ------
    BenchError : something is in the way, or cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise BenchError(
            f"{quoted(str(folder))} is there already",
            "A new method is written into a new folder.",
            f"Name another: bench new-method {name} --into FOLDER",
        )
    template = resource(TEMPLATE)
    files = sorted(path for path in template.rglob("*") if path.is_file() and path.suffix != ".pyc")
    texts = {path.relative_to(template).as_posix(): path.read_text(encoding="utf-8") for path in files}
    renamed = _renaming(name, "\n".join(texts.values()))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as made:
            whole = Path(made) / "package"
            for relative, text in texts.items():
                write_text(whole / renamed(relative), renamed(text))
            whole.replace(folder)
    except OSError as error:
        why = f"{error.strerror}."
        raise BenchError(f"cannot write {quoted(str(folder))}", why, "Name another with --into.") from error
    return [renamed(relative) for relative in texts]


def _renaming(name: str, source: str) -> Callable[[str], str]:
    """What makes the template's texts and paths those of the method `name`; `source` is all of its text."""
    underscored = name.replace("-", "_")
    implementation = "".join(part.capitalize() for part in name.split("-"))
    # What the file imports, such as Draw, and None.
    if iskeyword(implementation) or re.search(rf"\b{implementation}\b", source):
        implementation += "Method"

    def renamed(text: str) -> str:
        for old, new in (
            (r"\btoy-method\b", f"{name}-method"),
            (r"\btoy_method\b", f"{underscored}_method"),
            (r"\btest_toy\b", f"test_{underscored}"),
            (r"\btoy\b", name),
            (r"\bToy(?=Config\b|\b)", implementation),
        ):
            text = re.sub(old, new, text)
        return text

    return renamed


def _require_free(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        example = near if _NAME.fullmatch(near) and len(near) <= _LONGEST_NAME else "my-idea"
        raise BenchError(
            f"{quoted(name)} is no name of a method",
            f"It is made of small letters, digits and single hyphens, begins with a letter and has at most "
            f"{_LONGEST_NAME} characters.",
            f"For example: bench new-method {example}",
        )
    if name in (*methods(), *ALIASES, *GROUPS):
        raise BenchError(
            f"{quoted(name)} is taken",
            "A method, or several of them, have this name already.",
            "Name another; `bench list algorithms` shows all.",
        )
