"""`bench export-policy` and `bench video`: what they write and print, and what they refuse."""

import json
import sys

import pytest
import torch

from tests.envs.graphics import needs_graphics

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_actor_is_written_and_never_over_another_file(bench, trained_store, here):
    code, out, err = bench("export-policy", 1, "--store", trained_store)
    assert (code, err) == (0, "")
    assert out.startswith("trial-1.pt: the actor of trial 1 (dtql collected-hopper-quickstart seed 0), ")
    assert "torch.jit.load('trial-1.pt')" in out
    extra = {"bench.json": ""}
    torch.jit.load("trial-1.pt", _extra_files=extra)
    assert json.loads(extra["bench.json"])["algorithm"] == "dtql"
    before = (here / "trial-1.pt").read_bytes()
    code, _, err = bench("export-policy", 1, "--store", trained_store)
    assert (code, "--force" in err) == (2, True)
    assert bench("export-policy", 1, "-o", here, "--store", trained_store)[0] == 2
    assert (here / "trial-1.pt").read_bytes() == before
    assert bench("export-policy", 1, "--force", "--store", trained_store)[0] == 0


@needs_graphics
def test_an_episode_is_filmed(bench, trained_store, here):
    code, out, err = bench("video", 1, "-o", "run.gif", "--width", 160, "--store", trained_store)
    assert (code, err) == (0, "")
    assert "trial 1 (dtql collected-hopper-quickstart seed 0), evaluation 2, episode 1" in out
    assert "25 a second: real time" in out
    assert "earned" not in out
    assert (here / "run.gif").stat().st_size > 1000


@pytest.mark.parametrize("command", ["export-policy", "video"])
def test_no_trial_and_no_weights_are_told(bench, trained_store, command, here):
    code, _, err = bench(command, 99, "--store", trained_store)
    assert (code, "no trial 99" in err) == (2, True)
    assert list(here.iterdir()) == []


def test_a_library_that_mujoco_does_not_find_is_told(bench, trained_store, monkeypatch, here):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.delitem(sys.modules, "bench.evaluation.video", raising=False)
    monkeypatch.setitem(sys.modules, "bench.envs.drawing", None)
    code, _, err = bench("video", 1, "-o", "run.gif", "--store", trained_store)
    assert (code, "MuJoCo does not start with MUJOCO_GL=osmesa" in err) == (2, True)
    assert list(here.iterdir()) == []
