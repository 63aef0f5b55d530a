"""Training iterations per second of every method, against a plain per-network PyTorch version of its update.

With `--device cuda`: also five stacked seeds against one, as CUDA graphs and eager, and the device memory of
five.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from algorithms.base import ROWS as DRAWN_ROWS
from algorithms.base import Algorithm, Draw
from algorithms.registry import methods
from bench.catalog import Task, load_catalog
from bench.hardware import synchronise
from bench.presets import Preset, load_preset, tasks_of
from bench.training.batches import PackedDataset
from bench.training.draws import DrawStream
from bench.training.speed import synthetic_data
from bench.training.trainer import Trainer, method_for
from benchmarks.measuring import Comparison, Measure, compare, write_record
from benchmarks.plain import PLAIN

TASK = "hopper-medium-v2"
STACK = 5
ROWS = 10_000
LARGE_ROWS = 2_000_000
UNIT = "iterations per second"
CHUNK = {"cpu": 5, "cuda": 100}
"""Iterations between looks at the clock: whole cycles of methods whose iterations differ by step."""
DEFAULTS = {"cpu": (5, 2.0), "cuda": (2, 0.3)}
"""Turns and their seconds: a GPU's rates vary less, and its time is short."""


def subjects(task: Task) -> list[str]:
    """The methods that have a plain version, and a preset for the task."""
    return [name for name in methods() if name in PLAIN and task.name in tasks_of(name)]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print one line per comparison."""
    task = load_catalog().task(TASK)
    options = _options(arguments, subjects(task))
    presets = {algorithm: load_preset(algorithm, task) for algorithm in options.algos}
    torch.set_num_threads(options.threads)
    measures = (_against_plain,) if options.device == "cpu" else (_against_plain, _stacked)
    comparisons = []
    for algorithm, measure in itertools.product(options.algos, measures):
        for comparison in measure(task, presets[algorithm], options):
            comparisons.append(comparison)
            print(comparison.as_line(), flush=True)
    reserved = {}
    if options.device == "cuda":
        for algorithm in options.algos:
            reserved[algorithm] = reserved_memory(task, presets[algorithm])
            rows = f"{STACK} seeds and {LARGE_ROWS:,} rows"
            print(f"{algorithm}: {reserved[algorithm]:.2f} GB reserved on the device for {rows}", flush=True)
    if options.json:
        settings = {"threads": options.threads, "seconds": options.seconds, "device": options.device}
        write_record(options.json, comparisons, settings, {"reserved_gigabytes": reserved})


def _options(arguments: list[str] | None, known: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--algos",
        type=lambda text: text.split(","),
        default=known,
        help=f"separated by commas (default all: {','.join(known)})",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default cpu")
    parser.add_argument("--repeats", type=int, help="turns of each way (default 5; 2 on cuda)")
    parser.add_argument("--seconds", type=float, help="of each turn, at least (default 2; 0.3 on cuda)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.algos if name not in known]
    if unknown:
        parser.error(f"--algos {unknown[0]!r}: there are {', '.join(known)}")
    repeats, seconds = DEFAULTS[options.device]
    options.repeats = repeats if options.repeats is None else options.repeats
    options.seconds = seconds if options.seconds is None else options.seconds
    return options


def _against_plain(task: Task, preset: Preset, options: argparse.Namespace) -> Iterator[Comparison]:
    """Every phase of one seed against the plain version, both on the device."""
    device = options.device
    data = synthetic_data(task, device, ROWS)
    for trainer in in_every_phase(task, preset, 1, data, "auto"):
        ways = {
            "ours, 1 seed": _rate(trainer.advance, device, options.seconds),
            "plain PyTorch": _rate(Yardstick(trainer, data).advance, device, options.seconds),
        }
        yield compare(_title(preset, trainer), UNIT, 1.0, ways, options.repeats)


def _stacked(task: Task, preset: Preset, options: argparse.Namespace) -> Iterator[Comparison]:
    """Five seeds against one on the GPU, every phase, as graphs and eager."""
    data = synthetic_data(task, "cuda", ROWS)
    for runner in ("graph", "eager"):
        stacks = (in_every_phase(task, preset, seeds, data, runner) for seeds in (STACK, 1))
        for five, one in zip(*stacks, strict=True):
            ways = {
                name: _rate(trainer.advance, "cuda", options.seconds)
                for name, trainer in ((f"{STACK} seeds", five), ("1 seed", one))
            }
            yield compare(f"{_title(preset, five)}, {runner}", UNIT, 0.5, ways, options.repeats)


def _title(preset: Preset, trainer: Trainer) -> str:
    """Method and phase."""
    assert trainer.phase is not None
    return f"{preset.algorithm}, {trainer.phase.name}"


def in_every_phase(
    task: Task, preset: Preset, seeds: int, data: PackedDataset, runner: str
) -> Iterator[Trainer]:
    """A new trainer of a stack at the beginning of each phase in turn, as long as the preset has it."""
    device = str(data.rows.device)
    for index in range(len(_method(task, preset, seeds, device).phases)):
        trainer = Trainer(_method(task, preset, seeds, device), data, runner=runner)
        trainer.skip_to(index)
        yield trainer


def _method(task: Task, preset: Preset, seeds: int, device: str) -> Algorithm:
    return method_for(task, preset.algorithm, preset.values, tuple(range(seeds)), device)


class Yardstick:
    """What a trainer does in its phase, by the plain version, from its weights, with draws by torch."""

    def __init__(self, trainer: Trainer, data: PackedDataset) -> None:
        assert trainer.phase is not None
        algorithm, self.phase, self.device = trainer.algorithm, trainer.phase, data.rows.device
        with self.device:  # its tables are made where torch makes tensors
            self.plain = PLAIN[algorithm.name].of(algorithm, 0)
        rows = torch.arange(len(data), device=self.device)[None]
        whole = data.batch(rows, next_actions=algorithm.next_actions, window=algorithm.context)
        self.data = {name: column[0].contiguous() for name, column in whole.items()}
        self.steps = itertools.count()

    def advance(self, iterations: int) -> None:
        """Run iterations, each on a minibatch drawn from all rows."""
        for step in itertools.islice(self.steps, iterations):
            among = self.phase.rows(len(self.data["actions"]))
            rows = torch.randint(among, (self.phase.batch_size,), device=self.device)
            batch = {name: column[rows] for name, column in self.data.items()}
            draws = FreshDraws(self.phase.draws, self.device)
            draws[DRAWN_ROWS] = rows
            self.plain.update(self.phase.program(step), batch, draws)


class FreshDraws(dict[str, Tensor]):
    """Declared draws of one seed, each drawn when it is first asked for: a program may need only some."""

    def __init__(self, declared: Sequence[Draw], device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.device = device
        self.declared = {draw.name: draw for draw in declared}

    def __missing__(self, name: str) -> Tensor:
        draw = self.declared[name]
        # Single precision has zeros, of which some methods take a logarithm.
        numbers = torch.empty(draw.shape, device=self.device)
        self[name] = numbers.uniform_(1e-7, 1) if draw.distribution == "uniform" else numbers.normal_()
        return self[name]


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


def reserved_memory(task: Task, preset: Preset, iterations: int = 20) -> float:
    """Largest device memory reserved (GB) by all phases of a stack of five and one choice of actions.

    With graphs, whose pools count, and a dataset of two million rows.
    """
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for trainer in in_every_phase(task, preset, STACK, synthetic_data(task, "cuda", LARGE_ROWS), "graph"):
        trainer.advance(iterations)
    algorithm, episodes = trainer.algorithm, preset.evaluation.episodes
    declared = [Draw(draw.name, (episodes, *draw.shape), draw.distribution) for draw in algorithm.act_draws]
    draws = DrawStream(algorithm.seeds, "memory", declared, device="cuda").at(0)
    algorithm.act(torch.zeros(STACK, episodes, task.observation_dim, device="cuda"), draws)
    return torch.cuda.max_memory_reserved() / 1e9


if __name__ == "__main__":
    main()
