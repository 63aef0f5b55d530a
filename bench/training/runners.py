"""How an iteration runs: operation by operation, as a captured CUDA graph per program, or compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Protocol

import torch
from torch import Tensor

from bench.errors import BenchError

Iteration = Callable[[str, Mapping[str, Tensor]], None]
"""Runs one iteration of a program with its draws; all its effects are on tensors in place."""
State = Callable[[], Mapping[str, Tensor]]
"""Gives every tensor that an iteration changes, by name."""

WARM_UP_ITERATIONS = 3
"""Before a capture, so that libraries have chosen kernels and workspaces (torch's CUDA graph notes)."""
_CAPTURE = RLock()
"""Held during a capture, and while the compiler may be at work. Both wait for the whole device, which no
capture of another thread of this process survives; and the compiler's settings are those of the process.
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

    The state is put back after the warm-up before a capture.
    """

    name = "graph"

    def __init__(self, iteration: Iteration, state: State) -> None:
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
        with _kept(self._state):
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
        return graph, inputs


class CompiledRunner:
    """Programs compiled by torch.compile, which fuses what lies between the products; on CUDA as graphs.

    Sums come out in another order than operation by operation, so that the last digits differ.
    """

    name = "compiled"

    def __init__(self, iteration: Iteration, state: State, device: torch.device) -> None:
        self._iteration = iteration
        self._state = state
        self._functions: dict[str, Callable[[Mapping[str, Tensor]], None]] = {}
        self._graphs = GraphRunner(self._compiled, state) if device.type == "cuda" else None

    def run(self, program: str, draws: Mapping[str, Tensor]) -> None:
        """One iteration; the first of a program compiles it, which may take a minute."""
        if self._graphs is not None:
            self._graphs.run(program, draws)
            return
        if program not in self._functions:
            with _kept(self._state):
                self._compiled(program, draws)
        self._compiled(program, draws)

    def _compiled(self, program: str, draws: Mapping[str, Tensor]) -> None:
        if program in self._functions:
            with _CAPTURE, torch._dynamo.config.patch(_TRACING):
                self._functions[program](draws)
            return
        # The first iteration makes sums of metrics; the compiler wants to meet them.
        self._iteration(program, draws)
        self._functions[program] = torch.compile(
            partial(self._iteration, program), fullgraph=True, dynamic=False, options=_COMPILING
        )


_TRACING = {
    "trace_autograd_ops": True,
    # By default a function is compiled eight times; this one is, for every program of every stack in turn.
    "recompile_limit": 1 << 16,
    "accumulated_recompile_limit": 1 << 16,
}
_COMPILING: dict[str, str | int | bool | Callable[..., object]] = {
    # Fails on lists of tensors of several sizes in torch 2.11 to 2.13 (`reorder_loops_by_dep_pair`).
    "loop_ordering_after_fusion": False
}


@contextmanager
def _kept(state: State) -> Iterator[None]:
    """Put every tensor of `state` back at the end to what it was."""
    before = {name: tensor.detach().clone() for name, tensor in state().items()}
    yield
    with torch.no_grad():
        for name, tensor in state().items():
            # What came up in between (sums of metrics) began at zero.
            tensor.copy_(before[name]) if name in before else tensor.zero_()


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
    if name not in ("eager", "graph", "compiled"):
        raise BenchError(f"unknown runner {name!r}", "", "Runners are: auto, eager, graph, compiled.")
    if name == "graph" and kind != "cuda":
        raise BenchError(
            "runner 'graph' needs a CUDA device", f"This run is on {kind}.", "Use --runner eager."
        )


def make_runner(name: str, iteration: Iteration, state: State, device: torch.device) -> Runner:
    """The runner called `eager`, `graph`, `compiled` or `auto`.

    Raises
    ------
    BenchError : as `check_runner`.
    """
    check_runner(name, device)
    match chosen_runner(name, device):
        case "eager":
            return EagerRunner(iteration)
        case "compiled":
            return CompiledRunner(iteration, state, device)
    return GraphRunner(iteration, state)
