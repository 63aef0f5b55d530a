"""Trains every method for a few iterations in float64 and prints all it says of each.

A script, not a module: it runs with another checkout's `bench` on the path. This is the one place of the
golden records that builds methods and trains them directly.

For every method and variant, one training per domain: the preset's own rules and numbers, tiny networks, two
seeds, made-up transitions. Numbers are printed as `float.hex` has them, so that equal means
equal; they are compared so only on a machine like the one named with them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping
from inspect import signature

import numpy as np
import torch

from algorithms.base import Algorithm, Dimensions
from algorithms.registry import build
from bench.catalog import load_catalog
from bench.presets import algorithms_with_presets, load_preset, tasks_of, variants_of
from bench.training.batches import PackedDataset
from bench.training.draws import DrawStream
from bench.training.trainer import Trainer

ITERATIONS = 40
"""Of all phases of a method together, about."""
SHORTEST = 4
"""Of one phase: every program of it occurs."""
SEEDS = (0, 1)
DIMENSIONS = Dimensions(observation=4, action=2)
ROWS = 200
OBSERVATIONS = 16
SIZES = {
    "actor_width": 16,
    "behaviour_batch_size": 16,
    "behaviour_width": 16,
    "batch_size": 16,
    "candidates": 4,
    "critic_batch_size": 16,
    "critic_width": 16,
    "diffusion_width": 16,
    "ensemble": 3,
    "grid_side": 3,
    "hidden_width": 16,
    "planning_batch_size": 64,
    "policy_width": 16,
    "samples": 2,
    "support_actions": 3,
    "support_batch_size": 8,
}
"""Instead of the preset's, of the hyper-parameters that a method has."""


def main() -> None:
    """All trainings, as JSON by `method variant domain`."""
    torch.set_num_threads(1)
    tasks, found = load_catalog().tasks, {}
    for method in algorithms_with_presets():
        for variant in variants_of(method):
            domains: dict[str, str] = {}
            for name in tasks_of(method):
                if name in tasks:
                    domains.setdefault(tasks[name].domain, name)
            for domain, name in domains.items():
                preset = load_preset(method, tasks[name], variant)
                values = dict(preset.values)
                found[f"{method} {variant} {domain}"] = train(method, values, preset.step_counts)
    json.dump(found, sys.stdout)


def train(method: str, values: dict[str, object], step_counts: tuple[str, ...]) -> dict[str, object]:
    """What one training says: programs, metrics per iteration and seed, weights before and after, actions."""
    algorithm = small(method, values, step_counts)
    algorithm.networks.double()
    for optimiser in algorithm.optimisers.values():
        optimiser.first_moments = [moment.double() for moment in optimiser.first_moments]
        optimiser.second_moments = [moment.double() for moment in optimiser.second_moments]
    before = hashes(algorithm)
    programs = {
        phase.name: dict(Counter(phase.program(i) for i in range(phase.iterations)))
        for phase in algorithm.phases
    }
    trainer = Trainer(algorithm, transitions(), runner="eager")
    told: dict[str, list[str]] = {}
    while trainer.phase is not None:
        phase = trainer.phase.name
        trainer.advance(1)
        for seed, metrics in zip(SEEDS, trainer.read_metrics(), strict=True):
            for name, value in metrics.items():
                told.setdefault(f"{phase} {name} seed {seed}", []).append(float(value).hex())
    return {
        "programs": programs,
        "metrics": told,
        "weights before": before,
        "weights after": hashes(algorithm),
        "actions": actions(algorithm),
    }


def small(method: str, values: dict[str, object], step_counts: tuple[str, ...]) -> Algorithm:
    """The method with tiny networks and short phases; a phase that is left out stays so."""
    total = sum(int(values[name]) for name in step_counts)
    for name in step_counts:
        if values[name]:
            values[name] = max(SHORTEST, round(ITERATIONS * int(values[name]) / total))
    sizes = {name: size for name, size in SIZES.items() if name in values}
    return build(method, DIMENSIONS, {**values, **sizes}, SEEDS)


def transitions() -> PackedDataset:
    """Made-up data."""
    random = np.random.default_rng(0)
    packed = (
        random.standard_normal((ROWS, DIMENSIONS.observation)),
        random.uniform(-1, 1, (ROWS, DIMENSIONS.action)),
        random.standard_normal((ROWS, DIMENSIONS.observation)),
        random.standard_normal(ROWS),
        random.uniform(size=ROWS) < 0.1,
    )
    further = {"next_actions": random.uniform(-1, 1, (ROWS, DIMENSIONS.action))}
    # Earlier commits, which may be looked at, take less.
    taken = signature(PackedDataset.pack).parameters
    wanted = {name: values for name, values in further.items() if name in taken}
    return PackedDataset.pack(*packed, **wanted, dtype=torch.float64)


def hashes(algorithm: Algorithm) -> Mapping[str, str]:
    """Beginning of the hash of each weight of the first seed, by the name under which it is stored."""
    return {
        name: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()[:12]
        for name, value in algorithm.policy_state(0).items()
    }


def actions(algorithm: Algorithm) -> list[str]:
    """What the trained policies choose at some observations."""
    observations = transitions().observations[:OBSERVATIONS].expand(len(SEEDS), -1, -1)
    keys = [(seed, episode) for seed in SEEDS for episode in range(OBSERVATIONS)]
    draws = DrawStream(keys, "golden", algorithm.act_draws, dtype=torch.float64).at(0)
    stacked = {name: draw.unflatten(0, (len(SEEDS), OBSERVATIONS)) for name, draw in draws.items()}
    with torch.no_grad():
        return [value.hex() for value in algorithm.act(observations, stacked).double().flatten().tolist()]


if __name__ == "__main__":
    main()
