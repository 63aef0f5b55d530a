"""Standard output as a terminal of some width, within this process."""

import os
import shutil

import pytest

from bench.cli import output


def narrow_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Make commands believe that they print on a terminal, without colours."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((width, 24)))
    made = output.Console

    def terminal(**options):
        return made(force_terminal=True, width=width, color_system=None, **options)

    for module in ("output", "query"):
        monkeypatch.setattr(f"bench.cli.{module}.Console", terminal)
