"""What torch's compiler would launch on a GPU for a program, found out over fake tensors without one.

The compiler decides what it fuses when it writes its code; it is stopped before that code is compiled for a
device. Each fused piece counts as one kernel, and so does each product, which cuBLAS does as it does eagerly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any
from unittest import mock

from torch._dynamo.device_interface import CudaInterface
from torch._inductor import config
from torch._inductor.graph import GraphLowering
from torch._inductor.scheduler import (
    BaseSchedulerNode,
    ExternKernelSchedulerNode,
    NopKernelSchedulerNode,
)

from benchmarks.gpu.h200 import H200
from benchmarks.gpu.launches import Launch, Product


@dataclass(frozen=True)
class _Properties:
    """What the compiler asks of a device: those of an H200."""

    name: str = "NVIDIA H200"
    major: int = 9
    minor: int = 0
    multi_processor_count: int = H200.multiprocessors
    max_threads_per_multi_processor: int = 2048
    max_threads_per_block: int = 1024
    regs_per_multiprocessor: int = 65536
    warp_size: int = 32
    total_memory: int = 141 * 10**9
    shared_memory_per_block: int = 49152
    shared_memory_per_block_optin: int = 232448
    shared_memory_per_multiprocessor: int = 233472
    L2_cache_size: int = 50 * 2**20
    gcnArchName: str = ""


_CONFIGURATION = {
    # Each would run something on the device to decide.
    "joint_graph_constant_folding": False,
    "shape_padding": False,
    # What it finds is of this counting alone.
    "fx_graph_cache": False,
    "compile_threads": 1,
}


class _Stopped(Exception):
    """The compiler has written its code."""


def fused(compiled: Callable[[], object]) -> list[Launch]:
    """Launches of a function that `torch.compile` gave, called for the first time.

    Raises
    ------
    RuntimeError : nothing was compiled.
    """
    found: list[Launch] = []
    with _stopped_compiler(found):
        try:
            compiled()
        except Exception:  # of many kinds, around the one that stops the compiler
            if not found:
                raise
    if not found:
        raise RuntimeError("the compiler was not asked")
    return found


@contextmanager
def _stopped_compiler(found: list[Launch]) -> Iterator[None]:
    """Let the compiler believe in an H200, and stop it with what it would launch in `found`."""

    def stop(graph: GraphLowering) -> None:
        code, _ = graph.codegen()
        found.extend(_launches(graph.scheduler.nodes, str(code.value).count(".run(")))
        raise _Stopped

    def properties(device: object = None) -> _Properties:
        return _Properties()

    with ExitStack() as stack:
        stack.enter_context(config.patch(_CONFIGURATION))
        for place, answer in (
            ("torch.cuda.get_device_properties", properties),
            ("torch.cuda.current_device", lambda: 0),
            ("torch._inductor.scheduler.has_triton", lambda *device: True),
            ("torch.utils._triton.triton_hash_with_backend", lambda: "none"),
        ):
            stack.enter_context(mock.patch(place, answer))
        worker = CudaInterface.Worker
        for owner, name, answer in (
            (worker, "get_device_properties", properties),
            (CudaInterface, "get_device_properties", properties),
            (CudaInterface, "get_compute_capability", lambda *device: 90),
            (CudaInterface, "current_device", lambda: 0),
        ):
            stack.enter_context(mock.patch.object(owner, name, staticmethod(answer)))
        stack.enter_context(mock.patch.object(GraphLowering, "_compile_to_module", stop))
        yield


def _launches(nodes: list[BaseSchedulerNode], written: int) -> Iterator[Launch]:
    """Of the compiler's nodes; `written` kernels stand in its code, as a list of tensors may take several."""
    fused_pieces = 0
    for node in nodes:
        if isinstance(node, NopKernelSchedulerNode):
            continue
        moved = float(node.get_read_write_buffers_sizes())
        if isinstance(node, ExternKernelSchedulerNode):
            operation = str(getattr(node.node, "python_kernel_name", "")).removeprefix("extern_kernels.")
            yield Launch(operation, "product", 1, moved, _product(node.node))
        else:
            fused_pieces += 1
            yield Launch("fused", "fused", 1, moved)
    if written > fused_pieces:
        yield Launch("fused", "fused", written - fused_pieces, 0.0)


def _product(kernel: Any) -> Product:  # noqa: ANN401 (of the compiler)
    left, right = ([int(size) for size in operand.get_size()] for operand in kernel.inputs[-2:])
    return Product(prod(left[:-2]), left[-2], right[-1], left[-1])
