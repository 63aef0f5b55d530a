"""What a timing was measured on."""

from __future__ import annotations

import torch

from bench.provenance import cpu_model


def device_name(device: torch.device | str) -> str:
    """`cuda: NVIDIA H200`, `cpu: Intel(R) Xeon(R) Processor`."""
    kind = torch.device(device).type
    return f"{kind}: {torch.cuda.get_device_name(device) if kind == 'cuda' else cpu_model()}"
