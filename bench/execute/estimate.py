"""How long a grid will take, from a few iterations and steps of each of its methods timed here and now."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from bench.execute.grid import Cell
from bench.training.draws import DrawStream
from bench.training.methods import method_for
from bench.training.speed import time_training

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


def estimate(cell: Cell, *, seeds: int, device: str, runner: str, threads: int) -> Estimate:
    """Time a few iterations and action choices of a cell's stack; physics is left out, as it is cheap beside
    them.
    """
    torch.set_num_threads(threads)
    speeds = time_training(
        cell.task, cell.preset, seeds=seeds, device=device, runner=runner, iterations=TIMED_ITERATIONS
    )
    preset = cell.preset
    algorithm = method_for(cell.task, preset.algorithm, preset.values, tuple(range(seeds)), device)
    training = sum(
        speed.seconds_per_1k_iterations * phase.iterations / 1000
        for speed, phase in zip(speeds, algorithm.phases, strict=True)
    )
    keys = [str(index) for index in range(seeds * cell.episodes)]
    stream = DrawStream(keys, "estimate", algorithm.act_draws, device=device)
    observations = torch.zeros(seeds, cell.episodes, cell.task.observation_dim, device=device)
    seconds = []
    for step in range(TIMED_STEPS):
        started = time.perf_counter()
        draws = {name: draw.unflatten(0, (seeds, cell.episodes)) for name, draw in stream.at(step).items()}
        algorithm.act(observations, draws).cpu()
        seconds.append(time.perf_counter() - started)
    steps = cell.task.horizon * len(cell.evaluation_steps)
    return Estimate(training, min(seconds) * steps)
