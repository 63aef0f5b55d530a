"""`bench export-policy` and `bench video`: what a trial has learned, as a file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.output import print_lines, size
from bench.cli.progress import saying
from bench.errors import BenchError
from bench.evaluation.exported import SUFFIX, export_actor, require_exportable
from bench.evaluation.stored import load_method
from bench.hardware import prepare_process
from bench.store.database import open_store
from bench.store.queries import evaluations

if TYPE_CHECKING:
    from bench.evaluation.video import Filmed

SAME = 1e-3
"""Relative difference of returns that rounding explains."""


def export_policy(trial: int, out: Path | None, store: str, *, force: bool) -> None:
    """Write the actor of a finished trial as TorchScript, and say what is in the file."""
    target = out or Path(f"trial-{trial}{SUFFIX}")
    with open_store(store, read_only=True) as opened:
        method = load_method(opened, trial)
    require_exportable(method, target)
    _require_free(target, force=force)
    told = export_actor(method, target)
    key, bound = method.trial.record.key, told["action_bound"]
    sizes = f"{told['observation_size']} numbers to {told['action_size']}"
    print_lines(
        (
            f"{target}: the actor of trial {trial} ({key}), {size(target.stat().st_size)}",
            f"It maps {sizes} from -{bound:g} to {bound:g}. To load it: torch.jit.load({str(target)!r})",
        )
    )


def video(
    trial: int, episode: int, out: Path | None, width: int, threads: int, store: str, *, force: bool
) -> None:
    """Film an episode of a trial's last evaluation, and say what it earned."""
    target = out or Path(f"trial-{trial}.mp4")
    with open_store(store, read_only=True) as opened:
        method = load_method(opened, trial)
        made = [record for record in evaluations(opened, trial, method.trial.attempt) if record.number > 0]
    if not made:
        why = "It says nothing of an evaluation during training, whose episodes could be filmed."
        raise BenchError(f"trial {trial} has no evaluation", why, "Choose another trial.")
    _require_free(target, force=force)
    film = _film()
    prepare_process(threads)
    with saying(f"Filming trial {trial}"):
        found = film(method, made[-1], episode, target, width=width, threads=threads)
    lines = [
        f"{target}: trial {trial} ({method.trial.record.key}), evaluation {found.number}, episode {episode}",
        f"Return {found.episode_return:.1f} in {found.length:,} steps; "
        f"{found.frames:,} pictures, {found.frames_per_second:g} a second: real time.",
    ]
    if not math.isclose(found.episode_return, found.stored_return, rel_tol=SAME, abs_tol=SAME):
        lines.append(
            f"When it was evaluated this episode earned {found.stored_return:.1f}: on another processor "
            "the last digits of actions differ, and grow."
        )
    print_lines(lines)


def _require_free(target: Path, *, force: bool) -> None:
    if target.is_dir():
        raise BenchError(f"{str(target)!r} is a folder", "", f"Name a file in it, with -o {target}/NAME.")
    if target.exists() and not force:
        raise BenchError(
            f"{str(target)!r} exists", "", "Name another file with -o, or replace it with --force."
        )


def _film() -> Callable[..., Filmed]:
    """`bench.evaluation.video.film`; importing it has MuJoCo choose what draws."""
    asked = os.environ.get("MUJOCO_GL")
    try:
        from bench.evaluation.video import film
    # What MuJoCo raises then comes from the library that is asked for: PyOpenGL's is an AttributeError.
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        if not asked:
            raise
        why = f"It says: {type(error).__name__}: {' '.join(str(error).split())}."
        unset = "Leave the variable away, or install the library that it asks for."
        raise BenchError(f"MuJoCo does not start with MUJOCO_GL={asked}", why, unset) from error
    return film
