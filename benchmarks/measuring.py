"""What the benchmarks share: interleaved repeats, their ratio, and the record of a measurement."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.files import write_text
from bench.hardware import describe_hardware
from bench.provenance import package_versions

Measure = Callable[[], float]
"""Does the work once and returns its rate (units per second)."""


@dataclass(frozen=True)
class Comparison:
    """Rates of two ways of doing the same, measured by turns so that a busy moment hits both."""

    name: str
    unit: str
    rates: Mapping[str, tuple[float, ...]]
    """Way -> rate of every repeat; the first way is held against the second."""
    target: float | None
    """Ratio to reach; None where the figure is only for information."""

    @property
    def ratio(self) -> float:
        """Median over the repeats of the first rate over the second."""
        ours, theirs = self.rates.values()
        return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))

    def as_line(self) -> str:
        """One line for people."""
        rates = ", ".join(f"{way} {_readable(statistics.median(rate))}" for way, rate in self.rates.items())
        target = "" if self.target is None else f" (target {self.target})"
        return f"{self.name}: {rates} {self.unit}; ratio {self.ratio:.2f}{target}"


@dataclass(frozen=True)
class Figure:
    """A quantity that should stay below a limit, measured several times."""

    name: str
    unit: str
    values: tuple[float, ...]
    limit: float | None
    """None where the figure is only for information."""

    @property
    def median(self) -> float:
        """Median of the measurements."""
        return statistics.median(self.values)

    def as_line(self) -> str:
        """One line for people."""
        limit = "" if self.limit is None else f" (limit {self.limit:g})"
        return f"{self.name}: {self.median:.3g} {self.unit}{limit}"


def _readable(rate: float) -> str:
    """Whole numbers, and slow rates with three digits."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def compare(
    name: str, unit: str, target: float | None, ways: Mapping[str, Measure], repeats: int
) -> Comparison:
    """Measure two ways by turns, `repeats` times each, after one turn that does not count."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeats + 1):
        for way, measure in ways.items():
            rate = measure()
            if turn:
                rates[way].append(rate)
    return Comparison(name, unit, {way: tuple(values) for way, values in rates.items()}, target)


def write_record(
    path: Path,
    comparisons: list[Comparison],
    settings: Mapping[str, object],
    others: Mapping[str, object] | None = None,
    *,
    figures: Sequence[Figure] = (),
) -> None:
    """Write what was measured as JSON, with the machine and the versions of packages."""
    record = {
        "settings": dict(settings),
        "hardware": describe_hardware(),
        "packages": package_versions(),
        "comparisons": [asdict(comparison) | {"ratio": comparison.ratio} for comparison in comparisons],
        **(others or {}),
    }
    if figures:
        record["figures"] = [asdict(figure) | {"median": figure.median} for figure in figures]
    write_text(path, json.dumps(record, indent=1) + "\n")


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="simulator threads (default 2)")
    parser.add_argument("--environments", type=int, default=64, help="environments at once (default 64)")
    parser.add_argument("--steps", type=int, default=500, help="steps of each environment (default 500)")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    return parser
