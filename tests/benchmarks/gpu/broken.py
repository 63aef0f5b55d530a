"""Behaviour cloning with mistakes that only a GPU would show, and whether fake CUDA tensors show them.

`python -m tests.benchmarks.gpu.broken`, in a process started for fake tensors, prints the faults of each.
"""

from __future__ import annotations

import json
import sys
from unittest import mock

import torch

from algorithms.base import Dimensions
from algorithms.bc import BC
from algorithms.optim import Adam
from algorithms.registry import configuration
from bench.catalog import load_catalog
from bench.presets import load_preset
from benchmarks.gpu import count, fake
from benchmarks.gpu.subjects import shrunk

TASK = load_catalog().task("hopper-medium-v2")
PRESET = shrunk(load_preset("bc", TASK))


class Weighted(BC):
    """The loss times a weight that differs from iteration to iteration, or is at fault."""

    def weight(self, batch):
        return 1.0

    def update(self, program, batch, draws):
        weight = self.weight(batch)
        loss = (self.networks["actor"](batch["observations"]) - batch["actions"]).square().mean(dim=(-2, -1))
        self.minimise("actor", loss * weight)
        return {"actor_loss": loss.detach()}


class CountsOnTheHost(Weighted):
    steps = 0

    def weight(self, batch):
        self.steps += 1
        return self.steps


class ConstantOnTheCPU(Weighted):
    def build(self):
        super().build()
        self.constant = torch.tensor(0.5, device="cpu")

    def weight(self, batch):
        return self.constant


class IndexByMask(Weighted):
    def weight(self, batch):
        return batch["rewards"][batch["rewards"] > 0].mean()


class StateOutsideStateDict(Weighted):
    def build(self):
        super().build()
        self.trace = torch.zeros(len(self.seeds), device=self.device)

    def weight(self, batch):
        self.trace += 1
        return self.trace


class ReadingAdam(Adam):
    def step(self, gradients):
        self.learning_rate *= 1 - 1e-3 * self.steps.item()
        super().step(gradients)


class ReplacingAdam(Adam):
    def step(self, gradients):
        super().step(gradients)
        self.first_moments = [moment.clone() for moment in self.first_moments]


class WithAdam(BC):
    adam = Adam

    def build(self):
        super().build()
        self.optimisers = {"actor": self.adam(self.networks["actor"].parameters(), 1e-3)}


class ItemInTheOptimiser(WithAdam):
    adam = ReadingAdam


class MomentsReplaced(WithAdam):
    adam = ReplacingAdam


BROKEN = (
    *(CountsOnTheHost, ItemInTheOptimiser, ConstantOnTheCPU),
    *(MomentsReplaced, IndexByMask, StateOutsideStateDict),
)


def maker(kind):
    """In the place of `subjects.made`: makes `kind`."""

    def made(task, preset, seeds, device="cpu"):
        dimensions = Dimensions(task.observation_dim, task.action_dim, task.action_bound)
        return kind(dimensions, configuration("bc", preset.values), seeds, device)

    return made


def main() -> None:
    fake.pretend_devices()
    found = {}
    for kind in BROKEN:
        with mock.patch.object(count, "made", maker(kind)):
            try:
                rows = list(count.count_programs(TASK, PRESET, 3))
                found[kind.__name__] = [fault for row in rows for fault in row.faults]
            except Exception as error:  # noqa: BLE001 (whatever fake tensors refuse)
                found[kind.__name__] = [f"{type(error).__name__}: {error}"]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
