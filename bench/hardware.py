"""What a machine is made of, processor, memory and GPUs, whether it is doing anything, and how it is used.

torch is imported by what needs it alone: commands that only show results tell of the machine too.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import torch

    from bench.records import Precision

_FIRST_WITH_TF32 = (8, 0)
"""Compute capability of NVIDIA's Ampere."""
_GIB = 2**30
IDLE_BELOW = 0.1
"""Share of the processors (and of any GPU) that may be busy on a machine that counts as idle."""
_KEEP_PAGES = {-4: 0, -1: 2**31 - 1, -2: 64 * 2**20}
"""glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD (malloc.h): no tensor gets pages of its own from the
system, and none go back to it.
"""
_SHARED_AMONG_THREADS = 1 << 20
"""Elements of a tensor that PyTorch hands out to all of its threads."""


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


def stacks_on(gpus: int, share: float) -> int:
    """How many stacks of a share of a GPU each fit on so many GPUs."""
    # A share below one does not cross from one GPU to the next; ten of 0.1 are one.
    return gpus * int(1 / share + 1e-9) if share <= 1 else int(gpus // share)


def prepare_process(threads: int) -> None:
    """Get this process ready to train or evaluate with so many threads."""
    import torch

    torch.set_num_threads(threads)
    keep_pages()
    # PyTorch's other threads begin with their first common task, and keep the mode in which they begin.
    with subnormals_as_zero():
        torch.zeros(_SHARED_AMONG_THREADS).add_(1)


@contextmanager
def subnormals_as_zero() -> Iterator[None]:
    """Let this thread's floating-point operations take numbers below the normal range as zero meanwhile.

    In float32 these are below 1.2e-38: weights of a softmax, gradients behind squashed actions and moments of
    units that no longer fire come there, where Intel's cores take up to fifty times as long over a product.
    Other threads, simulators among them, are left alone.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def keep_pages() -> bool:
    """Let the allocator keep the memory that tensors leave, for the next ones; whether it can.

    By default glibc returns a large tensor's pages to the system and gets others for the next one, each of
    which the system has to clear first: up to a third of an iteration on a CPU. Other libraries are left
    alone.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(library.mallopt(option, value) for option, value in _KEEP_PAGES.items())


def device_name(device: torch.device | str) -> str:
    """`cuda: NVIDIA H200`, `cpu: Intel(R) Xeon(R) Processor`."""
    import torch

    kind = torch.device(device).type
    return f"{kind}: {torch.cuda.get_device_name(device) if kind == 'cuda' else cpu_model()}"


def set_matmul_precision(precision: Precision, device: torch.device | str) -> None:
    """Have matrices of float32 multiplied so on a GPU; on a CPU they are multiplied in full anyhow.

    To be called before anything is computed: what is captured in a graph keeps what held then.
    """
    import torch

    # The one of torch's two interfaces that can be read whatever the other was set to.
    if torch.device(device).type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"


def matmul_precision(device: torch.device | str) -> Precision:
    """In which precision matrices of float32 are multiplied on a device, as this process is set."""
    import torch

    if torch.device(device).type != "cuda" or torch.cuda.get_device_capability(device) < _FIRST_WITH_TF32:
        return "fp32"
    forbidden = os.environ.get("NVIDIA_TF32_OVERRIDE") == "0"
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" and not forbidden else "fp32"


def synchronise(device: torch.device | str) -> None:
    """Wait until what this thread has queued on the device is done; a CPU queues nothing.

    Waiting for all of the device would spoil another thread's capture of a graph.
    """
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def machine_is_idle(seconds: float = 1.0) -> bool:
    """Watch processors and GPUs for `seconds`."""
    before = processor_seconds()
    time.sleep(seconds)
    after = processor_seconds()
    total = after[0] - before[0]
    busy = (after[1] - before[1]) / total if total else 1.0
    return busy < IDLE_BELOW and all(share < IDLE_BELOW for share in gpu_shares())


def processor_seconds() -> tuple[float, float]:
    """Seconds of all processors since the start, in all and busy."""
    spent = psutil.cpu_times()._asdict()
    # Linux counts what guests take among what their hosts' users take, too.
    total = sum(seconds for kind, seconds in spent.items() if not kind.startswith("guest"))
    return total, total - spent["idle"] - spent.get("iowait", 0.0)


def gpu_shares() -> list[float]:
    """Share of the time that each NVIDIA GPU was busy, of those that tell."""
    numbers = [line.removesuffix("%").strip() for line in _nvidia_smi("utilization.gpu")]
    return [float(number) / 100 for number in numbers if number.replace(".", "").isdecimal()]


def _nvidia_smi(quantity: str) -> list[str]:
    """One line per GPU."""
    answer = output_of("nvidia-smi", f"--query-gpu={quantity}", "--format=csv,noheader")
    return answer.decode().splitlines() if answer else []
