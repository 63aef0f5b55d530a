"""A film of an episode: its pictures, its return, and what cannot be filmed."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.evaluation.stored import load_method
from bench.evaluation.video import film
from bench.store.database import open_store
from bench.store.queries import evaluations
from tests.envs.graphics import needs_graphics


@pytest.fixture(scope="module")
def trained(trained_store):
    """The method of a finished trial, and its last evaluation."""
    with open_store(trained_store, read_only=True) as opened:
        return load_method(opened, 1), evaluations(opened, 1)[-1]


@needs_graphics
def test_the_film_is_of_the_episode_that_was_scored(trained, tmp_path):
    method, evaluation = trained
    found = film(method, evaluation, 2, tmp_path / "run.gif", width=160, threads=1)
    assert found.episode_return == evaluation.returns[1] == found.stored_return
    assert (found.number, found.episode, found.length) == (2, 2, evaluation.lengths[1])
    assert found.frames_per_second == pytest.approx(25)
    with Image.open(tmp_path / "run.gif") as pictures:
        assert (pictures.n_frames, pictures.size) == (found.frames, (160, 120))
        assert pictures.info["duration"] == 40
        first = np.asarray(pictures.convert("RGB"))
        pictures.seek(pictures.n_frames - 1)
        assert not np.array_equal(np.asarray(pictures.convert("RGB")), first)
    # Every fifth of 0.008 s, and the end.
    assert found.frames == 1 + -(-found.length // 5)
    assert [path.name for path in tmp_path.iterdir()] == ["run.gif"]


@needs_graphics
def test_as_mp4(trained, tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    method, evaluation = trained
    found = film(method, evaluation, 1, tmp_path / "run.mp4", width=162, threads=1)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "run.mp4"))
    assert frames == found.frames
    assert seconds == pytest.approx(frames / 25, abs=0.05)
    header = next(imageio_ffmpeg.read_frames(str(tmp_path / "run.mp4")))
    assert header["size"] == (162, 120)


def refused(method, evaluation, target, episode=1):
    with pytest.raises(BenchError) as error:
        film(method, evaluation, episode, target, width=160, threads=1)
    return str(error.value)


def test_what_cannot_be_filmed_is_told(trained, tmp_path, monkeypatch):
    method, evaluation = trained
    assert "It has 2." in refused(method, evaluation, tmp_path / "run.gif", episode=3)
    assert ".mp4 or .gif" in refused(method, evaluation, tmp_path / "run.avi")
    plane = replace(method, task=next(t for t in load_catalog().tasks.values() if t.domain == "bandit"))
    assert "a problem in the plane" in refused(plane, evaluation, tmp_path / "run.gif")
    monkeypatch.setattr("bench.evaluation.video.find_spec", lambda name: None)
    told = refused(method, evaluation, tmp_path / "run.mp4")
    assert "pip install imageio-ffmpeg" in told
    assert "run.gif" in told
    assert list(tmp_path.iterdir()) == []
