"""How often the nightly job cries wolf, and how many nights pass until it finds a drop.

Simulates families of cells under the rules of bench.nightly with the rates of nightly.yaml: baselines as
chance makes them, then night after night of fresh seeds; alarms, their confirmation and the watch for drift,
all against the one baseline. Scores are normal, as the rules assume, or skewed, to show what that assumption
costs. It takes half a minute.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, special, stats

from bench.files import write_text
from bench.nightly.alarms import prediction_t
from bench.nightly.config import Nightly, load_nightly
from bench.nightly.drift import DriftRule, drift_rule, next_sums, normal_score
from bench.report.statistics import holm
from bench.visible_text import to_json

Floats = NDArray[np.float64]
Scores = Callable[[np.random.Generator, tuple[int, ...]], Floats]
"""Draws scores of a shape with mean 0 and standard deviation 1."""

DROPS = (1.0, 2.0, 3.0, 4.0)
"""Standard deviations of a seed."""


def normal_scores(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Scores as the rules assume them."""
    return rng.standard_normal(shape)


def skewed_scores(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Scores near a ceiling with a tail of bad seeds: a gamma distribution of shape 4, mirrored."""
    return (4 - rng.gamma(4, size=shape)) / 2


@dataclass(frozen=True)
class Baselines:
    """Frozen baselines of many cells, with the errors that their numbers of seeds leave."""

    seeds: int
    mean: Floats
    """Any shape, the same as `deviation`."""
    deviation: Floats
    scores: Scores

    @classmethod
    def drawn(
        cls, rng: np.random.Generator, shape: tuple[int, ...], seeds: int, scores: Scores = normal_scores
    ) -> Baselines:
        """Baselines of `seeds` seeds each."""
        drawn = scores(rng, (seeds, *shape))
        return cls(seeds, drawn.mean(axis=0), drawn.std(axis=0, ddof=1), scores)

    def night(self, rng: np.random.Generator, seeds: int, drop: ArrayLike = 0.0) -> Floats:
        """Student's t of every cell in a night of `seeds` new seeds, `drop` seed deviations worse."""
        new = self.scores(rng, (seeds, *self.mean.shape)).mean(axis=0) - drop
        return prediction_t(new, self.mean, self.deviation, seeds, self.seeds)

    def only(self, rows: NDArray[np.int64]) -> Baselines:
        """Those at `rows` of the first axis."""
        return Baselines(self.seeds, self.mean[rows], self.deviation[rows], self.scores)


@dataclass(frozen=True)
class Procedure:
    """What a night does, as far as chance is concerned."""

    cells: int
    baseline_seeds: int
    seeds: int
    fresh_seeds: int
    family_rate: float
    confirmation_rate: float
    drift: DriftRule

    @classmethod
    def of(cls, settings: Nightly, cells: int) -> Procedure:
        """The procedure of a configuration."""
        seeds, drift = settings.seeds, settings.drift
        rule = drift_rule(
            cells=cells,
            baseline_seeds=seeds.baseline,
            seeds=seeds.per_night,
            rate=drift.rate,
            nights=drift.nights,
        )
        return cls(
            cells=cells,
            baseline_seeds=seeds.baseline,
            seeds=seeds.per_night,
            fresh_seeds=seeds.confirmation,
            family_rate=settings.scores.family_rate,
            confirmation_rate=settings.scores.confirmation_rate,
            drift=rule,
        )


@dataclass(frozen=True)
class Nights:
    """What happened to families (F) in nights (H): `(F, H)` booleans."""

    alarmed: NDArray[np.bool_]
    """A cell was below its interval."""
    confirmed: NDArray[np.bool_]
    """It was again, with fresh seeds."""
    drifting: NDArray[np.bool_]
    """A sum was at its limit."""

    @property
    def failed(self) -> NDArray[np.bool_]:
        """What a person sees: red."""
        return self.confirmed | self.drifting


def simulate(
    procedure: Procedure,
    rng: np.random.Generator,
    *,
    families: int,
    nights: int,
    drop: float = 0.0,
    dropped_cells: int = 0,
    scores: Scores = normal_scores,
) -> Nights:
    """Play nights after a new baseline; the first `dropped_cells` cells are worse by `drop` throughout."""
    shape = (families, procedure.cells)
    baselines = Baselines.drawn(rng, shape, procedure.baseline_seeds, scores)
    worse = np.where(np.arange(procedure.cells) < dropped_cells, drop, 0.0)
    sums = np.zeros(shape)
    events = {name: np.zeros((families, nights), dtype=bool) for name in ("alarmed", "confirmed", "drifting")}
    for night in range(nights):
        t = baselines.night(rng, procedure.seeds, worse)
        below = holm(probability(t, procedure)) <= procedure.family_rate
        rows = np.flatnonzero(below.any(axis=1))
        again = baselines.only(rows).night(rng, procedure.fresh_seeds, worse)
        # Cells that did not alarm are no members of the confirmation.
        p_again = holm(np.where(below[rows], probability(again, procedure), np.nan))
        sums = next_sums(sums, normal_score(t, procedure.baseline_seeds), procedure.drift.slack)
        sums = np.minimum(sums, procedure.drift.limit)
        events["alarmed"][rows, night] = True
        events["confirmed"][rows, night] = (p_again <= procedure.confirmation_rate).any(axis=1)
        events["drifting"][:, night] = (sums >= procedure.drift.limit).any(axis=1)
    return Nights(**events)


def probability(t: NDArray[np.float64], procedure: Procedure) -> NDArray[np.float64]:
    """One-sided P-values of a drop, same shape."""
    return special.stdtr(procedure.baseline_seeds - 1, t)


def confirmed_rate(
    *,
    cells: int,
    baseline_seeds: int,
    seeds: int,
    fresh_seeds: int,
    family_rate: float,
    confirmation_rate: float,
) -> float:
    """Probability that a night without any change fails in both stages.

    Both stages use one baseline, so a baseline that is too high by chance misleads both: the rate is above
    the product of the two. Exact to the order of `family_rate` squared (two cells that alarm at once).
    """
    stages = ((seeds, family_rate / cells), (fresh_seeds, confirmation_rate))
    return cells * probability_below(stages, baseline_seeds)


def probability_below(stages: Sequence[tuple[int, float]], baseline_seeds: int, drop: float = 0.0) -> float:
    """Probability that one cell is below its interval in every stage.

    Given the error of the baseline's mean and its deviation, the stages are independent; their product is
    integrated over both.

    Parameters
    ----------
    stages : number of new seeds and one-sided level of each.
    drop : by how many standard deviations of a seed the cell has truly become worse.
    """
    degrees = baseline_seeds - 1
    error = np.linspace(-9, 9, 601)[:, None]
    spread = np.linspace(0, math.sqrt(stats.chi2.isf(1e-15, degrees) / degrees), 601)
    density = stats.norm.pdf(error) * stats.chi.pdf(spread * math.sqrt(degrees), degrees) * math.sqrt(degrees)
    for seeds, level in stages:
        reach = stats.t.isf(level, degrees) * math.sqrt(1 / seeds + 1 / baseline_seeds) * spread
        density = density * special.ndtr(
            math.sqrt(seeds) * (drop + error / math.sqrt(baseline_seeds) - reach)
        )
    return float(integrate.simpson(integrate.simpson(density, spread), error[:, 0]))


@dataclass(frozen=True)
class FalseAlarms:
    """Per night and family, where nothing has changed."""

    scores: str
    alarmed: float
    confirmed: float
    drifting: float
    """First alarms only: what has drifted stays at its limit."""
    failed: float
    """First failures of either kind, per night without one before."""


@dataclass(frozen=True)
class Detection:
    """Nights until a drop fails a night; infinite where it is not found in the nights simulated."""

    drop: float
    """Standard deviations of a seed."""
    cells: int
    """That dropped."""
    confirmed: float
    """Median over families, by alarm and confirmation alone."""
    drifting: float
    """Median, by the watch for drift alone."""
    failed: float
    """Median, by either."""
    nine_in_ten: float
    """By either, nights within which nine of ten families have failed."""
    first_night: float
    """Share of families that fail in the first night."""


def false_alarms(nights: Nights, scores: str) -> FalseAlarms:
    """Rates per night; of what lasts, the hazard of its first night."""
    return FalseAlarms(
        scores=scores,
        alarmed=float(nights.alarmed.mean()),
        confirmed=float(nights.confirmed.mean()),
        drifting=_hazard(nights.drifting),
        failed=_hazard(nights.failed),
    )


def detection(nights: Nights, drop: float, cells: int) -> Detection:
    """How long a drop goes unnoticed."""
    failed = first_nights(nights.failed)
    return Detection(
        drop=drop,
        cells=cells,
        confirmed=_quantile(first_nights(nights.confirmed), 0.5),
        drifting=_quantile(first_nights(nights.drifting), 0.5),
        failed=_quantile(failed, 0.5),
        nine_in_ten=_quantile(failed, 0.9),
        first_night=float((failed == 1).mean()),
    )


def first_nights(events: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Night (from 1) of each family's first event (F,); infinite where there is none."""
    return np.where(events.any(axis=1), events.argmax(axis=1) + 1.0, math.inf)


def _hazard(events: NDArray[np.bool_]) -> float:
    """Rate per night at which families without an event have their first."""
    first = first_nights(events)
    return float(np.isfinite(first).sum() / np.minimum(first, events.shape[1]).sum())


def _quantile(nights: NDArray[np.float64], share: float) -> float:
    return float(np.quantile(nights, share, method="inverted_cdf"))


def _lines(alarms: Iterable[FalseAlarms], found: Iterable[Detection]) -> Iterable[str]:
    yield "False alarms per night, all cells together, nothing changed:"
    for one in alarms:
        rates = f"alarm {one.alarmed:.4f}, confirmed {one.confirmed:.4f}, drift {one.drifting:.4f}"
        yield f"  {one.scores} scores: {rates}; a night fails {one.failed:.4f} (one in {1 / one.failed:,.0f})"
    yield "Nights until a drop is found, median (by confirmed alarm / by drift alone); 9 in 10; first night:"
    for drop in found:
        middle = f"{drop.failed:g} ({drop.confirmed:g} / {drop.drifting:g})"
        where = "1 cell" if drop.cells == 1 else f"{drop.cells} cells"
        yield (f"  {drop.drop:g} sd in {where}: {middle}; {drop.nine_in_ten:g}; {drop.first_night:.0%}")


def main(arguments: list[str] | None = None) -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, help="another nightly.yaml")
    parser.add_argument("--baseline-seeds", type=int, help="instead of the configuration's")
    parser.add_argument("--family-rate", type=float, help="instead of the configuration's")
    parser.add_argument("--families", type=int, default=10_000, help="for the false alarms (default 10,000)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    file = load_nightly(options.config)
    settings = _overridden(file.settings, options)
    procedure = Procedure.of(settings, len(file.cells))
    of_one_method = len(file.cells) // len(file.algorithms)
    rng, nights = np.random.default_rng(1), settings.drift.nights
    print(procedure, flush=True)
    alarms = [
        false_alarms(simulate(procedure, rng, families=options.families, nights=nights, scores=scores), name)
        for name, scores in (("normal", normal_scores), ("skewed", skewed_scores))
    ]
    found = []
    for cells in (1, of_one_method):
        for drop in DROPS:
            played = simulate(
                procedure, rng, families=options.families // 5, nights=nights, drop=drop, dropped_cells=cells
            )
            found.append(detection(played, drop, cells))
    print("\n".join(_lines(alarms, found)))
    if options.json:
        figures = {"procedure": procedure, "false_alarms": alarms, "detection": found}
        write_text(options.json, to_json(figures, indent=1))


def _overridden(settings: Nightly, options: argparse.Namespace) -> Nightly:
    seeds = {"baseline": options.baseline_seeds} if options.baseline_seeds else {}
    scores = {"family_rate": options.family_rate} if options.family_rate else {}
    changes = {
        "seeds": settings.seeds.model_copy(update=seeds),
        "scores": settings.scores.model_copy(update=scores),
    }
    return settings.model_copy(update=changes)


if __name__ == "__main__":
    main()
