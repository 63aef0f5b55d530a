"""From a request (algorithms x tasks x seeds) to trials: what each is, and how it falls short of the
preset.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import cast

from algorithms.registry import GROUPS, MethodError, configuration
from bench.catalog import AddedDataset, Task, settings_error
from bench.data.dataset import RULES_OF_TRAJECTORIES, without_trajectories
from bench.data.rewards import TRANSFORMS_OF_RETURNS
from bench.envs import physics_under
from bench.errors import BenchError, unknown_name
from bench.presets import (
    MOST_STEPS,
    Preset,
    PresetFiles,
    Presets,
    Setting,
    Value,
    method_names,
    method_on,
    methods_on,
    preset_of,
)
from bench.records import (
    ASKED_PRECISION,
    FOREIGN,
    PRECISION,
    SOURCES,
    TUNED,
    DatasetRecord,
    GoalRule,
    Physics,
    Precision,
    TrialKey,
    TrialRecord,
    config_hash,
    method_label,
)
from bench.visible_text import shortened

MOST_EVALUATIONS = 100_000
"""Of one trial, a hundred times the papers'; each is listed in the configuration."""


SHORT_NAMES: Mapping[str, tuple[str, str]] = {
    "lr": ("learning_rate", "learning_rate"),
    "gamma": ("discount", "discount"),
    "tau": ("target_update_rate", "target_update_rate"),
    "bs": ("batch_size", "batch_size"),
    "width": ("hidden_width", "width"),
}
"""Hyper-parameters as people type them: the setting that is meant where a method has it, else those that end
so."""


@dataclass(frozen=True)
class Request:
    """What was asked for; None leaves a setting to the preset."""

    tasks: tuple[Task, ...]
    algorithms: tuple[str, ...]
    seeds: tuple[int, ...]
    variant: str = "released"
    budget: float = 1.0
    """Factor on every step count of the preset, in (0, 1]."""
    evaluations: int | None = None
    episodes: int | None = None
    physics: Physics | None = None
    goals: GoalRule | None = None
    """Which episodes share a goal, of tasks whose goal is drawn when an environment is made."""
    precision: Precision | None = None
    """In which a GPU multiplies matrices."""
    changes: Mapping[str, Value] = field(default_factory=dict)
    """Hyper-parameters to set otherwise than the preset (after the budget is applied): `discount` of every
    algorithm, `bdpo.discount` of one."""
    suite: str | None = None
    """The suite that the tasks come from. An algorithm then leaves out those it has no preset for, as one of
    a group always does."""
    suite_settings: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """Hyper-parameters that the suite sets otherwise, by algorithm; `changes` go before them."""
    tuned: bool = False
    """It is part of a search, and its trials are marked so."""


@dataclass(frozen=True)
class Cell:
    """Algorithm x variant x task with everything that determines its numbers, except data and seed."""

    algorithm: str
    variant: str
    task: Task
    physics: str
    budget: float
    preset: Preset
    """Scaled by the budget."""
    evaluation_steps: tuple[int, ...]
    """Iterations of the evaluated phase after which evaluations fall, the last at its end."""
    episodes: int
    reduced: tuple[str, ...]
    """What is below or other than the preset, in words; empty for a full cell."""
    other_precision: bool = False
    """Whether a precision was asked for that is not the preset's. It is shown and bars no verdict."""
    tuned: bool = False
    """Whether it is part of a search."""

    @property
    def name(self) -> str:
        """For people: `dtql hopper-medium-v2`, with the variant where it is not the default."""
        return f"{method_label(self.algorithm, self.variant)} {self.task.name}"

    def trial(self, seed: int, dataset: DatasetRecord) -> TrialRecord:
        """The trial of one training seed on a dataset."""
        return self.trials([seed], dataset)[0]

    def trials(self, seeds: Sequence[int], dataset: DatasetRecord) -> list[TrialRecord]:
        """The trials of training seeds on a dataset; they share one configuration and its hash."""
        config = self._config(dataset)
        hashed = config_hash(config)
        return [
            TrialRecord(
                key=TrialKey(self.algorithm, self.variant, self.task.name, seed, hashed),
                config=config,
                dataset=dataset,
                task_version=self.task.version,
                physics=self.physics,
                budget=self.budget,
                protocol=self.preset.evaluation.protocol,
                episodes=self.episodes,
                reduced=self.reduced,
            )
            for seed in seeds
        ]

    def _config(self, dataset: DatasetRecord) -> dict[str, object]:
        hyperparameters, rank = self.preset.hyperparameters, self.preset.evaluation.selected_rank
        return {
            "algorithm": self.algorithm,
            "variant": self.variant,
            "task": self.task.name,
            "task_version": self.task.version,
            "physics": self.physics,
            "budget": self.budget,
            "dataset": {"name": dataset.name, "sha256": dataset.sha256, "rows": dataset.rows},
            "hyperparameters": {name: setting.value for name, setting in hyperparameters.items()},
            "reward_transform": self.preset.reward_transform.value,
            "transitions": self.preset.transitions.value,
            "evaluation": {
                "steps": list(self.evaluation_steps),
                "episodes": self.episodes,
                "protocol": self.preset.evaluation.protocol,
                # Left out where there is none: what determines those numbers is as it was.
                **({"goals": self.preset.evaluation.goals} if self.preset.evaluation.goals else {}),
                **({} if rank is None else {"selected_rank": rank}),
            },
            **({FOREIGN: _foreign(self.task)} if self.task.foreign else {}),
            PRECISION: self.preset.precision.value,
            **({ASKED_PRECISION: self.preset.precision.value} if self.other_precision else {}),
            **({TUNED: True} if self.tuned else {}),
            SOURCES: {
                name: setting.source
                for name, setting in {**hyperparameters, PRECISION: self.preset.precision}.items()
            },
        }


def _foreign(task: Task) -> dict[str, object]:
    """What a user's own catalogue says of a task, and may say otherwise tomorrow under the same name."""
    return {
        "environment": task.environment,
        "reference": task.reference.model_dump(),
        **({"preset_of": task.preset_of} if task.preset_of else {}),
    }


def plan_cells(request: Request) -> list[Cell]:
    """The cells of a request, task by task.

    Raises
    ------
    BenchError : an unknown name, a budget outside (0, 1], a task without a preset
    that was asked for by name, a value that a hyper-parameter cannot take.
    """
    if not (math.isfinite(request.budget) and 0 < request.budget <= 1):
        raise BenchError(
            f"budget {request.budget:g}",
            "A budget is a factor on the preset's step counts, above 0 and at most 1.",
            "For a quick look try --budget 0.001.",
        )
    files = PresetFiles()
    changes = _changes(request, files)
    cells = [
        _cell(request, files[algorithm], task, changes)
        for algorithm, task in _combinations(request)
        # Suites and groups of methods leave out what has no preset; what is asked for by name must have one.
        if (request.suite is None and algorithm in methods_on(set(request.algorithms) - GROUPS.keys(), task))
        or task.preset_task in files[algorithm].tasks
    ]
    if not cells:
        which = f"no task of suite {request.suite}" if request.suite else "none of these tasks"
        raise BenchError(
            f"{which} has a preset of {', '.join(request.algorithms)}",
            "",
            "`bench list algorithms` and `bench show ALGORITHM TASK` show what has one.",
        )
    return cells


def left_out(request: Request, cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Algorithms and tasks of a suite or group between which there is no preset, and so no cell."""
    made = {(cell.algorithm, cell.task.name) for cell in cells}
    wanted = [(algorithm, task.name) for algorithm, task in _combinations(request)]
    return [names for names in wanted if names not in made]


def _combinations(request: Request) -> Iterator[tuple[str, Task]]:
    """Every method on every task, task by task."""
    for task in request.tasks:
        for algorithm in methods_on(request.algorithms, task):
            yield algorithm, task


# Hyper-parameters that are set otherwise than a preset has them: on the command line, or by a suite


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

    def applies(self, algorithm: str, task: Task) -> bool:
        """Whether it was asked for a method on a task."""
        return self.algorithm is None or method_on(self.algorithm, task.domain) == algorithm

    def error(self, problem: str, do_this: str = "") -> BenchError:
        """The error for this value."""
        if self.suite is not None:
            return settings_error(self.suite, self.algorithm or "", self.name, problem, do_this)
        scope = f"{self.algorithm}." if self.algorithm else ""
        return BenchError(f"--set {shortened(f'{scope}{self.name}={self.value}', 160)}", problem, do_this)


def _changes(request: Request, files: PresetFiles) -> list[Change]:
    """All changes in an order in which of those that apply to a cell the last one holds.

    The command line goes before the suite, and a value for one method before one for all.

    Raises
    ------
    BenchError : a change of a method or hyper-parameter that does not exist or is not asked for.
    """
    changes = [
        Change(name, value, algorithm, request.suite or "")
        for algorithm, values in request.suite_settings.items()
        for name, value in values.items()
    ]
    chosen = {algorithm for algorithm, _ in _combinations(request)}
    for text, value in request.changes.items():
        algorithm, dot, name = text.rpartition(".")
        change = Change(name, value, algorithm if dot else None)
        changes += _in_full(change, chosen, request.tasks, files) if name in SHORT_NAMES else [change]
    for change in changes:
        _check_names(change, chosen, request.tasks, files)
    return sorted(changes, key=lambda change: (change.suite is None, change.algorithm is not None))


def _in_full(change: Change, chosen: Set[str], tasks: Sequence[Task], files: PresetFiles) -> Iterator[Change]:
    """A change by a short name, as one of each method that is meant; as it is where a method knows the name.

    Raises
    ------
    BenchError : a method has several hyper-parameters that it may stand for.
    """
    if change.algorithm is not None and change.algorithm not in method_names():
        yield change
        return
    asked = change.algorithm
    for method in sorted({method_on(asked, task.domain) for task in tasks} if asked else chosen):
        docs, (full, ending) = files[method].docs, SHORT_NAMES[change.name]
        found = [full] if full in docs else [name for name in docs if name.endswith(ending)]
        if change.name in docs or not found:
            yield change if not found else replace(change, algorithm=method)
        elif len(found) > 1:
            settings = " or ".join(f"--set {method}.{name}={change.value}" for name in found)
            raise change.error(f"{change.name} may mean several settings of {method}.", f"Type {settings}.")
        else:
            yield replace(change, name=found[0], algorithm=method)


def understood(request: Request) -> list[str]:
    """A line for each short name of a hyper-parameter that was typed: what it was taken for.

    Raises
    ------
    BenchError : as `plan_cells`.
    """
    lines = []
    typed = {name.rpartition(".")[2] for name in request.changes} & SHORT_NAMES.keys()
    files = PresetFiles()
    for change in _changes(request, files) if typed else ():
        short = next((name for name in sorted(typed) if change.name.endswith(SHORT_NAMES[name][1])), None)
        if short is not None and change.suite is None and change.algorithm is not None:
            lines.append(f"{short} is {change.name} of {change.algorithm}.")
    return lines


def _check_names(change: Change, chosen: Set[str], tasks: Sequence[Task], files: PresetFiles) -> None:
    """Every method that a change is meant for has the hyper-parameter, and one of them is in the grid."""
    asked = change.algorithm
    if asked is not None and asked not in method_names():
        unknown = unknown_name("algorithm", asked, method_names(), "bench list algorithms")
        raise change.error(unknown.what, unknown.do_this)
    meant = {method_on(asked, task.domain) for task in tasks} if asked else chosen
    if change.suite is None and not meant & chosen:
        raise change.error(f"{asked} is not among the algorithms of this run.", "Add it to --algos.")
    without = [method for method in sorted(meant) if change.name not in files[method].docs]
    if without:
        docs, listing = files[without[0]].docs, f"bench show {without[0]} TASK"
        unknown = unknown_name(f"hyper-parameter of {without[0]}", change.name, docs, listing)
        having = sorted(meant - set(without))
        only = " or ".join(f"--set {method}.{change.name}={change.value}" for method in having)
        raise change.error(unknown.what, f"For those that have it: {only}" if having else unknown.do_this)


def _changed(preset: Preset, changes: Mapping[str, Change]) -> Preset:
    """`preset` with other values.

    Raises
    ------
    BenchError : a value of another type than the preset's, or a step count below 1.
    """
    settings = dict(preset.hyperparameters)
    for name, change in changes.items():
        before = settings[name].value
        value = _fitting(change, before)
        settings[name] = Setting(value, change.source)
        if name in preset.step_counts and not 1 <= cast(int, value) <= MOST_STEPS:
            bound = "at least 1" if cast(int, value) < 1 else f"at most {MOST_STEPS:,}"
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


# From a preset to a cell


def evaluation_steps(iterations: int, interval: int, count: int | None = None) -> tuple[int, ...]:
    """Iterations after which evaluations fall: every `interval`, or `count` evenly spaced; always at the
    end.

    Raises
    ------
    BenchError : they are more than MOST_EVALUATIONS.
    """
    wanted = count if count is not None else iterations // interval
    if min(wanted, iterations) > MOST_EVALUATIONS:
        what = f"{wanted:,} evaluations of one trial"
        raise BenchError(what, f"At most {MOST_EVALUATIONS:,} are made.", "Name fewer with --evals.")
    if count is not None:
        count = min(count, iterations)
        return tuple(math.ceil(iterations * number / count) for number in range(1, count + 1))
    regular = tuple(range(interval, iterations + 1, interval))
    return regular if regular and regular[-1] == iterations else (*regular, iterations)


def _cell(request: Request, presets: Presets, task: Task, changes: Iterable[Change]) -> Cell:
    full = preset_of(presets, task, request.variant)
    asked = {change.name: change for change in changes if change.applies(full.algorithm, task)}
    preset = _with_goals(_changed(full.scaled(request.budget), asked), request.goals, task)
    preset = _with_precision(preset, request.precision)
    _check_values(preset, asked)
    _require_trajectories(preset, task)
    iterations = preset.phase_iterations[preset.evaluated]
    steps = evaluation_steps(iterations, preset.evaluation.interval, request.evaluations)
    full_iterations = full.phase_iterations[full.evaluated]
    full_count = len(evaluation_steps(full_iterations, full.evaluation.interval))
    episodes = request.episodes or full.evaluation.episodes
    reduced = []
    if request.budget < 1:
        reduced.append(f"budget {request.budget:g}")
    if len(steps) < full_count:
        reduced.append(f"{len(steps)} of {full_count} evaluations")
    if episodes < full.evaluation.episodes:
        reduced.append(f"{episodes} of {full.evaluation.episodes} episodes")
    if preset.evaluation.goals != full.evaluation.goals:
        reduced.append(f"goals {preset.evaluation.goals}, not {full.evaluation.goals}")
    reduced += [f"{name} set to {preset.values[name]}" for name in asked]
    if request.tuned:
        reduced.append(TUNED)
    return Cell(
        algorithm=full.algorithm,
        variant=full.variant,
        task=task,
        physics=physics_under(task, request.physics),
        budget=request.budget,
        preset=preset,
        evaluation_steps=steps,
        episodes=episodes,
        reduced=tuple(reduced),
        other_precision=preset.precision != full.precision,
        tuned=request.tuned,
    )


def _require_trajectories(preset: Preset, task: Task) -> None:
    """Refuse at once what a run would find out when it reads a user's own file."""
    if not isinstance(task.dataset, AddedDataset) or task.dataset.in_order:
        return
    if (
        preset.transitions.value in RULES_OF_TRAJECTORIES
        or preset.reward_transform.value in TRANSFORMS_OF_RETURNS
    ):
        raise without_trajectories(task.name, preset.algorithm)


def _with_precision(preset: Preset, precision: Precision | None) -> Preset:
    """The preset in another precision, where another one was asked for."""
    if precision in (None, preset.precision.value):
        return preset
    return replace(preset, precision=Setting(precision, "asked for with --precision"))


def _with_goals(preset: Preset, goals: GoalRule | None, task: Task) -> Preset:
    """The preset with another rule of goals, where one was asked for."""
    if goals is None:
        return preset
    if task.goals != "by_method":
        why = "It draws one at every reset." if task.goals else "It draws no goal."
        raise BenchError(f"goals {goals} for {task.name}", why, "Leave --goals away.")
    source = "asked for with --goals"
    sources = {**preset.evaluation.sources, "goals": source}
    return replace(preset, evaluation=replace(preset.evaluation, goals=goals, sources=sources))


def _check_values(preset: Preset, changes: Mapping[str, Change]) -> None:
    """Refuse what the method's configuration refuses, saying where the value comes from."""
    try:
        configuration(preset.algorithm, preset.values)
    except MethodError as error:
        raise BenchError(str(error)) from error
    except ValueError as error:
        # The message starts with the name of the hyper-parameter.
        name = str(error).partition(" ")[0]
        if name in changes:
            raise changes[name].error(f"{error}.") from error
        given = preset.hyperparameters.get(name)
        where = given.place if given is not None else f"{preset.algorithm}.yaml"
        raise BenchError(f"{where}: {preset.algorithm} on {preset.task}: {error}") from error
