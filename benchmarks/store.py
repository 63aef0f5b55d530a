"""The results database at the size of a whole study: reading it, planning against it, committing to it.

Makes a store of 2,000 trials, 100 evaluations each, 10 episodes each, and measures on it, each command in a
process of its own. Commits are held against bare SQLite commits of the same rows on the same disk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.commits import TURN, compare_commits
from benchmarks.full_store import ALGORITHMS, Size, make_store
from benchmarks.measuring import Figure, write_record

QUERY = "SELECT algorithm, task, COUNT(*), AVG(score) FROM scores GROUP BY algorithm, task"
IMPORTS = "import bench.execute.driver"
"""What `bench run` loads before it plans."""


def main(arguments: list[str] | None = None) -> None:
    """Measure and print one line per figure."""
    options = _options(arguments)
    size = Size(options.tasks, options.seeds, options.evaluations, options.episodes)
    figures, comparisons = [], []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "bench.sqlite"
        make_store(path, size)
        print(f"Store: {size.trials:,} trials, {size.all_episodes:,} episodes", flush=True)
        for figure in _figures(path, size, options):
            figures.append(figure)
            print(figure.as_line(), flush=True)
        for comparison in compare_commits(path, size, options.turns):
            comparisons.append(comparison)
            print(comparison.as_line(), flush=True)
    if options.json:
        settings = asdict(size) | {"planned_seeds": options.planned_seeds, "turns": options.turns}
        write_record(options.json, comparisons, settings, figures=figures)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    size = Size()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tasks", type=int, default=size.tasks, help=f"of each method (default {size.tasks})"
    )
    parser.add_argument("--seeds", type=int, default=size.seeds, help=f"of each task (default {size.seeds})")
    parser.add_argument("--evaluations", type=int, default=size.evaluations, help="of each trial")
    parser.add_argument("--episodes", type=int, default=size.episodes, help="of each evaluation")
    parser.add_argument("--planned-seeds", type=int, default=100, help="of the grid planned (default 100)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each figure (default 5)")
    parser.add_argument("--turns", type=int, default=60, help=f"of {TURN} commits each (default 60)")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to measure (default: here)")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    return parser.parse_args(arguments)


def _figures(path: Path, size: Size, options: argparse.Namespace) -> Iterator[Figure]:
    yield Figure("file", "MB", (path.stat().st_size / 1e6,), 200)
    store, page = ("--store", str(path)), ("--format", "html", "--out", str(path.parent))
    for limit, *command in (
        (5.0, "report"),
        (None, "report", *page),
        (1.0, "status"),
        (None, "query", QUERY),
    ):
        name = "bench query" if QUERY in command else " ".join(("bench", *command[:3]))
        values = tuple(_seconds("-m", "bench", *command, *store) for _ in range(options.repeats))
        yield Figure(name, "seconds", values, limit)
    yield from _planning(path, size, options)


def _planning(path: Path, size: Size, options: argparse.Namespace) -> Iterator[Figure]:
    imports = tuple(_seconds("-c", IMPORTS) for _ in range(options.repeats))
    yield Figure("imports before planning", "seconds", imports, None)
    arguments = [str(size.tasks), str(options.planned_seeds), str(size.evaluations), str(size.episodes)]
    first: list[float] = []
    again: list[float] = []
    for _ in range(options.repeats):
        copy = path.with_name("planned.sqlite")
        shutil.copyfile(path, copy)
        for values in (first, again):
            printed = _output("-m", "benchmarks.planning", str(copy), *arguments)
            values.append(sum(json.loads(printed).values()))
    trials = len(ALGORITHMS) * size.tasks * options.planned_seeds
    yield Figure(f"planning {trials:,} trials, {trials - size.trials:,} new", "seconds", tuple(first), 2.0)
    yield Figure(f"planning {trials:,} trials, none new", "seconds", tuple(again), 2.0)


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    _output(*arguments)
    return time.perf_counter() - started


def _output(*arguments: str) -> str:
    command: Sequence[str] = [sys.executable, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
