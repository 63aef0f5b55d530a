"""Every program of presets over fake CUDA tensors: faults, kernels, arithmetic, bytes.

The program of a child process (`benchmarks.gpu.fake.in_child`): it is told what to count on its command line
and prints a list of `Counted` as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from algorithms.base import Algorithm, Draw
from bench.catalog import Task, load_catalog
from bench.presets import Preset, load_preset
from bench.training import trainer as training
from bench.training.batches import PackedDataset
from bench.training.draws import DrawStream
from bench.training.runners import CompiledRunner, Iteration, Runner, State
from benchmarks.gpu import fake, h200
from benchmarks.gpu.fused import fused
from benchmarks.gpu.launches import Launch, Recorder, storage
from benchmarks.gpu.subjects import all_methods, every_program, made, shortened, shrunk

ROWS = 10_000
ACTING = "act"
"""In the place of a program: one choice of actions for all episodes of an evaluation."""


NOT_KEPT = "that is not in state_dict()"


@dataclass(frozen=True)
class Counted:
    """One program of one preset, for a whole stack and iteration."""

    method: str
    variant: str
    task: str
    seeds: int
    phase: str
    program: str
    runner: str
    """`graph`, whose kernels are those of eager operations, or `compiled`."""
    kernels: int
    products: int
    gigaflops: float
    megabytes: float
    microseconds: Mapping[str, float]
    """On an H200 by the model, by precision."""
    kinds: Mapping[str, int]
    """Kernels by kind."""
    places: Mapping[str, int]
    """Kernels by file and function, the most first."""
    faults: Mapping[str, int]


@dataclass(frozen=True)
class Order:
    """What to count.

    Parameters
    ----------
    methods : of these, or of all where there are none.
    task : the released preset for this task at its full size; None: all that `every_program` has, shrunk.
    seeds : sizes of stacks.
    compiled : what the compiler makes of the programs, instead of the programs as they are.
    """

    methods: tuple[str, ...] = ()
    task: str | None = None
    seeds: tuple[int, ...] = (1, 5)
    compiled: bool = False


def counted(order: Order) -> list[Counted]:
    """Count in a child process, which needs a CUDA build of torch (`fake.why_not`).

    Raises
    ------
    RuntimeError : the child failed; its last words.
    """
    with TemporaryDirectory() as folder:
        done = fake.in_child(__name__, [json.dumps(asdict(order))], Path(folder))
    if done.returncode:
        raise RuntimeError(f"counting over fake tensors failed: {done.stderr.strip()[-2000:]}")
    return [Counted(**row) for row in json.loads(done.stdout)]


def main(arguments: list[str]) -> None:
    """Count what the order on the command line says and print it."""
    order = Order(**json.loads(arguments[0]))
    fake.pretend_devices()
    rows: list[dict[str, Any]] = []
    for name in order.methods or all_methods():
        for task, preset in _presets(name, order.task):
            for seeds in order.seeds:
                count = count_compiled if order.compiled else count_programs
                rows += map(asdict, count(task, preset, seeds))
    sys.stdout.write(json.dumps(rows))


def _presets(name: str, task_name: str | None) -> Iterator[tuple[Task, Preset]]:
    if task_name is None:
        yield from ((task, shrunk(preset)) for task, preset in every_program(name))
        return
    task = load_catalog().task(task_name)
    yield task, load_preset(name, task)


def count_programs(task: Task, preset: Preset, seeds: int) -> Iterator[Counted]:
    """Every program of every phase, and acting, in this process, which must `fake.pretend_devices`."""
    runners: list[CountingRunner] = []

    def make_runner(name: str, iteration: Iteration, state: State, device: torch.device) -> Runner:
        runners.append(CountingRunner(iteration, state))
        return runners[-1]

    with _trained(task, preset, seeds, make_runner) as algorithm:
        for phase, runner in zip(algorithm.phases, runners, strict=True):
            for program, recorder in runner.recorded.items():
                if phase.remade_until is not None:
                    _allow_what_is_remade(recorder)
                yield _row(preset, seeds, phase.name, program, recorder)
        acting = acting_recorded(algorithm, preset.evaluation.episodes)
        yield _row(preset, seeds, "evaluation", ACTING, acting)
        exercise(algorithm)


def _allow_what_is_remade(recorder: Recorder) -> None:
    """Leave out the fault that is none where a phase declares that a continuation makes its results again."""
    for fault in [fault for fault in recorder.faults if fault.endswith(NOT_KEPT)]:
        del recorder.faults[fault]


def count_compiled(task: Task, preset: Preset, seeds: int) -> Iterator[Counted]:
    """Every program of every phase as the compiler fuses it, in such a process."""
    runners: list[FusingRunner] = []

    def make_runner(name: str, iteration: Iteration, state: State, device: torch.device) -> Runner:
        runners.append(FusingRunner(iteration, state))
        return runners[-1]

    with _trained(task, preset, seeds, make_runner) as algorithm:
        for phase, runner in zip(algorithm.phases, runners, strict=True):
            for program, launches in runner.found.items():
                yield _counted(preset, seeds, phase.name, program, launches, runner=CompiledRunner.name)


@contextmanager
def _trained(
    task: Task, preset: Preset, seeds: int, make_runner: Callable[..., Runner]
) -> Iterator[Algorithm]:
    """A method over fake tensors, all of whose programs have run by runners made so."""
    short, readings = shortened(preset, 25, 9), fake.HostReadings()
    with readings.noted():
        made(task, short, (0,))
    with fake.fake_tensors(), mock.patch.object(training, "make_runner", make_runner):
        with readings.given():
            algorithm = made(task, short, tuple(range(seeds)), "cuda")
        rows = torch.empty(ROWS, 2 * task.observation_dim + task.action_dim + 2, device="cuda")
        following = torch.empty(ROWS, task.action_dim, device="cuda")
        ends = torch.zeros(ROWS, dtype=torch.bool, device="cuda")
        data = PackedDataset(rows, task.observation_dim, task.action_dim, ends, following)
        trainer = training.Trainer(algorithm, data)
        for phase in algorithm.phases:
            trainer.advance(phase.iterations)
        yield algorithm


class FusingRunner:
    """Notes what the compiler makes of every program, in the place of the runner that would compile it."""

    name = CompiledRunner.name

    def __init__(self, iteration: Iteration, state: State) -> None:
        # Without the graph that it would capture on a GPU.
        self._runner = CompiledRunner(iteration, state, torch.device("cpu"))
        self.found: dict[str, list[Launch]] = {}

    def run(self, program: str, draws: Mapping[str, Tensor]) -> None:
        """One iteration, if it is the first of its program."""
        if program not in self.found:
            self.found[program] = fused(lambda: self._runner.run(program, draws))


class CountingRunner:
    """Records one iteration of every program, in the place of the runner that would capture it."""

    name = "counting"

    def __init__(self, iteration: Iteration, state: State, device: str = "cuda") -> None:
        self._device = device
        self._iteration = iteration
        self._state = state
        self.recorded: dict[str, Recorder] = {}

    def run(self, program: str, draws: Mapping[str, Tensor]) -> None:
        """One iteration, if it is the first of its program."""
        if program in self.recorded:
            return
        inputs = {name: draw.clone() for name, draw in draws.items()}
        self._iteration(program, inputs)  # makes the sums of its metrics
        before = {name: storage(tensor) for name, tensor in self._state().items()}
        with Recorder(self._device) as recorder:
            self._iteration(program, inputs)
        self.recorded[program] = recorder
        for name, tensor in self._state().items():
            if before.get(name) != storage(tensor):
                recorder.faults[f"{name} is another tensor than before"] += 1
            if tensor.device.type != recorder.device:
                recorder.faults[f"{name} is on {tensor.device.type}"] += 1
        known = {*before.values(), *recorder.made}
        for place, tensor in recorder.changed.items():
            if place not in known:
                recorder.faults[f"changes a tensor {tuple(tensor.shape)} {NOT_KEPT}"] += 1


def acting_recorded(algorithm: Algorithm, episodes: int) -> Recorder:
    """One choice of actions, for every seed and episode."""
    declared = [Draw(draw.name, (episodes, *draw.shape), draw.distribution) for draw in algorithm.act_draws]
    draws = DrawStream(algorithm.seeds, "evaluation", declared, device=algorithm.device).at(0)
    seeds, width = len(algorithm.seeds), algorithm.dimensions.observation
    observations = torch.empty(seeds, episodes, width, device=algorithm.device)
    with Recorder() as recorder:
        actions = algorithm.act(observations, draws)
    assert actions.shape == (seeds, episodes, algorithm.dimensions.action), actions.shape
    return recorder


def exercise(algorithm: Algorithm) -> None:
    """What else is done to a method on a device, which raises where devices mix: retire, restore, view."""
    algorithm.retire(0)
    state = algorithm.state_dict()
    algorithm.load_state_dict(
        {name: torch.zeros_like(tensor, device="cpu") for name, tensor in state.items()}
    )
    assert {tensor.device.type for tensor in algorithm.state_dict().values()} == {"cuda"}


def _row(preset: Preset, seeds: int, phase: str, program: str, recorder: Recorder) -> Counted:
    return _counted(
        preset, seeds, phase, program, recorder.launches, runner="graph", faults=dict(recorder.faults)
    )


def _counted(
    preset: Preset,
    seeds: int,
    phase: str,
    program: str,
    launches: list[Launch],
    *,
    runner: str,
    faults: Mapping[str, int] | None = None,
) -> Counted:
    kinds: dict[str, int] = {}
    places: dict[str, int] = {}
    for launch in launches:
        kinds[launch.kind] = kinds.get(launch.kind, 0) + launch.kernels
        places[launch.place] = places.get(launch.place, 0) + launch.kernels
    return Counted(
        method=preset.algorithm,
        variant=preset.variant,
        task=preset.task,
        seeds=seeds,
        phase=phase,
        program=program,
        runner=runner,
        kernels=sum(launch.kernels for launch in launches),
        products=kinds.get("product", 0),
        gigaflops=round(sum(launch.product.flops for launch in launches if launch.product) / 1e9, 3),
        megabytes=round(sum(launch.bytes for launch in launches) / 1e6, 1),
        microseconds={
            precision: round(1e6 * h200.seconds(launches, precision), 1) for precision in h200.PRECISIONS
        },
        kinds=dict(sorted(kinds.items())),
        places=dict(sorted(places.items(), key=lambda entry: -entry[1])),
        faults=faults or {},
    )


if __name__ == "__main__":
    main(sys.argv[1:])
