"""Which presets stand for all that run a method's programs, and how to make them short or small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from algorithms.base import Algorithm, Phase, tiny
from algorithms.registry import method, methods
from bench.catalog import Task, load_catalog
from bench.presets import Preset, PresetFiles, Setting, Value, preset_of
from bench.training.trainer import method_for

OTHER_SETTINGS: Mapping[str, tuple[Mapping[str, Value], ...]] = {
    "edp-td3": (
        {"action_approximation": False, "backup_samples": 3},
        {"sampler": "ddpm", "diffusion_steps": 5, "noise_schedule": "vp"},
    ),
}
"""Settings of a method that run other operations and that no preset has, to be put into its first one."""


def every_program(name: str) -> Iterator[tuple[Task, Preset]]:
    """Presets of a method that between them have every kind of every setting, each with its task.

    In the order of the preset file, and what `OTHER_SETTINGS` adds.
    """
    presets, catalog = PresetFiles()[name], load_catalog()
    seen: set[tuple[str, object]] = set()
    for task in map(catalog.task, presets.tasks):
        for variant in presets.variants:
            preset = preset_of(presets, task, variant)
            kinds = {(setting, _kind(value)) for setting, value in preset.values.items()}
            if not kinds <= seen:
                seen |= kinds
                yield task, preset
    first = catalog.task(presets.tasks[0])
    for changes in OTHER_SETTINGS.get(name, ()):
        yield first, changed(preset_of(presets, first, presets.variants[0]), changes)


def _kind(value: Value) -> object:
    """Alike of values with which the same operations run: of a number only whether it is 0, 1 or another."""
    if isinstance(value, bool | str):
        return value
    return min(value, 2) if isinstance(value, int) else value == 0


def changed(preset: Preset, values: Mapping[str, Value]) -> Preset:
    """A preset with other values."""
    settings = {name: Setting(value, "benchmarks.gpu.subjects") for name, value in values.items()}
    return replace(preset, hyperparameters={**preset.hyperparameters, **settings})


def shrunk(preset: Preset) -> Preset:
    """A preset at the sizes of a tiny test run, its diffusion steps and counts of passes apart."""
    small = tiny(method(preset.algorithm).load()[1])
    return changed(preset, {name: size for name, size in small.items() if name in preset.hyperparameters})


def shortened(preset: Preset, iterations: int, border: int) -> Preset:
    """A preset whose phases have so many iterations, and whose other stages begin after `border`.

    A count of 0, of a stage that is left out, stays; so every program of the preset runs.
    """
    phases = set(preset.phases.values())
    counts = {
        name: iterations if name in phases else border for name in preset.step_counts if preset.count(name)
    }
    return changed(preset, counts)


def phases_of(task: Task, preset: Preset) -> tuple[Phase, ...]:
    """The phases of a preset's method; its sizes, which change none of them, are the smallest."""
    return made(task, shrunk(preset), (0,)).phases


def made(task: Task, preset: Preset, seeds: tuple[int, ...], device: str = "cpu") -> Algorithm:
    """A preset's method, untrained."""
    return method_for(task, preset.algorithm, preset.values, seeds, device)


def all_methods() -> tuple[str, ...]:
    """Names of this package's methods, in their order; what others have installed is theirs to prove."""
    return tuple(name for name, chosen in methods().items() if chosen.distribution is None)
