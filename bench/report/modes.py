"""Separate modes of a cloud of points, and how many of them another cloud reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from bench.report.illustrations import Array

GAP = 0.1
"""Modes are apart where no link shorter than this share of the cloud's half width joins them."""
RADII = 3.0
"""Standard deviations about a mode's centre that belong to it."""
LEAST = 0.01
"""Share of points that must lie in a mode for it to count as reached."""
# Median distance from the centre of a Gaussian in the plane, in standard deviations: sqrt(2 ln 2).
_MEDIAN_RADIUS = 1.17741


@dataclass(frozen=True, eq=False)
class Mode:
    """A round cluster: its centre (2,) and the standard deviation of each coordinate."""

    centre: Array
    deviation: float


def modes_of(cloud: Array) -> list[Mode]:
    """Clusters of a cloud (N, 2) that are apart by more than GAP; under LEAST of the points are strays."""
    tree = cKDTree(cloud)
    near = tree.sparse_distance_matrix(tree, GAP * float(np.abs(cloud).max()), output_type="coo_matrix")
    count, labels = connected_components(near, directed=False)
    members = (cloud[labels == label] for label in range(count))
    return [_mode(points) for points in members if len(points) >= LEAST * len(cloud)]


def modes_reached(points: Array, modes: list[Mode]) -> int:
    """How many modes hold at least LEAST of the points (M, 2) within RADII deviations of their centre."""
    shares = (
        np.mean(np.linalg.norm(points - mode.centre, axis=1) <= RADII * mode.deviation) for mode in modes
    )
    return sum(bool(share >= LEAST) for share in shares)


def _mode(points: Array) -> Mode:
    centre = np.median(points, axis=0)
    # Of the median, as a stray or a bridge would blow up a standard deviation.
    return Mode(centre, float(np.median(np.linalg.norm(points - centre, axis=1))) / _MEDIAN_RADIUS)
