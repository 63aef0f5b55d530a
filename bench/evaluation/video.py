"""Films an episode of a trial's last evaluation, as MP4 or GIF."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.catalog import GeneratedDataset
from bench.envs import robot_of
from bench.envs.batch import BatchedSimulator
from bench.envs.drawing import Drawing
from bench.envs.rules import Robot, Step
from bench.errors import BenchError
from bench.evaluation.rollout import roll_out
from bench.evaluation.stored import StoredMethod
from bench.files import written_whole
from bench.records import EvaluationRecord, Physics

MOST_FRAMES = 30
"""Per second; slow robots have fewer."""
KINDS = (".mp4", ".gif")
Add = Callable[[NDArray[np.uint8]], None]
"""Takes the next picture (height, width, 3)."""


@dataclass(frozen=True)
class Filmed:
    """What was filmed."""

    number: int
    """Of the evaluation."""
    episode: int
    """From 1."""
    episode_return: float
    length: int
    """Steps."""
    stored_return: float
    """That of the same episode in the store."""
    frames: int
    frames_per_second: float


def film(
    method: StoredMethod,
    evaluation: EvaluationRecord,
    episode: int,
    target: Path,
    *,
    width: int,
    threads: int,
) -> Filmed:
    """Play an evaluation of a trial's final weights once more, and film one of its episodes.

    Parameters
    ----------
    evaluation : the last one that training made.
    episode : from 1.
    target : where the film goes; its ending says of which kind it is.
    width : pixels; the height is three quarters of it, both rounded to even numbers.

    Raises
    ------
    BenchError : no such episode or kind, nothing to be drawn, no OpenGL, a package that is missing.
    """
    _require_known(method, evaluation, episode, target)
    task, record = method.task, method.trial.record
    robot = robot_of(task.environment)
    sides = 2 * (width // 2), 2 * (width * 3 // 8)
    name = f"{task.name}  {record.key.algorithm} seed {record.key.seed}"
    with (
        _Filming(robot, evaluation.physics, len(evaluation.returns), threads) as simulator,
        Drawing(simulator.model, robot.view, *sides) as drawing,
    ):
        seconds = simulator.model.opt.timestep * robot.frame_skip
        stride = math.ceil(round(1 / (seconds * MOST_FRAMES), 6))
        rate, slot, pictures = 1 / (seconds * stride), episode - 1, 0

        def picture() -> NDArray[np.uint8]:
            title = f"{name}  return {simulator.returns[slot]:.1f}"
            return drawing.picture(simulator.data[slot], [title])

        with _writing(target, sides, rate) as add:

            def watch(step: int) -> None:
                nonlocal pictures
                is_over = bool(step) and bool(simulator.finished[slot])
                if is_over or step % stride == 0:
                    add(picture())
                    pictures += 1
                if is_over:
                    raise _OverError

            _play(method, simulator, evaluation, watch)
        length = int(simulator.states.elapsed[slot])
        found = float(simulator.returns[slot])
    return Filmed(evaluation.number, episode, found, length, evaluation.returns[slot], pictures, rate)


class _OverError(Exception):
    """The episode that is filmed has ended."""


class _Filming(BatchedSimulator):
    """A simulator that adds up what its episodes earn."""

    def __init__(self, rules: Robot, physics: str, count: int, threads: int) -> None:
        super().__init__(rules, cast(Physics, physics), count, threads)
        self.returns = np.zeros(count)

    def step(self, actions: NDArray[np.float64]) -> Step:
        outcome = super().step(actions)
        self.returns += outcome.rewards
        return outcome


def _play(
    method: StoredMethod, simulator: _Filming, evaluation: EvaluationRecord, watch: Callable[[int], None]
) -> None:
    """Play until `watch`, which is called before every step and after the last, has seen enough."""
    count = len(evaluation.returns)
    goals = method.trial.record.config["evaluation"].get("goals")
    with suppress(_OverError):
        roll_out(
            method.algorithm,
            simulator,
            evaluation=evaluation.number,
            episodes=count,
            goals=goals,
            on_step=watch,
        )
        watch(int(simulator.states.elapsed.max()))


def _require_known(method: StoredMethod, evaluation: EvaluationRecord, episode: int, target: Path) -> None:
    number, count = method.trial.trial_id, len(evaluation.returns)
    if isinstance(method.task.dataset, GeneratedDataset):
        what = f"trial {number} is of {method.task.name}, a problem in the plane"
        why = "Its episodes are one action each: there is nothing to film."
        raise BenchError(what, why, "`bench report --format figures` draws its samples.")
    if episode > count:
        what = f"no episode {episode} in evaluation {evaluation.number} of trial {number}"
        raise BenchError(what, f"It has {count}.", f"Name one from 1 to {count}.")
    if target.suffix not in KINDS:
        what = f"{str(target)!r} is no name of a film"
        raise BenchError(what, "", f"Let it end in {' or '.join(KINDS)}.")
    if target.suffix == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise BenchError(
            f"{str(target)!r} cannot be written",
            "MP4 takes the package imageio-ffmpeg, which is not installed.",
            f"Install it (pip install imageio-ffmpeg), or name {str(target.with_suffix('.gif'))!r}.",
        )


@contextmanager
def _writing(target: Path, size: tuple[int, int], rate: float) -> Iterator[Add]:
    """What takes the pictures of a film one by one; the file is there once all are in it."""
    with written_whole(target) as temporary:
        if target.suffix == ".gif":
            pictures: list[Image.Image] = []
            yield lambda pixels: pictures.append(Image.fromarray(pixels).quantize())
            milliseconds = round(1000 / rate)
            first, *others = pictures
            first.save(temporary, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
            return
        import imageio_ffmpeg

        frames = imageio_ffmpeg.write_frames(
            str(temporary),
            size,
            fps=rate,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=["-f", "mp4"],
        )
        frames.send(None)
        try:
            yield frames.send
        finally:
            frames.close()
