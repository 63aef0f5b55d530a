"""What the papers say that their 2D figures show, as checks on the trials in a store.

The papers state no thresholds; those used here stand in the words of each expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from bench.report import evidence
from bench.report.evidence import Evidence
from bench.report.illustrations import Illustration, representative

ENERGY = ("swissroll", "rings", "moons", "8gaussians", "2spirals", "checkerboard")
SUPPORT, BEST = "share_in_support", "share_on_best_modes"


@dataclass(frozen=True)
class Expectation:
    """A statement about methods on one task."""

    source: str
    statement: str
    task: str
    methods: tuple[str, ...]
    check: Callable[..., Evidence | None]
    """Takes the seeds of every method; None where these lack what it needs."""


@dataclass(frozen=True)
class Finding:
    """An expectation with its answer."""

    expectation: Expectation
    answer: Literal["yes", "no", "not measured"]
    numbers: str = ""
    seeds: int = 0
    """The fewest that any of its methods has."""
    reduced: tuple[str, ...] = ()
    """What is below the preset in the trials behind it."""


def check_claims(items: Sequence[Illustration]) -> list[Finding]:
    """Every expectation of the papers, checked where its trials are there."""
    return [_finding(expectation, items) for expectation in EXPECTATIONS]


def seeds_of(items: Sequence[Illustration], algorithm: str, task: str) -> list[Illustration]:
    """All seeds of the configuration that figures show of a cell."""
    shown = representative(items, algorithm, task)
    same = (item for item in items if (item.algorithm, item.task) == (algorithm, task))
    return [item for item in same if shown and item.config_hash == shown.config_hash]


def _finding(expectation: Expectation, items: Sequence[Illustration]) -> Finding:
    groups = [seeds_of(items, method, expectation.task) for method in expectation.methods]
    found = expectation.check(*groups) if all(groups) else None
    if found is None:
        return Finding(expectation, "not measured")
    reduced = tuple(dict.fromkeys(entry for group in groups for item in group for entry in item.reduced))
    answer: Literal["yes", "no"] = "yes" if found.holds else "no"
    return Finding(expectation, answer, found.numbers, min(map(len, groups)), reduced)


def _dtql() -> list[Expectation]:
    def of_both(statement: str, task: str, check: Callable[..., Evidence | None], fig: int) -> Expectation:
        return Expectation(f"DTQL Fig. {fig}", statement, f"bandit-{task}", ("dtql", "dtql-kl"), check)

    alone, far = "bandit-25gaussians-same", "25gaussians-far"
    on_data = "trust region alone: at least 90 % of actions in the data's support"
    all_modes = "KL alone: actions on all modes of the data"
    return [
        Expectation("DTQL Fig. 1", on_data, alone, ("dtql",), partial(evidence.mostly, SUPPORT)),
        Expectation("DTQL Fig. 2", all_modes, alone, ("dtql-kl",), evidence.covers_all_modes),
        of_both("KL covers all best modes, trust region fewer", far, evidence.covers_more_modes, 3),
        of_both(
            "trust region has more actions in the data's support than KL",
            far,
            partial(evidence.larger_share, SUPPORT),
            3,
        ),
        *(
            of_both(
                "trust region has more actions on the best modes than KL",
                task,
                partial(evidence.larger_share, BEST),
                6,
            )
            for task in (far, "swissroll-far", "swissroll-near")
        ),
        *(
            of_both(
                "one best mode: both have at least 90 % of actions there",
                task,
                partial(evidence.mostly, BEST),
                6,
            )
            for task in ("25gaussians-near", "25gaussians-hard")
        ),
    ]


def _on_energy_sets(
    source: str, method: str, checks: dict[str, Callable[..., Evidence | None]]
) -> list[Expectation]:
    return [
        Expectation(source, statement, f"bandit-energy-{name}", (method,), check)
        for statement, check in checks.items()
        for name in ENERGY
    ]


EXPECTATIONS: tuple[Expectation, ...] = (
    *_dtql(),
    *_on_energy_sets(
        "SRPO Fig. 3",
        "srpo-points",
        {
            "points leave their targets as β falls (mean distance)": evidence.leaves_target,
            "points come to the data as β falls (mean distance)": evidence.approaches_data,
            "at the lowest β at least 90 % of points are in the data's support": evidence.ends_on_support,
            "at the lowest β points went to data nearby": evidence.ends_nearby,
        },
    ),
    *_on_energy_sets(
        "BDPO Figs. 4, 5, 11",
        "bdpo",
        {
            "policy nearer to the re-weighted data than the behaviour model (energy distance)": (
                evidence.nearer_than_behaviour
            ),
            "V(T) at noise within 10 % of η log mean exp(Q/η)": evidence.value_at_noise,
            "value landscapes sharpen as noise falls (standard deviation)": evidence.landscape_sharpens,
            "samples move little in the first 40 % of steps, more in the rest (mean distance)": (
                evidence.moves_late
            ),
        },
    ),
)
"""In the order of the papers' figures."""
