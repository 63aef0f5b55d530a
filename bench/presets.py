"""Presets: a method's hyper-parameters and evaluation settings per task, each value with its source."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from algorithms.registry import ALIASES
from bench.catalog import GoalRule, Task
from bench.errors import BenchError, unknown_name
from bench.preset_files import (
    EvaluationEntry,
    PresetFile,
    PresetFiles,
    Presets,
    Protocol,
    Scope,
    Setting,
    Value,
    algorithms_with_presets,
    load_presets,
)
from bench.visible_text import quoted

__all__ = [
    "ALIASES",
    "RELEASED",
    "EvaluationSettings",
    "Preset",
    "PresetFiles",
    "Protocol",
    "Setting",
    "Value",
    "algorithms_with_presets",
    "explanations",
    "hyperparameter_docs",
    "load_preset",
    "method_names",
    "method_on",
    "methods_on",
    "place_of",
    "preset_of",
    "scaled_count",
    "tasks_of",
    "title_of",
    "variants_of",
]

RELEASED = "released"
"""The variant that a preset file describes first: what the authors' code does."""


MOST_STEPS = 1_000_000_000
"""Of a stage: a thousand times what the papers train."""

D4RL_TRANSITIONS = Setting(value="d4rl", source="released code: D4RL's qlearning_dataset")
"""Where a preset file says nothing of transitions."""

EVERY_RESET = Setting(value="per_episode", source="D4RL: this version draws a goal at every reset")
"""Where the task leaves nothing to choose."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How and how often a policy is judged."""

    interval: int
    """Training iterations between evaluations."""
    episodes: int
    """Per evaluation."""
    protocol: Protocol
    """How evaluations become the reported score."""
    goals: GoalRule | None
    """Which episodes share a goal; None where the task draws none."""
    sources: Mapping[str, str]
    """Source of each, by field name."""


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
    transitions: Setting
    """Which rows of the dataset's file become transitions."""
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
    """`count` times `budget`, rounded up, at least 1; exact in the decimal digits of `budget` as typed.

    A count of 0, a stage that is left out, stays 0.
    """
    return max(min(1, count), math.ceil(count * Decimal(repr(float(budget)))))


def method_on(name: str, domain: str) -> str:
    """The method that `name` means in a domain; its own name unless it is an alias."""
    alias = ALIASES.get(name)
    return alias.methods.get(domain, alias.elsewhere) if alias else name


def methods_on(names: Iterable[str], task: Task) -> tuple[str, ...]:
    """The methods that `names` mean on a task, each once."""
    return tuple(dict.fromkeys(method_on(name, task.domain) for name in names))


def method_names() -> tuple[str, ...]:
    """Every name that a method may be asked for by, sorted."""
    return tuple(sorted({*algorithms_with_presets(), *ALIASES}))


def explanations(names: Iterable[str]) -> list[str]:
    """One line for each of `names` that is an alias."""
    return [str(ALIASES[name]) for name in names if name in ALIASES]


def title_of(algorithm: str) -> str:
    """The method's name in full."""
    return load_presets(algorithm).file.title


def variants_of(algorithm: str) -> tuple[str, ...]:
    """Variants that the method's preset file describes, `released` first."""
    return (RELEASED, *load_presets(algorithm).file.variants)


def tasks_of(algorithm: str) -> tuple[str, ...]:
    """Tasks that the method has a preset for, in the order of the file."""
    return tuple(load_presets(algorithm).file.tasks)


def hyperparameter_docs(algorithm: str) -> dict[str, str]:
    """Unit and meaning of every hyper-parameter of a method, by name, in the order of its configuration."""
    return dict(load_presets(algorithm).docs)


def place_of(preset: Preset, domain: str, name: str) -> str:
    """Where the file gives the value of a hyper-parameter: `dtql.yaml line 41`."""
    return load_presets(preset.algorithm).place_of(name, preset.task, domain, preset.variant)


def load_preset(algorithm: str, task: Task, variant: str = RELEASED) -> Preset:
    """The preset of `algorithm` for `task` (of a collected task: its twin's).

    Raises
    ------
    BenchError : unknown algorithm or variant, a task or a value that the file does not give, or a mistake in
    the file.
    """
    return preset_of(load_presets(algorithm), task, variant)


def preset_of(presets: Presets, task: Task, variant: str = RELEASED) -> Preset:
    """The preset for `task` in a file that is loaded; as `load_preset`."""
    file = presets.file
    algorithm = presets.algorithm
    if variant != RELEASED and variant not in file.variants:
        listing = f"bench show {algorithm} {task.name}"
        raise unknown_name("variant", variant, (RELEASED, *file.variants), listing)
    name = task.preset_task
    if name not in file.tasks:
        raise _no_preset(algorithm, task, file)
    scopes = [file, file.domains.get(task.domain, Scope()), file.of_task(name)]
    if variant != RELEASED:
        scopes += [file.variants[variant], file.variants[variant].of_task(name)]
    return _merged(presets, variant, task, scopes)


def _merged(presets: Presets, variant: str, task: Task, scopes: Iterable[Scope]) -> Preset:
    """Later scopes override earlier ones, value by value."""
    file = presets.file
    preset_task = task.preset_task
    hyperparameters: dict[str, Setting] = {}
    evaluation: dict[str, Setting] = {}
    reward_transform: Setting | None = None
    transitions: Setting = D4RL_TRANSITIONS
    for scope in scopes:
        hyperparameters.update(scope.hyperparameters)
        given = {name: getattr(scope.evaluation, name) for name in EvaluationEntry.model_fields}
        evaluation.update({name: setting for name, setting in given.items() if setting is not None})
        reward_transform = scope.reward_transform or reward_transform
        transitions = scope.transitions or transitions
    goals = _goals(presets, task, evaluation.pop("goals", None))
    if reward_transform is None or len(evaluation) < len(EvaluationEntry.model_fields) - 1:
        raise presets.error((), "needs reward_transform and evaluation.interval, episodes and protocol")
    if goals:
        evaluation["goals"] = goals
    missing = [name for name in presets.docs if name not in hyperparameters]
    if missing:
        raise _no_value(presets, missing[0], preset_task)
    for name in file.step_counts:
        count = hyperparameters[name].value
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_STEPS:
            raise presets.error(("step_counts",), f"{name} is no number of steps: {quoted(count)}")
    settings = EvaluationSettings(
        **{"goals": None, **{field: setting.value for field, setting in evaluation.items()}},
        sources={field: setting.source for field, setting in evaluation.items()},
    )
    return Preset(
        algorithm=presets.algorithm,
        variant=variant,
        task=preset_task,
        hyperparameters=hyperparameters,
        evaluation=settings,
        reward_transform=reward_transform,
        transitions=transitions,
        step_counts=file.step_counts,
    )


def _goals(presets: Presets, task: Task, given: Setting | None) -> Setting | None:
    """The rule by which a task's goals are drawn: D4RL's own, or where it leaves that open the method's."""
    if task.goals is None:
        return None
    if task.goals == "every_reset":
        return EVERY_RESET
    if given is None:
        raise presets.error((), f"needs evaluation.goals for {task.name}")
    return given


def _no_preset(algorithm: str, task: Task, file: PresetFile) -> BenchError:
    wanted = task.preset_task
    stem = wanted.rsplit("-v", 1)[0]
    siblings = [name for name in file.tasks if name.rsplit("-v", 1)[0] == stem]
    values = ", ".join(file.task_sources)
    return BenchError(
        f"{algorithm} has no preset for {wanted}",
        f"Neither the paper nor the released code gives its values for it (task by task: {values}).",
        f"Use {' or '.join(siblings)}." if siblings else _tasks_with_it(file.tasks),
    )


def _no_value(presets: Presets, name: str, task: str) -> BenchError:
    having = [other for other, values in presets.file.tasks.items() if name in values]
    return BenchError(
        f"{presets.algorithm} has no value of {name} for {task}",
        f"{presets.documents[0].path.name} gives none for this task, its domain or all tasks.",
        _tasks_with_it(having),
    )


def _tasks_with_it(tasks: Iterable[str]) -> str:
    names = list(tasks)
    return f"Tasks that have it: {', '.join(names)}." if names else "No task has it."
