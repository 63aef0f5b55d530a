"""How an iteration runs: operation by operation, or as a captured CUDA graph per program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

from bench.errors import BenchError

Iteration = Callable[[str, Mapping[str, Tensor]], None]
"""Runs one iteration of a program with its draws; all its effects are on tensors in place."""

WARM_UP_ITERATIONS = 3
"""Before a capture, so that libraries have chosen kernels and workspaces (torch's CUDA graph notes)."""
_CAPTURE = Lock()
"""Held during a capture. It begins by waiting for the whole device, and no capture of another thread of this
process would survive that.
"""


class Runner(Protocol):
    """Runs iterations of a phase."""

    name: str

    def run(self, program: str, draws: Mapping[str, Tensor]) -> None:
        """One iteration."""


class EagerRunner:
    """Operation by operation."""

    name = "eager"

    def __init__(self, iteration: Iteration) -> None:
        self._iteration = iteration

    def run(self, program: str, draws: Mapping[str, Tensor]) -> None:
        """One iteration."""
        self._iteration(program, draws)


class GraphRunner:
    """One captured CUDA graph per program; equal to eager bit for bit on the same device.

    Parameters
    ----------
    state : every tensor that an iteration changes; restored after the warm-up before a capture.
    """

    name = "graph"

    def __init__(self, iteration: Iteration, state: Callable[[], Mapping[str, Tensor]]) -> None:
        self._iteration = iteration
        self._state = state
        self._graphs: dict[str, tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]] = {}

    def run(self, program: str, draws: Mapping[str, Tensor]) -> None:
        """One iteration; the first of a program captures it."""
        if program not in self._graphs:
            self._graphs[program] = self._capture(program, draws)
        graph, inputs = self._graphs[program]
        for names in _by_type(inputs):
            torch._foreach_copy_([inputs[name] for name in names], [draws[name] for name in names])
        graph.replay()

    def _capture(
        self, program: str, draws: Mapping[str, Tensor]
    ) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
        inputs = {name: draw.clone() for name, draw in draws.items()}
        before = {name: tensor.detach().clone() for name, tensor in self._state().items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_ITERATIONS):
                self._iteration(program, inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads go on meanwhile, on streams of their own: an evaluation, another stack.
        with _CAPTURE, torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self._iteration(program, inputs)
        with torch.no_grad():
            for name, tensor in self._state().items():
                # What the warm-up itself created (sums of metrics) began at zero.
                tensor.copy_(before[name]) if name in before else tensor.zero_()
        return graph, inputs


def _by_type(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """Names of tensors of one type each, which are copied by one kernel; mixed ones take a kernel each."""
    names: dict[torch.dtype, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(tensor.dtype, []).append(name)
    return list(names.values())


def chosen_runner(name: str, device: torch.device | str) -> str:
    """What `auto` means on a device: graphs on CUDA, eager elsewhere; any other name stays."""
    if name != "auto":
        return name
    return "graph" if torch.device(device).type == "cuda" else "eager"


def check_runner(name: str, device: torch.device | str) -> None:
    """Refuse a runner that is unknown or that the device cannot have.

    Raises
    ------
    BenchError : graphs asked for without a CUDA device, or an unknown name.
    """
    name, kind = chosen_runner(name, device), torch.device(device).type
    if name not in ("eager", "graph"):
        raise BenchError(f"unknown runner {name!r}", "", "Runners are: auto, eager, graph.")
    if name == "graph" and kind != "cuda":
        raise BenchError(
            "runner 'graph' needs a CUDA device", f"This run is on {kind}.", "Use --runner eager."
        )


def make_runner(
    name: str, iteration: Iteration, state: Callable[[], Mapping[str, Tensor]], device: torch.device
) -> Runner:
    """The runner called `eager`, `graph` or `auto`.

    Raises
    ------
    BenchError : as `check_runner`.
    """
    check_runner(name, device)
    if chosen_runner(name, device) == "eager":
        return EagerRunner(iteration)
    return GraphRunner(iteration, state)
