"""Methods by name: what each declares of itself, found and read without importing any of them.

A method is a class of `algorithms.base.Algorithm` and a preset file of its name. Those of this package are
listed here; an installed distribution adds its own by an entry point `name = "package.module:Class"` in the
group `bench.methods`. The preset file lies beside the class's module: `<name>.yaml` or `presets/<name>.yaml`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import distributions
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from algorithms.declaration import Declaration

if TYPE_CHECKING:
    import torch

    from algorithms.base import Algorithm, Dimensions

GROUP = "bench.methods"
"""Entry points of distributions that bring methods."""

OWN: Mapping[str, str] = {
    "dtql": "algorithms.dtql:DTQL",
    "dtql-kl": "algorithms.dtql_kl:DTQLKL",
    "srpo": "algorithms.srpo:SRPO",
    "srpo-points": "algorithms.srpo_points:SRPOPoints",
    "edp-td3": "algorithms.edp:EDPTD3",
    "edp-crr": "algorithms.edp:EDPCRR",
    "edp-iql": "algorithms.edp:EDPIQL",
    "bdpo": "algorithms.bdpo:BDPO",
    "bdpo-gaussian": "algorithms.bdpo_unimodal:BDPOGaussian",
    "bdpo-dirac": "algorithms.bdpo_unimodal:BDPODirac",
    "bc": "algorithms.bc:BC",
    "bc-10": "algorithms.bc:BC10",
    "td3bc": "algorithms.td3bc:TD3BC",
    "iql": "algorithms.iql:IQL",
    "awac": "algorithms.awac:AWAC",
    "cql": "algorithms.cql:CQL",
    "crr": "algorithms.crr:CRR",
    "onestep": "algorithms.onestep:OneStep",
    "dt": "algorithms.dt:DT",
    "dql": "algorithms.dql:DQL",
    "dac": "algorithms.dac:DAC",
    "idql": "algorithms.idql:IDQL",
    "qgpo": "algorithms.qgpo:QGPO",
    "sfbc": "algorithms.sfbc:SfBC",
}
"""Methods of this package, in the order in which figures and tables show them."""


@dataclass(frozen=True)
class Alias:
    """A paper's name for whichever of its methods it puts forward in a domain."""

    name: str
    methods: Mapping[str, str]
    """By domain."""
    elsewhere: str
    """The method in every other domain."""
    reason: str

    @property
    def meaning(self) -> str:
        """`edp-td3 on locomotion and bandit, edp-iql elsewhere`."""
        domains: dict[str, list[str]] = {}
        for domain, method in self.methods.items():
            domains.setdefault(method, []).append(domain)
        parts = [f"{method} on {' and '.join(where)}" for method, where in domains.items()]
        return f"{', '.join(parts)}, {self.elsewhere} elsewhere"

    def __str__(self) -> str:
        return f"{self.name} means {self.meaning}: {self.reason}."


ALIASES: Mapping[str, Alias] = {
    "edp": Alias(
        "edp",
        {"locomotion": "edp-td3", "bandit": "edp-td3"},
        elsewhere="edp-iql",
        reason="as in the paper's headline results",
    )
}

PAPERS = ("dtql", "srpo", "edp", "bdpo")
"""What the four papers put forward."""
GROUPS: Mapping[str, str] = {
    "papers": "the four papers' methods",
    "comparators": "methods that the papers quote beside their own",
    "all": "every method",
}
"""Names that stand for several methods at once, with what they mean."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CLASS = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*:\s*([A-Za-z_]\w*)")
_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ODD_YAML = (AttributeError, KeyError, RecursionError)
"""What PyYAML raises at a wrong date or truth value that bears a tag, and at endless nesting."""


class MethodError(Exception):
    """A method that cannot be used; the message is a sentence that names the distribution it came with."""

    def __init__(self, sentence: str, name: str = "", preset: Path | None = None) -> None:
        super().__init__(sentence)
        self.name = name
        """The method's; empty where that is not known."""
        self.preset = preset
        """Its preset file, where the mistake is in there."""

    def __reduce__(self) -> tuple[type, tuple[str, str, Path | None]]:
        # Errors travel between processes; the default would pass the sentence alone.
        return type(self), (str(self), self.name, self.preset)


class Method(Declaration):
    """A method with what it declares of itself."""

    name: str
    implementation: str
    """`package.module:Class`."""
    preset: Path
    """The file whose head is the declaration."""
    distribution: str | None = None
    """What it was installed with; None: it is one of this package's."""

    @property
    def shown(self) -> str:
        """Its name in figures."""
        return self.label or self.name

    def load(self) -> tuple[type[Algorithm], type[Any]]:
        """Its class and the class of its configuration; imports them.

        Raises
        ------
        MethodError : there is no such class, or its module cannot be imported.
        """
        from algorithms.base import Algorithm

        module, _, name = self.implementation.partition(":")
        try:
            imported = import_module(module)
            implementation, configured = getattr(imported, name), getattr(imported, self.configuration)
        except Exception as error:  # what a module raises when it is imported is up to its author
            raise self._unusable(f"{type(error).__name__}: {error}") from error
        if not (isinstance(implementation, type) and issubclass(implementation, Algorithm)):
            raise self._unusable(f"{self.implementation} is no algorithms.base.Algorithm")
        return implementation, configured

    def hyperparameters(self) -> dict[str, str]:
        """Unit and meaning of every hyper-parameter by name, in the order of the configuration.

        Empty where there is no such class. Read from the source: importing a method would load torch.
        """
        return field_docs(self.implementation.partition(":")[0], self.configuration)

    def files(self) -> Iterator[tuple[str, Path]]:
        """What its numbers depend on besides this package: name and place of the files it came with.

        The Python files of the package that its module belongs to, and its preset file; none of a method of
        this package.
        """
        if self.distribution is None:
            return
        module = self.implementation.partition(":")[0]
        spec = find_spec(module.partition(".")[0])
        folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
        for folder in folders:
            for path in folder.rglob("*.py"):
                yield path.relative_to(folder.parent).as_posix(), path
        if not folders and (source := _source(module)) is not None:
            yield source.name, source
        yield self.preset.name, self.preset

    def _unusable(self, why: str) -> MethodError:
        return MethodError(f"{_whose(self.name, self.distribution)} cannot be used: {why}.", self.name)


@dataclass(frozen=True)
class Found:
    """What is installed."""

    methods: Mapping[str, Method]
    problems: tuple[MethodError, ...]
    """Of methods that are left out."""


def methods() -> Mapping[str, Method]:
    """Every method that can be used, by name: those of this package in their order, then others sorted."""
    return installed().methods


def members(group: str) -> tuple[str, ...]:
    """The methods (or aliases) that one of GROUPS stands for, in their order.

    Raises
    ------
    KeyError : there is no such group.
    """
    chosen = {
        "papers": PAPERS,
        "comparators": tuple(name for name, found in methods().items() if found.comparator),
        "all": tuple(methods()),
    }
    return chosen[group]


def method(name: str) -> Method:
    """The method called `name`.

    Raises
    ------
    KeyError : there is none.
    MethodError : there is one, and it cannot be used.
    """
    found = installed()
    if name not in found.methods:
        for problem in found.problems:
            if problem.name == name:
                raise problem
    return found.methods[name]


def build(
    name: str,
    dimensions: Dimensions,
    hyperparameters: Mapping[str, object],
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> Algorithm:
    """A method with a preset's hyper-parameters over a stack of seeds.

    Raises
    ------
    KeyError : there is no such method.
    MethodError : it cannot be used.
    TypeError : a hyper-parameter that the method does not have.
    ValueError : a value that a hyper-parameter cannot take.
    """
    implementation, _ = method(name).load()
    return implementation(dimensions, configuration(name, hyperparameters), seeds, device)


def configuration(name: str, hyperparameters: Mapping[str, object]) -> object:
    """A method's configuration, checked.

    Raises
    ------
    KeyError : there is no such method.
    MethodError : it cannot be used.
    TypeError : a hyper-parameter that the method does not have.
    ValueError : a value that a hyper-parameter cannot take; the message names it.
    """
    from algorithms.base import checked

    return checked(method(name).load()[1], hyperparameters)


@cache
def installed() -> Found:
    """What `methods` and `method` answer from; read once, for an installation stays while a process runs."""
    entries: dict[str, list[_Entry]] = {}
    found: dict[str, Method] = {}
    problems: list[MethodError] = []
    for entry in (*(_Entry(name, implementation, None) for name, implementation in OWN.items()), *_brought()):
        if isinstance(entry, MethodError):
            problems.append(entry)
        else:
            entries.setdefault(entry.name, []).append(entry)
    for name, rivals in entries.items():
        for entry in rivals:
            try:
                found[name] = _method(entry, rivals)
            except MethodError as error:
                problems.append(error)
    return Found(found, tuple(problems))


def field_docs(module: str, name: str) -> dict[str, str]:
    """Docstring of every field of the dataclass `name` in `module`, by field name, those it inherits first.

    A field's docstring is the string that stands right after it. Empty where module or class do not exist.
    """
    source = _source(module)
    if source is None:
        return {}
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    return _docs_in(_parsed(source), package, name)


@cache
def _parsed(source: Path) -> ast.Module:
    """A module's file, which stays while a process runs: every preset of a method asks for the same one."""
    return ast.parse(source.read_text(encoding="utf-8"))


def _docs_in(tree: ast.Module, package: str, name: str) -> dict[str, str]:
    """As `field_docs`, in a module of `package` that is parsed; what it imports is looked up there."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id != name]
            inherited = [_docs_in(tree, package, base) for base in bases]
            return {key: doc for docs in (*inherited, _field_docs(node)) for key, doc in docs.items()}
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    defining = resolve_name("." * node.level + (node.module or ""), package)
                    return field_docs(defining, alias.name)
    return {}


def _field_docs(config: ast.ClassDef) -> dict[str, str]:
    docs: dict[str, str] = {}
    for field, following in zip(config.body, [*config.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = str(following.value.value)
            docs[field.target.id] = " ".join(text.split())
    return docs


@dataclass(frozen=True)
class _Entry:
    """Where a method is said to be."""

    name: str
    implementation: str
    distribution: str | None

    def left_out(self, why: str, preset: Path | None = None) -> MethodError:
        return MethodError(f"{_whose(self.name, self.distribution)} is left out: {why}.", self.name, preset)


def _whose(name: str, distribution: str | None) -> str:
    return f"method {name!r} of {distribution or 'this package'}"


def _brought() -> Iterator[_Entry | MethodError]:
    """Entry points of installed distributions, sorted by the method's name."""
    seen: set[str] = set()
    entries: list[_Entry] = []
    for distribution in distributions():
        # Others' files are looked at and not read further: mistakes in them are none of ours.
        text = distribution.read_text("entry_points.txt") or ""
        if GROUP not in text:
            continue
        name = f"{distribution.metadata['Name']} {distribution.version}"
        # Of a distribution that is found twice the first is imported.
        if distribution.metadata["Name"] in seen:
            continue
        seen.add(distribution.metadata["Name"])
        parser = ConfigParser(delimiters="=", interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # as ConfigParser's documentation has it
        try:
            parser.read_string(text)
        except ConfigParserError as error:
            yield MethodError(f"the entry points of {name} cannot be read: {_one_line(error)}.")
            continue
        section = parser[GROUP] if parser.has_section(GROUP) else {}
        entries += [_Entry(key, value, name) for key, value in section.items()]
    yield from sorted(entries, key=lambda entry: (entry.name, entry.distribution or ""))


def _method(entry: _Entry, rivals: Sequence[_Entry]) -> Method:
    """The method at an entry; `rivals` are all entries of its name.

    Raises
    ------
    MethodError : it cannot be used, or its name is another's.
    """
    if len(rivals) > 1 and entry.distribution is not None:
        others = sorted({one.distribution or "this package" for one in rivals if one is not entry})
        raise entry.left_out(f"{' and '.join(others)} has a method of this name")
    if not _NAME.fullmatch(entry.name):
        raise entry.left_out("a name is made of small letters, digits and single hyphens")
    if entry.name in ALIASES:
        raise entry.left_out("the name stands for several methods by domain")
    if entry.name in GROUPS:
        raise entry.left_out("the name stands for several methods")
    reference = _CLASS.fullmatch(entry.implementation)
    if reference is None:
        raise entry.left_out(f"{entry.implementation!r} is not of the form package.module:Class")
    module = reference[1]
    source = _source(module)
    if source is None:
        raise entry.left_out(f"there is no module {module}")
    name = f"{entry.name}.yaml"
    places = (source.parent / name, source.parent / "presets" / name)
    preset = next((path for path in places if path.is_file()), None)
    if preset is None:
        raise entry.left_out(f"there is no preset file {name} beside {source}, nor in presets/ there")
    try:
        with preset.open(encoding="utf-8") as file:
            content = yaml.load(file, _Parser)
        if not isinstance(content, dict):
            raise entry.left_out(f"{preset.name}: it is no mapping", preset)
        head = {key: content[key] for key in Declaration.model_fields if key in content}
        facts = {"name": entry.name, "implementation": ":".join(reference.groups()), "preset": preset}
        return Method.model_validate({**head, **facts, "distribution": entry.distribution})
    except (OSError, ValueError, yaml.YAMLError, *_ODD_YAML) as error:
        raise entry.left_out(f"{preset.name}: {_one_line(error)}", preset) from error


def _one_line(error: Exception) -> str:
    """What an error says: of pydantic's the first mistake with its place."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join(str(error).split())


def _source(module: str) -> Path | None:
    """The file of a module, found without importing it or the packages that hold it."""
    top, *inner = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin is not None else None
    for location in spec.submodule_search_locations or ():
        path = Path(location, *inner)
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None
