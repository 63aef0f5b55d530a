"""The six energy sets of the plane (Lu et al. 2023; released CEP code, `Offline_RL_2D/dataset/dataset.py`).

Each set has two halves: `draw` makes points with the energies that the released code gives them, `energy`
says what any point of the plane earns. Where the released energy hangs on the noiseless point (rings, moons,
spirals), that of the nearest noiseless curve is taken: on the data another label in one row of 1,000 (moons)
or of a million (rings), and 0.005 off on average (spirals).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

RING_RADII = np.array([3.0, 2.25, 1.5, 0.75])
RING_ENERGIES = np.array([0.667, 0.333, 1.0, 0.0])
MOON_SCALE, MOON_SHIFT = 2.0, np.array([-1.0, -0.2])
GAUSSIAN_SCALE = 4.0 / 1.414
"""Radius of the circle of the eight centres: 4, and everything is divided by 1.414."""
GAUSSIAN_STD = 0.5 / 1.414
SPIRAL_TURNS = 3 * np.pi
"""Largest angle of a spiral (radians)."""
SPIRAL_JITTER = 0.5
"""Width of the uniform offset of both coordinates, before the division by 3."""
SPIRAL_CURVE_POINTS = 4000
"""Points that stand for a noiseless spiral: 0.004 apart at most."""


@dataclass(frozen=True)
class EnergySet:
    """`draw`: generator, rows -> points (N, 2), energies (N,); `energy`: points (N, 2) -> energies (N,)."""

    draw: Callable[[np.random.Generator, int], tuple[Array, Array]]
    energy: Callable[[Array], Array]


def swiss_roll(generator: np.random.Generator, rows: int, noise: float) -> Array:
    """Coordinates 0 and 2 of scikit-learn's `make_swiss_roll` (N, 2).

    t (cos t, sin t) with t = 1.5 pi (1 + 2U), plus normal noise.
    """
    t = 1.5 * np.pi * (1 + 2 * generator.random(rows))
    return np.stack((t * np.cos(t), t * np.sin(t)), axis=1) + noise * generator.standard_normal((rows, 2))


def moons(generator: np.random.Generator, rows: int, noise: float) -> tuple[Array, NDArray[np.int64]]:
    """scikit-learn's `make_moons`: (N, 2) points, and 1 for the lower half circle, 0 for the upper."""
    upper = np.linspace(0, np.pi, rows // 2)
    lower = np.linspace(0, np.pi, rows - rows // 2)
    points = np.concatenate(
        (
            np.stack((np.cos(upper), np.sin(upper)), axis=1),
            np.stack((1 - np.cos(lower), 0.5 - np.sin(lower)), axis=1),
        )
    )
    label = np.repeat((0, 1), (len(upper), len(lower)))
    return points + noise * generator.standard_normal((rows, 2)), label


def gaussian_centres() -> Array:
    """(8, 2) centres in order of energy: from the top, against the clock."""
    angle = np.pi / 2 + np.arange(8) * np.pi / 4
    return GAUSSIAN_SCALE * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _draw_swiss_roll(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    points = swiss_roll(generator, rows, noise=1.0) / 5
    return points, _swiss_roll_energy(points)


def _swiss_roll_energy(points: Array) -> Array:
    return np.square(points).sum(axis=1) / 9


def _draw_rings(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    ring = np.arange(rows) % 4
    counts = np.bincount(ring, minlength=4)
    angle = 2 * np.pi * (np.arange(rows) // 4) / counts[ring]
    points = RING_RADII[ring, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    return points + 0.08 * generator.standard_normal((rows, 2)), RING_ENERGIES[ring]


def _ring_energy(points: Array) -> Array:
    radius = np.linalg.norm(points, axis=1)
    return RING_ENERGIES[np.abs(radius[:, None] - RING_RADII).argmin(axis=1)]


def _draw_moons(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    points, label = moons(generator, rows, noise=0.1)
    return points * MOON_SCALE + MOON_SHIFT, label.astype(np.float64)


def _moon_energy(points: Array) -> Array:
    plain = (points - MOON_SHIFT) / MOON_SCALE
    upper = _half_circle_distance(plain)
    lower = _half_circle_distance(np.array([1.0, 0.5]) - plain)
    return (lower < upper).astype(np.float64)


def _half_circle_distance(points: Array) -> Array:
    """Distance to the upper half of the unit circle."""
    to_arc = np.abs(np.linalg.norm(points, axis=1) - 1)
    to_end = np.hypot(np.abs(points[:, 0]) - 1, points[:, 1])
    return np.where(points[:, 1] >= 0, to_arc, to_end)


def _draw_8gaussians(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    centre = gaussian_centres()[generator.integers(8, size=rows)]
    points = centre + GAUSSIAN_STD * generator.standard_normal((rows, 2))
    # By the nearest centre, as in BDPO's code (CEP's takes the generating one, another in 2 rows of 1,000):
    # the reward is then a function of the action, which is what a bandit has and a critic can learn.
    return points, _8gaussians_energy(points)


def _8gaussians_energy(points: Array) -> Array:
    return cKDTree(gaussian_centres()).query(points)[1] / 7


def _draw_spirals(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    angle = np.sqrt(generator.random(rows)) * SPIRAL_TURNS
    sign = np.where(np.arange(rows) % 2 == 0, 1.0, -1.0)[:, None]
    curve = np.stack((-np.cos(angle) * angle, np.sin(angle) * angle), axis=1)
    points = sign * (curve + SPIRAL_JITTER * generator.random((rows, 2))) / 3
    return points + 0.1 * generator.standard_normal((rows, 2)), np.clip(1 - angle / 10, 0, 1)


def _spiral_energy(points: Array) -> Array:
    angle = np.linspace(0, SPIRAL_TURNS, SPIRAL_CURVE_POINTS)
    curve = np.stack((-np.cos(angle) * angle, np.sin(angle) * angle), axis=1) + SPIRAL_JITTER / 2
    nearest = cKDTree(np.concatenate((curve, -curve)) / 3).query(points)[1]
    return 1 - angle[nearest % SPIRAL_CURVE_POINTS] / 10


def _draw_checkerboard(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    x = 4 * generator.random(rows) - 2
    y = generator.random(rows) - 2 * generator.integers(2, size=rows) + np.floor(x) % 2
    points = 2 * np.stack((x, y), axis=1)
    return points, _checkerboard_energy(points)


def _checkerboard_energy(points: Array) -> Array:
    x = points[:, 0]
    return (((x > 0) & (x <= 2)) | (x <= -2)).astype(np.float64)


ENERGY_SETS: dict[str, EnergySet] = {
    "swissroll": EnergySet(_draw_swiss_roll, _swiss_roll_energy),
    "rings": EnergySet(_draw_rings, _ring_energy),
    "moons": EnergySet(_draw_moons, _moon_energy),
    "8gaussians": EnergySet(_draw_8gaussians, _8gaussians_energy),
    "2spirals": EnergySet(_draw_spirals, _spiral_energy),
    "checkerboard": EnergySet(_draw_checkerboard, _checkerboard_energy),
}
