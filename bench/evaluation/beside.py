"""An evaluation of a copy of a method, in a thread of its own, while the method trains on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from threading import Event

import torch

from algorithms.base import Algorithm, Tensors
from bench.evaluation.rollout import ActingMethod, GraphedPolicy, Rollouts

Play = Callable[[ActingMethod, Callable[[int], None]], Rollouts]
"""Plays an evaluation of a policy; what it is given besides wants to be told of each environment step."""


class _GivenUpError(Exception):
    """The evaluation is not wanted any more."""


class Beside:
    """Evaluates a copy of a method, one evaluation at a time; on a GPU on a stream of its own.

    The copy is made once and gets the weights of each evaluation in place, so that its captured graphs stay.

    Parameters
    ----------
    runner : how the copy chooses actions, as `make_runner` takes it.
    """

    def __init__(self, algorithm: Algorithm, runner: str) -> None:
        self.copy = algorithm.acting_copy()
        self.step = 0
        """Environment steps of the present evaluation that are done."""
        self._policy = GraphedPolicy(self.copy, runner)
        self._stream = torch.cuda.Stream(self.copy.device) if self.copy.device.type == "cuda" else None
        # By itself it would use as many OpenMP threads as there are cores until PyTorch tells it otherwise.
        self._thread = ThreadPoolExecutor(1, "evaluation", torch.set_num_threads, (torch.get_num_threads(),))
        self._given_up = Event()
        self._rollouts: Future[Rollouts] | None = None

    def begin(self, weights: Tensors, play: Play) -> None:
        """Begin to evaluate these weights (names and shapes of `networks`), which may change afterwards."""
        self.copy.load_networks(weights)
        self.step = 0
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self.copy.device))
        self._rollouts = self._thread.submit(self._played, play)

    def finished(self, seconds: float | None = 0.0) -> bool:
        """Whether the evaluation has ended, or does so within these seconds; None waits for it."""
        assert self._rollouts is not None, "none was begun"
        return bool(wait([self._rollouts], seconds).done)

    def result(self) -> Rollouts:
        """What came of the evaluation that has ended; an exception that ended it is raised here."""
        assert self._rollouts is not None, "none was begun"
        return self._rollouts.result()

    def close(self) -> None:
        """Break off what goes on, and end the thread."""
        self._given_up.set()
        self._thread.shutdown()

    def _played(self, play: Play) -> Rollouts:
        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
            return play(self._policy, self._on_step)

    def _on_step(self, step: int) -> None:
        self.step = step
        if self._given_up.is_set():
            raise _GivenUpError
