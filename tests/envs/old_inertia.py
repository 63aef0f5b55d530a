"""The capsule inertia of MuJoCo 2.1.0 in the kitchen, which the recordings have and the simulator has not.

Two of its bodies that move have capsules and no inertia of their own in the XML. All masses stand there, so a
body's centre stays, and its inertia changes by the difference between a cylinder of length 2h + r, which a
capsule counted as, and the exact capsule: cylinder of length 2h and two half spheres.
"""

import mujoco
import numpy as np

CAPSULE_MASS = 0.02
"""kg, in the XML of each of these capsules."""
COLLIDING = 4
"""Group of the geoms that count for inertia."""
CAPSULES = {"microdoorroot": 3, "kettleroot": 3}


def exact_moments(r: float, h: float) -> np.ndarray:
    """Across, across, along, per kg."""
    cylinder, ball = 2 * h / (2 * h + 4 / 3 * r), 4 / 3 * r / (2 * h + 4 / 3 * r)
    across = cylinder * (r**2 / 4 + h**2 / 3) + ball * (2 / 5 * r**2 + h**2 + 3 / 4 * h * r)
    return np.array([across, across, cylinder * r**2 / 2 + ball * 2 / 5 * r**2])


def old_moments(r: float, h: float) -> np.ndarray:
    across = r**2 / 4 + (2 * h + r) ** 2 / 12
    return np.array([across, across, r**2 / 2])


def matrix(quaternion: np.ndarray) -> np.ndarray:
    axes = np.empty(9)
    mujoco.mju_quat2Mat(axes, quaternion)
    return axes.reshape(3, 3)


def restore_in_the_kitchen(model: mujoco.MjModel) -> None:
    """In place."""
    for name, expected in CAPSULES.items():
        body = model.body(name).id
        axes = matrix(model.body_iquat[body])
        inertia = axes @ np.diag(model.body_inertia[body]) @ axes.T
        first = model.body_geomadr[body]
        found = 0
        for geom in range(first, first + model.body_geomnum[body]):
            if model.geom_group[geom] != COLLIDING or model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_CAPSULE:
                continue
            found += 1
            r, h = model.geom_size[geom, :2]
            axes = matrix(model.geom_quat[geom])
            inertia += CAPSULE_MASS * axes @ np.diag(old_moments(r, h) - exact_moments(r, h)) @ axes.T
        assert found == expected, name
        moments, axes, quaternion = np.empty(3), np.empty(9), np.empty(4)
        mujoco.mju_eig3(moments, axes, quaternion, inertia.ravel())
        model.body_inertia[body] = moments
        model.body_iquat[body] = quaternion
    mujoco.mj_setConst(model, mujoco.MjData(model))
