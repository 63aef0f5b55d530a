"""The device that work is done and timed on."""

from __future__ import annotations

import torch

from bench.hardware import cpu_model


def device_name(device: torch.device | str) -> str:
    """`cuda: NVIDIA H200`, `cpu: Intel(R) Xeon(R) Processor`."""
    kind = torch.device(device).type
    return f"{kind}: {torch.cuda.get_device_name(device) if kind == 'cuda' else cpu_model()}"


def synchronise(device: torch.device | str) -> None:
    """Wait until all work queued on the device is done; a CPU queues none."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
