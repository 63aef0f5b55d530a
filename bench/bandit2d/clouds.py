"""Numbers in place of an eye on scatter plots: how near two clouds are, where one lies, which modes it has.

Pure functions of points in the plane; clouds are (N, D) arrays, a row a point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

Cloud = NDArray[np.floating]
Mask = NDArray[np.bool_]

DIRECTIONS = 128
"""Lines onto which the sliced distance projects."""
SUPPORT_QUANTILE = 0.99
"""Share of fresh data that should count as within the data's support."""
BEST_QUANTILE = 0.95
"""Data with at least this quantile of the rewards are the best; of few values, those of the highest."""
DEVIATIONS = 3.0
"""Radius of a Gaussian mode, in its standard deviations: 98.9 % of a Gaussian of the plane lies within."""
GAP = 0.1
"""Modes are apart where no link shorter than this share of the cloud's half width joins them."""
LEAST = 0.01
"""Share of points that must lie in a mode for it to count as reached."""
# Median distance from the centre of a Gaussian in the plane, in standard deviations: sqrt(2 ln 2).
_MEDIAN_RADIUS = 1.17741


def energy_distance(first: Cloud, second: Cloud) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| between two clouds (N, D), (M, D), in units of length.

    Means are over all pairs, a point with itself among them, so the value is never negative and 0 only for
    equal clouds; two samples of N points of one distribution come to about 2 E|X - X'| / N (Szekely and
    Rizzo, 2013).
    """
    return float(2 * cdist(first, second).mean() - cdist(first, first).mean() - cdist(second, second).mean())


def sliced_wasserstein(first: Cloud, second: Cloud, seed: int = 0) -> float:
    """Mean Wasserstein-1 distance of the clouds' shadows on random lines, in units of length.

    The lines are a function of `seed` alone. Between a cloud in the plane and itself moved by a vector of
    length d it is 2 d / pi, up to the choice of lines.
    """
    # A second of start-up for every worker and report; only the 2D problems are measured so.
    from scipy.stats import wasserstein_distance

    normals = np.random.default_rng(seed).standard_normal((DIRECTIONS, first.shape[1]))
    lines = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    pairs = zip((first @ lines.T).T, (second @ lines.T).T, strict=True)
    return float(np.mean([wasserstein_distance(one, other) for one, other in pairs]))


def reweighted(
    data: Cloud, rewards: NDArray[np.floating], temperature: float, count: int, generator: np.random.Generator
) -> Cloud:
    """`count` points of the data, drawn with weights proportional to exp(reward / temperature).

    That is the policy that maximises reward minus `temperature` times its KL divergence from the data's
    distribution (BDPO, section 5.1), up to the data being a sample.
    """
    exponents = np.asarray(rewards, dtype=np.float64) / temperature
    weights = np.exp(exponents - exponents.max())
    return data[generator.choice(len(data), size=count, p=weights / weights.sum())]


def support_radius(data: Cloud) -> float:
    """The SUPPORT_QUANTILE of the data's own nearest-neighbour distances.

    As a fresh point of the same distribution is about as far from the nearest of N as each of them is from
    the nearest of the others, that share of fresh points lies within.
    """
    distances = cKDTree(data).query(data, k=2)[0][:, 1]
    return float(np.quantile(distances, SUPPORT_QUANTILE))


def in_support(points: Cloud, data: Cloud) -> Mask:
    """(N,) whether a point's nearest data point is within the support radius."""
    return cKDTree(data).query(points)[0] <= support_radius(data)


def near_best_data(points: Cloud, data: Cloud, rewards: NDArray[np.floating]) -> Mask:
    """(N,) whether a point is in support and its nearest data point is among the best by reward."""
    best = rewards >= np.quantile(rewards, BEST_QUANTILE)
    distances, nearest = cKDTree(data).query(points)
    return (distances <= support_radius(data)) & best[nearest]


def near_best_centres(points: Cloud, centres: Cloud, rewards: NDArray[np.floating], deviation: float) -> Mask:
    """(N,) whether a point is within DEVIATIONS standard deviations of a centre (C, D) of the highest reward.

    `rewards` (C,) are those of the centres; all that share the highest one count.
    """
    best = centres[np.isclose(rewards, rewards.max(), rtol=1e-9)]
    return cdist(points, best).min(axis=1) <= DEVIATIONS * deviation


@dataclass(frozen=True, eq=False)
class Mode:
    """A round cluster: its centre (2,) and the standard deviation of each coordinate."""

    centre: Cloud
    deviation: float


def modes_of(cloud: Cloud) -> list[Mode]:
    """Clusters of a cloud (N, 2) that are apart by more than GAP; under LEAST of the points are strays."""
    tree = cKDTree(cloud)
    near = tree.sparse_distance_matrix(tree, GAP * float(np.abs(cloud).max()), output_type="coo_matrix")
    count, labels = connected_components(near, directed=False)
    members = (cloud[labels == label] for label in range(count))
    return [_mode(points) for points in members if len(points) >= LEAST * len(cloud)]


def modes_reached(points: Cloud, modes: list[Mode]) -> int:
    """How many modes hold at least LEAST of the points (M, 2) within DEVIATIONS of their centre."""
    shares = (
        np.mean(np.linalg.norm(points - mode.centre, axis=1) <= DEVIATIONS * mode.deviation) for mode in modes
    )
    return sum(bool(share >= LEAST) for share in shares)


def _mode(points: Cloud) -> Mode:
    centre = np.median(points, axis=0)
    # Of the median, as a stray or a bridge would blow up a standard deviation.
    return Mode(centre, float(np.median(np.linalg.norm(points - centre, axis=1))) / _MEDIAN_RADIUS)
