"""What a machine is made of: processor, memory and GPUs. Imports no torch."""

from __future__ import annotations

import platform
import resource
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

_GIB = 2**30


def describe_hardware() -> dict[str, Any]:
    """Host name, processor, cores this process may use, memory (GiB), GPU names, platform."""
    return {
        "hostname": socket.gethostname(),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(psutil.virtual_memory().total / _GIB, 1),
        "gpus": gpu_names(),
        "platform": platform.platform(),
    }


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, all where the system binds none (macOS)."""
    if hasattr(psutil.Process, "cpu_affinity"):
        return len(psutil.Process().cpu_affinity())
    return psutil.cpu_count() or 1


def peak_memory_bytes() -> int:
    """Most memory that this process has held at once; the system counts it in KiB, macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def cpu_model() -> str:
    """The processor's name, as Linux or macOS gives it; its architecture where neither does."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if sys.platform == "darwin":
        names = (output_of("sysctl", "-n", "machdep.cpu.brand_string") or b"").decode().splitlines()
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
