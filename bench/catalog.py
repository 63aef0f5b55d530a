"""Tasks and suites, read from tasks.yaml and from the user's own catalogue.

A user's catalogue, the file that `BENCH_TASKS` names or else `tasks.yaml` in the working folder, has tasks
and suites; they are checked by the same rules, and none takes the place of one that is here already.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from bench.errors import BenchError, unknown_name
from bench.records import Executor, Physics
from bench.resources import OWN_FILE, TASKS_VARIABLE, own_tasks_file, resource
from bench.yaml_lines import Entry, LinedYaml, load_yaml, validated

NO_PHYSICS = "none"
"""Physics of tasks whose reward is a formula and whose state never changes."""
RecipeName = Literal["medium", "medium-replay", "medium-expert", "cloned", "antmaze", "demonstrations"]

PositiveInt = Annotated[int, Field(gt=0, strict=True)]
"""Strict, because a count given as text or as 1000.0 is a slip of the pen worth naming."""
Number = Annotated[float, Field(strict=True)]
"""Strict, because `yes` is no number; a whole one serves."""


class Domain(Entry):
    """What tables and statistics must know of a kind of tasks; their order in the file is that of tables."""

    title: str
    """Heading of its tasks where a table has no other."""
    versions_differ: bool = False
    """Versions of a task are different data: a table has a heading for each."""
    succeeds_or_fails: bool = False
    """An episode scores 0 or 100, so that a mean over episodes varies by the binomial law at least."""


class ReferenceScores(Entry):
    """Undiscounted returns that count as score 0 and score 100 (D4RL's REF_MIN_SCORE, REF_MAX_SCORE)."""

    random: Number
    expert: Number

    @model_validator(mode="after")
    def _ordered(self) -> ReferenceScores:
        if self.expert <= self.random:
            raise ValueError(f"expert ({self.expert}) must be above random ({self.random})")
        return self


class D4RLDataset(Entry):
    """A file published by D4RL."""

    source: Literal["d4rl"]
    url: Annotated[str, Field(pattern=r"^https?://.+\.hdf5$")]
    rows: PositiveInt | None
    """Rows in the file, before any are dropped; None where no figure is known."""

    @property
    def file_name(self) -> str:
        """Name under which D4RL itself keeps the file (`hopper_medium-v2.hdf5`)."""
        return PurePosixPath(urlsplit(self.url).path).name


class PolicyShare(Entry):
    """A behaviour policy and the share of the rows that it collects."""

    role: str
    share: Annotated[float, Field(gt=0, le=1, strict=True)]
    noise: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    """Standard deviation of normal noise added to each number of an action, which is then clipped."""

    @property
    def name(self) -> str:
        """`expert`, or with noise `expert + noise 0.2`."""
        return f"{self.role} + noise {self.noise:g}" if self.noise else self.role


class CollectedDataset(Entry):
    """A dataset that this project rolls out itself, after one of D4RL's recipes."""

    source: Literal["collected"]
    recipe: RecipeName
    transitions: PositiveInt
    """Rows of the file unless asked otherwise."""
    seed: Annotated[int, Field(ge=0, strict=True)]
    policies: Annotated[tuple[PolicyShare, ...], Field(min_length=1)]
    """In the order of collection."""
    multistart: bool = False
    """Of a maze: episodes start anywhere, not in the start cell."""
    multigoal: bool = False
    """Of a maze: each episode has a goal of its own, not the task's."""
    single_reward: bool = False
    """Of a maze: one reward for each success, not one for each row at the goal."""

    @model_validator(mode="after")
    def _whole(self) -> CollectedDataset:
        total = sum(policy.share for policy in self.policies)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of the policies add up to {total:g}, not to 1")
        return self


class GeneratedDataset(Entry):
    """A dataset that is a formula and a seed (bench/envs/bandit.py)."""

    source: Literal["generated"]
    problem: str
    rows: PositiveInt
    seed: Annotated[int, Field(ge=0, strict=True)]


class AddedDataset(Entry):
    """A file of the user's own, which `bench data add` took in: known by its content alone."""

    source: Literal["added"]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    rows: PositiveInt
    origin: str
    """What it was added from, as a person knows it: `my.hdf5`, `minari:mujoco/hopper/medium-v0`."""
    in_order: bool = True
    """Whether its transitions follow one another; where not, it holds no trajectories."""


AnyDataset = D4RLDataset | CollectedDataset | GeneratedDataset | AddedDataset
Dataset = Annotated[AnyDataset, Field(discriminator="source")]


class EnvironmentEntry(Entry):
    """What judges a policy; the facts that all tasks of an environment share."""

    domain: str
    observation_dim: PositiveInt
    action_dim: PositiveInt
    action_bound: Annotated[float, Field(gt=0, strict=True)]
    horizon: PositiveInt
    reference: ReferenceScores
    physics: Physics | Literal["none"]


class TaskEntry(Entry):
    """A task as written in tasks.yaml."""

    environment: str
    version: PositiveInt
    dataset: Dataset
    goals: Literal["every_reset", "by_method"] | None = None
    twin: str | None = None
    twin_of: str | None = None
    preset_of: str | None = None
    reference: ReferenceScores | None = None


class RunDefaults(Entry):
    """What `bench run --suite` uses where the command line says nothing; None leaves it to the preset."""

    algorithms: tuple[str, ...] | None = None
    seeds: str | None = None
    """A range or list, as on the command line: `0-4`, `0,2`."""
    budget: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    evaluations: PositiveInt | None = None
    episodes: PositiveInt | None = None
    """Per evaluation."""
    executor: Executor | None = None
    settings: dict[str, dict[str, bool | int | float | str]] = Field(default={})
    """Hyper-parameters that a method has in this suite instead of its preset's, by method: reduced sizes."""


class SuiteEntry(Entry):
    """A suite as written in tasks.yaml."""

    description: str
    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    defaults: RunDefaults = RunDefaults()


class _File(Entry):
    domains: dict[str, Domain]
    environments: dict[str, EnvironmentEntry]
    tasks: dict[str, TaskEntry]
    suites: dict[str, SuiteEntry]


class _OwnFile(Entry):
    tasks: dict[str, TaskEntry] = Field(default={})
    suites: dict[str, SuiteEntry] = Field(default={})


@dataclass(frozen=True)
class Task:
    """A dataset with the environment that judges it."""

    name: str
    domain: str
    environment: str
    version: int
    """Version of the task's rules; scores of different versions are not comparable."""
    observation_dim: int
    action_dim: int
    action_bound: float
    horizon: int
    """Steps after which an episode is cut off."""
    reference: ReferenceScores
    physics: Physics | Literal["none"]
    """Physics unless asked otherwise; `none` where there is nothing to simulate."""
    dataset: AnyDataset
    goals: Literal["every_reset", "by_method"] | None
    """When a goal is drawn: at every reset, or once when an environment is made (how many are made is the
    method's `GoalRule`); None where there is no goal to draw."""
    twin: str | None
    """Of a D4RL task: the collected task that stands in for it."""
    twin_of: str | None
    """Of a collected task: the D4RL task whose recipe and preset it follows."""
    preset_of: str | None = None
    """Of a user's own task: the task whose presets it follows; None leaves it to presets that name it."""
    foreign: bool = False
    """Whether it stands in the user's own catalogue: its scores are shown, and held against no paper's."""

    @property
    def added(self) -> bool:
        """Whether the data is a file of the user's own."""
        return isinstance(self.dataset, AddedDataset)

    @property
    def collected(self) -> bool:
        """Whether the data are rolled out here rather than published by D4RL."""
        return isinstance(self.dataset, CollectedDataset)

    @property
    def generated(self) -> bool:
        """Whether the data is a formula and a seed: made in seconds, never downloaded."""
        return isinstance(self.dataset, GeneratedDataset)

    @property
    def preset_task(self) -> str:
        """Name of the task whose preset applies."""
        return self.twin_of or self.preset_of or self.name

    @property
    def rows(self) -> int | None:
        """Rows expected in the dataset's file; None where no figure is known."""
        return self.dataset.transitions if isinstance(self.dataset, CollectedDataset) else self.dataset.rows

    def normalised(self, returns: ArrayLike) -> NDArray[np.float64]:
        """D4RL-normalised scores of undiscounted returns, same shape: 0 as random, 100 as expert."""
        span = self.reference.expert - self.reference.random
        return 100.0 * (np.asarray(returns, dtype=np.float64) - self.reference.random) / span


@dataclass(frozen=True)
class Suite:
    """A named list of tasks, in the papers' order."""

    name: str
    description: str
    tasks: tuple[Task, ...]
    defaults: RunDefaults


@dataclass(frozen=True)
class Catalog:
    """All domains, tasks and suites, by name, in the order of the file."""

    domains: Mapping[str, Domain]
    tasks: Mapping[str, Task]
    suites: Mapping[str, Suite]
    environments: Mapping[str, EnvironmentEntry]

    def task(self, name: str) -> Task:
        """Return the task called `name`; raises BenchError with the nearest names, or where own ones lie."""
        if name not in self.tasks:
            error = unknown_name("task", name, self.tasks, "bench list tasks")
            if not error.do_this.startswith("Did you mean"):
                own = (
                    f"Your own are read from {OWN_FILE} where you stand, or from what {TASKS_VARIABLE} names."
                )
                error = BenchError(error.what, error.why, f"{error.do_this} {own}")
            raise error
        return self.tasks[name]

    def following(self, task: Task, preset_of: str | None) -> Task:
        """The task, following the presets of another one where `--preset-of` names it.

        Raises
        ------
        BenchError : the other one is unknown, or has none that this one could follow.
        """
        if preset_of is None:
            return task
        what, named = f"--preset-of {preset_of} for {task.name}", self.task(preset_of)
        if not task.foreign:
            raise BenchError(
                what,
                f"{task.name} is no task of your own, and has presets of its own.",
                "Leave --preset-of away; --set changes single values.",
            )
        task = replace(task, preset_of=named.name)
        if problem := no_preset_of(task, self.tasks):
            raise BenchError(what, f"{problem}.", "`bench list tasks` shows the others.")
        return task

    def suite(self, name: str) -> Suite:
        """Return the suite called `name`; raises BenchError with the nearest names."""
        if name not in self.suites:
            raise unknown_name("suite", name, self.suites, "bench list suites")
        return self.suites[name]


def load_catalog(path: Path | None = None, own: Path | None = None) -> Catalog:
    """Read and check `path`, by default the tasks.yaml of this installation with the user's own.

    Parameters
    ----------
    own : the user's catalogue; by default `own_tasks_file`, where `path` is not given either.

    Raises
    ------
    BenchError : names file, line and key of the first mistake.
    """
    document = load_yaml(path or resource("tasks.yaml"))
    file = validated(_File, document)
    _check_names(file, file, document)
    if path is None and own is None:
        own = own_tasks_file()
        if own is not None and TASKS_VARIABLE not in os.environ and not own.is_file():
            own = None
    tasks = {name: task_of(name, entry, file.environments) for name, entry in file.tasks.items()}
    if own is not None:
        further = _own(own, file)
        tasks |= further.tasks
        file = file.model_copy(update={"suites": file.suites | further.suites})
    suites = {
        name: Suite(name, entry.description, tuple(tasks[task] for task in entry.tasks), entry.defaults)
        for name, entry in file.suites.items()
    }
    return Catalog(file.domains, tasks, suites, file.environments)


@dataclass(frozen=True)
class _Own:
    """What the user's own catalogue has."""

    tasks: dict[str, Task]
    suites: dict[str, SuiteEntry]


def _own(path: Path, shipped: _File) -> _Own:
    """The user's own catalogue, checked beside the shipped one."""
    document = _own_document(path)
    file = validated(_OwnFile, document)
    for kind, names, taken in (
        ("tasks", file.tasks, shipped.tasks),
        ("suites", file.suites, shipped.suites),
        # A list of names may hold both.
        ("suites", file.suites, {**shipped.tasks, **file.tasks}),
        ("tasks", file.tasks, shipped.suites),
    ):
        for name in names:
            if name in taken:
                raise document.error(
                    (kind, name), "the name is taken; nothing that is here can be redefined", "Rename it."
                )
    entries = shipped.tasks | file.tasks
    _check_names(file, shipped.model_copy(update={"tasks": entries}), document)
    tasks = {
        name: task_of(name, entry, shipped.environments, foreign=name in file.tasks)
        for name, entry in entries.items()
    }
    for name in file.tasks:
        if problem := no_preset_of(tasks[name], tasks):
            raise document.error(("tasks", name, "preset_of"), problem)
    return _Own({name: tasks[name] for name in file.tasks}, file.suites)


def _own_document(path: Path) -> LinedYaml:
    """The file, read; an empty one, or part of it, has no entries."""
    try:
        document = load_yaml(path)
        if document.content is not None and not isinstance(document.content, dict):
            raise document.error((), "holds no tasks and suites, but a list or a text")
    except BenchError as error:
        named = f"{TASKS_VARIABLE} names it" if TASKS_VARIABLE in os.environ else "It lies in this folder"
        another = f"ame another file in {TASKS_VARIABLE}; set to nothing, it names none."
        raise BenchError(
            error.what,
            f"{error.why} {named}: your own tasks and suites are read from there.".strip(),
            f"{error.do_this} Or n{another}" if error.do_this else f"N{another}",
        ) from error
    # `tasks:` with nothing below it, as of a file that was just begun.
    content = {name: entries for name, entries in (document.content or {}).items() if entries is not None}
    return LinedYaml(path, content, document.lines)


@cache
def shipped_domains() -> Mapping[str, Domain]:
    """The domains of this installation's tasks.yaml, read once: statistics ask for every number."""
    return validated(_File, load_yaml(resource("tasks.yaml"))).domains


def settings_error(suite: str, algorithm: str, name: str, problem: str, do_this: str) -> BenchError:
    """The error for an entry of a suite's `settings`, with its line in the file that has the suite."""
    document, own = load_yaml(resource("tasks.yaml")), own_tasks_file()
    if suite not in document.content["suites"] and own is not None:
        document = load_yaml(own)
    key_path = ("suites", suite, "defaults", "settings", algorithm, name)
    return document.error(key_path, problem, do_this)


def task_of(
    name: str, entry: TaskEntry, environments: Mapping[str, EnvironmentEntry], *, foreign: bool = False
) -> Task:
    """The task of an entry; `foreign` where it is the user's own."""
    facts = environments[entry.environment]
    of_both = {field: getattr(facts, field) for field in EnvironmentEntry.model_fields}
    of_both |= {field: getattr(entry, field) for field in TaskEntry.model_fields}
    reference = entry.reference or facts.reference
    return Task(**of_both | {"name": name, "reference": reference, "foreign": foreign})


def _check_names(file: _File | _OwnFile, known: _File, document: LinedYaml) -> None:
    """Every name that an entry of `file` refers to is known, and twins point at each other."""
    if isinstance(file, _File):
        for name, environment in file.environments.items():
            _must_exist(document, ("environments", name, "domain"), environment.domain, known.domains)
    for name, task in file.tasks.items():
        _must_exist(document, ("tasks", name, "environment"), task.environment, known.environments)
        for field in ("twin", "twin_of", "preset_of"):
            if getattr(task, field) is not None:
                _must_exist(document, ("tasks", name, field), getattr(task, field), known.tasks)
        if task.twin and known.tasks[task.twin].twin_of != name:
            raise document.error(("tasks", name, "twin"), f"{task.twin} is not a twin_of {name}")
        if (task.dataset.source == "collected") != (task.twin_of is not None):
            raise document.error(("tasks", name), "twin_of belongs to collected tasks, and only to them")
        beside = (one for one in known.tasks.values() if one.environment == task.environment)
        if task.goals is None and any(one.goals for one in beside):
            raise document.error(("tasks", name), f"goals of {task.environment} are drawn; say goals")
    for name, suite in file.suites.items():
        for index, task_name in enumerate(suite.tasks):
            _must_exist(document, ("suites", name, "tasks", index), task_name, known.tasks)
        if len(set(suite.tasks)) < len(suite.tasks):
            raise document.error(("suites", name, "tasks"), "a task is listed twice")


def no_preset_of(task: Task, tasks: Mapping[str, Task]) -> str:
    """Why a task cannot follow the presets of the one that it names; empty where it can, or names none."""
    if task.preset_of is None:
        return ""
    if task.twin_of is not None:
        return "a collected task follows the presets of its twin_of"
    named = tasks[task.preset_of]
    if named.preset_task != named.name:
        return f"{named.name} has no presets of its own; name {named.preset_task}"
    if named.domain != task.domain:
        return f"{named.name} is of the domain {named.domain}, {task.environment} of {task.domain}"
    return ""


def _must_exist(
    document: LinedYaml, key_path: tuple[str | int, ...], name: str, known: Mapping[str, object]
) -> None:
    if name not in known:
        error: BenchError = unknown_name("name", name, known, "bench list tasks")
        raise document.error(key_path, error.what, error.do_this)
