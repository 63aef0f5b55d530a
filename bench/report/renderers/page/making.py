"""How each measured cell was made: its seeds, data, code and machine, and every setting with its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.records import SOURCES
from bench.report.measured import Configuration, Measured, Origin, ReportData, SeedScore
from bench.report.renderers.page.numbers import Fact, Number, home_of
from bench.report.renderers.page.words import count, setting

_SHOWN_ELSEWHERE = {
    *("algorithm", "variant", "task", "task_version", "physics", "budget", "dataset"),
    *("hyperparameters", SOURCES),
}
"""Parts of a configuration."""


@dataclass(frozen=True)
class Setting:
    """A hyper-parameter or another setting."""

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class Seed:
    """One trial of a cell."""

    trial: SeedScore
    origin: Origin | None


@dataclass(frozen=True)
class Making:
    """A measured cell."""

    id: str
    entry: Measured
    facts: tuple[Fact, ...]
    """What its seeds have in common."""
    numbers: tuple[Number, ...]
    """What tables show of it, each under a protocol and beside a printed number."""
    seeds: tuple[Seed, ...]
    hyperparameters: tuple[Setting, ...]
    settings: tuple[Setting, ...]
    """The rest of its configuration."""


def makings(data: ReportData, numbers: Iterable[Number]) -> list[Making]:
    """Every measured cell, by method and task; `numbers` are those that tables show."""
    by_home: dict[str, list[Number]] = {}
    for number in dict.fromkeys(numbers):
        by_home.setdefault(number.home, []).append(number)
    ordered = sorted(
        data.measured, key=lambda entry: (entry.algorithm, entry.task, entry.variant, -entry.budget)
    )
    return [_making(entry, data, by_home) for entry in ordered]


def _making(entry: Measured, data: ReportData, numbers: Mapping[str, Sequence[Number]]) -> Making:
    home = home_of(entry.algorithm, entry.variant, entry.task, entry.config_hash)
    seeds = tuple(Seed(trial, data.origins.get(trial.trial_id)) for trial in entry.trials)
    configuration = data.configurations.get(entry.config_hash, {})
    return Making(
        id=home,
        entry=entry,
        facts=tuple(_facts(entry, [seed.origin for seed in seeds if seed.origin])),
        numbers=tuple(numbers.get(home, ())),
        seeds=seeds,
        hyperparameters=tuple(_hyperparameters(configuration)),
        settings=tuple(_settings(configuration)),
    )


def _facts(entry: Measured, origins: Sequence[Origin]) -> Iterable[Fact]:
    hashes = _several(origin.dataset_sha256[:12] for origin in origins)
    replay = {"unverified": "simulator not confirmed by a replay"}.get(
        entry.replay, f"a replay of the data found physics {entry.replay}"
    )
    of_twin = f", a twin of {entry.twin_of}" if entry.twin_of else ""
    yield "Dataset", f"{entry.dataset}{of_twin}, {entry.verification}; {replay}"
    if hashes:
        yield "SHA-256", hashes
    simulators = _several(origin.simulator for origin in origins)
    yield (
        "Simulator",
        ", ".join(filter(None, (simulators, f"physics {entry.physics}, task version {entry.task_version}"))),
    )
    reduced = f", reduced ({', '.join(entry.reduced)})" if entry.reduced else ""
    yield "Budget", f"{entry.budget:g}{reduced}"
    if origins:
        yield "Code", _several(_code(origin) for origin in origins)
    yield "Trials", ", ".join(str(trial.trial_id) for trial in entry.trials)
    yield "Configuration", entry.config_hash[:12]


def _code(origin: Origin) -> str:
    commit = f", commit {origin.code_commit[:12]}" if origin.code_commit else ", no commit known"
    changed = " with uncommitted changes" if origin.code_dirty else ""
    return f"bench {origin.code_version}{commit}{changed}"


def _several(texts: Iterable[str | None]) -> str:
    """The different ones, each once."""
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _hyperparameters(configuration: Configuration) -> Iterable[Setting]:
    values, sources = _mapping(configuration.get("hyperparameters")), _mapping(configuration.get(SOURCES))
    for name, value in values.items():
        yield Setting(name, setting(value), str(sources.get(name, "unknown")))


def _settings(configuration: Configuration, prefix: str = "") -> Iterable[Setting]:
    for name, value in configuration.items():
        if isinstance(value, Mapping) and name not in _SHOWN_ELSEWHERE:
            yield from _settings(value, f"{name} ")
        elif prefix or name not in _SHOWN_ELSEWHERE:
            yield Setting(f"{prefix}{name}", setting(value), "")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def seeds_text(entry: Measured) -> str:
    """`5 seeds`, `4 of 5 seeds`: those with a score."""
    total = len(entry.trials)
    return count(total, "seed") if entry.n == total else f"{entry.n} of {count(total, 'seed')}"
