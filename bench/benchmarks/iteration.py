"""Training iterations per second of DTQL against a plain per-network PyTorch version of the same update.

With `--device cuda`: five stacked seeds against one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from algorithms.dtql import DTQLConfig
from bench.benchmarks.measuring import Comparison, argument_parser, compare, write_record
from bench.benchmarks.plain_dtql import PlainDTQL
from bench.catalog import Task, load_catalog
from bench.device import synchronise
from bench.presets import Preset, load_preset
from bench.training.methods import method_for
from bench.training.speed import synthetic_data
from bench.training.trainer import Trainer

TASK = "hopper-medium-v2"
STACK = 5


def main(arguments: list[str] | None = None) -> None:
    """Measure and print one line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.set_defaults(steps=200)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    task = load_catalog().task(TASK)
    preset = load_preset("dtql", task)
    on_cpu = options.device == "cpu"
    comparison = _against_plain(task, preset, options) if on_cpu else _stacked(task, preset, options)
    print(comparison.as_line())
    if options.json:
        settings = {"threads": options.threads, "iterations": options.steps, "device": options.device}
        write_record(options.json, [comparison], settings)


def _against_plain(task: Task, preset: Preset, options: argparse.Namespace) -> Comparison:
    plain = PlainDTQL(task.observation_dim, task.action_dim, DTQLConfig(**preset.values))
    batch = synthetic_data(task, "cpu").batch(torch.arange(10_000)[None])
    names = ("observations", "actions", "rewards", "next_observations", "terminals")
    data = tuple(batch[name][0].contiguous() for name in names)

    def plain_rate() -> float:
        started = time.perf_counter()
        for _ in range(options.steps):
            plain.iterate(data)
        return options.steps / (time.perf_counter() - started)

    ways = {"ours, 1 seed": _rate(task, preset, 1, options), "plain PyTorch": plain_rate}
    return compare("DTQL iteration", "iterations per second", 1.0, ways, options.repeats)


def _stacked(task: Task, preset: Preset, options: argparse.Namespace) -> Comparison:
    ways = {
        f"{STACK} seeds": _rate(task, preset, STACK, options),
        "1 seed": _rate(task, preset, 1, options),
    }
    return compare("DTQL stack", "iterations per second", 0.5, ways, options.repeats)


def _rate(task: Task, preset: Preset, seeds: int, options: argparse.Namespace) -> Callable[[], float]:
    """Iterations per second in the training phase; every call continues the same trainer."""
    settings = dict(preset.hyperparameters)
    settings["pretrain_iterations"] = settings["pretrain_iterations"].model_copy(update={"value": 1})
    short = replace(preset, hyperparameters=settings)
    algorithm = method_for(task, "dtql", short.values, tuple(range(seeds)), options.device)
    trainer = Trainer(algorithm, synthetic_data(task, options.device))
    trainer.advance(1)

    def rate() -> float:
        started = time.perf_counter()
        trainer.advance(options.steps)
        synchronise(options.device)
        return options.steps / (time.perf_counter() - started)

    return rate


if __name__ == "__main__":
    main()
