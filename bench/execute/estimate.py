"""How long a grid will take: by trials that a store holds, by a few iterations, by a model of a GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from algorithms.base import Algorithm, Phase, tiny
from algorithms.registry import method
from bench.catalog import load_catalog
from bench.envs import simulator_for
from bench.errors import BenchError
from bench.execute.grid import Cell
from bench.hardware import device_name, prepare_process, set_matmul_precision
from bench.presets import Preset, PresetFiles, preset_of
from bench.records import Precision
from bench.resources import resource
from bench.store.queries import MeasuredPart
from bench.training.draws import DrawStream
from bench.training.runners import chosen_runner
from bench.training.speed import phase_seconds, program_speeds
from bench.training.trainer import method_for

TIMED_ITERATIONS = 20
TIMED_SECONDS = 0.1
"""Of a program, at most, so that a grid's estimate is there in seconds."""
TIMED_STEPS = 3
"""Choices of actions, at most; no further one after so many seconds."""
SIMULATED_ROBOTS, SIMULATED_STEPS = 4, 10
LATEST = 20
"""How many stored durations of a kind count."""

Programs = dict[str, dict[str, float]]
"""Seconds of an iteration by phase and program."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of one stack of a cell."""

    training_seconds: float
    evaluation_seconds: float
    """At most: as if every episode reached the horizon."""

    @property
    def seconds(self) -> float:
        """Training and evaluation."""
        return self.training_seconds + self.evaluation_seconds


@dataclass(frozen=True)
class _Acting:
    """Seconds of choosing one action in every environment of an evaluation."""

    seconds: float
    further: int = 0
    """Evaluations at the end with other numbers of candidates."""
    further_weight: float = 0.0
    """Candidates of all of these, for each of the usual."""


class Estimator:
    """Says how long stacks take on a device of this machine.

    What a finished trial in the store took on the same device in the same way holds first. What no trial
    tells is timed here and now, once however many cells share it: every program of a method for a fraction of
    a second, choosing actions, and the physics of a few robots. What a few more or fewer numbers per
    observation cost is left out: one task of a kind stands for all.
    """

    def __init__(
        self, *, device: str, runner: str, threads: int, measured: Sequence[MeasuredPart] = ()
    ) -> None:
        prepare_process(threads)
        self._device = device
        self._runner = runner
        self._threads = threads
        self._measured = measured
        self._programs: dict[object, Programs] = {}
        self._actions: dict[object, _Acting] = {}
        self._physics: dict[object, float] = {}
        self._phases: dict[object, tuple[Phase, ...]] = {}

    def estimate(self, cell: Cell, seeds: int) -> Estimate:
        """Seconds of a stack of `seeds` trials of a cell."""
        training = self._stored_training(cell, seeds)
        if training is None:
            programs = self._of_programs(cell, seeds)
            training = _training(self.phases(cell), programs)
        evaluations = len(cell.evaluation_steps)
        evaluation = self._stored_evaluation(cell, seeds)
        if evaluation is not None:
            return Estimate(training, evaluation * evaluations)
        action, physics = self._of_action(cell, seeds), self.physics(cell) * seeds * cell.episodes
        of_one = cell.task.horizon * (action.seconds + physics)
        further = cell.task.horizon * (action.seconds * action.further_weight + physics * action.further)
        return Estimate(training, of_one * evaluations + further)

    def phases(self, cell: Cell) -> tuple[Phase, ...]:
        """The stages of a cell's method, by the smallest networks: making wide ones takes seconds."""
        key = (cell.algorithm, *sorted(_whole(cell.preset).items()))
        if key not in self._phases:
            sizes = tiny(method(cell.algorithm).load()[1])
            values = {**cell.preset.values, **sizes}
            self._phases[key] = method_for(cell.task, cell.algorithm, values, (0,)).phases
        return self._phases[key]

    def physics(self, cell: Cell) -> float:
        """Seconds of one step of one robot on the threads of a stack."""
        key = (cell.task.environment, cell.physics)
        if key not in self._physics:
            robots_in_all = SIMULATED_ROBOTS * self._threads
            shape = (SIMULATED_STEPS, robots_in_all, cell.task.action_dim)
            with simulator_for(cell.task, cell.physics, robots_in_all, self._threads) as robots:
                robots.reset(range(robots_in_all))
                actions = np.random.default_rng(0).uniform(-1, 1, shape)
                # CPU time, which holds on a busy machine too.
                started = time.process_time()
                for action in actions:
                    robots.step(action)
                spent = (time.process_time() - started) / self._threads
            self._physics[key] = spent / (shape[0] * shape[1])
        return self._physics[key]

    # What trials in the store took

    def _alike(self, cell: Cell, seeds: int) -> list[MeasuredPart]:
        """Parts of trials of the same kind that ran as this stack would."""
        runner = chosen_runner(self._runner, self._device)
        here = (device_name(self._device), self._threads, runner, seeds)
        kind = _sizes(cell.preset)
        return [
            part
            for part in self._measured
            if (part.device, part.threads, part.runner, part.stack_size) == here
            and part.record.key.algorithm == cell.algorithm
            and part.matmul_precision == self._held(cell)
            and _sizes_in(part, cell.preset.step_counts) == kind
        ]

    def _held(self, cell: Cell) -> str:
        return "fp32" if self._device == "cpu" else cast(str, cell.preset.precision.value)

    def _stored_training(self, cell: Cell, seeds: int) -> float | None:
        """Seconds of all phases; None unless trials tell of each of them."""
        found: dict[str, list[float]] = {}
        for part in self._alike(cell, seeds):
            for phase in part.record.phases or ():
                if phase.name == part.phase and phase.iterations:
                    found.setdefault(phase.name, []).append(part.seconds / phase.iterations)
        phases = self.phases(cell)
        if any(phase.name not in found for phase in phases):
            return None
        return sum(statistics.median(found[phase.name][-LATEST:]) * phase.iterations for phase in phases)

    def _stored_evaluation(self, cell: Cell, seeds: int) -> float | None:
        """Seconds of one evaluation of as many episodes in the same environment."""
        found = [
            part.seconds / len(part.record.config["evaluation"]["steps"])
            for part in self._alike(cell, seeds)
            if part.phase is None
            and (part.record.episodes, part.record.physics) == (cell.episodes, cell.physics)
            and part.record.key.task == cell.task.name
        ]
        return statistics.median(found[-LATEST:]) if found else None

    # What is timed here

    def _of_programs(self, cell: Cell, seeds: int) -> Programs:
        key = (seeds, cell.algorithm, cell.preset.precision.value, *_sizes(cell.preset))
        if key not in self._programs:
            set_matmul_precision(cast(Precision, cell.preset.precision.value), self._device)
            speeds = program_speeds(
                cell.task,
                cell.preset,
                seeds=seeds,
                device=self._device,
                runner=self._runner,
                iterations=TIMED_ITERATIONS,
                seconds=TIMED_SECONDS,
            )
            found: Programs = {}
            for speed in speeds:
                found.setdefault(speed.phase.name, {})[speed.program] = speed.seconds
            self._programs[key] = found
        return self._programs[key]

    def _of_action(self, cell: Cell, seeds: int) -> _Acting:
        key = (seeds, cell.algorithm, cell.episodes, *_sizes(cell.preset))
        if key not in self._actions:
            algorithm = self._method(cell, seeds)
            keys = [str(index) for index in range(seeds * cell.episodes)]
            stream = DrawStream(keys, "estimate", algorithm.act_draws, device=self._device)
            observations = torch.zeros(seeds, cell.episodes, cell.task.observation_dim, device=self._device)
            seconds: list[float] = []
            while len(seconds) < TIMED_STEPS and sum(seconds) < TIMED_SECONDS:
                started = time.perf_counter()
                draws = {
                    name: draw.unflatten(0, (seeds, cell.episodes))
                    for name, draw in stream.at(len(seconds)).items()
                }
                algorithm.act(observations, draws).cpu()
                seconds.append(time.perf_counter() - started)
            others = algorithm.scored_candidates
            weight = sum(others) / algorithm.config.candidates if others else 0.0
            self._actions[key] = _Acting(min(seconds), len(others), weight)
        return self._actions[key]

    def _method(self, cell: Cell, seeds: int) -> Algorithm:
        preset = cell.preset
        return method_for(cell.task, preset.algorithm, preset.values, tuple(range(seeds)), self._device)


def _training(phases: Sequence[Phase], programs: Programs) -> float:
    """Seconds of all phases, each program as often as it runs."""
    return sum(phase_seconds(phase, programs[phase.name]) for phase in phases)


def _whole(preset: Preset) -> dict[str, object]:
    """What is no fraction: rates and weights change no shape and no count."""
    return {name: value for name, value in preset.values.items() if not isinstance(value, float)}


def _sizes(preset: Preset) -> tuple[tuple[str, object], ...]:
    """What decides the cost of an iteration: of step counts only whether there is such a stage."""
    return _sizes_of(preset.values, preset.step_counts)


def _sizes_of(values: Mapping[str, object], step_counts: Collection[str]) -> tuple[tuple[str, object], ...]:
    return tuple(
        sorted(
            (name, bool(value) if name in step_counts else value)
            for name, value in values.items()
            if not isinstance(value, float)
        )
    )


def _sizes_in(part: MeasuredPart, step_counts: Collection[str]) -> tuple[tuple[str, object], ...]:
    return _sizes_of(part.record.config.get("hyperparameters", {}), step_counts)


# A GPU that is not here, by the model of its kernels


MODEL = Path("reports", "benchmarks", "kernels.json")
MODELLED_TASK = "hopper-medium-v2"
"""Whose sizes the model's kernels are of."""
ACTING = ("evaluation", "act")


class _Row(TypedDict):
    method: str
    task: str
    runner: str
    seeds: int
    phase: str
    program: str
    microseconds: dict[str, float]


class _Table(TypedDict):
    programs: list[_Row]


class _Record(TypedDict):
    after: _Table


class ModelledGpu:
    """What stacks would take on one NVIDIA H200 by the model of `benchmarks.kernels`: good to about 40 %."""

    name = "one H200 (model)"

    def __init__(self, runner: str) -> None:
        counted = "compiled" if runner == "compiled" else "graph"
        path = resource(str(MODEL))
        try:
            record = TypeAdapter(_Record).validate_json(path.read_bytes())
        except ValidationError as error:
            why = "It holds the model of a GPU."
            raise BenchError(f"{path} is damaged", why, "Install bench again.") from error
        self._known: dict[str, set[object]] = {}
        self._rows = [
            row
            for row in record["after"]["programs"]
            if (row["task"], row["runner"]) == (MODELLED_TASK, counted)
        ]

    @cached_property
    def _stacks(self) -> dict[tuple[str, str], dict[int, Programs]]:
        """Method and precision -> seeds of the stack -> programs."""
        found: dict[tuple[str, str], dict[int, Programs]] = {}
        for row in self._rows:
            for precision, value in row["microseconds"].items():
                of_stack = found.setdefault((row["method"], precision), {}).setdefault(row["seeds"], {})
                of_stack.setdefault(row["phase"], {})[row["program"]] = value / 1e6
        return found

    def knows(self, cell: Cell) -> bool:
        """Whether its networks and batches are of the sizes whose kernels were counted: of that domain."""
        if (cell.algorithm, cell.preset.precision.value) not in self._stacks:
            return False
        if cell.algorithm not in self._known:
            catalog, presets = load_catalog(), PresetFiles()[cell.algorithm]
            tasks = [catalog.task(name) for name in presets.tasks]
            self._known[cell.algorithm] = {
                _sizes(preset_of(presets, task))
                for task in tasks
                if task.domain == catalog.task(MODELLED_TASK).domain
            }
        return _sizes(cell.preset) in self._known[cell.algorithm]

    def estimate(self, cell: Cell, seeds: int, phases: Sequence[Phase], robot_seconds: float) -> Estimate:
        """Seconds of a stack of a cell that is known; physics on one thread at the rate of this machine's."""
        stacks = self._stacks[cell.algorithm, cast(str, cell.preset.precision.value)]
        few, many = min(stacks), max(stacks)
        share = (seeds - few) / (many - few) if many > few else 0.0
        programs = {
            phase: {
                name: seconds + share * (stacks[many][phase][name] - seconds)
                for name, seconds in of_phase.items()
            }
            for phase, of_phase in stacks[few].items()
        }
        phase, program = ACTING
        step = programs[phase][program] + robot_seconds * seeds * cell.episodes
        evaluations = len(cell.evaluation_steps)
        return Estimate(_training(phases, programs), cell.task.horizon * step * evaluations)
