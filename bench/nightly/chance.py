"""Nights as chance makes them: baselines and new seeds of cells whose truth is known, for simulations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.nightly.alarms import prediction_t

Floats = NDArray[np.float64]
Scores = Callable[[np.random.Generator, tuple[int, ...]], Floats]
"""Draws scores of a shape with mean 0 and standard deviation 1."""


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
