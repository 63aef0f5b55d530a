"""Preset files: algorithms/presets/*.yaml read and checked, one laid over another where it extends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from algorithms.registry import Declaration, Method, MethodError, method, methods
from bench.catalog import GoalRule
from bench.errors import BenchError, unknown_name
from bench.yaml_lines import KeyPath, LinedYaml, load_yaml, validated

Value = bool | int | float | str
Protocol = Literal["last", "rat", "oms"]


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


class _GoalsSetting(Setting):
    value: GoalRule


class TransitionsSetting(Setting):
    """Which rows of a file become transitions; `bench.data.dataset` knows the rules by these names."""

    value: Literal["d4rl", "keep_terminal_timeouts"]


class EvaluationEntry(_Entry):
    """What a scope says of evaluation."""

    interval: _Count | None = None
    episodes: _Count | None = None
    protocol: _ProtocolSetting | None = None
    goals: _GoalsSetting | None = None
    """Only of tasks whose goal is drawn when an environment is made."""


class Scope(_Entry):
    """What holds for all tasks, for a domain, or for a variant."""

    hyperparameters: dict[str, Setting] = {}
    evaluation: EvaluationEntry = EvaluationEntry()
    reward_transform: Setting | None = None
    transitions: TransitionsSetting | None = None


class TaskScope(Scope):
    """A scope with values of single tasks."""

    task_sources: dict[str, str] = {}
    tasks: dict[str, dict[str, Value]] = {}

    def of_task(self, name: str) -> Scope:
        """The task's own values as a scope, each with its source."""
        values = self.tasks.get(name, {})
        settings = {key: Setting(value=value, source=self.task_sources[key]) for key, value in values.items()}
        return Scope(hyperparameters=settings)


class PresetFile(TaskScope, Declaration):
    """A whole file."""

    extends: str | None = None
    """The method whose preset file holds where this one says nothing."""
    omit: tuple[str, ...] = ()
    """Hyper-parameters of the extended file that this method does not have."""
    domains: dict[str, Scope] = {}
    variants: dict[str, TaskScope] = {}


@dataclass(frozen=True)
class Presets:
    """A method's presets as its file gives them, those of extended files included."""

    algorithm: str
    file: PresetFile
    documents: tuple[LinedYaml, ...]
    """The method's own file, then the one that it extends, and so on."""
    docs: Mapping[str, str]
    """Unit and meaning of every hyper-parameter, by name, in the order of the configuration."""

    def error(self, key_path: Iterable[str], problem: str, do_this: str = "") -> BenchError:
        """The error for an entry of the method's own file, with its line."""
        return self.documents[0].error(key_path, problem, do_this)

    def place_of(self, name: str, task: str, domain: str, variant: str) -> str:
        """Where the value of a hyper-parameter stands: `dtql.yaml line 41`."""
        # Of the scopes that may give it the one that holds: of a variant, then of a task, and so on.
        variant_scope: KeyPath = ("variants", variant)
        paths: list[KeyPath] = [
            (*variant_scope, "tasks", task, name),
            (*variant_scope, "hyperparameters", name),
            ("tasks", task, name),
            ("domains", domain, "hyperparameters", name),
            ("hyperparameters", name),
        ]
        for path in paths:
            for document in self.documents:
                if path in document.lines:
                    return f"{document.path.name} line {document.lines[path]}"
        return self.documents[0].path.name


def algorithms_with_presets() -> tuple[str, ...]:
    """Names of the methods that have a preset file, sorted."""
    return tuple(sorted(methods()))


def load_presets(algorithm: str, extended_by: tuple[str, ...] = ()) -> Presets:
    """A method's preset file, checked; `extended_by` are the methods whose files rest on it.

    Raises
    ------
    BenchError : unknown algorithm, or a mistake in the file, named with its line.
    """
    known = algorithms_with_presets()
    chosen = _method(algorithm)
    document = load_yaml(chosen.preset)
    own = validated(PresetFile, document)
    file = own
    documents: tuple[LinedYaml, ...] = (document,)
    if own.extends is not None:
        if own.extends not in known:
            raise document.error(("extends",), f"there is no preset file {own.extends}.yaml")
        if own.extends in (algorithm, *extended_by):
            raise document.error(("extends",), f"{own.extends} extends {algorithm} itself")
        base = load_presets(own.extends, (algorithm, *extended_by))
        file, documents = _extended(base.file, own), (document, *base.documents)
    docs = chosen.model_copy(update={"configuration": own.configuration}).hyperparameters()
    if not docs:
        module = chosen.implementation.partition(":")[0]
        raise document.error(("configuration",), f"{module} has no {own.configuration}")
    _check_names(algorithm, own, document, docs)
    return Presets(algorithm, file, documents, docs)


def _method(name: str) -> Method:
    """The method, for its preset file.

    Raises
    ------
    BenchError : there is none, or it cannot be used; a mistake in its preset file is named with its line.
    """
    try:
        return method(name)
    except KeyError as error:
        known = algorithms_with_presets()
        raise unknown_name("algorithm", name, known, "bench list algorithms") from error
    except MethodError as error:
        if error.preset is not None:
            validated(PresetFile, load_yaml(error.preset))
        raise BenchError(str(error)) from error


class PresetFiles(dict[str, Presets]):
    """Preset files by method, each read when it is first asked for; whoever plans a grid makes one."""

    def __missing__(self, algorithm: str) -> Presets:
        """Read it; raises BenchError as `load_presets`."""
        self[algorithm] = load_presets(algorithm)
        return self[algorithm]


def _extended(base: PresetFile, own: PresetFile) -> PresetFile:
    """`base` with everything that `own` says laid over it, entry by entry."""
    inherited = base.model_dump(exclude_unset=True)
    scopes = [inherited, *inherited.get("domains", {}).values(), *inherited.get("variants", {}).values()]
    for scope in scopes:
        for entries in (scope.get("hyperparameters"), *scope.get("tasks", {}).values()):
            for name in own.omit:
                (entries or {}).pop(name, None)
    return PresetFile.model_validate(_overlaid(inherited, own.model_dump(exclude_unset=True)))


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`; dictionaries are united, everything else is replaced."""
    both = {
        key: _overlaid(below[key], value)
        if isinstance(value, dict) and isinstance(below.get(key), dict)
        else value
        for key, value in above.items()
    }
    return {**below, **both}


def _check_names(algorithm: str, file: PresetFile, document: LinedYaml, known: Mapping[str, str]) -> None:
    """Every name is a hyper-parameter of the method, and every value of a task has a source."""
    for where, name in _named(file):
        if name not in known:
            wrong = unknown_name(f"hyper-parameter of {algorithm}", name, known, "")
            hint = wrong.do_this.partition("?")
            raise document.error(where, wrong.what, hint[0] + hint[1])
    for where, scope in (((), file), *((("variants", name), one) for name, one in file.variants.items())):
        for task, values in scope.tasks.items():
            for key in values:
                if key not in scope.task_sources:
                    raise document.error((*where, "tasks", task, key), "has no entry in task_sources")


def _named(file: PresetFile) -> Iterator[tuple[KeyPath, str]]:
    """Every hyper-parameter that a file names, with its place."""
    scopes: list[tuple[KeyPath, Scope]] = [((), file)]
    scopes += [(("domains", name), scope) for name, scope in file.domains.items()]
    scopes += [(("variants", name), scope) for name, scope in file.variants.items()]
    for where, scope in scopes:
        yield from (((*where, "hyperparameters", name), name) for name in scope.hyperparameters)
        tasks = scope.tasks if isinstance(scope, TaskScope) else {}
        for task, values in tasks.items():
            yield from (((*where, "tasks", task, name), name) for name in values)
    yield from ((("step_counts", index), name) for index, name in enumerate(file.step_counts))
