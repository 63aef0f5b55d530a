"""A run, its machine and a worker's stretch of work, described."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mujoco
import pytest
import sqlalchemy
import torch

from bench import hardware, machine
from bench.hardware import describe_hardware
from bench.machine import describe_execution, precision_settings
from bench.provenance import describe_run, package_versions


def test_a_run_is_described_with_what_its_numbers_depend_on() -> None:
    run, other = describe_run("bench run --suite quickstart"), describe_run("bench run")
    assert run.command == "bench run --suite quickstart"
    assert run.run_id != other.run_id
    assert run.started_at.tzinfo is UTC
    assert run.code_commit is None or re.fullmatch("[0-9a-f]{40}", run.code_commit)


def test_versions_and_hardware_agree_with_torch_and_the_machine() -> None:
    assert package_versions()["torch"] == torch.__version__
    hardware = describe_hardware()
    total_kib = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    assert hardware["memory_gib"] == pytest.approx(total_kib / 2**20, abs=0.1)
    assert len(hardware["gpus"]) >= torch.cuda.device_count()
    assert {"hostname", "cpu", "cores", "platform"} <= hardware.keys()


def test_a_worker_describes_itself_with_its_own_packages_and_settings() -> None:
    told = describe_execution(device="cpu", threads=2, runner="eager", stack=(3, 5), from_iteration=700)
    assert datetime.now(UTC) - told.started_at < timedelta(seconds=30)
    assert (told.threads, told.runner, told.stack, told.from_iteration) == (2, "eager", (3, 5), 700)
    assert (told.hostname, told.gpu_driver) == (socket.gethostname(), None)
    assert told.device == f"cpu: {told.cpu}"
    assert told.simulator == f"mujoco {mujoco.__version__}"
    assert told.packages["python"] == sys.version.split()[0]
    assert told.packages["sqlalchemy"] == sqlalchemy.__version__
    assert re.fullmatch("[0-9a-f]{64}", told.code_sha256)


def test_on_a_gpu_its_driver_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    answer = '[ "$1" = --query-gpu=driver_version ] && echo 570.124.06 && echo 570.124.06'
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(machine, "device_name", lambda device: f"cuda: a GPU ({device})")
    told = describe_execution(device="cuda:0", threads=1, runner="graph", stack=(0,), from_iteration=0)
    assert told.gpu_driver == "NVIDIA 570.124.06, CUDA 12.8"


def test_without_nvidia_software_there_are_no_gpus_and_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert (hardware.gpu_names(), hardware.gpu_driver_version()) == ([], None)


@pytest.fixture
def precision() -> Iterator[None]:
    """Torch's settings are put back afterwards."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision
    yield
    matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision = before


@pytest.mark.parametrize("interface", ["old", "new"])
def test_lower_precision_shows_through_whichever_interface_it_was_chosen(
    precision: None, interface: str
) -> None:
    if interface == "old":
        torch.set_float32_matmul_precision("high")
    else:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    assert precision_settings()["cuda.matmul.fp32_precision"] == "tf32"


def test_deterministic_algorithms_show() -> None:
    assert precision_settings()["deterministic_algorithms"] is False
    torch.use_deterministic_algorithms(True)
    try:
        assert precision_settings()["deterministic_algorithms"] is True
    finally:
        torch.use_deterministic_algorithms(False)
