"""How long a grid will take, from a few iterations and steps of each of its methods timed here and now."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from algorithms.base import Algorithm
from bench.execute.grid import Cell
from bench.hardware import prepare_process
from bench.training.draws import DrawStream
from bench.training.speed import time_training
from bench.training.trainer import method_for

TIMED_ITERATIONS = 20
TIMED_STEPS = 3


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
class _Cost:
    seconds_per_1k: dict[str, float]
    """By name of the phase."""
    seconds_per_action: float
    """Choosing one action in every environment of an evaluation."""


class Estimator:
    """Times a few iterations and action choices of each kind of stack, once however many cells share it.

    Physics is left out, as it is cheap beside them.
    """

    def __init__(self, *, device: str, runner: str, threads: int) -> None:
        prepare_process(threads)
        self._device = device
        self._runner = runner
        self._costs: dict[tuple[object, ...], _Cost] = {}

    def estimate(self, cell: Cell, seeds: int) -> Estimate:
        """Seconds of a stack of `seeds` trials of a cell."""
        key = (seeds, *_kind(cell))
        if key not in self._costs:
            self._costs[key] = self._measured(cell, seeds)
        cost = self._costs[key]
        training = sum(
            cost.seconds_per_1k[phase.name] * phase.iterations / 1000
            for phase in self._method(cell, seeds).phases
        )
        steps = cell.task.horizon * len(cell.evaluation_steps)
        return Estimate(training, cost.seconds_per_action * steps)

    def _measured(self, cell: Cell, seeds: int) -> _Cost:
        speeds = time_training(
            cell.task,
            cell.preset,
            seeds=seeds,
            device=self._device,
            runner=self._runner,
            iterations=TIMED_ITERATIONS,
        )
        return _Cost(
            {speed.phase: speed.seconds_per_1k_iterations for speed in speeds}, self._action(cell, seeds)
        )

    def _action(self, cell: Cell, seeds: int) -> float:
        algorithm = self._method(cell, seeds)
        keys = [str(index) for index in range(seeds * cell.episodes)]
        stream = DrawStream(keys, "estimate", algorithm.act_draws, device=self._device)
        observations = torch.zeros(seeds, cell.episodes, cell.task.observation_dim, device=self._device)
        seconds = []
        for step in range(TIMED_STEPS):
            started = time.perf_counter()
            draws = {
                name: draw.unflatten(0, (seeds, cell.episodes)) for name, draw in stream.at(step).items()
            }
            algorithm.act(observations, draws).cpu()
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    def _method(self, cell: Cell, seeds: int) -> Algorithm:
        preset = cell.preset
        return method_for(cell.task, preset.algorithm, preset.values, tuple(range(seeds)), self._device)


def _kind(cell: Cell) -> tuple[object, ...]:
    """What decides the cost of an iteration and of an action.

    Fractions (rates, weights) change no shapes, and step counts only how often something is done, or whether.
    """
    preset, task = cell.preset, cell.task
    sizes = {
        name: bool(value) if name in preset.step_counts else value
        for name, value in preset.values.items()
        if not isinstance(value, float)
    }
    return cell.algorithm, task.observation_dim, task.action_dim, cell.episodes, *sorted(sizes.items())
