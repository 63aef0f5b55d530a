"""Training iterations per second of every method, against a plain per-network PyTorch version of its update.

With `--device cuda`: five stacked seeds against one, eager and as CUDA graphs, and the device memory of five.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from algorithms.base import Draw
from algorithms.registry import configuration
from bench.catalog import Task, load_catalog
from bench.hardware import synchronise
from bench.presets import Preset, load_preset
from bench.training.draws import DrawStream
from bench.training.speed import synthetic_data
from bench.training.trainer import Trainer, method_for
from benchmarks.measuring import Comparison, Measure, compare, write_record

TASK = "hopper-medium-v2"
STACK = 5
ROWS = 10_000
LARGE_ROWS = 2_000_000
UNIT = "iterations per second"
CHUNK = {"cpu": 5, "cuda": 100}
"""Iterations between looks at the clock: whole cycles of methods whose iterations differ by step."""


class PlainVersion(Protocol):
    """One seed of a method, written without stacks."""

    def iterate(self, data: tuple[Tensor, ...], step: int) -> None:
        """One iteration on a minibatch drawn from `data`: observations, actions, rewards, next, terminals."""


@dataclass(frozen=True)
class Subject:
    """A phase of a method, named by the hyper-parameter that is its length, and the plain version of it."""

    algorithm: str
    count: str
    plain: str
    """Module and class in benchmarks, a `PlainVersion`."""

    @property
    def title(self) -> str:
        """Method and phase."""
        return f"{self.algorithm}, {self.count.removesuffix('_iterations')}"


SUBJECTS = (
    Subject("dtql", "train_iterations", "plain_dtql.PlainDTQL"),
    Subject("dtql-kl", "train_iterations", "plain_dtql_kl.PlainDTQLKL"),
    Subject("srpo", "policy_iterations", "plain_srpo.PlainSRPO"),
    Subject("srpo", "behaviour_iterations", "plain_srpo.PlainSRPOBehaviour"),
    Subject("edp-td3", "train_iterations", "plain_edp.PlainEDP"),
    Subject("edp-crr", "train_iterations", "plain_edp.PlainEDP"),
    Subject("edp-iql", "train_iterations", "plain_edp.PlainEDP"),
    Subject("bdpo", "train_iterations", "plain_bdpo.PlainBDPO"),
    Subject("bc", "train_iterations", "plain_bc.PlainBC"),
)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print one line per comparison."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    task = load_catalog().task(TASK)
    measure = _against_plain if options.device == "cpu" else _stacked
    comparisons = []
    for subject in SUBJECTS:
        if subject.algorithm in options.algos:
            for comparison in measure(subject, task, options):
                comparisons.append(comparison)
                print(comparison.as_line(), flush=True)
    reserved = {}
    if options.device == "cuda":
        for algorithm in options.algos:
            reserved[algorithm] = reserved_memory(task, load_preset(algorithm, task))
            rows = f"{STACK} seeds and {LARGE_ROWS:,} rows"
            print(f"{algorithm}: {reserved[algorithm]:.2f} GB reserved on the device for {rows}", flush=True)
    if options.json:
        settings = {"threads": options.threads, "seconds": options.seconds, "device": options.device}
        write_record(options.json, comparisons, settings, {"reserved_gigabytes": reserved})


def _options(arguments: list[str] | None) -> argparse.Namespace:
    known = list(dict.fromkeys(subject.algorithm for subject in SUBJECTS))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--algos",
        type=lambda text: text.split(","),
        default=known,
        help=f"separated by commas (default all: {','.join(known)})",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default cpu")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn, at least (default 2)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.algos if name not in known]
    if unknown:
        parser.error(f"--algos {unknown[0]!r}: there are {', '.join(known)}")
    return options


def _against_plain(subject: Subject, task: Task, options: argparse.Namespace) -> Iterator[Comparison]:
    """Ours, one seed, against the plain version, both on the CPU."""
    preset = _shortened(load_preset(subject.algorithm, task), subject.count)
    plain = _plain_version(subject, task, preset)
    batch = synthetic_data(task, "cpu", ROWS).batch(torch.arange(ROWS)[None])
    names = ("observations", "actions", "rewards", "next_observations", "terminals")
    data = tuple(batch[name][0].contiguous() for name in names)
    steps = itertools.count()

    def advance_plain(iterations: int) -> None:
        for _ in range(iterations):
            plain.iterate(data, next(steps))

    ours = _trainer_in_phase(task, preset, 1, "cpu", "eager")
    ways = {
        "ours, 1 seed": _rate(ours.advance, "cpu", options.seconds),
        "plain PyTorch": _rate(advance_plain, "cpu", options.seconds),
    }
    yield compare(subject.title, UNIT, 1.0, ways, options.repeats)


def _stacked(subject: Subject, task: Task, options: argparse.Namespace) -> Iterator[Comparison]:
    """Five seeds against one on the GPU, as graphs and eager."""
    preset = _shortened(load_preset(subject.algorithm, task), subject.count)
    for runner in ("graph", "eager"):
        ways = {
            name: _rate(
                _trainer_in_phase(task, preset, seeds, "cuda", runner).advance, "cuda", options.seconds
            )
            for name, seeds in ((f"{STACK} seeds", STACK), ("1 seed", 1))
        }
        yield compare(f"{subject.title}, {runner}", UNIT, 0.5, ways, options.repeats)


def _plain_version(subject: Subject, task: Task, preset: Preset) -> PlainVersion:
    module, _, name = subject.plain.partition(".")
    version = getattr(import_module(f"benchmarks.{module}"), name)
    config = configuration(subject.algorithm, preset.values)
    return version(task.observation_dim, task.action_dim, config)


def _shortened(preset: Preset, count: str, iterations: int | None = None) -> Preset:
    """The preset with every step count 1 but `count`, which is `iterations` or stays."""
    lengths = dict.fromkeys(preset.step_counts, 1)
    lengths[count] = iterations or preset.values[count]
    changed = {name: replace(preset.hyperparameters[name], value=length) for name, length in lengths.items()}
    return replace(preset, hyperparameters={**preset.hyperparameters, **changed})


def _trainer_in_phase(task: Task, preset: Preset, seeds: int, device: str, runner: str) -> Trainer:
    """A trainer at the beginning of the one phase that is longer than an iteration."""
    algorithm = method_for(task, preset.algorithm, preset.values, tuple(range(seeds)), device)
    trainer = Trainer(algorithm, synthetic_data(task, device, ROWS), runner=runner)
    while trainer.phase is not None and trainer.phase.iterations == 1:
        trainer.advance(1)
    return trainer


def _rate(advance: Callable[[int], None], device: str, seconds: float) -> Measure:
    """Iterations per second over at least `seconds`; every call goes on where the last one ended."""

    def rate() -> float:
        started, done, elapsed = time.perf_counter(), 0, 0.0
        while elapsed < seconds:
            advance(CHUNK[device])
            synchronise(device)
            done += CHUNK[device]
            elapsed = time.perf_counter() - started
        return done / elapsed

    return rate


def reserved_memory(task: Task, preset: Preset) -> float:
    """Largest device memory reserved (GB) by all phases of a stack of five and one choice of actions.

    With graphs, whose pools count, and a dataset of two million rows.
    """
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    short = _shortened(preset, preset.step_counts[-1], 20)
    algorithm = method_for(task, preset.algorithm, short.values, tuple(range(STACK)), "cuda")
    trainer = Trainer(algorithm, synthetic_data(task, "cuda", LARGE_ROWS), runner="graph")
    while trainer.phase is not None:
        trainer.advance(trainer.iterations_left_in_phase)
    episodes = preset.evaluation.episodes
    declared = [Draw(draw.name, (episodes, *draw.shape), draw.distribution) for draw in algorithm.act_draws]
    draws = DrawStream(algorithm.seeds, "memory", declared, device="cuda").at(0)
    algorithm.act(torch.zeros(STACK, episodes, task.observation_dim, device="cuda"), draws)
    return torch.cuda.max_memory_reserved() / 1e9


if __name__ == "__main__":
    main()
