"""Whether the machine is doing anything else."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

IDLE_BELOW = 0.1
"""Share of the processors (and of any GPU) that may be busy on a machine that counts as idle."""


def machine_is_idle(seconds: float = 1.0) -> bool:
    """Watch processors and GPUs for `seconds`; False also where they cannot be watched."""
    before = _processor_ticks()
    time.sleep(seconds)
    after = _processor_ticks()
    if before is None or after is None:
        return False
    total = after[0] - before[0]
    busy = (after[1] - before[1]) / total if total else 1.0
    return busy < IDLE_BELOW and all(share < IDLE_BELOW for share in _gpu_shares())


def _processor_ticks() -> tuple[int, int] | None:
    """Ticks of all processors since the start, in all and busy (Linux)."""
    statistics = Path("/proc/stat")
    if not statistics.exists():
        return None
    ticks = [int(part) for part in statistics.read_text(encoding="utf-8").splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks), sum(ticks) - idle


def _gpu_shares() -> list[float]:
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    numbers = [line.strip() for line in answer.stdout.splitlines()]
    return [float(number) / 100 for number in numbers if number.replace(".", "").isdecimal()]
