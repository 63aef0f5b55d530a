"""Finds tasks.yaml, paper_tables/ and report templates, in a checkout and in an installed package alike."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError


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
