"""What the tests of QGPO and SfBC share: a small dataset, and phases beside plain twins."""

from __future__ import annotations

import numpy as np
import torch

from algorithms.base import ROWS, Dimensions, Draw
from algorithms.diffusion_behaviour import DiffusionBehaviour
from bench.training import contract
from bench.training.batches import PackedDataset
from benchmarks.plain.modules import PlainVersion
from tests.algorithms import checks

SEEDS, BOUND, ROW_COUNT = (3, 8), 0.8, 24
DIMENSIONS = Dimensions(5, 3, action_bound=BOUND)
SMALL = {
    "behaviour_width": 8,
    "behaviour_embedding": 6,
    "behaviour_batch_size": 6,
    "behaviour_learning_rate": 2e-3,
    "behaviour_time_min": 0.01,
    "time_features": 4,
    "fourier_scale": 2.0,
    "support_batch_size": 8,
    "support_actions": 3,
    "solver_calls": 5,
}
"""Sizes that differ from each other, and rates that move something within a few steps."""


def dataset() -> PackedDataset:
    """24 transitions in float64: trajectories of 7, 9 and 8, of which the second ends in a terminal."""
    generator = np.random.default_rng(5)
    terminals, ends = np.zeros((2, ROW_COUNT), dtype=bool)
    terminals[15], ends[[6, 15, 23]] = True, True
    return PackedDataset.pack(
        generator.normal(size=(ROW_COUNT, 5)),
        generator.uniform(-BOUND, BOUND, (ROW_COUNT, 3)),
        generator.normal(size=(ROW_COUNT, 5)),
        generator.normal(size=ROW_COUNT),
        terminals,
        ends=ends,
        dtype=torch.float64,
    )


def prepared(algorithm: DiffusionBehaviour, data: PackedDataset) -> DiffusionBehaviour:
    """In float64, as a trainer would have it before the first iteration."""
    doubled = contract.doubled(algorithm)
    assert isinstance(doubled, DiffusionBehaviour)
    doubled.prepare(data.observations)
    doubled.prepare_trajectories(data.rewards, data.ends)
    return doubled


def train_phase_beside(
    algorithm: DiffusionBehaviour,
    twins: list[PlainVersion],
    phase_name: str,
    data: PackedDataset,
    steps: int,
    tolerance: float = 1e-9,
) -> None:
    """Run a phase of a method and of a plain twin of each seed; every metric of every step agrees."""
    (phase,) = (phase for phase in algorithm.phases if phase.name == phase_name)
    declared = (Draw(ROWS, (phase.batch_size,), phase.sampling), *phase.draws)
    for step in range(steps):
        draws = contract.draws_of(declared, algorithm.seeds, step, phase.rows(len(data)))
        batch = data.batch(draws[ROWS])
        metrics = algorithm.update(phase.program(step), batch, draws)
        for slot, twin in enumerate(twins):
            of_seed = checks.of_seed(batch, slot), checks.of_seed(draws, slot)
            losses = twin.update(phase.program(step), *of_seed)
            assert metrics.keys() == losses.keys()
            for name, value in losses.items():
                torch.testing.assert_close(
                    metrics[name][slot], value.detach(), rtol=tolerance, atol=1e-12, msg=f"{step} {name}"
                )


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module, tolerance: float = 1e-8) -> None:
    """Every parameter of two plain networks, relative to the largest of each."""
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert (mine - theirs).abs().max() <= tolerance * theirs.abs().max() + 1e-13
