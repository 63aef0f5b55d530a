"""Every method on a small 2D problem: what it trains, on how much, and which numbers it is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.bandit2d.clouds import Mode, modes_reached
from bench.bandit2d.illustrate import SeedIllustration, illustrate
from bench.catalog import GeneratedDataset, Task, load_catalog
from bench.data.dataset import RawDataset
from bench.envs.bandit import GAUSSIAN_STD, gaussian_centres, generate, problem_named
from bench.presets import Value, load_preset
from bench.training.batches import PackedDataset
from bench.training.trainer import Trainer, method_for

ROWS = 2000
Numbers = dict[str, float]


@dataclass(frozen=True)
class Case:
    """A method on a task, with what differs from its preset there: small networks, short, high rates."""

    method: str
    task: str
    settings: Mapping[str, Value]
    judged: Mapping[str, Literal["at most", "at least"]]
    """Numbers that tell a method that works from one that does not, and the side on which it must lie."""
    width: bool = False
    """Whether the width of the actions is measured too; on the set of eight Gaussians alone."""


def measured(case: Case, seeds: Sequence[int], changes: Mapping[str, Value] | None = None) -> list[Numbers]:
    """The judged numbers of every seed, trained as one stack; `changes` break the method on purpose."""
    task = load_catalog().task(case.task)
    raw = points(task)
    values = {**load_preset(case.method, task).values, **case.settings, **(changes or {})}
    packed = PackedDataset.pack(raw.observations, raw.actions, raw.observations, raw.rewards, raw.terminals)
    trainer = Trainer(method_for(task, case.method, values, seeds), packed)
    while trainer.phase is not None:
        trainer.advance(trainer.iterations_left_in_phase)
    shown = illustrate(trainer.algorithm, task, raw)
    return [numbers_of(item, width=case.width) for item in shown]


def points(task: Task) -> RawDataset:
    """`ROWS` points of a 2D problem."""
    assert isinstance(task.dataset, GeneratedDataset)
    drawn = generate(task.dataset, ROWS)
    terminals = np.full(ROWS, problem_named(task.dataset.problem).terminal)
    nothing = np.zeros((ROWS, task.observation_dim), dtype=np.float32)
    return RawDataset(task.name, nothing, drawn.actions, drawn.rewards, terminals, ~terminals, task.horizon)


def numbers_of(shown: SeedIllustration | None, *, width: bool) -> Numbers:
    """What is stored of a seed; with `width`, also how wide its actions lie and how many modes they reach.

    `spread` is the root mean square distance of the actions from their mean, `modes_reached` how many of the
    eight Gaussians hold some of them.
    """
    assert shown is not None, "actions are not finite"
    if not width:
        return shown.numbers
    actions = shown.arrays["actions"].numpy()
    eight = [Mode(centre, GAUSSIAN_STD) for centre in gaussian_centres()]
    spread = float(np.sqrt(actions.var(axis=0).sum()))
    return {**shown.numbers, "spread": spread, "modes_reached": modes_reached(actions, eight)}


_EIGHT = "bandit-energy-8gaussians"
_DTQL: dict[str, Value] = {
    "train_iterations": 700,
    "batch_size": 128,
    "hidden_width": 64,
    "diffusion_width": 64,
    "action_value_weight": 2.0,
}
CASES = (
    Case(
        "dtql",
        _EIGHT,
        {**_DTQL, "learning_rate": 1e-2},
        {"share_in_support": "at least", "spread": "at most"},
        width=True,
    ),
    Case("dtql-kl", _EIGHT, _DTQL, {"share_in_support": "at least", "spread": "at least"}, width=True),
    Case(
        "edp-td3",
        _EIGHT,
        {"train_iterations": 1000, "batch_size": 128, "hidden_width": 64, "learning_rate": 1e-3},
        {"energy_distance_to_truth": "at most", "share_on_best_modes": "at least"},
    ),
    Case(
        "srpo",
        "bandit-energy-moons",
        {
            "critic_iterations": 500,
            "behaviour_iterations": 800,
            "policy_iterations": 500,
            "behaviour_batch_size": 128,
            "batch_size": 128,
            "behaviour_width": 32,
            "behaviour_blocks": 2,
            "hidden_width": 64,
            "behaviour_learning_rate": 2e-3,
            "critic_learning_rate": 2e-3,
            "policy_learning_rate": 2e-3,
            "target_update_rate": 0.02,
        },
        {"share_in_support": "at least", "share_on_best_modes": "at least"},
    ),
    Case(
        "bdpo",
        _EIGHT,
        {
            "pretrain_iterations": 600,
            "warm_up_iterations": 200,
            "train_iterations": 800,
            "batch_size": 128,
            "ensemble": 2,
            "samples": 2,
            "diffusion_steps": 20,
            "critic_width": 64,
            "actor_width": 64,
            "actor_layers": 3,
            "actor_interval": 2,
            "actor_learning_rate": 3e-3,
            "behaviour_learning_rate": 3e-3,
            "critic_learning_rate": 3e-3,
            "target_update_rate": 0.05,
            "divergence_weight": 0.2,
        },
        {"energy_distance_to_truth": "at most", "value_test_relative": "at most"},
    ),
)
"""One per method. The energy sets are BDPO's; DTQL's own 25 Gaussians are too wide for runs this short."""
