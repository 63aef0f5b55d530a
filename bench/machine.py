"""What the last digits of a worker's numbers depend on besides configuration and data."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from importlib import metadata

import torch

from bench.device import device_name
from bench.hardware import cpu_model, gpu_driver_version
from bench.provenance import package_versions
from bench.records import ExecutionRecord
from bench.source_code import code_fingerprint


def describe_execution(
    *, device: str, threads: int, runner: str, stack: tuple[int, ...], from_iteration: int
) -> ExecutionRecord:
    """Describe the stretch of work that this process begins now.

    Parameters
    ----------
    device : as torch takes it (`cpu`, `cuda:0`).
    runner : `eager` or `graph`.
    stack : training seeds, side by side.
    from_iteration : iterations of all phases done before.
    """
    return ExecutionRecord(
        started_at=datetime.now(UTC),
        from_iteration=from_iteration,
        stack=stack,
        hostname=socket.gethostname(),
        cpu=cpu_model(),
        device=device_name(device),
        gpu_driver=_gpu_driver(device),
        threads=threads,
        runner=runner,
        precision=precision_settings(),
        packages=package_versions(),
        simulator=f"mujoco {metadata.version('mujoco')}",
        code_sha256=code_fingerprint(),
    )


def precision_settings() -> dict[str, str | bool]:
    """Type of the numbers, and torch's settings in this process that change their last digits.

    A setting `none` follows torch's default, which is full float32 (`ieee`) for products of matrices.
    """
    # Of torch's two interfaces only this one answers whatever has been set through either.
    return {
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "cuda.matmul.fp32_precision": torch.backends.cuda.matmul.fp32_precision,
        "cudnn.conv.fp32_precision": torch.backends.cudnn.conv.fp32_precision,
        "mkldnn.matmul.fp32_precision": torch.backends.mkldnn.matmul.fp32_precision,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _gpu_driver(device: str) -> str | None:
    """`NVIDIA 570.124.06, CUDA 12.8`; None on a CPU."""
    if torch.device(device).type != "cuda":
        return None
    return f"NVIDIA {gpu_driver_version() or 'unknown'}, CUDA {torch.version.cuda}"
