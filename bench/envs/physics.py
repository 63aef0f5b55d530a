"""The physics of MuJoCo up to 2.1.0 on today's: capsule inertia and collision.

D4RL's data and the papers' scores come from MuJoCo up to 2.1.0, where a capsule weighed and turned like a
cylinder of length 2h + r. Since 2.1.1 it is the exact capsule, worth up to hundreds of points of return.
"""

from __future__ import annotations

import math
from typing import Literal

import mujoco
import numpy as np

CapsuleFormula = Literal["old", "exact"]


def switch_off_native_collision(model: mujoco.MjModel) -> None:
    """Let the general convex collider of MuJoCo 2.1.0 find the contacts, in place.

    MuJoCo 3.3.0 made another one the default; in 3.2 it is switched on by a bit of its own, before it there
    is none. With it, 91 % of the pen's steps differ.
    """
    bit = getattr(mujoco.mjtDisableBit, "mjDSBL_NATIVECCD", None)
    if bit is not None:
        model.opt.disableflags |= bit


def restore_capsule_inertia(
    model: mujoco.MjModel, formula: CapsuleFormula, total_mass: float | None = None
) -> None:
    """Set mass and inertia of every body of capsules from `formula`, in place.

    The density of a body is taken from its compiled mass, so the model must be as compiled, with one density
    per body. `total_mass` (kg) repeats the XML's `settotalmass`, which a compiled model no longer holds.

    Bodies whose geoms are all of another shape stay as they are; their formula never changed.

    Raises ValueError for a body of capsules and other shapes.
    """
    for body in range(1, model.nbody):
        first, count = model.body_geomadr[body], model.body_geomnum[body]
        geoms = range(first, first + count)
        capsules = [model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE for geom in geoms]
        if not any(capsules):
            continue
        if not all(capsules):
            raise ValueError(f"body {model.body(body).name!r} holds capsules and other shapes")
        sizes = model.geom_size[first : first + count]
        volume = sum(capsule_mass(size[0], size[1], 1.0, "exact") for size in sizes)
        _set_body_inertia(model, body, geoms, model.body_mass[body] / volume, formula)
    if total_mass is not None:
        scale = total_mass / model.body_mass.sum()
        model.body_mass *= scale
        model.body_inertia *= scale
    mujoco.mj_setConst(model, mujoco.MjData(model))


def capsule_mass(radius: float, half_length: float, density: float, formula: CapsuleFormula) -> float:
    """Mass (kg) of a capsule; `half_length` (m) is that of its cylinder, as in MuJoCo's geom size."""
    if formula == "old":
        return density * math.pi * radius**2 * (2 * half_length + radius)
    return density * math.pi * radius**2 * (2 * half_length + 4 / 3 * radius)


def capsule_inertia(radius: float, half_length: float, density: float, formula: CapsuleFormula) -> np.ndarray:
    """Principal moments of inertia (3,) in kg m^2 about the centre; the capsule's axis is z."""
    r, h = radius, half_length
    if formula == "old":
        mass = capsule_mass(r, h, density, "old")
        across = mass * (3 * r**2 + (2 * h + r) ** 2) / 12
        return np.array([across, across, mass * r**2 / 2])
    cylinder = density * math.pi * r**2 * 2 * h
    sphere = density * math.pi * 4 / 3 * r**3
    across = cylinder * (3 * r**2 + 4 * h**2) / 12 + sphere * (2 * r**2 / 5 + 3 * r * h / 4 + h**2)
    return np.array([across, across, cylinder * r**2 / 2 + 2 * sphere * r**2 / 5])


def _set_body_inertia(
    model: mujoco.MjModel, body: int, geoms: range, density: float, formula: CapsuleFormula
) -> None:
    """Combine the capsules of one body by parallel axes and write its mass, centre, moments and axes."""
    sizes = model.geom_size[geoms.start : geoms.stop, :2]
    masses = np.array([capsule_mass(r, h, density, formula) for r, h in sizes])
    positions = model.geom_pos[geoms.start : geoms.stop]
    centre = masses @ positions / masses.sum()
    inertia = np.zeros((3, 3))
    for geom, (r, h), mass in zip(geoms, sizes, masses, strict=True):
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        axes = rotation.reshape(3, 3)
        shift = model.geom_pos[geom] - centre
        inertia += axes @ np.diag(capsule_inertia(r, h, density, formula)) @ axes.T
        inertia += mass * (shift @ shift * np.eye(3) - np.outer(shift, shift))
    moments, principal_axes, quaternion = np.empty(3), np.empty(9), np.empty(4)
    mujoco.mju_eig3(moments, principal_axes, quaternion, inertia.ravel())
    model.body_mass[body] = masses.sum()
    model.body_ipos[body] = centre
    model.body_inertia[body] = moments
    model.body_iquat[body] = quaternion
