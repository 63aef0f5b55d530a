"""An evaluation beside training and in turn with it: rounds per second of each, by turns, on two CPU threads.

A round is an evaluation of one method's weights and as many training iterations as take about as long. Beside
is what a stack does on a GPU: a thread evaluates a copy of the weights while another goes on to train. Here
either has one core, so that two is the most that can be gained; both must come to the same returns.

On a busy machine a thread waits for a core, and two threads wait more than one. Linux counts that wait for
each thread: what is left of its wall time are its own work and its waits for the other one (the interpreter's
lock), and the longer of the two threads is what a round takes on two free cores, at most: a thread that holds
the lock and waits for a core keeps the other waiting too. Both ratios are told, with the wait and without.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.catalog import load_catalog
from bench.envs import simulator_for
from bench.evaluation.beside import Beside
from bench.evaluation.rollout import ActingMethod, Rollouts, roll_out
from bench.hardware import prepare_process
from bench.presets import load_preset
from bench.training.speed import synthetic_data
from bench.training.trainer import Position, Trainer, method_for
from benchmarks.measuring import Comparison, write_record

if TYPE_CHECKING:
    from bench.envs import Simulator

NAMES = ("beside", "in turn")


@dataclass
class Seconds:
    """What the calling thread has spent."""

    wall: float = 0.0
    without_wait: float = 0.0
    """Of it, not in wait for a core."""


@contextmanager
def timed() -> Iterator[Seconds]:
    """The time that the block takes in the calling thread; known at its end."""
    spent, started, waited = Seconds(), time.perf_counter(), _waited()
    yield spent
    spent.wall = time.perf_counter() - started
    spent.without_wait = spent.wall - (_waited() - waited)


def _waited() -> float:
    """Seconds that this thread has been able to run and had no core (Linux; elsewhere 0)."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0


@dataclass
class Work:
    """A method in the phase that is evaluated, and robots."""

    trainer: Trainer
    program: str
    beside: Beside
    simulator: Simulator
    episodes: int
    iterations: int = 1

    def train(self) -> None:
        """The round's iterations."""
        self.trainer.repeat(self.program, self.iterations)

    def play(self, policy: ActingMethod, on_step: Callable[[int], None] = lambda step: None) -> Rollouts:
        """The round's evaluation."""
        return roll_out(policy, self.simulator, evaluation=1, episodes=self.episodes, on_step=on_step)

    def in_turn(self) -> Seconds:
        """Evaluate, then train."""
        with timed() as spent:
            self.play(self.trainer.algorithm)
            self.train()
        return spent

    def at_once(self) -> Seconds:
        """Train while a copy of the weights is evaluated."""
        evaluating: list[Seconds] = []

        def play(policy: ActingMethod, on_step: Callable[[int], None]) -> Rollouts:
            with timed() as spent:
                rollouts = self.play(policy, on_step)
            evaluating.append(spent)
            return rollouts

        with timed() as whole:
            self.beside.begin(self.trainer.algorithm.networks.state_dict(), play)
            with timed() as training:
                self.train()
            self.beside.finished(None)
        return Seconds(whole.wall, max(training.without_wait, evaluating[0].without_wait))

    def calibrate(self) -> None:
        """Have a round's iterations take as much CPU time as its evaluation."""
        evaluating = _cpu_seconds(lambda: self.play(self.trainer.algorithm))
        self.iterations = 5
        training = _cpu_seconds(self.train) / self.iterations
        self.iterations = max(1, round(evaluating / training))


def _cpu_seconds(work: Callable[[], object]) -> float:
    work()
    started = time.process_time()
    work()
    return time.process_time() - started


@contextmanager
def prepared(algorithm: str, task_name: str, episodes: int) -> Iterator[Work]:
    """The work, at the start of the phase in which evaluations fall."""
    prepare_process(1)
    task = load_catalog().task(task_name)
    method = method_for(task, algorithm, load_preset(algorithm, task).values, (0,))
    trainer = Trainer(method, synthetic_data(task, "cpu"), runner="eager")
    (index,) = (number for number, phase in enumerate(method.phases) if phase.evaluated)
    if index:
        method.begin_phase(method.phases[index].name)
    start = {"iterations": torch.zeros((), dtype=torch.int64)}
    trainer.load(trainer.state_dict() | start, Position(index, 0))
    beside = Beside(method, "eager")
    with simulator_for(task, task.physics, episodes, 1) as simulator:
        yield Work(trainer, method.phases[index].program(0), beside, simulator, episodes)
        beside.close()


def same_returns(work: Work) -> None:
    """Require that a round's evaluation does not depend on what goes on meanwhile."""
    expected = work.play(work.trainer.algorithm)
    work.at_once()
    found = work.beside.result()
    if not np.array_equal(found.returns, expected.returns):
        raise AssertionError("an evaluation beside training gives other returns")


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algo", default="srpo", help="method (default srpo)")
    parser.add_argument("--task", default="halfcheetah-medium-v2", help="default halfcheetah-medium-v2")
    parser.add_argument("--episodes", type=int, default=10, help="of an evaluation (default 10)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    options = parser.parse_args(arguments)
    turns: dict[str, list[Seconds]] = {name: [] for name in NAMES}
    with prepared(options.algo, options.task, options.episodes) as work:
        work.calibrate()
        same_returns(work)
        for _ in range(options.repeats):
            for name, round_of in zip(NAMES, (work.at_once, work.in_turn), strict=True):
                turns[name].append(round_of())
    what = f"{options.algo} on {options.task}, an evaluation and {work.iterations} iterations"
    comparisons = [
        Comparison(
            f"{what}, {how}",
            "rounds per second",
            {name: tuple(1 / getattr(spent, field) for spent in rounds) for name, rounds in turns.items()},
            None,
        )
        for how, field in (("without waits for a core", "without_wait"), ("as it was", "wall"))
    ]
    for comparison in comparisons:
        print(comparison.as_line())
        ratios = [one / other for one, other in zip(*comparison.rates.values(), strict=True)]
        print(f"  ratios of the turns: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    if options.json:
        settings = {name: getattr(options, name) for name in ("algo", "task", "episodes", "repeats")}
        write_record(options.json, comparisons, settings)


if __name__ == "__main__":
    main()
