"""Runs a grid of small real trials while killing workers and drivers at random; then compares every number.

    python -m tests.soak --minutes 10

Rounds follow each other until the time is over; a round is a fresh store, worked on until its grid is
complete. Every round must end with each trial there exactly once and bit-equal to an undisturbed run.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.catalog import load_catalog
from bench.data.collect import collect
from tests.execute.processes import descendants, workers
from tests.execute.sameness import faults_of, numbers_of, rows
from tests.execute.tiny import TASK, TRANSITIONS, started

SIZES = {
    "dtql.hidden_width": 16, "dtql.diffusion_width": 16, "dtql.candidates": 4, "dtql.batch_size": 16,
    "dtql.pretrain_iterations": 300, "dtql.train_iterations": 1500,
    "bc.hidden_width": 16, "bc.batch_size": 16, "bc.train_iterations": 3000,
    "edp-td3.hidden_width": 16, "edp-td3.batch_size": 16, "edp-td3.train_iterations": 1200,
    "edp-td3.policy_target_start": 100,
}  # fmt: skip
ALGORITHMS = "dtql,bc,edp-td3"
SEEDS = "0-4"
TRIALS = 15
EVALUATIONS, EPISODES = 3, 2
PAUSE_SECONDS = (2.0, 12.0)
"""Between two disturbances."""


def grid(store: Path, *arguments: str) -> list[str]:
    """The command, as a person would type it each time."""
    sets = [f"--set={name}={value}" for name, value in SIZES.items()]
    fixed = ["--tasks", TASK, "--algos", ALGORITHMS, "--seeds", SEEDS, "--seeds-per-stack", "2"]
    fixed += ["--evals", str(EVALUATIONS), "--episodes", str(EPISODES), "--store", str(store)]
    return ["run", *fixed, *sets, *arguments]


@dataclass
class Soak:
    """One soak test: what it did, and what it found."""

    folder: Path
    executor: str
    random: random.Random
    seconds: float
    """To disturb for, from the end of the undisturbed reference on."""
    until: float = 0.0
    began: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    drivers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """The folder of the datasets."""
        return self.folder / "data"

    def say(self, text: str) -> None:
        """One line of the log."""
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", flush=True)

    # Drivers

    def start(self, store: Path) -> None:
        """One more driver on the store."""
        log = (store.parent / "drivers.log").open("a")
        command = grid(
            store, "--executor", self.executor, "--checkpoint-seconds", "0.5", "--max-retries", "99"
        )
        self.drivers.append(started(command, self.data, stdout=log, stderr=subprocess.STDOUT))
        self.done["drivers started"] += 1
        self.say(f"driver {self.drivers[-1].pid} starts")

    def reap(self, store: Path) -> None:
        """Look after drivers that have ended; none may fail by itself."""
        for driver in [driver for driver in self.drivers if driver.poll() is not None]:
            self.drivers.remove(driver)
            code = driver.returncode
            self.say(f"driver {driver.pid} has ended with code {code}")
            if code not in (0, 130, -signal.SIGKILL):
                log = (store.parent / "drivers.log").read_text()[-4000:]
                raise AssertionError(f"driver ended with code {code}:\n{log}")

    # Disturbances

    def kill_worker(self, store: Path) -> None:
        """Kill one process that trains, without warning."""
        found = [worker for driver in self.drivers for worker in workers(driver.pid)]
        if found:
            self._kill(self.random.choice(found), "worker")

    def kill_driver(self, store: Path) -> None:
        """Kill a driver without warning."""
        if self.drivers:
            self._kill(self.random.choice(self.drivers).pid, "driver")

    def kill_driver_and_all(self, store: Path) -> None:
        """Kill a driver and everything below it at once, as when the machine loses power."""
        if self.drivers:
            driver = self.random.choice(self.drivers)
            below = descendants(driver.pid)
            self._kill(driver.pid, "driver with all below")
            for process in below:
                _kill(process)

    def interrupt_driver(self, store: Path) -> None:
        """Ctrl-C."""
        if self.drivers:
            driver = self.random.choice(self.drivers)
            driver.send_signal(signal.SIGINT)
            self.done["drivers interrupted"] += 1
            self.say(f"Ctrl-C for driver {driver.pid}")

    def second_driver(self, store: Path) -> None:
        """The same command given again while it runs."""
        if len(self.drivers) == 1:
            self.start(store)

    def _kill(self, process: int, what: str) -> None:
        if _kill(process):
            self.done[f"{what}s killed" if what != "driver with all below" else "power cuts"] += 1
            self.say(f"kill -9 {what} {process}")

    # Rounds

    def round(self, number: int, expected: dict[tuple, tuple]) -> None:
        """One store, disturbed until its grid is complete or the time is over, then left to end in peace."""
        store = self.folder / f"round-{number}" / "bench.sqlite"
        store.parent.mkdir()
        disturb = [self.kill_worker, self.kill_worker, self.kill_driver, self.kill_driver_and_all,
                   self.interrupt_driver, self.second_driver]  # fmt: skip
        while not _complete(store):
            if not self.drivers:
                self.start(store)
            pause = self.random.uniform(*PAUSE_SECONDS) if time.monotonic() < self.until else 1.0
            _wait(lambda: _complete(store), pause)
            if time.monotonic() < self.until:
                self.random.choice(disturb)(store)
            self.reap(store)
        for driver in self.drivers:
            driver.wait(timeout=180)
        self.reap(store)
        self.done["rounds"] += 1
        self.done["trials finished"] += len(numbers_of(store))
        self.done["stretches of work"] += rows(store, "SELECT COUNT(*) FROM executions")[0][0]
        self.compare(store, expected)

    def compare(self, store: Path, expected: dict[tuple, tuple]) -> None:
        """Every trial once, every number to the last bit, nothing left lying about."""
        found = numbers_of(store)
        assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
        different = [key for key in expected if found[key] != expected[key]]
        assert not different, f"these trials differ from the undisturbed run: {different}"
        faults = faults_of(store)
        assert not faults, faults
        self.say(f"{len(found)} trials, each once, bit-equal to the undisturbed run; the store is sound")

    def run(self) -> None:
        """The undisturbed reference, then round after round."""
        path = self.data / "collected" / f"{TASK}.hdf5"
        collect(load_catalog().task(TASK), path, transitions=TRANSITIONS, threads=1)
        reference = self.folder / "reference" / "bench.sqlite"
        reference.parent.mkdir()
        process = started(grid(reference, "--executor", "local"), self.data)
        output, _ = process.communicate(timeout=1200)
        assert process.returncode == 0, output
        expected = numbers_of(reference)
        assert len(expected) == TRIALS, len(expected)
        self.say(f"undisturbed reference: {len(expected)} trials")
        self.until = time.monotonic() + self.seconds
        number = 0
        while number == 0 or time.monotonic() < self.until:
            number += 1
            self.round(number, expected)
        self.say(", ".join(f"{count} {what}" for what, count in sorted(self.done.items())))


def _wait(over, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not over():
        time.sleep(0.1)


def _complete(store: Path) -> bool:
    if not store.exists():
        return False
    tables = rows(store, "SELECT name FROM sqlite_master WHERE name = 'trials'")
    finished = rows(store, "SELECT COUNT(*) FROM trials WHERE state = 'finished'") if tables else [(0,)]
    return finished == [(TRIALS,)]


def _kill(process: int) -> bool:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def soak(folder: Path, minutes: float, seed: int, executor: str = "ray") -> None:
    """Disturb for so many minutes; raises where a number differs or anything is missing."""
    test = Soak(folder, executor, random.Random(seed), 60 * minutes)
    print(f"soak for {minutes:g} min, {executor}, random seed {seed}", flush=True)
    try:
        test.run()
    finally:
        for driver in test.drivers:
            for process in [driver.pid, *descendants(driver.pid)]:
                _kill(process)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--executor", choices=("ray", "local"), default="ray")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as folder:
        soak(Path(folder), options.minutes, options.seed, options.executor)
    print("soak passed")


if __name__ == "__main__":
    sys.exit(main())
