"""What Ray adds to a trial: seconds per trial beyond training and evaluation, processes and imports included.

The same small grid runs through Ray, one stack at a time, and in one process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.catalog import load_catalog
from bench.data.collect import collect
from bench.hardware import usable_cores
from bench.store.database import open_store
from bench.store.queries import trials
from benchmarks.measuring import Figure, write_record

TASK = "collected-hopper-quickstart"
SIZES = ("hidden_width=16", "batch_size=16", "train_iterations=500")
LIMIT_SECONDS = 10.0


@dataclass(frozen=True)
class Timed:
    """One run of the grid."""

    executor: str
    trials: int
    wall_seconds: float
    working_seconds: float
    """Training and evaluation of all trials."""

    @property
    def added(self) -> float:
        """Seconds per trial that are neither training nor evaluation."""
        return (self.wall_seconds - self.working_seconds) / self.trials


def main(arguments: list[str] | None = None) -> None:
    """Run the grid both ways and print what is added."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=6, help="trials of the grid (default 6)")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    options = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="bench-ray-overhead-") as folder:
        data = Path(folder) / "data"
        collect(load_catalog().task(TASK), data / "collected" / f"{TASK}.hdf5", transitions=2000, threads=1)
        timed = [_timed(executor, options.trials, Path(folder), data) for executor in ("local", "ray")]
    figures = []
    for run, limit in zip(timed, (None, LIMIT_SECONDS), strict=True):
        figures.append(Figure(f"added by {run.executor}", "s per trial", (run.added,), limit))
        print(
            f"{figures[-1].as_line()}; {run.trials} trials in {run.wall_seconds:.1f} s,"
            f" {run.working_seconds:.1f} s of them training and evaluation"
        )
    if options.json:
        write_record(options.json, [], {"trials": options.trials}, figures=figures)


def _timed(executor: str, count: int, folder: Path, data: Path) -> Timed:
    store = folder / executor / "bench.sqlite"
    # All cores for one stack: then no two stacks start at the same time.
    cores = str(usable_cores())
    command = [sys.executable, "-m", "bench", "run", "--tasks", TASK, "--algos", "bc"]
    command += ["--seeds", f"0-{count - 1}", "--seeds-per-stack", "1", "--evals", "1", "--episodes", "2"]
    command += ["--executor", executor, "--cpus-per-stack", cores, "--store", str(store)]
    command += [f"--set={size}" for size in SIZES]
    environment = os.environ | {"BENCH_DATA_DIR": str(data)}
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall = time.perf_counter() - started
    with open_store(store, read_only=True) as opened:
        done = trials(opened, states=("finished",))
    working = sum((trial.training_seconds or 0) + (trial.evaluation_seconds or 0) for trial in done)
    return Timed(executor, len(done), wall, working)


if __name__ == "__main__":
    main()
