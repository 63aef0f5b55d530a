"""Pictures of a simulator's state, drawn by MuJoCo without a screen.

Which OpenGL draws them is what MUJOCO_GL says (egl, osmesa, glfw), else the first that works: EGL on Linux,
with a GPU or with Mesa alone, then OSMesa; the system's own elsewhere.
"""

from __future__ import annotations

import os
import sys
import textwrap
import warnings
from collections.abc import Sequence
from importlib import import_module
from types import TracebackType
from typing import Any, Self

import mujoco
import numpy as np
from numpy.typing import NDArray

from bench.envs.rules import View
from bench.errors import BenchError

VARIABLE = "MUJOCO_GL"
_KINDS = {"egl": "mujoco.egl", "osmesa": "mujoco.osmesa", "glfw": "mujoco.glfw", "cgl": "mujoco.cgl"}
_GEOMS = 10_000
"""The most that a scene may hold."""


class Drawing:
    """Draws states of one model into pictures of one size.

    Parameters
    ----------
    width, height : pixels.

    Raises
    ------
    BenchError : this machine has no OpenGL that draws without a screen.
    """

    def __init__(self, model: mujoco.MjModel, view: View, width: int, height: int) -> None:
        self._model = model
        self._context, self._gl = _opened(model, width, height)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._gl)
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, _GEOMS)
        # Without a GPU shadows take 70 to 90 % of the time of a picture.
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._options = mujoco.MjvOption()
        self._camera = _camera(model, view)

    def picture(self, data: mujoco.MjData, title: Sequence[str] = ()) -> NDArray[np.uint8]:
        """The present state as an image (height, width, 3) of red, green and blue; lines of a title above it.

        The positions of bodies are those that the simulator computed last.
        """
        self._context.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._options, None, self._camera, everything, self._scene)
        mujoco.mjr_render(self._rectangle, self._scene, self._gl)
        if title:
            place, font = mujoco.mjtGridPos.mjGRID_TOPLEFT, mujoco.mjtFont.mjFONT_NORMAL
            mujoco.mjr_overlay(font, place, self._rectangle, "\n".join(title), "", self._gl)
        pixels = np.empty((self._rectangle.height, self._rectangle.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(pixels, None, self._rectangle, self._gl)
        # OpenGL begins at the lower edge.
        return np.ascontiguousarray(pixels[::-1])

    def close(self) -> None:
        """Let go of what it holds of the graphics driver."""
        self._context.make_current()
        self._gl.free()
        self._context.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _camera(model: mujoco.MjModel, view: View) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    if view.camera:
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        camera.fixedcamid = model.camera(view.camera).id
    else:
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        camera.lookat[:] = view.at
        camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
    return camera


def _opened(model: mujoco.MjModel, width: int, height: int) -> tuple[Any, mujoco.MjrContext]:
    """A context of OpenGL that needs no screen, made current, and what MuJoCo keeps of the model in it."""
    asked = os.environ.get(VARIABLE, "").lower()
    if asked and asked not in _KINDS:
        raise BenchError(f"{VARIABLE}={asked}", "", f"MuJoCo draws by {', '.join(_KINDS)}: name one of them.")
    usual = ("egl", "osmesa") if sys.platform.startswith("linux") else ("cgl", "glfw")
    faults = []
    for kind in (asked,) if asked else usual:
        try:
            with warnings.catch_warnings():  # of GLFW where there is no screen
                warnings.simplefilter("ignore")
                # Of one class per library.
                context = import_module(_KINDS[kind]).GLContext(width, height)
                context.make_current()
            return context, _kept(model, width, height)
        # What a library of graphics raises where it finds no driver is up to it: PyOpenGL an AttributeError.
        except Exception as error:  # noqa: BLE001
            faults.append(f"{kind}: {_reason(error)}")
    raise BenchError(
        "this machine cannot draw without a screen",
        f"MuJoCo finds no OpenGL for it ({'; '.join(faults)}).",
        "On Debian: apt install libegl1 libgl1-mesa-dri. Then, or on a machine that can, type it again.",
    )


def _kept(model: mujoco.MjModel, width: int, height: int) -> mujoco.MjrContext:
    # The buffer that is drawn into has the size that the model says.
    size = model.vis.global_.offwidth, model.vis.global_.offheight
    model.vis.global_.offwidth, model.vis.global_.offheight = width, height
    try:
        return mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    finally:
        model.vis.global_.offwidth, model.vis.global_.offheight = size


def _reason(error: Exception) -> str:
    said = textwrap.shorten(str(error), 80, placeholder=" ...")
    return said if isinstance(error, ImportError) and said else f"{type(error).__name__} {said}".strip()
