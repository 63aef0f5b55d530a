"""Studies whose truth is known: what the papers' seeds and ours would score, drawn from set populations.

A study holds every number of the four papers' main tables on locomotion and AntMaze. Each cell has a
population: seeds whose true scores vary about the cell's true mean, and episodes that vary about their seed's
true score (on AntMaze an episode succeeds or fails). Our seeds come from the same population, moved by a
planted difference. What a paper prints is either drawn as well (its seeds may vary more or less than ours),
as the stated error rates suppose, or taken as it stands and for true.

EDP's trials are told by two numbers, RAT and OMS. Each of their last ten evaluations is given the mean of all
ten, and one before them scores higher by what the paper prints for OMS beyond RAT, so that both numbers lie
equally far off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal

import numpy as np

from bench.catalog import Catalog
from bench.evaluation.protocols import RUNNING_AVERAGE
from bench.presets import method_on
from bench.records import PrintedNumber, hash_of
from bench.report.judgement import Outcome, SuiteVerdict
from bench.report.margins import Margins
from bench.report.matching import Printed, own_numbers
from bench.report.measured import Measured, ReportData, SeedScore
from bench.report.paper import PaperCell
from bench.report.statistics import Array

Spread = Literal["std over seeds", "pooled SE", "none"]

METHODS = ("dtql", "srpo", "edp", "bdpo")
TABLES = ("dtql-1", "srpo-1", "edp-2", "bdpo-1")
SUITES = ("d4rl-locomotion", "d4rl-antmaze-v0", "d4rl-antmaze-v2")

SPREADS: Mapping[str, Spread] = {
    "std_over_seeds": "std over seeds",
    "se_over_rollouts": "pooled SE",
    "": "none",
}
_UNSTATED_DEVIATION = 2.0
"""Of a seed's score where nothing is printed (points)."""
_SUCCESS_DEVIATION = 3.0
"""Between the seeds' true success rates on AntMaze where nothing is printed of them (points)."""
_SUCCESS_RATES = (2.0, 98.0)
"""Within which a difference may move them."""
_EPISODES_SHARE = 0.3
"""Of the variance of a seed's score: what its few episodes add."""
_POOLED_SHARE = 0.5
"""Of the variance of single episodes over all seeds: what the seeds add."""


@dataclass(frozen=True)
class Population:
    """Where the seeds and episodes of a cell come from. Units: score points."""

    mean: float
    seeds_vary: float
    """Standard deviation of the seeds' true scores."""
    episodes_vary: float
    """Standard deviation of episodes about their seed's true score; unused where they succeed or fail."""
    succeeds: bool = False
    """Whether an episode scores 0 or 100."""

    @property
    def between(self) -> float:
        """Standard deviation of the seeds' true scores, held to half of what success rates can vary."""
        if not self.succeeds:
            return self.seeds_vary
        return min(self.seeds_vary, 0.5 * math.sqrt(self.mean * (100 - self.mean)))

    def deviation(self, episodes: int) -> float:
        """Standard deviation of a seed's score over so many episodes."""
        within = self.episodes_vary**2
        if self.succeeds:
            within = self.mean * (100 - self.mean) - self.between**2
        return math.sqrt(self.between**2 + within / episodes)

    def draw(self, random: np.random.Generator, seeds: int, episodes: int) -> Array:
        """Scores `(S, E)` of the episodes of some seeds."""
        if not self.succeeds:
            levels = random.normal(self.mean, self.between, (seeds, 1))
            return levels + random.normal(0, self.episodes_vary, (seeds, episodes))
        succeeded = random.random((seeds, episodes)) < self._rates(random, seeds)[:, None]
        return np.where(succeeded, 100.0, 0.0)

    def _rates(self, random: np.random.Generator, seeds: int) -> Array:
        """True success rates `(S,)`, of a beta distribution."""
        rate, variance = self.mean / 100, (self.between / 100) ** 2
        if variance == 0:
            return np.full(seeds, rate)
        weight = rate * (1 - rate) / variance - 1
        return random.beta(rate * weight, (1 - rate) * weight, seeds)


@dataclass(frozen=True)
class StudyCell:
    """A printed number with the population that it is taken to come from."""

    key: PrintedNumber
    table: str
    printed: PaperCell
    oracle: tuple[PrintedNumber, str, PaperCell] | None
    """The number that the same trials have under OMS: its key, table and cell."""

    @property
    def id(self) -> str:
        """What a person types: `dtql/hopper-medium-v2/last`."""
        return "/".join(self.key[1:])

    @property
    def spread(self) -> Spread:
        """What the paper prints of the variation between its seeds."""
        return SPREADS[self.printed.spread_kind]

    @property
    def gap(self) -> float:
        """By how much OMS lies above RAT in print."""
        return 0.0 if self.oracle is None else _mean(self.oracle[2]) - _mean(self.printed)

    @property
    def episodes(self) -> int:
        """Behind one seed's score."""
        return (self.printed.episodes or 1) * (RUNNING_AVERAGE if self.printed.protocol == "rat" else 1)

    @property
    def deviation(self) -> float:
        """Standard deviation of a seed's score."""
        return self.population.deviation(self.episodes)

    @cached_property
    def population(self) -> Population:
        """As the printed mean and spread have it; what they do not tell is set."""
        cell, mean = self.printed, _mean(self.printed)
        known = cell.spread if cell.spread_kind == "std_over_seeds" else None
        if cell.succeeds_or_fails:
            binomial = mean * (100 - mean) / self.episodes
            between = _SUCCESS_DEVIATION if known is None else math.sqrt(max(known**2 - binomial, 0.0))
            return Population(mean, between, 0.0, succeeds=True)
        if cell.spread_kind == "se_over_rollouts":
            pooled = (cell.spread or 0.0) * math.sqrt((cell.seeds or 1) * self.episodes)
            return Population(mean, pooled * _POOLED_SHARE**0.5, pooled * (1 - _POOLED_SHARE) ** 0.5)
        deviation = known or _UNSTATED_DEVIATION
        episodes_vary = deviation * math.sqrt(_EPISODES_SHARE * self.episodes)
        return Population(mean, deviation * math.sqrt(1 - _EPISODES_SHARE), episodes_vary)

    def has_room(self, difference: float) -> bool:
        """Whether the population can be moved so far; success rates stay away from never and always.

        There scores hardly vary, and ours say little of how the paper's do: `above` is then found too often
        (`bench.report.published.PooledError` has the rates), which no study here shows.
        """
        low, high = _SUCCESS_RATES
        return (
            difference == 0
            or not self.population.succeeds
            or low <= self.population.mean + difference <= high
        )


@dataclass(frozen=True)
class Design:
    """How a study is drawn."""

    seeds: int = 5
    """Of ours, in every cell."""
    papers_vary: float = 1.0
    """How many times as much the papers' seeds vary as ours."""
    printed_anew: bool = True
    """Whether what the papers print is drawn, too; otherwise it stands, and is the truth."""
    others: float = 0.0
    """How far off the cells without a planted deviation truly lie, in margins: by turns below and above."""
    lower: float = 0.0
    """By how many points all of them lie lower on top of that."""
    planted: Mapping[PrintedNumber, float] = field(default_factory=dict)
    """Standard deviations of a seed's score beyond the margin; below where negative."""


@dataclass(frozen=True)
class Study:
    """What a check is given, and what it should find."""

    data: ReportData
    printed: Printed
    """The numbers to be held against."""
    differences: Mapping[PrintedNumber, float]
    """By how much our true means differ from the papers' (points)."""
    margins: Mapping[PrintedNumber, float]
    """Of the same numbers (points)."""

    def within(self, key: PrintedNumber) -> bool:
        """Whether the number truly lies within its margin, or at it."""
        return abs(self.differences[key]) <= self.margins[key]

    def mean_difference(self, verdict: SuiteVerdict) -> float:
        """True difference of the mean that a suite's verdict is about (points)."""
        keys = [
            (verdict.paper, verdict.algorithm, task, verdict.protocol)
            for task in self.data.suites[verdict.suite]
        ]
        return float(np.mean([self.differences[key] for key in keys if key in self.differences]))


def is_wrong(outcome: Outcome, difference: float, margin: float) -> bool:
    """Whether this outcome was said wrongly of a true difference; what decides nothing is never wrong."""
    wrong = {
        "below": difference >= -margin,
        "above": difference <= margin,
        "reproduced": abs(difference) >= margin,
    }
    return wrong.get(outcome, False)


def study_cells(catalog: Catalog, suites: Sequence[str] = SUITES) -> tuple[StudyCell, ...]:
    """The cells of the papers' main tables, methods in order; numbers with an erratum are left out."""
    tasks = {task.name: task for suite in suites for task in catalog.suites[suite].tasks}
    numbers = own_numbers()
    found = []
    for key, (table, cell) in numbers.items():
        paper, algorithm, task, _ = key
        own = task in tasks and algorithm in {method_on(method, tasks[task].domain) for method in METHODS}
        if own and table in TABLES and not cell.errata:
            oracle = (paper, algorithm, task, "oms")
            found.append(
                StudyCell(key, table, cell, (oracle, *numbers[oracle]) if oracle in numbers else None)
            )
    return tuple(found)


def draw_study(
    cells: tuple[StudyCell, ...],
    design: Design,
    margins: Margins,
    catalog: Catalog,
    random: np.random.Generator,
) -> Study:
    """One repetition: what the papers print, and our trials."""
    began = datetime.combine(margins.declared, datetime.min.time(), UTC) + timedelta(days=1)
    printed: dict[PrintedNumber, tuple[str, PaperCell]] = {}
    differences: dict[PrintedNumber, float] = {}
    held: dict[PrintedNumber, float] = {}
    measured: list[Measured] = []
    episodes: dict[int, tuple[float, ...]] = {}
    for place, cell in enumerate(cells):
        told = _printed(cell, design, random)
        margin = margins.of(cell.id, told[cell.key][1])
        difference = _difference(cell, design, margin, 1 if place % 2 else -1)
        printed |= told
        differences |= dict.fromkeys(told, difference)
        held |= dict.fromkeys(told, margin)
        population = replace(cell.population, mean=cell.population.mean + difference)
        drawn = population.draw(random, design.seeds, cell.episodes)
        first = 1 + place * design.seeds
        measured.append(_measured(cell, catalog, drawn.mean(axis=1), first, began))
        last = drawn[:, -(cell.printed.episodes or 1) :]
        last = last + drawn.mean(axis=1, keepdims=True) - last.mean(axis=1, keepdims=True)
        episodes |= {first + seed: tuple(of_seed) for seed, of_seed in enumerate(last.tolist())}
    suites = {name: tuple(task.name for task in catalog.suites[name].tasks) for name in SUITES}
    data = ReportData(tuple(measured), final_episodes=episodes, suites=suites)
    return Study(data, printed, differences, held)


def evaluations_of(trial: SeedScore, episodes: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Scores of the episodes of each evaluation of a trial, in order; `episodes`: of the last."""
    last = float(np.mean(episodes))
    return [tuple(score + mean - last for score in episodes) for mean in trial.evaluations]


def _mean(cell: PaperCell) -> float:
    assert cell.mean is not None, "own_numbers leaves out what is not printed"
    return cell.mean


def _printed(cell: StudyCell, design: Design, random: np.random.Generator) -> Printed:
    """The numbers of a cell as this study's paper prints them: its own and, if there is one, OMS."""
    numbers = {cell.key: (cell.table, cell.printed)}
    if cell.oracle is not None:
        key, table, number = cell.oracle
        numbers[key] = (table, number)
    if not design.printed_anew:
        return numbers
    factor, own = design.papers_vary, cell.population
    population = replace(own, seeds_vary=own.seeds_vary * factor, episodes_vary=own.episodes_vary * factor)
    scores = population.draw(random, cell.printed.seeds or 1, cell.episodes)
    return {
        key: (table, _printed_anew(number, scores + (_mean(number) - own.mean)))
        for key, (table, number) in numbers.items()
    }


def _printed_anew(cell: PaperCell, scores: Array) -> PaperCell:
    """The cell as a paper would print it of episodes that scored so, `(S, E)`; rounded as papers round."""
    mean = f"{scores.mean():.1f}"
    if cell.spread is None:
        return replace(cell, mean=float(mean), printed=mean)
    of_kind = {
        "std_over_seeds": scores.mean(axis=1).std(),
        "se_over_rollouts": scores.std() / np.sqrt(scores.size),
    }
    digits = len(cell.printed_spread.partition(".")[2])
    spread = f"{of_kind[cell.spread_kind]:.{digits}f}"
    return replace(cell, mean=float(mean), printed=mean, spread=float(spread), printed_spread=spread)


def _difference(cell: StudyCell, design: Design, margin: float, side: int) -> float:
    """True difference of the cell (points); on AntMaze to the other side, or none, where there is no room."""
    if cell.key in design.planted:
        beyond = design.planted[cell.key] * cell.deviation
        return beyond + math.copysign(margin, beyond)
    wanted = side * design.others * margin
    found = (difference - design.lower for difference in (wanted, -wanted, 0.0))
    return next(difference for difference in found if cell.has_room(difference))


def _measured(cell: StudyCell, catalog: Catalog, scores: Array, first: int, began: datetime) -> Measured:
    """Our finished, comparable trials with scores `(S,)`, numbered from `first`, as a store gives them."""
    paper, algorithm, name, protocol = cell.key
    task, variant = catalog.task(name), cell.printed.accepts_variants[0]
    trials = []
    for seed, mean in enumerate(scores.tolist()):
        evaluations = (mean + cell.gap, *[mean] * RUNNING_AVERAGE) if protocol == "rat" else (mean,)
        trials.append(SeedScore(first + seed, seed, "finished", mean, evaluations))
    return Measured(
        algorithm=algorithm,
        variant=variant,
        task=name,
        config_hash=hash_of([paper, algorithm, variant, name]),
        task_version=task.version,
        physics="d4rl",
        budget=1.0,
        protocol=protocol,
        episodes=cell.printed.episodes or 1,
        reduced=(),
        dataset=name,
        verification="verified",
        replay="d4rl",
        trials=tuple(trials),
        current_task_version=task.version,
        started_at=began,
        finished_at=began + timedelta(hours=3),
    )
