"""Presets: a method's hyper-parameters and evaluation settings per task, each value with its source."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.catalog import Task
from bench.errors import BenchError, unknown_name
from bench.field_docs import config_field_docs
from bench.yaml_lines import LinedYaml, load_yaml, validated

Value = bool | int | float | str
Protocol = Literal["last", "rat", "oms"]

RELEASED = "released"
"""The variant that a preset file describes first: what the authors' code does."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Setting(_Entry):
    """A value with its source: a table of the paper, a file of the released code."""

    value: Value
    source: str


class _Count(Setting):
    value: Annotated[int, Field(gt=0, strict=True)]


class _ProtocolSetting(Setting):
    value: Protocol


class _EvaluationEntry(_Entry):
    interval: _Count | None = None
    episodes: _Count | None = None
    protocol: _ProtocolSetting | None = None


class _Scope(_Entry):
    """What holds for all tasks, for a domain, or for a variant."""

    hyperparameters: dict[str, Setting] = {}
    evaluation: _EvaluationEntry = _EvaluationEntry()
    reward_transform: Setting | None = None


class _TaskScope(_Scope):
    task_sources: dict[str, str] = {}
    tasks: dict[str, dict[str, Value]] = {}

    def of_task(self, name: str) -> _Scope:
        """The task's own values as a scope, each with its source."""
        values = self.tasks.get(name, {})
        settings = {key: Setting(value=value, source=self.task_sources[key]) for key, value in values.items()}
        return _Scope(hyperparameters=settings)


class _File(_TaskScope):
    algorithm: str
    title: str
    extends: str | None = None
    """The method whose preset file holds where this one says nothing."""
    omit: tuple[str, ...] = ()
    """Hyper-parameters of the extended file that this method does not have."""
    configuration: Annotated[str, Field(pattern=r"^\w+\.\w+$")] | None = None
    """Module and class in `algorithms` that the hyper-parameters are fields of."""
    step_counts: tuple[str, ...] = ()
    domains: dict[str, _Scope] = {}
    variants: dict[str, _TaskScope] = {}


@dataclass(frozen=True)
class EvaluationSettings:
    """How and how often a policy is judged."""

    interval: int
    """Training iterations between evaluations."""
    episodes: int
    """Per evaluation."""
    protocol: Protocol
    """How evaluations become the reported score."""
    sources: Mapping[str, str]
    """Source of each of the three, by field name."""


@dataclass(frozen=True)
class Preset:
    """Everything that a method prescribes for one task."""

    algorithm: str
    variant: str
    task: str
    """The task whose preset this is: of a collected task, its twin."""
    hyperparameters: Mapping[str, Setting]
    evaluation: EvaluationSettings
    reward_transform: Setting
    step_counts: tuple[str, ...]
    """Names of the hyper-parameters that a budget scales."""

    @property
    def values(self) -> dict[str, Value]:
        """Hyper-parameters without their sources, ready for the method's configuration."""
        return {name: setting.value for name, setting in self.hyperparameters.items()}

    def scaled(self, budget: float) -> Preset:
        """This preset with its step counts and evaluation interval times `budget`, rounded up, at least 1."""
        counts = {
            name: setting.model_copy(update={"value": scaled_count(setting.value, budget)})
            for name, setting in self.hyperparameters.items()
            if name in self.step_counts
        }
        interval = scaled_count(self.evaluation.interval, budget)
        return replace(
            self,
            hyperparameters={**self.hyperparameters, **counts},
            evaluation=replace(self.evaluation, interval=interval),
        )


def scaled_count(count: int, budget: float) -> int:
    """`count` times `budget`, rounded up, at least 1; exact in the decimal digits of `budget` as typed."""
    return max(1, math.ceil(count * Decimal(repr(float(budget)))))


def algorithms_with_presets() -> tuple[str, ...]:
    """Names of the methods that have a preset file, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def title_of(algorithm: str) -> str:
    """The method's name in full."""
    return _load_file(algorithm)[0].title


def variants_of(algorithm: str) -> tuple[str, ...]:
    """Variants that the method's preset file describes, `released` first."""
    return (RELEASED, *_load_file(algorithm)[0].variants)


def tasks_of(algorithm: str) -> tuple[str, ...]:
    """Tasks that the method has a preset for, in the order of the file."""
    return tuple(_load_file(algorithm)[0].tasks)


def hyperparameter_docs(algorithm: str) -> dict[str, str]:
    """Unit and meaning of every hyper-parameter of a method, by name, in the order of its configuration."""
    module, _, name = (_load_file(algorithm)[0].configuration or "").partition(".")
    return config_field_docs(f"algorithms.{module}", name)


def load_preset(algorithm: str, task: Task, variant: str = RELEASED) -> Preset:
    """The preset of `algorithm` for `task` (of a collected task: its twin's).

    Raises
    ------
    BenchError : unknown algorithm or variant, a task without a preset, or a mistake in the preset file.
    """
    file, document = _load_file(algorithm)
    if variant != RELEASED and variant not in file.variants:
        listing = f"bench show {algorithm} {task.name}"
        raise unknown_name("variant", variant, (RELEASED, *file.variants), listing)
    name = task.preset_task
    if name not in file.tasks:
        raise _no_preset(algorithm, task, file.tasks)
    scopes = [file, file.domains.get(task.domain, _Scope()), file.of_task(name)]
    if variant != RELEASED:
        scopes += [file.variants[variant], file.variants[variant].of_task(name)]
    return _merged(file, document, variant, name, scopes)


def _folder() -> Path:
    spec = find_spec("algorithms")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package `algorithms` is missing from this installation of bench")
    return Path(spec.origin).parent / "presets"


def _load_file(algorithm: str) -> tuple[_File, LinedYaml]:
    known = algorithms_with_presets()
    if algorithm not in known:
        raise unknown_name("algorithm", algorithm, known, "bench list algorithms")
    document = load_yaml(_folder() / f"{algorithm}.yaml")
    file = validated(_File, document)
    _check_sources(file, document, ())
    for name, variant in file.variants.items():
        _check_sources(variant, document, ("variants", name))
    if file.extends is not None:
        if file.extends not in known:
            raise document.error(("extends",), f"there is no preset file {file.extends}.yaml")
        file = _extended(_load_file(file.extends)[0], file)
    if not file.step_counts or file.configuration is None:
        raise document.error((), "needs step_counts and configuration")
    return file, document


def _extended(base: _File, own: _File) -> _File:
    """`base` with everything that `own` says laid over it, entry by entry."""
    inherited = base.model_dump(exclude_unset=True)
    for scope in _scopes(inherited):
        for entries in (scope.get("hyperparameters"), *scope.get("tasks", {}).values()):
            for name in own.omit:
                (entries or {}).pop(name, None)
    return _File.model_validate(_overlaid(inherited, own.model_dump(exclude_unset=True)))


def _scopes(file: dict[str, Any]) -> list[dict[str, Any]]:
    """The file itself and all scopes within it, as plain dictionaries."""
    return [file, *file.get("domains", {}).values(), *file.get("variants", {}).values()]


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`; dictionaries are united, everything else is replaced."""
    both = {
        key: _overlaid(below[key], value)
        if isinstance(value, dict) and isinstance(below.get(key), dict)
        else value
        for key, value in above.items()
    }
    return {**below, **both}


def _check_sources(scope: _TaskScope, document: LinedYaml, where: tuple[str, ...]) -> None:
    for task, values in scope.tasks.items():
        for key in values:
            if key not in scope.task_sources:
                raise document.error((*where, "tasks", task, key), "has no entry in task_sources")


def _merged(file: _File, document: LinedYaml, variant: str, task: str, scopes: Iterable[_Scope]) -> Preset:
    """Later scopes override earlier ones, value by value."""
    hyperparameters: dict[str, Setting] = {}
    evaluation: dict[str, Setting] = {}
    reward_transform: Setting | None = None
    for scope in scopes:
        hyperparameters.update(scope.hyperparameters)
        given = {name: getattr(scope.evaluation, name) for name in _EvaluationEntry.model_fields}
        evaluation.update({name: setting for name, setting in given.items() if setting is not None})
        reward_transform = scope.reward_transform or reward_transform
    if reward_transform is None or len(evaluation) < len(_EvaluationEntry.model_fields):
        raise document.error((), "needs reward_transform and evaluation.interval, episodes and protocol")
    for name in file.step_counts:
        if not isinstance(hyperparameters.get(name, Setting(value=0, source="")).value, int):
            raise document.error(("step_counts",), f"{name} is no whole number of steps")
    settings = EvaluationSettings(
        **{name: setting.value for name, setting in evaluation.items()},
        sources={name: setting.source for name, setting in evaluation.items()},
    )
    return Preset(
        file.algorithm, variant, task, hyperparameters, settings, reward_transform, file.step_counts
    )


def _no_preset(algorithm: str, task: Task, known: Iterable[str]) -> BenchError:
    stem = task.preset_task.rsplit("-v", 1)[0]
    siblings = [name for name in known if name.rsplit("-v", 1)[0] == stem]
    hint = (
        f"Use {' or '.join(siblings)}."
        if siblings
        else f"`bench show {algorithm} TASK` works for the others."
    )
    return BenchError(
        f"{algorithm} has no preset for {task.preset_task}",
        "Neither the paper nor the released code gives hyper-parameters for it.",
        hint,
    )
