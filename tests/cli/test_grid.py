"""How a grid goes on before a person's eyes: bars that move on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from bench.cli import grid
from bench.cli.grid import BarsAndLines, Lines
from bench.execute.messages import GridPlanned, TrialFinished
from tests.store import samples

WIDTH = 80


class Terminal(io.StringIO):
    """A stream that takes itself for a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time that the grid's pace is measured in, to be set."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(grid.time, "monotonic", lambda: clock.now)
    return clock


def finished(seed):
    return TrialFinished(samples.finished_record(samples.trial_record(seed).key), b"", ())


def printed(stream):
    """What has been written, without colours and movements."""
    return plain(stream.getvalue()).replace("\r", "\n").splitlines()


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_the_line_of_the_grid_says_how_long_it_will_take_at_this_pace(clock):
    """2 trials in 1,200 s are 600 s each; 180 - 30 - 2 = 148 are left: 88,800 s, or 24.7 h."""
    stream = io.StringIO()
    lines = Lines(Console(file=stream, width=WIDTH))
    lines.watch(GridPlanned(180, 30))
    clock.now += 600
    lines.watch(finished(0))
    assert printed(stream)[-1] == "31/180 trials, about 24.8 h left"
    clock.now += 600
    lines.watch(finished(1))
    assert printed(stream)[-1] == "32/180 trials, about 24.7 h left"
    assert [line for line in printed(stream) if "finished, score 9.2" in line] == printed(stream)[::2]


def test_a_further_grid_is_counted_from_its_own_beginning(clock):
    stream = io.StringIO()
    lines = Lines(Console(file=stream, width=WIDTH))
    lines.watch(GridPlanned(3, 0))
    lines.watch(finished(0))
    clock.now += 5000
    lines.watch(GridPlanned(4, 1))
    clock.now += 60
    lines.watch(finished(1))
    assert printed(stream)[-1] == "2/4 trials, about 2 min left"


@pytest.mark.parametrize(("trials", "lines_of_it"), [(2, ["2/2 trials"]), (1, [])])
def test_when_all_is_done_nothing_is_left_and_one_trial_is_no_grid(clock, trials, lines_of_it):
    stream = io.StringIO()
    lines = Lines(Console(file=stream, width=WIDTH))
    lines.watch(GridPlanned(trials, trials - 1))
    lines.watch(finished(0))
    assert [line for line in printed(stream) if "trials" in line] == lines_of_it


def test_on_a_terminal_it_is_one_line_that_is_rewritten(clock):
    stream = Terminal()
    console = Console(file=stream, width=WIDTH, force_terminal=True)
    columns = TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[place]}")
    bars = Progress(*columns, console=console, auto_refresh=False)
    lines = BarsAndLines(console, bars)
    with bars:
        lines.watch(GridPlanned(1000, 0))
        for seed in range(3):
            clock.now += 3600
            lines.watch(finished(seed))
        assert [task.fields["place"] for task in bars.tasks] == ["3/1,000 trials, about 42 days left"]
        bars.refresh()
    assert max(map(len, printed(stream))) <= WIDTH


SHOW = """
import sys, time
from bench.cli.output import readable_output
from bench.cli.progress import shown_progress
with readable_output(), shown_progress("collecting", "transitions") as progress:
    for done in range(1, 4):
        progress(done, 3)
        print("a line", done)
        time.sleep(0.15)
"""


def test_a_bar_moves_and_its_control_characters_are_no_text():
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, WIDTH))
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-P", "-c", SHOW], stdout=slave, stderr=slave, env=environment):
        os.close(slave)
        text = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the child has ended
                break
            if not part:
                break
            text += part
    os.close(master)
    assert b"\x1b[" in text
    assert b"\\x1b" not in text
    shown = plain(text.decode())
    assert "a line 3" in shown
    assert "3/3 transitions" in shown
