"""Training with numbers below the normal range taken as zero, and without it: their rates, by turns.

Such numbers come with time: weights of a softmax over values that drift apart, moments of units that no
longer fire. So a method first trains for a while, on a collected dataset (`bench data collect`); on random
numbers they do not come so soon.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import cast
from unittest import mock

from bench.catalog import load_catalog
from bench.data.dataset import transitions_of
from bench.data.folder import dataset_path
from bench.data.reader import read_file
from bench.data.rewards import transformed_rewards
from bench.hardware import prepare_process
from bench.presets import load_preset
from bench.training import trainer
from bench.training.batches import PackedDataset
from bench.training.trainer import Trainer, method_for
from benchmarks.measuring import Comparison, compare, write_record


@contextmanager
def as_they_are() -> Iterator[None]:
    """Train without the mode."""
    with mock.patch.object(trainer, "subnormals_as_zero", nullcontext):
        yield


def trained(algorithm: str, task_name: str, iterations: int) -> Trainer:
    """A stack of one seed, so far into its first phase."""
    prepare_process(1)
    task = load_catalog().task(task_name)
    preset = load_preset(algorithm, task)
    rows = transitions_of(read_file(dataset_path(task), task), task, cast(str, preset.transitions.value))
    rewards = transformed_rewards(cast(str, preset.reward_transform.value), rows)
    data = PackedDataset.pack(
        *(rows.observations, rows.actions, rows.next_observations, rewards, rows.terminals),
        ends=rows.trajectory_ends,
    )
    stack = Trainer(method_for(task, algorithm, preset.values, (0,)), data, runner="eager")
    stack.advance(iterations)
    return stack


def measured(stack: Trainer, name: str, iterations: int, repeats: int) -> Comparison:
    """Rates of both ways; training goes on meanwhile."""

    def rate() -> float:
        started = time.process_time()
        stack.advance(iterations)
        return iterations / (time.process_time() - started)

    def plain_rate() -> float:
        with as_they_are():
            return rate()

    ways = {"taken as zero": rate, "as they are": plain_rate}
    return compare(name, "iterations per CPU second", None, ways, repeats)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algo", default="cql", help="method (default cql)")
    parser.add_argument("--task", default="collected-halfcheetah-medium-replay")
    parser.add_argument("--after", type=int, default=1000, help="iterations before (default 1000)")
    parser.add_argument("--iterations", type=int, default=20, help="of a turn (default 20)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    options = parser.parse_args(arguments)
    stack = trained(options.algo, options.task, options.after)
    name = f"{options.algo} on {options.task} after {options.after:,} iterations"
    comparison = measured(stack, name, options.iterations, options.repeats)
    print(comparison.as_line())
    if options.json:
        settings = {
            name: getattr(options, name) for name in ("algo", "task", "after", "iterations", "repeats")
        }
        write_record(options.json, [comparison], settings)


if __name__ == "__main__":
    main()
