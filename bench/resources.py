"""Finds tasks.yaml, paper_tables/ and report templates, in a checkout and in an installed package alike.

Also the user's own catalogue of tasks.
"""

from __future__ import annotations

import os
from pathlib import Path

from bench.errors import BenchError
from bench.files import typed_path

TASKS_VARIABLE = "BENCH_TASKS"
"""Names the user's own catalogue; set to nothing, there is none."""
OWN_FILE = "tasks.yaml"
"""The user's own catalogue where no other is named, in the working folder."""


def resource(name: str) -> Path:
    """Path of a file or folder that stands at the top of the checkout, such as ``tasks.yaml``.

    Raises
    ------
    BenchError : the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_resources", package.parent):
        if (root / name).exists():
            return root / name
    raise BenchError(f"{name} is missing from this installation of bench", "", "Install it again.")


def own_tasks_file() -> Path | None:
    """Where the user's own catalogue of tasks belongs, there or not; None where there is to be none.

    In a checkout of this project `tasks.yaml` is the shipped catalogue, not the user's own.

    Raises
    ------
    BenchError : there is no such home folder.
    """
    named = os.environ.get(TASKS_VARIABLE)
    if named is not None:
        return typed_path(named) if named else None
    here = Path(OWN_FILE)
    return None if here.is_file() and (here.absolute().parent / "bench" / "catalog.py").is_file() else here
