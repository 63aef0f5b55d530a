"""Whether this machine draws pictures without a screen."""

import mujoco
import pytest

from bench.envs.drawing import Drawing
from bench.envs.rules import View
from bench.errors import BenchError


def _draws() -> bool:
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
    try:
        with Drawing(model, View(), 32, 32):
            return True
    except BenchError:
        return False


needs_graphics = pytest.mark.skipif(
    not _draws(), reason="this machine has no OpenGL that draws without a screen"
)
