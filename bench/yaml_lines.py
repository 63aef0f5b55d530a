"""YAML read safely and remembered line by line, so that a mistake in a file is named with its place."""

from __future__ import annotations

import difflib
import math
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import BenchError
from bench.visible_text import quoted, shortened

Model = TypeVar("Model", bound=BaseModel)
KeyPath = tuple[str | int, ...]

# What pydantic calls an unknown key; everything else keeps pydantic's own wording.
_UNKNOWN_KEY = "extra_forbidden"
_LONGEST_PLACE = 200

MOST_BYTES = 1_000_000
MOST_ENTRIES = 50_000
DEEPEST = 40
"""Levels of mappings and lists within each other."""
MOST_DIGITS = 18
"""Of a whole number, so that it fits into the 64 bits of a database."""

_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C where PyYAML was built with it: ten times as fast. Only its events are used."""

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    form: value
    for word, value in (
        ("true", True),
        ("yes", True),
        ("on", True),
        ("false", False),
        ("no", False),
        ("off", False),
    )
    for form in (word, word.capitalize(), word.upper())
}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FRACTION = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_OTHER_BASES = re.compile(r"[-+]?(0[0-9_]+|0[xob][0-9a-fA-F_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""What some readers of YAML take for octal, hexadecimal and binary numbers, or for hours and minutes."""
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ufffd\U00010000-\U0010ffff]")
"""What YAML does not allow, not even in quotes."""


class Entry(BaseModel):
    """What a file may say somewhere: no other keys than these, and no number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
        place = shortened(".".join(map(str, key_path)), _LONGEST_PLACE)
        where = f"{_name(self.path)} line {self.lines.get(known, 1)}"
        return BenchError(f"{where}: {place}: {problem}" if place else f"{where}: {problem}", "", do_this)


def load_yaml(path: Path) -> LinedYaml:
    """Read a file with one YAML document: mappings, lists, and plain values.

    Left out of YAML on purpose, because nothing here needs it and a small file could stand for a huge or
    endless one, or for objects: aliases, tags, merge keys, several documents. Dates are text; keys too.

    Raises
    ------
    BenchError : it cannot be read, is not YAML, or holds one of these, a key given twice, or a number that is
        not finite or could be read in two ways; the line is named.
    """
    return _document(_text_of(path), path)


def plain_value(text: str) -> bool | int | float | str | None:
    """The value that `text` stands for in a YAML file, such as `true`, `3e-4` or `'12'`.

    Raises
    ------
    BenchError : as `load_yaml`, or it is no plain value.
    """
    value = _document(text, Path("value")).content
    if isinstance(value, dict | list):
        raise BenchError(f"{quoted(text)} is no plain value")
    return value


def validated(model: type[Model], document: LinedYaml) -> Model:
    """`document` as a pydantic model; the first mistake becomes a BenchError with file, line and key."""
    try:
        return model.model_validate(document.content)
    except ValidationError as error:
        raise _explained(error, model, document) from error


def _text_of(path: Path) -> str:
    """The file's text. It is looked at before it is read: a pipe would be waited for, a device is endless."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
            raise BenchError(f"cannot read {quoted(str(path))}", f"It is {kind}.", "Name a file.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # a ValueError of a name that no file can have
        what = getattr(error, "strerror", None) or str(error)
        raise BenchError(
            f"cannot read {quoted(str(path))}", f"{what}.", "Check the file's name and rights."
        ) from error
    if len(content) > MOST_BYTES:
        raise BenchError(
            f"{_name(path)}: larger than {MOST_BYTES // 1000:,} kB", "No file of this kind is so large."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BenchError(f"{_name(path)} line {line}: not UTF-8 text", "", "Save it as UTF-8.") from error
    return text


def _document(text: str, path: Path) -> LinedYaml:
    if odd := _NOT_TEXT.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise BenchError(f"{_name(path)} line {line}: not valid YAML: holds the character {odd[0]!r}")
    parser = _Parser(text)
    try:
        return _Builder(path).built(parser)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BenchError(f"{_name(path)} line {line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise BenchError(f"{_name(path)}: not valid YAML: {error}") from error
    finally:
        parser.dispose()


@dataclass
class _Level:
    """A mapping or list that is being read."""

    key_path: KeyPath
    content: dict[str, Any] | list[Any]
    key: str | None = None
    """Of a mapping: the key whose value comes next."""


class _Builder:
    """Makes the content from the parser's events, one by one, so that no depth is too deep for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[KeyPath, int] = {}
        self._levels: list[_Level] = []
        self._content: Any = None

    def built(self, parser: Any) -> LinedYaml:  # noqa: ANN401 (either of PyYAML's)
        """The one document."""
        documents = entries = 0
        while not isinstance(event := parser.get_event(), yaml.StreamEndEvent):
            entries += 1
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise self._error(event, "a second document begins", "Keep the first, or join them.")
            if entries > MOST_ENTRIES:
                raise self._error(
                    event, f"more than {MOST_ENTRIES:,} entries", "No file of this kind has so many."
                )
            self._take(event)
        return LinedYaml(self._path, self._content, self._lines)

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise self._error(
                event, f"the alias {quoted(f'*{event.anchor}')}", "Write the values themselves."
            )
        if (tag := getattr(event, "tag", None)) is not None:
            raise self._error(event, f"the tag {quoted(tag)}", "Write the value alone.")
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self._levels) >= DEEPEST:
                raise self._error(
                    event, f"more than {DEEPEST} levels deep", "No file of this kind is so deep."
                )
            content: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._levels.append(_Level(self._place(event), content))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._put(self._levels.pop().content)
        elif isinstance(event, yaml.ScalarEvent):
            level = self._levels[-1] if self._levels else None
            if level and isinstance(level.content, dict) and level.key is None:
                self._begin_entry(level, event)
            else:
                self._put(self._value(event, self._place(event)))

    def _begin_entry(self, level: _Level, event: yaml.ScalarEvent) -> None:
        key, line = event.value, _line(event)
        inner = (*level.key_path, key)
        if key in level.content:
            place = shortened(".".join(map(str, inner)), _LONGEST_PLACE)
            first = f"First given on line {self._lines[inner]}."
            raise BenchError(f"{_name(self._path)} line {line}: {place}: given twice", first)
        level.key = key
        self._lines[inner] = line

    def _place(self, event: yaml.NodeEvent) -> KeyPath:
        """Where the value that now begins belongs; its line is noted unless that of its key is."""
        key_path: KeyPath = ()
        if self._levels:
            level = self._levels[-1]
            part = len(level.content) if isinstance(level.content, list) else level.key
            if part is None:
                raise self._error(event, "a key must be a plain name")
            key_path = (*level.key_path, part)
        self._lines.setdefault(key_path, _line(event))
        return key_path

    def _put(self, value: object) -> None:
        if not self._levels:
            self._content = value
            return
        level = self._levels[-1]
        if isinstance(level.content, list):
            level.content.append(value)
        elif level.key is not None:
            level.content[level.key], level.key = value, None

    def _value(self, event: yaml.ScalarEvent, key_path: KeyPath) -> bool | int | float | str | None:
        text = event.value
        if event.style:  # in quotes, or a block of text
            return text
        if text in _WORDS:
            return _WORDS[text]
        problem, do_this = "", ""
        if _OTHER_BASES.fullmatch(text):
            problem, do_this = "may be read in two ways", "Write a decimal number, or put it in quotes."
        elif _WHOLE.fullmatch(text):
            if len(text) <= MOST_DIGITS:
                return int(text.replace("_", ""))  # Python takes fewer of them than YAML
            problem = f"has more than {MOST_DIGITS} digits"
        elif _FRACTION.fullmatch(text):
            number = float(text.replace("_", ""))
            if math.isfinite(number):
                return number
            problem = "is no finite number"
        elif _NOT_FINITE.fullmatch(text):
            problem = "is no finite number"
        if problem:
            here = LinedYaml(self._path, None, self._lines)
            raise here.error(key_path, f"{quoted(text)} {problem}", do_this)
        return text

    def _error(self, event: yaml.Event, problem: str, do_this: str = "") -> BenchError:
        where = f"{_name(self._path)} line {_line(event)}"
        return BenchError(f"{where}: not valid YAML here: {problem}", "", do_this)


def _explained(error: ValidationError, model: type[BaseModel], document: LinedYaml) -> BenchError:
    # A wrong key often causes a missing one as well; the wrong key is the more helpful message.
    problem = min(error.errors(), key=lambda one: one["type"] != _UNKNOWN_KEY)
    key_path = _without_union_tags(problem["loc"], document)
    if problem["type"] == _UNKNOWN_KEY:
        hint = _nearest(str(key_path[-1]), model, problem["loc"])
        return document.error(key_path, f"unknown key{hint}")
    given = "" if problem["type"] == "missing" else f" (given: {quoted(problem['input'])})"
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


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _name(path: Path) -> str:
    return shortened(path.name, _LONGEST_PLACE)


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
