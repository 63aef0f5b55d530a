"""Presets: a method's hyper-parameters and evaluation settings per task, each value with its source.

A preset file is the head that declares the method (`algorithms.declaration.Declaration`), the tasks that it
has a preset for, and a list of rules; of those that hold for a task and a variant the last one counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, NonNegativeInt, ValidationError, model_validator

from algorithms.declaration import Declaration, Formula
from algorithms.registry import ALIASES, GROUPS, Method, MethodError, members, method, methods
from bench.catalog import PositiveInt, Task, shipped_domains
from bench.errors import BenchError, unknown_name
from bench.records import IMPORTED, GoalRule, Precision
from bench.visible_text import quoted
from bench.yaml_lines import Entry, KeyPath, LinedYaml, load_yaml, validated

Value = bool | int | float | str
Protocol = Literal["last", "rat", "oms", "mean5", "bc-select", "last-bestN"]

RELEASED = "released"
"""The variant that a preset file describes first: what the authors' code does."""
MOST_STEPS = 1_000_000_000
"""Of a stage: a thousand times what the papers train."""


@dataclass(frozen=True)
class Setting:
    """A value with its source: a table of the paper, a file of the released code."""

    value: Value
    source: str
    place: str = field(default="", compare=False)
    """Where it is given: `dtql.yaml line 41`."""


D4RL_TRANSITIONS = Setting("d4rl", "released code: D4RL's qlearning_dataset")
"""Where a preset file says nothing of transitions."""
FULL_PRECISION = Setting("fp32", "not stated; PyTorch's default")
"""Where a preset file says nothing of precision."""
EVERY_RESET = Setting("per_episode", "D4RL: this version draws a goal at every reset")
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
    selected_rank: int | None
    """Rank of the loss by which protocol `bc-select` chooses an evaluation; None under any other."""
    sources: Mapping[str, str]
    """Source of each, by field name."""


@dataclass(frozen=True)
class Preset:
    """Everything that a method prescribes for one task."""

    algorithm: str
    variant: str
    task: str
    """The task whose preset this is: of a collected task its twin; of a user's own the one it follows."""
    hyperparameters: Mapping[str, Setting]
    """In the order of the method's configuration."""
    evaluation: EvaluationSettings
    reward_transform: Setting
    transitions: Setting
    """Which rows of the dataset's file become transitions."""
    precision: Setting
    """In which matrices are multiplied on a GPU."""
    step_counts: tuple[str, ...]
    """Names of the hyper-parameters that a budget scales."""
    phases: Mapping[str, str]
    """The method's stages, in order, each with the hyper-parameter that counts its iterations."""
    evaluated: str
    """The phase in which evaluations fall."""

    @property
    def values(self) -> dict[str, Value]:
        """Hyper-parameters without their sources, ready for the method's configuration."""
        return {name: setting.value for name, setting in self.hyperparameters.items()}

    @property
    def phase_iterations(self) -> dict[str, int]:
        """Iterations of every phase, by name."""
        return {phase: self.count(name) for phase, name in self.phases.items()}

    def count(self, name: str) -> int:
        """The value of one of the step counts."""
        return cast(int, self.hyperparameters[name].value)

    def scaled(self, budget: float) -> Preset:
        """This preset with its step counts and evaluation interval times `budget`, rounded up, at least 1."""
        counts = {
            name: replace(self.hyperparameters[name], value=scaled_count(self.count(name), budget))
            for name in self.step_counts
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


# Names of methods, and what their files tell of them


def algorithms_with_presets() -> tuple[str, ...]:
    """Names of the methods that there are, sorted; each has a preset file."""
    return tuple(sorted(methods()))


def method_names() -> tuple[str, ...]:
    """Every name that a method may be asked for by, sorted."""
    return tuple(sorted({*methods(), *ALIASES}))


def listed_names() -> tuple[str, ...]:
    """Every name that a list of methods may hold, sorted: `method_names` and groups of them."""
    return tuple(sorted({*method_names(), *GROUPS}))


def in_groups(names: Iterable[str]) -> list[str]:
    """`names` with each group replaced by its members."""
    return [one for name in names for one in (members(name) if name in GROUPS else (name,))]


def method_on(name: str, domain: str) -> str:
    """The method that `name` means in a domain; its own name unless it is an alias."""
    alias = ALIASES.get(name)
    return alias.methods.get(domain, alias.elsewhere) if alias else name


def meant_by(name: str) -> frozenset[str]:
    """Every method that `name`, which may be a group, means in some domain."""
    found = set[str]()
    for one in in_groups((name,)):
        alias = ALIASES.get(one)
        found |= {*alias.methods.values(), alias.elsewhere} if alias else {one}
    return frozenset(found)


def methods_on(names: Iterable[str], task: Task) -> tuple[str, ...]:
    """The methods that `names`, groups among them, mean on a task, each once."""
    return tuple(dict.fromkeys(method_on(name, task.domain) for name in in_groups(names)))


def explanations(names: Iterable[str]) -> list[str]:
    """One line for each of `names` that is a group or an alias, also within a group."""
    names = list(names)
    groups = [f"{name} means {', '.join(members(name))}." for name in names if name in GROUPS]
    return groups + [str(ALIASES[name]) for name in dict.fromkeys(in_groups(names)) if name in ALIASES]


def title_of(algorithm: str) -> str:
    """The method's name in full."""
    return _method(algorithm).title


def variants_of(algorithm: str) -> tuple[str, ...]:
    """Variants that the method's preset file describes, `released` first."""
    return (RELEASED, *_method(algorithm).variants)


def variants_in_words(algorithm: str) -> str:
    """`released, paper`; `released = corl` where other methods have the released variant by that name."""
    found = _method(algorithm)
    return ", ".join((" = ".join((RELEASED, *found.released_as)), *found.variants))


def tasks_of(algorithm: str) -> tuple[str, ...]:
    """Tasks that the method has a preset for, in the order of the file."""
    return load_presets(algorithm).tasks


def hyperparameter_docs(algorithm: str) -> dict[str, str]:
    """Unit and meaning of every hyper-parameter of a method, by name, in the order of its configuration."""
    return dict(load_presets(algorithm).docs)


# What a preset file may say


class Settings(Entry):
    """What rules set besides hyper-parameters; each may be set nowhere, or in several rules."""

    evaluation_interval: PositiveInt | None = None
    evaluation_episodes: PositiveInt | None = None
    protocol: Protocol | None = None
    goals: GoalRule | None = None
    """Only of tasks whose goal is drawn when an environment is made."""
    selected_rank: NonNegativeInt | None = None
    """Only with protocol `bc-select`, which needs it: Diffusion-QL's top_k, 0 for the smallest loss."""
    reward_transform: str | None = None
    transitions: Literal["d4rl", "keep_terminal_timeouts", "best_tenth", "whole_trajectories"] | None = None
    """`bench.data.dataset` knows the rules by these names."""
    precision: Precision | None = None


def _listed(given: object) -> object:
    return (given,) if isinstance(given, str) else given


_OneOrMore = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]


class Where(Entry):
    """What a rule is for; what is not said does not matter."""

    domain: _OneOrMore | None = None
    task: _OneOrMore | None = None
    """Names; * in them stands for any text."""
    variant: _OneOrMore | None = None

    def names(self, task: str) -> bool:
        """Whether a task is named."""
        return self.task is not None and any(fnmatchcase(task, pattern) for pattern in self.task)

    def holds(self, domain: str, task: str, variant: str) -> bool:
        """Whether a rule is for this preset."""
        return (
            (self.domain is None or domain in self.domain)
            and (self.task is None or self.names(task))
            and (self.variant is None or variant in self.variant)
        )


class RuleEntry(Entry):
    """A rule as it is written: values (`set`), a table of them, names that keep theirs, or further rules."""

    where: Where = Where()
    set: dict[str, Value] = Field(default={})
    keep: tuple[str, ...] = ()
    """Names whose values stay as they are, with another source."""
    source: str | None = None
    """Of `set` and `keep`."""
    columns: dict[str, str] = Field(default={})
    """Names of a table's columns, each with its source."""
    tasks: dict[str, Value | tuple[Value, ...]] = Field(default={})
    """Rows of the table: values in the order of the columns, or the value of the only one."""
    rules: tuple[RuleEntry, ...] = ()

    @model_validator(mode="after")
    def _one_thing(self) -> RuleEntry:
        if [bool(self.set), bool(self.keep), bool(self.columns), bool(self.rules)].count(True) != 1:
            raise ValueError("a rule has one of set, keep, columns and rules")
        if bool(self.set or self.keep) != (self.source is not None):
            raise ValueError("set and keep have a source, and they alone")
        if bool(self.columns) != bool(self.tasks):
            raise ValueError("columns and tasks belong together")
        for task, row in self.tasks.items():
            if len(_row(row)) != len(self.columns):
                raise ValueError(f"{task} has {len(_row(row))} values for {len(self.columns)} columns")
        return self


class PresetFile(Declaration):
    """A whole file: the declaration of the method, its tasks and its rules."""

    extends: str | None = None
    """The method whose rules come before these, and whose tasks they are where this file names none."""
    tasks: tuple[str, ...] = ()
    rules: tuple[RuleEntry, ...] = ()


# Reading


@dataclass(frozen=True)
class Rule:
    """One value of a file, as a list in which the last that holds counts."""

    name: str
    value: Value | None
    """None: the value stays, and has this source."""
    source: str
    place: str
    """`dtql.yaml line 41`."""
    wheres: tuple[Where, ...]
    """All of them must hold."""

    def holds(self, task: Task, variant: str) -> bool:
        """Whether the rule is for the task (of a collected task: its twin) and variant."""
        return all(where.holds(task.domain, task.preset_task, variant) for where in self.wheres)


@dataclass(frozen=True)
class Presets:
    """A method's presets as its file gives them, the rules of extended files first."""

    algorithm: str
    document: LinedYaml
    file: PresetFile
    tasks: tuple[str, ...]
    rules: tuple[Rule, ...]
    docs: Mapping[str, str]
    """Unit and meaning of every hyper-parameter, by name, in the order of the configuration."""

    @property
    def variants(self) -> tuple[str, ...]:
        """`released` first."""
        return (RELEASED, *self.file.variants)

    def variant(self, asked: str) -> str:
        """The variant that is meant where one is asked for, of this method or of several at once."""
        return RELEASED if asked in self.file.released_as else asked


class PresetFiles(dict[str, Presets]):
    """Preset files by method, each read when it is first asked for; whoever plans a grid makes one."""

    def __missing__(self, algorithm: str) -> Presets:
        """Read it; raises BenchError as `load_presets`."""
        self[algorithm] = load_presets(algorithm)
        return self[algorithm]


def formulas_of(presets: Presets) -> tuple[tuple[Formula, str], ...]:
    """A method's formulas in their order, each as it is written, with the method that writes it."""
    found = []
    for formula in presets.file.formulas:
        owner, stated = presets.algorithm, formula
        while stated.of:
            owner = stated.of
            stated = next(one for one in methods()[owner].formulas if one.name == formula.name)
        found.append((stated, owner))
    return tuple(found)


def load_presets(algorithm: str, extended_by: tuple[str, ...] = ()) -> Presets:
    """A method's preset file, checked; `extended_by` are the methods whose files rest on it.

    Raises
    ------
    BenchError : unknown algorithm, or a mistake in the file, named with its line.
    """
    chosen = _method(algorithm)
    document = load_yaml(chosen.preset)
    file = validated(PresetFile, document)
    tasks: tuple[str, ...] = file.tasks
    inherited: tuple[Rule, ...] = ()
    if file.extends is not None:
        base = _extended(algorithm, file.extends, document, extended_by)
        tasks, inherited = tasks or base.tasks, base.rules
    docs = chosen.model_copy(update={"configuration": file.configuration}).hyperparameters()
    if not docs:
        module = chosen.implementation.partition(":")[0]
        raise document.error(("configuration",), f"{module} has no {file.configuration}")
    if IMPORTED in file.variants:
        problem = f"{IMPORTED} is what scores of elsewhere are stored as"
        raise document.error(
            ("variants", file.variants.index(IMPORTED)), problem, "Name the variant otherwise."
        )
    for index, name in enumerate(file.step_counts):
        _check_name(algorithm, name, docs, document, ("step_counts", index))
    _check_formulas(algorithm, file.formulas, document)
    known = (*docs, *Settings.model_fields)
    # What an extended file sets and this method does not have is left out.
    rules = [rule for rule in inherited if rule.name in known]
    for key_path, entry, wheres in _walk(file.rules, ("rules",)):
        _check_where(entry, key_path, tasks, (RELEASED, *file.variants), document)
        _check_names(algorithm, entry, key_path, known, document)
        rules += _rules(entry, key_path, wheres, document)
    return Presets(algorithm, document, file, tasks, tuple(rules), docs)


def _extended(algorithm: str, name: str, document: LinedYaml, extended_by: tuple[str, ...]) -> Presets:
    if name not in methods():
        raise document.error(("extends",), f"there is no preset file {name}.yaml")
    if name in (algorithm, *extended_by):
        raise document.error(("extends",), f"{name} extends {algorithm} itself")
    return load_presets(name, (algorithm, *extended_by))


def _check_formulas(algorithm: str, formulas: Sequence[Formula], document: LinedYaml) -> None:
    """Every formula that is another method's is there, and no two have a name."""
    names = [formula.name for formula in formulas]
    for index, formula in enumerate(formulas):
        if names.index(formula.name) < index:
            raise document.error(("formulas", index, "name"), f"a second formula {quoted(formula.name)}")
        visited, stated = {algorithm}, formula
        while stated.of:
            theirs = methods()[stated.of].formulas if stated.of in methods() else ()
            found = next((one for one in theirs if one.name == formula.name), None)
            if found is None or stated.of in visited:
                problem = f"{stated.of} has no formula {quoted(formula.name)} of its own"
                raise document.error(("formulas", index, "of"), problem)
            visited.add(stated.of)
            stated = found


def _method(name: str) -> Method:
    """The method, for its preset file.

    Raises
    ------
    BenchError : there is none, or it cannot be used; a mistake in its preset file is named with its line.
    """
    try:
        return method(name)
    except KeyError as error:
        raise unknown_name("algorithm", name, methods(), "bench list algorithms") from error
    except MethodError as error:
        if error.preset is not None:
            validated(PresetFile, load_yaml(error.preset))
        raise BenchError(str(error)) from error


def _walk(
    entries: Iterable[RuleEntry], key_path: KeyPath, wheres: tuple[Where, ...] = ()
) -> Iterator[tuple[KeyPath, RuleEntry, tuple[Where, ...]]]:
    """Every entry in its order, with its place and with all that must hold for it."""
    for index, entry in enumerate(entries):
        here, holding = (*key_path, index), (*wheres, entry.where)
        yield here, entry, holding
        yield from _walk(entry.rules, (*here, "rules"), holding)


def _rules(
    entry: RuleEntry, key_path: KeyPath, wheres: tuple[Where, ...], document: LinedYaml
) -> Iterator[Rule]:
    """An entry value by value; the rules within it are entries of their own."""

    def place(*keys: str | int) -> str:
        return f"{document.path.name} line {document.lines[(*key_path, *keys)]}"

    source = entry.source or ""
    for name, value in entry.set.items():
        yield Rule(name, value, source, place("set", name), wheres)
    for index, name in enumerate(entry.keep):
        yield Rule(name, None, source, place("keep", index), wheres)
    for task, row in entry.tasks.items():
        holding = (*wheres, Where(task=(task,)))
        for (name, its_source), value in zip(entry.columns.items(), _row(row), strict=True):
            yield Rule(name, value, its_source, place("tasks", task), holding)


def _row(row: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    return row if isinstance(row, tuple) else (row,)


def _check_where(
    entry: RuleEntry, key_path: KeyPath, tasks: Sequence[str], variants: Sequence[str], document: LinedYaml
) -> None:
    """Every domain that an entry names exists, and every task and variant is one of the method's."""
    for kind, names, known in (
        ("domain", entry.where.domain, tuple(shipped_domains())),
        ("variant", entry.where.variant, variants),
    ):
        for name in names or ():
            if name not in known:
                wrong = unknown_name(kind, name, known, "")
                raise document.error((*key_path, "where", kind), wrong.what, wrong.do_this)
    for task in entry.where.task or ():
        if not any(fnmatchcase(name, task) for name in tasks):
            problem = f"{quoted(task)} is none of the method's tasks"
            raise document.error((*key_path, "where", "task"), problem, "List it under tasks.")
    for task in entry.tasks:
        if task not in tasks:
            problem = f"{quoted(task)} is none of the method's tasks"
            raise document.error((*key_path, "tasks", task), problem, "List it under tasks.")


def _check_names(
    algorithm: str, entry: RuleEntry, key_path: KeyPath, known: Sequence[str], document: LinedYaml
) -> None:
    """Every name is a hyper-parameter or a setting, and a setting's value is one that it can have."""
    for name in entry.columns:
        _check_name(algorithm, name, known, document, (*key_path, "columns", name))
    for index, name in enumerate(entry.keep):
        _check_name(algorithm, name, known, document, (*key_path, "keep", index))
    for name, value in entry.set.items():
        here = (*key_path, "set", name)
        _check_name(algorithm, name, known, document, here)
        _check_value(name, value, document, here)
    for task, row in entry.tasks.items():
        for name, value in zip(entry.columns, _row(row), strict=True):
            _check_value(name, value, document, (*key_path, "tasks", task))


def _check_name(
    algorithm: str, name: str, known: Iterable[str], document: LinedYaml, key_path: KeyPath
) -> None:
    if name not in known:
        wrong = unknown_name(f"hyper-parameter of {algorithm}", name, known, "")
        hint = wrong.do_this.partition("?")
        raise document.error(key_path, wrong.what, hint[0] + hint[1])


def _check_value(name: str, value: Value, document: LinedYaml, key_path: KeyPath) -> None:
    if name in Settings.model_fields:
        try:
            Settings.model_validate({name: value})
        except ValidationError as error:
            problem = f"{error.errors()[0]['msg']} (given: {quoted(value)})"
            raise document.error(key_path, problem) from error


# From rules to a preset


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
    variant = presets.variant(variant)
    if variant not in presets.variants:
        listing = f"bench show {presets.algorithm} {task.name}"
        raise unknown_name("variant", variant, presets.variants, listing)
    if task.preset_task not in presets.tasks:
        raise _no_preset(presets, task)
    chosen: dict[str, Setting] = {}
    followed = f" (preset of {task.preset_of})" if task.preset_of else ""
    for rule in presets.rules:
        if rule.holds(task, variant):
            source = rule.source + followed
            if rule.value is not None:
                chosen[rule.name] = Setting(rule.value, source, rule.place)
            elif rule.name in chosen:
                chosen[rule.name] = replace(chosen[rule.name], source=source)
    missing = [name for name in presets.docs if name not in chosen]
    if missing:
        raise _no_value(presets, missing[0], task.preset_task)
    for name in presets.file.step_counts:
        count = chosen[name].value
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_STEPS:
            raise BenchError(f"{chosen[name].place}: {name} is no number of steps: {quoted(count)}")
    needed = ("reward_transform", "evaluation_interval", "evaluation_episodes", "protocol")
    if any(name not in chosen for name in needed):
        raise presets.document.error((), f"needs {', '.join(needed)}")
    return Preset(
        algorithm=presets.algorithm,
        variant=variant,
        task=task.preset_task,
        hyperparameters={name: chosen[name] for name in presets.docs},
        evaluation=_evaluation(presets, task, chosen),
        reward_transform=chosen["reward_transform"],
        transitions=chosen.get("transitions", D4RL_TRANSITIONS),
        precision=chosen.get("precision", FULL_PRECISION),
        step_counts=presets.file.step_counts,
        phases=presets.file.phases,
        evaluated=presets.file.evaluated,
    )


def _evaluation(presets: Presets, task: Task, chosen: Mapping[str, Setting]) -> EvaluationSettings:
    """How a policy is judged. Where D4RL leaves open which episodes share a goal, the method's rule holds."""
    goals = None
    if task.goals == "every_reset":
        goals = EVERY_RESET
    elif task.goals is not None:
        if "goals" not in chosen:
            raise presets.document.error((), f"needs goals for {task.name}")
        goals = chosen["goals"]
    given = {
        "interval": chosen["evaluation_interval"],
        "episodes": chosen["evaluation_episodes"],
        "protocol": chosen["protocol"],
        **({"goals": goals} if goals else {}),
    }
    if chosen["protocol"].value == "bc-select":
        if "selected_rank" not in chosen:
            raise presets.document.error((), f"needs selected_rank for {task.name}")
        given["selected_rank"] = chosen["selected_rank"]
    values: dict[str, Any] = {"goals": None, "selected_rank": None}
    values |= {name: setting.value for name, setting in given.items()}
    return EvaluationSettings(**values, sources={name: setting.source for name, setting in given.items()})


def _no_preset(presets: Presets, task: Task) -> BenchError:
    wanted = task.preset_task
    stem = wanted.rsplit("-v", 1)[0]
    siblings = [name for name in presets.tasks if name.rsplit("-v", 1)[0] == stem]
    by_task = dict.fromkeys(rule.name for rule in presets.rules if any(where.task for where in rule.wheres))
    values = f" (task by task: {', '.join(by_task)})" if by_task else ""
    if task.foreign and task.preset_task == task.name:
        return BenchError(
            f"{presets.algorithm} has no preset for {wanted}",
            "It is a task of your own: its presets are those of a task that you name.",
            f"Add --preset-of TASK, or preset_of to its entry. {_tasks_with_it(presets.tasks)}",
        )
    why = f"Neither the paper nor the released code gives its values for it{values}."
    if _method(presets.algorithm).distribution is not None:
        why = f"{presets.document.path} does not list it under tasks."
    return BenchError(
        f"{presets.algorithm} has no preset for {wanted}",
        why,
        f"Use {' or '.join(siblings)}." if siblings else _tasks_with_it(presets.tasks),
    )


def _no_value(presets: Presets, name: str, task: str) -> BenchError:
    wheres = [where for rule in presets.rules if rule.name == name for where in rule.wheres]
    having = [other for other in presets.tasks if any(where.names(other) for where in wheres)]
    return BenchError(
        f"{presets.algorithm} has no value of {name} for {task}",
        f"{presets.document.path.name} gives none for this task, its domain or all tasks.",
        _tasks_with_it(having),
    )


def _tasks_with_it(tasks: Iterable[str]) -> str:
    names = list(tasks)
    return f"Tasks that have it: {', '.join(names)}." if names else "No task has it."
