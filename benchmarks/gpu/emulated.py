"""CUDA graphs emulated on any device: what a capture records is replayed on the same memory.

A capture records every operation of torch with the tensors that it met. A replay runs them again, and puts
what they give where the recorded operation put it. So whatever an iteration keeps outside tensors is frozen,
as in a graph: a counter in Python, a value read by the host, a branch, a new tensor in the place of an old.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.training import runners
from bench.training.contract import waits
from benchmarks.gpu.launches import storage


class CaptureError(Exception):
    """An operation that cannot be captured."""


class EmulatedGraph:
    """In the place of `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, tuple[Any, ...], Mapping[str, Any], list[Tensor | None]]] = []
        """Operator, what it takes, and what it gives where that has memory of its own."""

    def replay(self) -> None:
        """Run what was captured again."""
        with torch.no_grad():
            for operation, args, kwargs, outputs in self.operations:
                for output, again in zip(outputs, _tensors(operation(*args, **kwargs)), strict=True):
                    if output is not None:
                        output.copy_(again)


class _Capture(TorchDispatchMode):
    def __init__(self, graph: EmulatedGraph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 (an operator of torch)
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (what the operator gives)
        inputs = _tensors(args)
        if waits(func, inputs):
            raise CaptureError(f"{func._schema.name} waits for the device")
        out = func(*args, **(kwargs or {}))
        outputs, known = _tensors(out), set(map(storage, inputs))
        # A view looks at its memory however often that changes, so it need not be made again.
        if func._schema.is_mutable or not known.issuperset(map(storage, outputs)):
            fresh = [None if storage(tensor) in known else tensor for tensor in outputs]
            self._graph.operations.append((func, args, kwargs or {}, fresh))
        return out


class _Stream:
    """Everything runs in turn."""

    def wait_stream(self, other: _Stream) -> None:
        """Nothing to wait for."""


@contextmanager
def emulated_graphs() -> Iterator[None]:
    """Let `GraphRunner` capture emulated graphs on any device until the end of the block."""

    @contextmanager
    def capturing(graph: EmulatedGraph, stream: _Stream, capture_error_mode: str) -> Iterator[None]:
        with _Capture(graph):
            yield

    with (
        mock.patch.object(torch.cuda, "Stream", _Stream),
        mock.patch.object(torch.cuda, "current_stream", _Stream),
        mock.patch.object(torch.cuda, "stream", lambda stream: nullcontext()),
        mock.patch.object(torch.cuda, "CUDAGraph", EmulatedGraph),
        mock.patch.object(torch.cuda, "graph", capturing),
        mock.patch.object(runners, "check_runner", lambda name, device: None),
        # No library chooses kernels here, but what an iteration makes must be there before a capture.
        mock.patch.object(runners, "WARM_UP_ITERATIONS", 1),
    ):
        yield


def _tensors(tree: object) -> list[Tensor]:
    """Those among what an operator takes or gives; torch's own walk takes longer than the operators."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, list | tuple):
        return [tensor for branch in tree for tensor in _tensors(branch)]
    return []
