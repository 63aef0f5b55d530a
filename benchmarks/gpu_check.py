"""All that a GPU can tell, in one run of at most eight minutes, with a record that is kept as it goes.

Every method as graphs against eager, bit for bit; milliseconds of an iteration in fp32 and TF32, as graphs
and compiled, beside the model; acting beside simulating; training beside an evaluation, and beside another
stack; checkpoints; the simulator with many threads; the tests marked gpu. What time does not allow is named.
`--device cpu` tries the whole of it at tiny sizes, with emulated graphs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from bench.catalog import load_catalog
from bench.envs import simulator_for
from bench.evaluation.beside import Beside
from bench.evaluation.rollout import roll_out
from bench.files import write_text
from bench.hardware import describe_hardware, set_matmul_precision, synchronise
from bench.presets import Preset, load_preset, tasks_of
from bench.provenance import package_versions
from bench.records import Precision
from bench.training.checkpoint import Checkpoint
from bench.training.speed import synthetic_data
from bench.training.trainer import Trainer
from benchmarks.gpu.agreement import Disagreement, assert_agree
from benchmarks.gpu.emulated import emulated_graphs
from benchmarks.gpu.subjects import all_methods, every_program, made, shortened, shrunk
from benchmarks.simulator import GYMNASIUM_IDS, batched

SECONDS = 480.0
HOPPER = "hopper-medium-v2"
STACKS = (1, 5)
COMPILED_STACK = 5
"""The one stack that is compiled, which takes about a minute a method."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MODEL = Path("reports/benchmarks/kernels.json")


class _Enough(Exception):
    """An evaluation has taken the steps that were to be timed."""


@dataclass
class Check:
    """One run of the check: what it is on, how long it may take, and what it has found.

    Parameters
    ----------
    device : `cuda`, or `cpu` for tiny sizes and emulated graphs.
    methods : those that are looked at.
    deadline : by `time.monotonic`.
    record : file that everything found is written to as it comes.
    """

    device: str
    methods: tuple[str, ...]
    deadline: float
    record: Path
    found: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def tiny(self) -> bool:
        """Whether this is but a trial of the check."""
        return self.device == "cpu"

    def preset(self, name: str) -> Preset:
        """The released preset for hopper, at its size unless this is a trial."""
        preset = load_preset(name, load_catalog().task(HOPPER))
        return shrunk(preset) if self.tiny else preset

    def with_hopper(self) -> Iterator[str]:
        """Methods that have a preset for it."""
        return (name for name in self.methods if HOPPER in tasks_of(name))

    def run(self, step: str, part: str, work: Callable[[], object]) -> None:
        """Do a part of a step, unless the time is over; note what it gives, or its fault, and write it."""
        if time.monotonic() > self.deadline:
            self.left_out.append(f"{step}: {part}")
        else:
            started = time.monotonic()
            try:
                result = work()
            except (Disagreement, RuntimeError, ValueError) as error:  # one method's fault is not the others'
                self.faults.append(f"{step}: {part}: {type(error).__name__}: {str(error)[:300]}")
                result = "fault"
            self.found.setdefault(step, {})[part] = result
            print(f"{step}: {part}: {json.dumps(result)} ({time.monotonic() - started:.1f} s)", flush=True)
        self._write()

    def _write(self) -> None:
        record = {
            "device": torch.cuda.get_device_name() if self.device == "cuda" else "cpu, tiny sizes",
            "hardware": describe_hardware(),
            "packages": package_versions(),
            "found": self.found,
            "faults": self.faults,
            "left_out": self.left_out,
        }
        write_text(self.record, json.dumps(record, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the steps in turn; 1 where there is a fault."""
    options = _options(arguments)
    deadline = time.monotonic() + options.seconds
    check = Check(options.device, tuple(options.algos), deadline, options.json)
    with emulated_graphs() if check.tiny else nullcontext():
        for name in options.steps:
            STEPS[name](check)
    for fault in check.faults:
        print(f"FAULT {fault}")
    for left in check.left_out:
        print(f"left out, {options.seconds:g} s are over: {left}")
    print(f"{len(check.faults)} faults; record: {options.json}")
    return 1 if check.faults else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    def listed(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default cuda")
    parser.add_argument("--algos", type=listed, default=list(all_methods()), help="default all, by commas")
    parser.add_argument("--steps", type=listed, default=list(STEPS), help=f"of {','.join(STEPS)}")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"at most, about (default {SECONDS:g})"
    )
    parser.add_argument("--json", type=Path, help="default reports/benchmarks/gpu-check-DEVICE.json")
    options = parser.parse_args(arguments)
    for given, known in ((options.algos, all_methods()), (options.steps, STEPS)):
        unknown = [name for name in given if name not in known]
        if unknown:
            parser.error(f"{unknown[0]!r}: there are {', '.join(known)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --device cpu tries the check")
    options.json = options.json or Path(f"reports/benchmarks/gpu-check-{options.device}.json")
    return options


def agreement(check: Check) -> None:
    """Graph against eager: first all programs at tiny sizes, then hopper's at theirs, a stack of five."""
    for name in check.methods:

        def tiny(name: str = name) -> str:
            presets = list(every_program(name))
            for task, preset in presets[:1] if check.tiny else presets:
                assert_agree(task, shrunk(preset), 3, device=check.device)
            return "equal"

        check.run("graph = eager", name, tiny)
    for name in check.with_hopper():

        def whole(name: str = name) -> list[str]:
            task = load_catalog().task(HOPPER)
            return sorted(assert_agree(task, check.preset(name), 5, device=check.device))

        check.run("graph = eager, hopper", name, whole)


def times(check: Check) -> None:
    """Milliseconds of an iteration of every phase, and how much of them the host takes to ask for it."""
    modelled = _modelled()
    ways: list[tuple[str, int, Precision]]
    ways = [("graph", seeds, precision) for seeds in STACKS for precision in PRECISIONS]
    # On the CPU a compiler writes C++, which is tried by tests.
    ways += [] if check.tiny else [("compiled", COMPILED_STACK, precision) for precision in PRECISIONS]
    for runner, seeds, precision in ways:
        for name in check.with_hopper():

            def timed(
                name: str = name, runner: str = runner, seeds: int = seeds, precision: Precision = precision
            ) -> object:
                with _precision(precision, check.device):
                    model = modelled.get((name, runner, seeds, precision), {})
                    return _times(check, name, runner, seeds, model)

            check.run("iteration", f"{name} {runner} S={seeds} {precision}", timed)


def _times(check: Check, name: str, runner: str, seeds: int, model: Mapping[str, float]) -> dict[str, object]:
    count, border = (4, 2) if check.tiny else (100, 10)
    preset, task = check.preset(name), load_catalog().task(HOPPER)
    # Twice as many: the first half captures every program.
    algorithm = made(task, shortened(preset, 2 * count, border), tuple(range(seeds)), check.device)
    trainer = Trainer(algorithm, synthetic_data(task, check.device), runner=runner)
    found: dict[str, object] = {}
    for phase in algorithm.phases:
        trainer.advance(count)
        synchronise(check.device)
        started = time.perf_counter()
        trainer.advance(count - 1)  # the last ends the phase, which drops its graphs
        asked = time.perf_counter() - started
        synchronise(check.device)
        whole = time.perf_counter() - started
        trainer.advance(1)
        ran = [phase.program(step) for step in range(count, 2 * count - 1)]
        expected = [model[f"{phase.name}/{program}"] for program in ran if f"{phase.name}/{program}" in model]
        found[phase.name] = {
            "milliseconds": round(1e3 * whole / len(ran), 4),
            "host_milliseconds": round(1e3 * asked / len(ran), 4),
            "model_milliseconds": round(float(np.mean(expected)) / 1e3, 4) if expected else None,
        }
    return found


def _modelled() -> dict[tuple[str, str, int, str], dict[str, float]]:
    """Microseconds by the model: (method, runner, seeds, precision) -> `phase/program` -> time."""
    found: dict[tuple[str, str, int, str], dict[str, float]] = {}
    if MODEL.exists():
        for row in json.loads(MODEL.read_text(encoding="utf-8"))["after"]["programs"]:
            for precision, value in row["microseconds"].items():
                key = (row["method"], row["runner"], row["seeds"], precision)
                found.setdefault(key, {})[f"{row['phase']}/{row['program']}"] = value
    return found


@contextmanager
def _precision(precision: Precision, device: str) -> Iterator[None]:
    before = torch.backends.cuda.matmul.fp32_precision
    set_matmul_precision(precision, device)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def evaluation(check: Check) -> None:
    """Milliseconds of a step of an evaluation, and of acting and simulating alone: what could overlap."""
    for name in check.with_hopper():
        check.run("evaluation", name, partial(_evaluation, check, name))


def _evaluation(check: Check, name: str) -> dict[str, float]:
    task, preset = load_catalog().task(HOPPER), check.preset(name)
    episodes, steps, threads = (1, 3, 1) if check.tiny else (preset.evaluation.episodes, 50, 8)
    algorithm = made(task, shortened(preset, 10, 5), tuple(range(5)), check.device)
    marks: list[float] = []

    def on_step(step: int) -> None:
        marks.append(time.perf_counter())
        if step == steps:
            raise _Enough

    with simulator_for(task, "d4rl", 5 * episodes, threads) as simulator:
        with suppress(_Enough):
            roll_out(algorithm, simulator, evaluation=1, episodes=episodes, on_step=on_step)
        together = (marks[-1] - marks[0]) / (len(marks) - 1)
        simulator.reset(range(5 * episodes))
        actions = np.zeros((5 * episodes, task.action_dim))
        started = time.perf_counter()
        for _ in range(steps):
            simulator.step(actions)
        simulating = (time.perf_counter() - started) / steps
    return {
        "step_milliseconds": round(1e3 * together, 3),
        "simulating_milliseconds": round(1e3 * simulating, 3),
        "acting_milliseconds": round(1e3 * max(0.0, together - simulating), 3),
        "threads": threads,
    }


def overlap(check: Check) -> None:
    """Iterations per second of a stack alone, beside an evaluation, and of two stacks at once."""
    for name in check.with_hopper():
        check.run("overlap", name, partial(_overlap, check, name))


def _overlap(check: Check, name: str) -> dict[str, float]:
    task, preset = load_catalog().task(HOPPER), check.preset(name)
    count, episodes, threads = (4, 1, 1) if check.tiny else (200, preset.evaluation.episodes, 8)
    data = synthetic_data(task, check.device)

    def warm() -> Trainer:
        algorithm = made(task, shortened(preset, 4 * count, 4 * count), tuple(range(5)), check.device)
        trainer = Trainer(algorithm, data, runner="graph")
        trainer.advance(count)
        return trainer

    def advance(trainer: Trainer) -> None:
        stream = torch.cuda.Stream() if check.device == "cuda" else None
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            trainer.advance(count)
            synchronise(check.device)

    def seconds_of(*trainers: Trainer) -> float:
        synchronise(check.device)
        started = time.perf_counter()
        with ThreadPoolExecutor(len(trainers)) as stacks:
            list(stacks.map(advance, trainers))
        return time.perf_counter() - started

    one, other = warm(), warm()
    alone, both = seconds_of(one), seconds_of(one, other)
    evaluated = Beside(one.algorithm, "graph")
    with simulator_for(task, "d4rl", 5 * episodes, threads) as robots:
        evaluated.begin(
            one.algorithm.networks.state_dict(),
            lambda policy, on_step: roll_out(
                policy, robots, evaluation=1, episodes=episodes, on_step=on_step
            ),
        )
        while evaluated.step < 2 and not evaluated.finished():
            time.sleep(0.001)  # until its graph is captured
        beside = seconds_of(other)
        evaluated.close()
    return {
        "alone": round(count / alone, 1),
        "beside_evaluation": round(count / beside, 1),
        "two_stacks_together": round(2 * count / both, 1),
    }


def checkpoints(check: Check) -> None:
    """Seconds and megabytes of a stack's checkpoint, which training waits for."""
    for name in check.with_hopper():

        def packed(name: str = name) -> dict[str, float]:
            task = load_catalog().task(HOPPER)
            algorithm = made(task, shortened(check.preset(name), 10, 5), tuple(range(5)), check.device)
            synchronise(check.device)
            started = time.perf_counter()
            size = len(Checkpoint.of(algorithm.state_dict(), {}).content)
            return {"seconds": round(time.perf_counter() - started, 3), "megabytes": round(size / 1e6, 2)}

        check.run("checkpoint", name, packed)


def simulator(check: Check) -> None:
    """Steps per second, and CPU microseconds of a step, of fifty robots on few and many threads."""
    count, steps, threads = (4, 5, (1, 2)) if check.tiny else (50, 400, (1, 8, 16))
    for robot in GYMNASIUM_IDS:
        width = 3 if robot == "hopper" else 6
        actions = np.random.default_rng(0).uniform(-1, 1, (steps, count, width)).astype(np.float32)
        for number in threads:
            check.run("simulator", f"{robot}, {number} threads", partial(_stepped, robot, actions, number))


def _stepped(robot: str, actions: NDArray[np.float32], threads: int) -> dict[str, float]:
    rate, used = batched(robot, "d4rl", actions, threads)
    return {"steps_per_second": round(rate), "cpu_microseconds": round(used, 1)}


def tests(check: Check) -> None:
    """The tests marked gpu, in a process of their own, within the time that is left."""

    def passed() -> str:
        left = max(10.0, check.deadline - time.monotonic())
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            return "stopped when the time was over"
        lines = done.stdout.strip().splitlines()
        if done.returncode:
            raise RuntimeError("; ".join(lines[-5:]))
        return lines[-1]

    check.run("tests marked gpu", "all", passed)


STEPS: Mapping[str, Callable[[Check], None]] = {
    "agreement": agreement,
    "times": times,
    "evaluation": evaluation,
    "overlap": overlap,
    "checkpoints": checkpoints,
    "simulator": simulator,
    "tests": tests,
}


if __name__ == "__main__":
    sys.exit(main())
