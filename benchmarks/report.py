"""`bench check` and `bench report` on a full store, each command in a process of its own, beside its imports.

The store: four methods on 20 tasks, 5 seeds, 100 evaluations of 10 episodes, scores made up. With `--tasks 25
--seeds 20` it holds two million episodes. `--cpu` tells seconds of CPU, for a machine that has other work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.full_store import Size, make_store
from benchmarks.measuring import Comparison, Figure, compare, write_record

_READS = "import bench.cli, bench.report.loading, bench.report.verdicts"
_SHOWS = f"{_READS}, pandas, bench.report.build"


@dataclass(frozen=True)
class Command:
    """One command, and what it loads before it begins."""

    words: tuple[str, ...]
    imports: str
    limit: float
    """Seconds in all, on a store of up to `LIMITED_EPISODES`."""
    codes: tuple[int, ...] = (0,)
    """Exit codes of a command that worked."""

    @property
    def name(self) -> str:
        """As typed."""
        return " ".join(("bench", *self.words))


LIMITED_EPISODES = 400_000
COMMANDS = (
    Command(("check",), f"{_READS}, bench.report.check, bench.report.formats.check", 2.0, (0, 1)),
    Command(("report",), f"{_SHOWS}, bench.report.formats.markdown", 10.0),
    Command(("report", "--format", "html"), f"{_SHOWS}, bench.report.formats.html", 10.0),
    Command(("report", "--format", "figures"), f"{_SHOWS}, bench.report.figures", 10.0),
)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print two lines per command."""
    options = _options(arguments)
    size = Size(options.tasks, options.seeds, options.evaluations, options.episodes)
    unit, now = ("CPU seconds", cpu_seconds) if options.cpu else ("seconds", clock_seconds)
    comparisons, figures = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.sqlite"
        make_store(path, size)
        print(f"Store: {size.trials:,} trials, {size.all_episodes:,} episodes", flush=True)
        for command in COMMANDS:
            comparison = _compared(command, path, options.repeats, unit, now)
            limit = command.limit if size.all_episodes <= LIMITED_EPISODES else None
            figure = Figure(command.name, unit, comparison.rates[command.name], limit)
            comparisons.append(comparison)
            figures.append(figure)
            print(comparison.as_line(), figure.as_line(), sep="\n", flush=True)
    if options.json:
        write_record(options.json, comparisons, asdict(size), figures=figures)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20, help="of each method (default 20)")
    parser.add_argument("--seeds", type=int, default=5, help="of each task (default 5)")
    parser.add_argument("--evaluations", type=int, default=100, help="of each trial (default 100)")
    parser.add_argument("--episodes", type=int, default=10, help="of each evaluation (default 10)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--cpu", action="store_true", help="seconds of CPU, of all cores together")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    return parser.parse_args(arguments)


def _compared(command: Command, store: Path, repeats: int, unit: str, now: Callable[[], float]) -> Comparison:
    words = ["-m", "bench", *command.words, "--store", str(store)]
    if "--format" in words:
        words += ["--out", str(store.parent)]
    ways = {
        command.name: seconds_of(words, command.codes, now),
        "imports": seconds_of(["-c", command.imports], (0,), now),
    }
    return compare(command.name, unit, None, ways, repeats)


def clock_seconds() -> float:
    """What the clock says."""
    return time.perf_counter()


def cpu_seconds() -> float:
    """What processes that this one has started and that have ended took of all cores."""
    spent = os.times()
    return spent.children_user + spent.children_system


def seconds_of(
    arguments: list[str], codes: Sequence[int], now: Callable[[], float] = clock_seconds
) -> Callable[[], float]:
    """How long Python takes with these arguments; RuntimeError unless it ends with one of `codes`."""

    def measure() -> float:
        started = now()
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
        if done.returncode not in codes:
            raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr}")
        return now() - started

    return measure


if __name__ == "__main__":
    main()
