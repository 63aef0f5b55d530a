"""A canary that runs in seconds: two tiny cells, a baseline of four seeds, nights of two."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml

from bench.nightly import exact
from tests.execute.tiny import CHANGES, TASK

STORE = "nights.sqlite"
CANARY = {
    "canary": [
        {
            "tasks": [TASK],
            "algorithms": ["dtql", "bc"],
            "evaluations": 1,
            "episodes": 2,
            "settings": {
                "dtql": {**CHANGES, "pretrain_iterations": 5, "train_iterations": 10},
                "bc": {"batch_size": 16, "train_iterations": 10},
            },
        }
    ],
    "seeds": {"baseline": 4, "per_night": 2, "confirmation": 3},
    "drift": {"nights": 5},
    "speed": None,
    "store": STORE,
}


def write_canary(folder: Path, **changes: object) -> Path:
    """A nightly.yaml in a folder, with entries at its top changed."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**CANARY, **changes}))
    return path


@functools.cache
def _simulators() -> dict[str, exact.Recording]:
    return {"hopper d4rl": exact.record_simulator("hopper", "d4rl", 20)}


def few_fingerprints(tasks, **_) -> exact.Fingerprints:
    """The exact layers without the trainings, which take half a minute and have tests of their own."""
    return exact.Fingerprints(exact.machine(), {}, exact.dataset_hashes(tasks), _simulators())
