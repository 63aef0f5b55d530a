"""Prints what every method plans to store for every task and variant: each value with its source.

A script, not a module: it runs with another checkout's `bench` on the path. This is the one place of the
golden records that plans cells; what is printed of them is what a store keeps.
"""

from __future__ import annotations

import json
import sys

from bench.catalog import load_catalog
from bench.execute.grid import Request, plan_cells
from bench.presets import algorithms_with_presets, tasks_of, variants_of
from bench.records import DatasetRecord


def main() -> None:
    """Every trial with seed 0, as JSON by `method variant task`."""
    planned = {}
    tasks = load_catalog().tasks.values()
    for method in algorithms_with_presets():
        with_preset = tuple(task for task in tasks if task.preset_task in tasks_of(method))
        for variant in variants_of(method):
            request = Request(tasks=with_preset, algorithms=(method,), seeds=(0,), variant=variant)
            for cell in plan_cells(request):
                trial = cell.trial(0, DatasetRecord(cell.task.name, "0" * 64, 1000, "verified", "d4rl"))
                planned[f"{method} {variant} {cell.task.name}"] = {
                    "config": trial.config,
                    "config_hash": trial.key.config_hash,
                    "task_version": trial.task_version,
                    "physics": trial.physics,
                    "budget": trial.budget,
                    "protocol": trial.protocol,
                    "episodes": trial.episodes,
                    "reduced": list(trial.reduced),
                    "evaluation_steps": list(cell.evaluation_steps),
                }
    json.dump(planned, sys.stdout)


if __name__ == "__main__":
    main()
