"""Pictures drawn without a screen, where this machine can; what is said where it cannot."""

import sys

import numpy as np
import pytest

from bench.envs import ROBOTS, make_simulator
from bench.envs.drawing import VARIABLE, Drawing
from bench.errors import BenchError
from tests.envs.graphics import needs_graphics


@needs_graphics
@pytest.mark.parametrize("name", ["hopper", "antmaze-umaze", "pen"])
def test_a_picture_shows_the_robot_and_follows_it(name):
    with make_simulator(name, "d4rl", 1) as simulator:
        simulator.reset([0])
        with Drawing(simulator.model, simulator.rules.view, 160, 120) as drawing:
            first = drawing.picture(simulator.data[0])
            assert (first.shape, first.dtype) == ((120, 160, 3), np.uint8)
            assert len(np.unique(first.reshape(-1, 3), axis=0)) > 100
            assert np.array_equal(drawing.picture(simulator.data[0]), first)
            for _ in range(10):
                simulator.step(np.full((1, simulator.action_dim), 0.5))
            later = drawing.picture(simulator.data[0])
            assert not np.array_equal(later, first)
            titled = drawing.picture(simulator.data[0], ["a title"])
            changed = np.argwhere((titled != later).any(axis=2))
            assert len(changed) > 50
            assert changed[:, 0].max() < 40, "the title stands above"
        # The buffer's size is put back, and the picture may be larger than the model's own.
        assert simulator.model.vis.global_.offwidth >= 640


def test_every_robot_says_from_where_it_is_filmed():
    for name, robot in ROBOTS.items():
        model = robot.load_model("d4rl")
        names = [model.camera(number).name for number in range(model.ncam)]
        assert robot.view.camera in (*names, ""), name
        assert robot.view.camera or robot.view.distance > 1


def refused(monkeypatch, kind):
    monkeypatch.setenv(VARIABLE, kind)
    with make_simulator("hopper", "d4rl", 1) as simulator, pytest.raises(BenchError) as error:
        Drawing(simulator.model, simulator.rules.view, 64, 48)
    return str(error.value)


def test_a_machine_without_graphics_is_told_with_the_reason(monkeypatch):
    for kind in ("egl", "osmesa"):
        monkeypatch.setitem(sys.modules, f"mujoco.{kind}", None)
    told = refused(monkeypatch, "osmesa")
    assert "this machine cannot draw without a screen" in told
    assert "osmesa: import of mujoco.osmesa halted" in told
    if sys.platform.startswith("linux"):
        assert "egl: import of mujoco.egl halted" in refused(monkeypatch, "")


def test_an_unknown_library_is_told_with_the_known_ones(monkeypatch):
    assert "egl, osmesa, glfw" in refused(monkeypatch, "vulkan")
