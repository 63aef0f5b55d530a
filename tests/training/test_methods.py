"""What a method says of itself before it is made."""

from __future__ import annotations

import pytest

from bench.catalog import load_catalog
from bench.presets import PresetFiles, preset_of
from bench.training.trainer import phases_for

EXPECTED = {
    "bc": ["train"],
    "bdpo": ["pretrain", "train"],
    "bdpo-dirac": ["pretrain", "train"],
    "bdpo-gaussian": ["pretrain", "train"],
    "dtql": ["pretrain", "train"],
    "dtql-kl": ["pretrain", "train"],
    "edp-td3": ["train"],
    "edp-crr": ["train"],
    "edp-iql": ["train"],
    "srpo": ["critic", "behaviour", "policy"],
    "srpo-points": ["behaviour", "policy"],
}


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_the_phases_of_a_method_with_a_preset(name: str, expected: list[str]) -> None:
    catalog, presets = load_catalog(), PresetFiles()[name]
    task = next(task for task in catalog.tasks.values() if task.preset_task in presets.tasks)
    values = preset_of(presets, task, "released").values
    phases = phases_for(task, name, values)
    assert [phase.name for phase in phases] == expected
    assert [phase.iterations for phase in phases] == [values[f"{name}_iterations"] for name in expected]
    # The last alone is evaluated, of all methods that there are.
    assert [phase.evaluated for phase in phases] == [False] * (len(expected) - 1) + [True]
