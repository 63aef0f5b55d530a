"""What a machine is made of: processor, memory and GPUs. Imports no torch."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

_GIB = 2**30


def describe_hardware() -> dict[str, Any]:
    """Host name, processor, cores this process may use, memory (GiB), GPU names, platform."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "hostname": socket.gethostname(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / _GIB, 1),
        "gpus": gpu_names(),
        "platform": platform.platform(),
    }


def cpu_model() -> str:
    """The processor's name, as Linux gives it; its architecture where it gives none."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def gpu_names() -> list[str]:
    """Names of the NVIDIA GPUs of this machine; asking torch instead would take memory on each of them."""
    return _nvidia_smi("name")


def gpu_driver_version() -> str | None:
    """Version of NVIDIA's driver (`570.124.06`); None where there is none."""
    versions = _nvidia_smi("driver_version")
    return versions[0] if versions else None


def output_of(*command: str) -> bytes | None:
    """What a program prints; None where it is not installed or fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else None


def _nvidia_smi(quantity: str) -> list[str]:
    """One line per GPU."""
    answer = output_of("nvidia-smi", f"--query-gpu={quantity}", "--format=csv,noheader")
    return answer.decode().splitlines() if answer else []
