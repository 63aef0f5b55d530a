"""Hyper-parameters set otherwise than a preset has them: on the command line, or by a suite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.catalog import Task, settings_error
from bench.errors import BenchError, unknown_name
from bench.presets import (
    MOST_STEPS,
    Preset,
    PresetFiles,
    Setting,
    Value,
    method_names,
    method_on,
    methods_on,
)
from bench.visible_text import shortened


@dataclass(frozen=True)
class Change:
    """One value, with where it was asked for."""

    name: str
    value: Value
    algorithm: str | None
    """The method it was asked for, as asked; None: for all."""
    suite: str | None = None
    """The suite that says so; None: the command line does."""

    @property
    def source(self) -> str:
        """As stored with the trial."""
        return f"suite {self.suite} in tasks.yaml" if self.suite else "--set on the command line"

    def error(self, problem: str, do_this: str = "") -> BenchError:
        """The error for this value."""
        if self.suite is not None:
            return settings_error(self.suite, self.algorithm or "", self.name, problem, do_this)
        scope = f"{self.algorithm}." if self.algorithm else ""
        return BenchError(f"--set {shortened(f'{scope}{self.name}={self.value}', 160)}", problem, do_this)


def typed_changes(values: Mapping[str, Value]) -> tuple[Change, ...]:
    """Changes from `discount` (for every method) and `bdpo.discount` (for one) with their values."""
    changes = []
    for text, value in values.items():
        algorithm, dot, name = text.rpartition(".")
        changes.append(Change(name, value, algorithm if dot else None))
    return tuple(changes)


def suite_changes(suite: str, settings: Mapping[str, Mapping[str, Value]]) -> tuple[Change, ...]:
    """Changes from a suite's `settings`."""
    return tuple(
        Change(name, value, algorithm, suite)
        for algorithm, values in settings.items()
        for name, value in values.items()
    )


def check_changes(
    changes: Iterable[Change], algorithms: Sequence[str], tasks: Sequence[Task], files: PresetFiles
) -> None:
    """Refuse changes of methods and hyper-parameters that do not exist or are not asked for.

    Raises
    ------
    BenchError : names the first, and what there is.
    """
    chosen = {method for task in tasks for method in methods_on(algorithms, task)}
    for change in changes:
        asked = change.algorithm
        if asked is not None and asked not in method_names():
            unknown = unknown_name("algorithm", asked, method_names(), "bench list algorithms")
            raise change.error(unknown.what, unknown.do_this)
        meant = {method_on(asked, task.domain) for task in tasks} if asked else chosen
        if change.suite is None and not meant & chosen:
            raise change.error(f"{asked} is not among the algorithms of this run.", "Add it to --algos.")
        _check_name(change, sorted(meant), files)


def _check_name(change: Change, methods: Sequence[str], files: PresetFiles) -> None:
    without = [method for method in methods if change.name not in files[method].docs]
    if not without:
        return
    having = [method for method in methods if method not in without]
    unknown = unknown_name(
        f"hyper-parameter of {without[0]}",
        change.name,
        files[without[0]].docs,
        f"bench show {without[0]} TASK",
    )
    only = " or ".join(f"--set {method}.{change.name}={change.value}" for method in having)
    raise change.error(unknown.what, f"For those that have it: {only}" if having else unknown.do_this)


def changes_for(changes: Iterable[Change], algorithm: str, task: Task) -> dict[str, Change]:
    """What holds for a method on a task, by name.

    The command line goes before the suite, and a value for one method before one for all.
    """

    def rank(change: Change) -> tuple[bool, bool]:
        return change.suite is None, change.algorithm is not None

    return {change.name: change for change in sorted(_applying(changes, algorithm, task), key=rank)}


def _applying(changes: Iterable[Change], algorithm: str, task: Task) -> Iterator[Change]:
    for change in changes:
        if change.algorithm is None or method_on(change.algorithm, task.domain) == algorithm:
            yield change


def changed(preset: Preset, changes: Mapping[str, Change]) -> Preset:
    """`preset` with other values.

    Raises
    ------
    BenchError : a value of another type than the preset's, or a step count below 1.
    """
    settings = dict(preset.hyperparameters)
    for name, change in changes.items():
        before = settings[name].value
        settings[name] = Setting(value=_fitting(change, before), source=change.source)
        if name in preset.step_counts and not 1 <= change.value <= MOST_STEPS:
            bound = "at least 1" if change.value < 1 else f"at most {MOST_STEPS:,}"
            raise change.error(f"{name} is {bound}, now {before}.")
    return replace(preset, hyperparameters=settings)


def _fitting(change: Change, before: Value) -> Value:
    """The change's value as the type of the value that it replaces; whole numbers serve as fractions."""
    value, name = change.value, change.name
    if isinstance(before, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, type(before)) or isinstance(value, bool) != isinstance(before, bool):
        raise change.error(f"{name} is of type {type(before).__name__}, now {before}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise change.error(f"{name} is a finite number, now {before}.")
    return value
