"""YAML read safely and remembered line by line, so that a mistake in a file is named with its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from bench.errors import BenchError

Model = TypeVar("Model", bound=BaseModel)
KeyPath = tuple[str | int, ...]

# What pydantic calls an unknown key; everything else keeps pydantic's own wording.
_UNKNOWN_KEY = "extra_forbidden"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """PyYAML's safe loader with YAML 1.2 floats: plain `3e-4` is a number, not a text.

    The one in C where PyYAML was built with it: ten times as fast.
    """


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


@dataclass(frozen=True)
class LinedYaml:
    """A YAML file's content and the line (from 1) on which every key or list entry stands."""

    path: Path
    content: Any
    lines: dict[KeyPath, int]

    def error(self, key_path: Iterable[str | int], problem: str, do_this: str = "") -> BenchError:
        """The error for one entry: `tasks.yaml line 41: hopper.horizont: unknown key`."""
        key_path = tuple(key_path)
        known = next((key_path[:n] for n in range(len(key_path), -1, -1) if key_path[:n] in self.lines), ())
        place = ".".join(map(str, key_path))
        where = f"{self.path.name} line {self.lines.get(known, 1)}"
        return BenchError(f"{where}: {place}: {problem}" if place else f"{where}: {problem}", "", do_this)


def load_yaml(path: Path) -> LinedYaml:
    """Read one YAML document with the safe loader.

    Raises
    ------
    BenchError : not YAML, a tag that the safe loader refuses, or a key given twice in one mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            lines: dict[KeyPath, int] = {}
            if root is not None:
                _collect_lines(root, (), lines, path)
            content = loader.construct_document(root) if root is not None else None
        finally:
            loader.dispose()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read {path}", str(error), "Check the file's name and rights.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BenchError(f"{path.name} line {line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise BenchError(f"{path.name}: not valid YAML: {error}") from error
    return LinedYaml(path, content, lines)


def validated(model: type[Model], document: LinedYaml) -> Model:
    """`document` as a pydantic model; the first mistake becomes a BenchError with file, line and key."""
    try:
        return model.model_validate(document.content)
    except ValidationError as error:
        raise _explained(error, model, document) from error


def _collect_lines(node: yaml.Node, key_path: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    lines.setdefault(key_path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            _collect_lines(entry, (*key_path, index), lines, path)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[Hashable, int] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise BenchError(f"{path.name} line {line}: a key must be a plain name")
            inner = (*key_path, key)
            if key in seen:
                place = ".".join(map(str, inner))
                raise BenchError(
                    f"{path.name} line {line}: {place}: given twice", f"First given on line {seen[key]}."
                )
            seen[key] = line
            lines[inner] = line
            _collect_lines(value_node, inner, lines, path)


def _explained(error: ValidationError, model: type[BaseModel], document: LinedYaml) -> BenchError:
    # A wrong key often causes a missing one as well; the wrong key is the more helpful message.
    problem = min(error.errors(), key=lambda one: one["type"] != _UNKNOWN_KEY)
    key_path = _without_union_tags(problem["loc"], document)
    if problem["type"] == _UNKNOWN_KEY:
        hint = _nearest(str(key_path[-1]), model, problem["loc"])
        return document.error(key_path, f"unknown key{hint}")
    given = "" if problem["type"] == "missing" else f" (given: {problem['input']!r})"
    return document.error(key_path, f"{problem['msg']}{given}")


def _without_union_tags(location: tuple[int | str, ...], document: LinedYaml) -> KeyPath:
    # pydantic names the chosen member of a union inside the path; the file has no such level.
    key_path: KeyPath = ()
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if (*key_path, part) in document.lines or last:
            key_path = (*key_path, part)
    return key_path


def _nearest(wrong: str, model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    models = [model]
    for part in location[:-1]:
        fields = [one.model_fields[part].annotation for one in models if part in one.model_fields]
        # A list index, a name in a mapping or a union's tag leads to no other model.
        models = [inner for field in fields for inner in _models_in(field)] or models
    names = {name for one in models for name in one.model_fields}
    close = difflib.get_close_matches(wrong, sorted(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(names))}"


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
