"""Runs a grid of small real trials while killing workers and drivers at random; then compares every number.

    python -m tests.soak --minutes 10

Rounds follow each other until the time is over; a round is a fresh store, worked on until its grid is
complete. Every round must end with each trial there exactly once and bit-equal to an undisturbed run.
Disturbances wait until a stack is at work, and fall evenly over the way that it has to go; too few stretches
of work cut is a failure, since nothing would be proven.
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
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
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
ITERATIONS = {"dtql": 1800, "bc": 3000, "edp-td3": 1200}
EVALUATIONS, EPISODES = 3, 2
MOMENTS = 8
"""Disturbances fall evenly over the time that a stack takes: one into each of so many parts, in any order."""
STACKS = 9
LONGEST = 3
"""On a machine that is busy with other things: so many times the time that was asked for, at most."""
FRESH_SECONDS = 3.0
"""Stacks save their states every half second: one with an older checkpoint is not at work."""
CUTS_PER_MINUTE = 1.0
"""Stretches of work that must have been cut, at least."""
GRACE_SECONDS = 2.0
"""A driver younger than this may still be Python alone, which a signal ends."""
ENDS = (0, 130, 143, 129, -signal.SIGKILL)
"""Exit codes of drivers: done, asked to end by Ctrl-C, SIGTERM, SIGHUP, killed."""


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
    stack_seconds: float = 8.0
    """How long a stack takes that nobody disturbs."""
    began: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    drivers: list[subprocess.Popen] = field(default_factory=list)
    started: dict[int, float] = field(default_factory=dict)
    """Process id of a driver -> when it was started."""
    moments: list[float] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    """For each stretch of work that was cut: which part of its way the stack had gone."""

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
        self.started[self.drivers[-1].pid] = time.monotonic()
        self.done["drivers started"] += 1
        self.say(f"driver {self.drivers[-1].pid} starts")

    def reap(self, store: Path) -> None:
        """Look after drivers that have ended; none may fail by itself."""
        for driver in [driver for driver in self.drivers if driver.poll() is not None]:
            self.drivers.remove(driver)
            code = driver.returncode
            self.say(f"driver {driver.pid} has ended with code {code}")
            if code not in ENDS:
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

    def ask_driver_to_end(self, store: Path) -> None:
        """Ctrl-C, `kill`, or a terminal that closes; to the driver alone, or to all below it too."""
        ready = [one for one in self.drivers if time.monotonic() - self.started[one.pid] > GRACE_SECONDS]
        if not ready:
            return
        driver = self.random.choice(ready)
        number = self.random.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        if self.random.random() < 0.5:
            driver.send_signal(number)
            whom = f"driver {driver.pid}"
        else:
            os.killpg(driver.pid, number)
            whom = f"driver {driver.pid} and all below"
        self.done["drivers asked to end"] += 1
        self.say(f"{number.name} for {whom}")

    def second_driver(self, store: Path) -> None:
        """The same command given again while it runs."""
        if len(self.drivers) == 1:
            self.start(store)

    def _kill(self, process: int, what: str) -> None:
        if _kill(process):
            self.done[f"{what}s killed" if what != "driver with all below" else "power cuts"] += 1
            self.say(f"kill -9 {what} {process}")

    # Rounds

    def alive(self) -> bool:
        """Whether any driver has not ended."""
        return any(driver.poll() is None for driver in self.drivers)

    def goes_on(self, store: Path) -> bool:
        """Whether to disturb still: the time is not over, or too little was cut to mean anything."""
        late = time.monotonic() - self.until
        if late <= 0:
            return True
        cut = len(self.cuts) + (len(cuts_of(store)) if _is_made(store) else 0)
        return cut < self.least and late < (LONGEST - 1) * self.seconds

    @property
    def least(self) -> float:
        """Stretches of work that must have been cut."""
        return CUTS_PER_MINUTE * self.seconds / 60

    def next_moment(self) -> float:
        """Seconds from when a stack is seen at work to the next disturbance: evenly spread, in any order."""
        if not self.moments:
            width = self.stack_seconds / MOMENTS
            self.moments = [width * (number + self.random.random()) for number in range(MOMENTS)]
            self.random.shuffle(self.moments)
        return self.moments.pop()

    def round(self, number: int, expected: dict[tuple, tuple]) -> None:
        """One store, disturbed until its grid is complete or the time is over, then left to end in peace."""
        store = self.folder / f"round-{number}" / "bench.sqlite"
        store.parent.mkdir()
        disturb = [self.kill_worker, self.kill_worker, self.kill_worker, self.kill_driver,
                   self.kill_driver_and_all, self.ask_driver_to_end, self.ask_driver_to_end,
                   self.second_driver]  # fmt: skip
        while not _complete(store):
            if not self.drivers:
                self.start(store)
            if not self.goes_on(store):
                _wait(lambda: _complete(store), 1.0)
            elif self.random.random() < 0.1:
                # Starting is no work, but must bear being ended too.
                _wait(lambda: False, self.random.uniform(GRACE_SECONDS, 10.0))
                self.ask_driver_to_end(store)
            else:
                _wait(lambda: _at_work(store) or not self.alive(), 5.0)
                if _at_work(store):
                    _wait(lambda: _complete(store), self.next_moment())
                    self.random.choice(disturb)(store)
            self.reap(store)
        for driver in self.drivers:
            driver.wait(timeout=600)
        self.reap(store)
        self.done["rounds"] += 1
        self.done["trials finished"] += len(numbers_of(store))
        self.done["stretches of work"] += rows(store, "SELECT COUNT(*) FROM executions")[0][0]
        self.cuts += cuts_of(store)
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
        began = time.monotonic()
        process = started(grid(reference, "--executor", "local"), self.data)
        output, _ = process.communicate(timeout=3600)
        assert process.returncode == 0, output
        expected = numbers_of(reference)
        assert len(expected) == TRIALS, len(expected)
        self.stack_seconds = (time.monotonic() - began) / STACKS
        self.say(f"undisturbed reference: {len(expected)} trials, {self.stack_seconds:.1f} s a stack")
        self.until = time.monotonic() + self.seconds
        number = 0
        while number == 0 or self.goes_on(reference):
            number += 1
            self.round(number, expected)
        self.say(", ".join(f"{count} {what}" for what, count in sorted(self.done.items())))
        self.say(told_cuts(self.cuts))
        require_cuts(self.cuts, self.seconds / 60)


def _wait(over, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not over():
        time.sleep(0.1)


def cuts_of(store: Path) -> list[float]:
    """For each stretch of work that was cut after a checkpoint: which part of its way the stack had gone.

    A stretch that goes on from later than the one before began proves that one to have been cut in its work.
    """
    found = []
    began = rows(
        store,
        "SELECT DISTINCT algorithm, e.stack, e.started_at, from_iteration FROM executions e"
        " JOIN trials t ON t.id = trial_id ORDER BY algorithm, e.stack, e.started_at",
    )
    for (algorithm, stack, _, start), (next_algorithm, next_stack, _, next_start) in pairwise(began):
        total = ITERATIONS[algorithm]
        if (algorithm, stack) == (next_algorithm, next_stack) and start < next_start < total:
            found.append(next_start / total)
    return found


def told_cuts(cuts: list[float]) -> str:
    """How many stretches of work were cut, and where on their way the stacks were."""
    fifths = Counter(int(5 * cut) for cut in cuts)
    spread = ", ".join(str(fifths[number]) for number in range(5))
    return f"{len(cuts)} stretches of work cut; in each fifth of their way: {spread}"


def require_cuts(cuts: list[float], minutes: float) -> None:
    """Refuse a soak that cut too little to mean anything, or always at the same place."""
    least = CUTS_PER_MINUTE * minutes
    assert len(cuts) >= least, f"{told_cuts(cuts)}; at least {least:.0f} were wanted"
    early = sum(cut < 0.5 for cut in cuts)
    assert minutes < 5 or 0 < early < len(cuts), f"{told_cuts(cuts)}: always in the same half"


def _at_work(store: Path) -> bool:
    """Whether a stack has just saved its state."""
    for pointer in store.parent.glob("checkpoints/*/checkpoint.json"):
        with suppress(FileNotFoundError):
            if time.time() - pointer.stat().st_mtime < FRESH_SECONDS:
                return True
    return False


def _is_made(store: Path) -> bool:
    """A driver may be killed while it makes the store."""
    return store.exists() and bool(rows(store, "SELECT 1 FROM sqlite_master WHERE name = 'executions'"))


def _complete(store: Path) -> bool:
    if not _is_made(store):
        return False
    return rows(store, "SELECT COUNT(*) FROM trials WHERE state = 'finished'") == [(TRIALS,)]


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
