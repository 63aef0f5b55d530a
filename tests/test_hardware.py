"""A machine's GPUs, how they multiply, and when a machine counts as idle."""

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import hardware
from bench.records import Precision


def test_without_nvidia_software_there_are_no_gpus_and_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert (hardware.gpu_names(), hardware.gpu_driver_version()) == ([], None)


def test_how_busy_gpus_are_is_told_in_shares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n[ \"$1\" = --query-gpu=utilization.gpu ] && echo '37 %' && echo '[N/A]'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert hardware.gpu_shares() == [0.37]


@pytest.mark.parametrize(
    ("seconds", "shares", "expected"),
    [
        ([(1000, 500), (1200, 510)], [], True),
        ([(1000, 500), (1200, 530)], [], False),
        ([(1000, 500), (1200, 510)], [0.5], False),
        ([(1000, 500), (1200, 510)], [0.0, 0.02], True),
    ],
)
def test_idle_is_below_a_tenth_of_processors_and_gpus(monkeypatch, seconds, shares, expected):
    answers = iter(seconds)
    monkeypatch.setattr(hardware, "processor_seconds", lambda: next(answers))
    monkeypatch.setattr(hardware, "gpu_shares", lambda: shares)
    assert hardware.machine_is_idle(seconds=0) is expected


PAGES = """
import resource, sys, torch
from bench.hardware import prepare_process
if sys.argv[1] == "prepared":
    prepare_process(1)
def work():
    for _ in range(5):
        torch.ones(8 << 20)  # 32 MB, more than glibc keeps by itself
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(faults() for _ in range(8)))  # the heap takes a while to find its size
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the C library here is not glibc"
)
def test_memory_that_tensors_leave_is_kept_for_the_next_ones() -> None:
    """Counted in page faults: by default thousands, or tens where the system gives large pages."""

    def faults(how: str) -> int:
        command = [sys.executable, "-c", PAGES, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert 10 * faults("prepared") < faults("as it is")


def test_a_library_other_than_glibc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not hardware.keep_pages()


def test_a_process_gets_the_threads_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(hardware, "keep_pages", lambda: True)
    try:
        hardware.prepare_process(before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


SUBNORMALS = """
import torch
from bench.hardware import prepare_process, subnormals_as_zero

prepare_process(2)
small = torch.full((4096, 512), 2e-38)
with subnormals_as_zero():
    # Half of the rows are another thread's.
    print((small * 0.1 == 0).all().item())
print((small[:1] * 0.1 == 0).any().item())
"""


def test_numbers_below_the_normal_range_are_zero_in_all_threads_and_only_meanwhile() -> None:
    done = subprocess.run([sys.executable, "-c", SUBNORMALS], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.fixture
def products() -> Iterator[Any]:
    """How torch is set to multiply matrices on a GPU; as it was afterwards."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    yield matmul
    matmul.fp32_precision = before


def test_a_cpu_multiplies_in_full_whatever_is_declared(products: Any) -> None:
    before = products.fp32_precision
    hardware.set_matmul_precision("tf32", "cpu")
    assert (products.fp32_precision, hardware.matmul_precision("cpu")) == (before, "fp32")


@pytest.mark.parametrize(
    ("declared", "capability", "override", "held"),
    [
        ("tf32", (9, 0), None, "tf32"),
        ("tf32", (8, 0), "1", "tf32"),
        ("fp32", (9, 0), None, "fp32"),
        ("tf32", (7, 5), None, "fp32"),  # a V100 or older has no TF32
        ("tf32", (9, 0), "0", "fp32"),  # NVIDIA's own switch
    ],
)
def test_what_holds_on_a_gpu_is_told(
    monkeypatch: pytest.MonkeyPatch,
    products: Any,
    declared: Precision,
    capability: tuple[int, int],
    override: str | None,
    held: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if override is not None:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    products.fp32_precision = "tf32" if declared == "fp32" else "ieee"
    hardware.set_matmul_precision(declared, "cuda")
    assert products.fp32_precision == {"fp32": "ieee", "tf32": "tf32"}[declared]
    assert hardware.matmul_precision("cuda") == held
