"""What is recorded for the exact layers: losses of short trainings, and simulators under fixed actions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from algorithms.base import Algorithm, Dimensions
from algorithms.registry import build
from bench.catalog import Catalog, Physics
from bench.envs import make_simulator
from bench.presets import Preset, PresetFiles, preset_of, variants_of
from bench.training.batches import PackedDataset
from bench.training.draws import DrawStream
from bench.training.trainer import Trainer

Precision = Literal["float64", "float32"]

ITERATIONS = 200
"""Of all phases of a method together, about: every phase and program occurs."""
KEPT = (1, 10, 20, 50, 200)
"""Steps whose values are kept, to show where two recordings part and to compare two machines."""
SEEDS = (0, 1)
DIMENSIONS = Dimensions(observation=4, action=2)
ROWS = 500
TINY = {
    "actor_width": 16,
    "behaviour_batch_size": 16,
    "behaviour_width": 16,
    "batch_size": 16,
    "candidates": 4,
    "critic_width": 16,
    "diffusion_width": 16,
    "ensemble": 3,
    "grid_side": 3,
    "hidden_width": 16,
    "samples": 2,
}
"""Sizes that cost time and change no rule, instead of the preset's."""

PREFERRED_TASK = "hopper-medium-v2"
ENVIRONMENTS = 4
OBSERVATIONS = 64
"""At which trained policies choose: enough that another rule of choosing among candidates shows."""


@dataclass(frozen=True)
class Recording:
    """A run of numbers: the hash of all, and some of them."""

    sha256: str
    """Of every number as float64, step by step."""
    kept: Mapping[str, Mapping[str, float]]
    """Step -> name -> value, of several numbers their sum; what is not finite is left out."""


@dataclass(frozen=True)
class Short:
    """A short training of one method."""

    method: str
    preset: Preset
    precision: Precision

    @property
    def name(self) -> str:
        """`dtql released hopper-medium-v2 float64`."""
        return f"{self.method} {self.preset.variant} {self.preset.task} {self.precision}"


def short_trainings(methods: Iterable[str], catalog: Catalog) -> list[Short]:
    """In float64 one for every set of rules among a method's presets, in float32 one for each method.

    Presets whose numbers alone differ follow the same rules: the same switches are on, the same terms are
    weighted with 0. Of these the first represents all, hopper-medium-v2 before others.
    """
    files, chosen = PresetFiles(), []
    for method in methods:
        tasks = [name for name in files[method].file.tasks if name in catalog.tasks]
        tasks.sort(key=lambda name: name != PREFERRED_TASK)
        by_rules: dict[tuple[object, ...], Preset] = {}
        for variant in variants_of(method):
            for task in tasks:
                preset = preset_of(files[method], catalog.task(task), variant)
                by_rules.setdefault(_rules(preset), preset)
        presets = list(by_rules.values())
        chosen += [Short(method, preset, "float64") for preset in presets]
        chosen.append(Short(method, presets[0], "float32"))
    return chosen


def _rules(preset: Preset) -> tuple[object, ...]:
    values = preset.values
    return tuple(
        values[name] if isinstance(values[name], bool | str) else values[name] == 0 for name in sorted(values)
    )


def record_losses(training: Short) -> Recording:
    """Train tiny networks of a method for about 200 iterations on made-up data, then choose actions.

    On one CPU thread, operation by operation. Hyper-parameters other than sizes and step counts are those of
    the preset, so a changed preset shows as well.
    """
    with _one_thread():
        algorithm, dtype = _tiny(training.preset), getattr(torch, training.precision)
        if dtype is torch.float64:
            _double(algorithm)
        trainer = Trainer(algorithm, _transitions(dtype), runner="eager")
        numbers = _Numbers()
        step = 0
        while trainer.phase is not None:
            step += 1
            trainer.advance(1)
            per_seed = trainer.read_metrics()
            for name in sorted(per_seed[0]):
                numbers.add(step, name, *(metrics[name] for metrics in per_seed))
        numbers.add(KEPT[-1], "actions", *_actions(algorithm, dtype))
        return numbers.recording()


def record_simulator(environment: str, physics: Physics, steps: int = 200) -> Recording:
    """Step a few environments with fixed actions; those that end are reset at once."""
    with make_simulator(environment, physics, ENVIRONMENTS) as simulator:
        shape = (steps, ENVIRONMENTS, simulator.action_dim)
        actions = np.random.default_rng(0).uniform(-1, 1, shape)
        numbers, seed = _Numbers(), ENVIRONMENTS
        simulator.reset(range(ENVIRONMENTS))
        for step, action in enumerate(actions, start=1):
            played = simulator.step(action)
            states = np.concatenate((simulator.qpos, simulator.qvel), axis=1)
            for slot in range(ENVIRONMENTS):
                numbers.add(step, f"reward {slot}", played.rewards[slot])
                numbers.add(step, f"state {slot}", *states[slot])
                numbers.add(step, f"observation {slot}", *played.observations[slot])
            ended = np.flatnonzero(played.terminated | played.truncated)
            if len(ended):
                simulator.reset(range(seed, seed + len(ended)), ended)
                seed += len(ended)
        return numbers.recording()


class _Numbers:
    """Hashes numbers as they come and keeps those of a few steps."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._kept: dict[str, dict[str, float]] = {}

    def add(self, step: int, name: str, *values: float) -> None:
        self._digest.update(f"{step} {name}".encode() + np.array(values, dtype="<f8").tobytes())
        total = float(sum(values))
        if step in KEPT and math.isfinite(total):
            self._kept.setdefault(str(step), {})[name] = total

    def recording(self) -> Recording:
        return Recording(self._digest.hexdigest(), self._kept)


@contextmanager
def _one_thread() -> Iterator[None]:
    # Sums are split among threads, and the last digits depend on how.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _tiny(preset: Preset) -> Algorithm:
    def sized(values: Mapping[str, object]) -> Algorithm:
        small = {name: size for name, size in TINY.items() if name in values}
        return build(preset.algorithm, DIMENSIONS, {**values, **small}, SEEDS)

    total = sum(phase.iterations for phase in sized(preset.values).phases)
    return sized(preset.scaled(ITERATIONS / total).values)


def _double(algorithm: Algorithm) -> None:
    algorithm.networks.double()
    for optimiser in algorithm.optimisers.values():
        optimiser.first_moments = [moment.double() for moment in optimiser.first_moments]
        optimiser.second_moments = [moment.double() for moment in optimiser.second_moments]


def _transitions(dtype: torch.dtype) -> PackedDataset:
    generator = np.random.default_rng(0)
    return PackedDataset.pack(
        generator.standard_normal((ROWS, DIMENSIONS.observation)),
        generator.uniform(-1, 1, (ROWS, DIMENSIONS.action)),
        generator.standard_normal((ROWS, DIMENSIONS.observation)),
        generator.standard_normal(ROWS),
        generator.uniform(size=ROWS) < 0.1,
        dtype=dtype,
    )


def _actions(algorithm: Algorithm, dtype: torch.dtype) -> list[float]:
    """Every number of the actions (S, N, A) that the trained policies choose at some observations."""
    observations = _transitions(dtype).observations[:OBSERVATIONS].expand(len(SEEDS), -1, -1)
    draws = DrawStream(
        [(seed, episode) for seed in SEEDS for episode in range(OBSERVATIONS)],
        "fingerprint",
        algorithm.act_draws,
        dtype=dtype,
    ).at(0)
    stacked = {name: draw.unflatten(0, (len(SEEDS), OBSERVATIONS)) for name, draw in draws.items()}
    with torch.no_grad():
        return algorithm.act(observations, stacked).double().flatten().tolist()
