"""A run, its machine, its code and a worker's stretch of work, described."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mujoco
import pytest
import sqlalchemy
import torch

from bench import provenance
from bench.hardware import describe_hardware
from bench.provenance import (
    code_fingerprint,
    code_state,
    describe_execution,
    describe_run,
    package_versions,
    precision_settings,
)


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
    told = describe_execution(
        algorithm="dtql", device="cpu", threads=2, runner="eager", stack=(3, 5), from_iteration=700
    )
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
    monkeypatch.setattr(provenance, "device_name", lambda device: f"cuda: a GPU ({device})")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    told = describe_execution(
        algorithm="dtql", device="cuda:0", threads=1, runner="graph", stack=(0,), from_iteration=0
    )
    assert told.gpu_driver == "NVIDIA 570.124.06, CUDA 12.8"


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


CHECKOUT = Path(__file__).resolve().parents[1]


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A Person", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", folder, *who, *arguments], check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("ignored\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_a_clean_checkout_has_its_commit_and_no_difference(checkout: Path) -> None:
    (checkout / "ignored").write_text("build output")
    state = code_state(checkout)
    assert (state.commit, state.dirty, state.diff_sha256) == (git(checkout, "rev-parse", "HEAD"), False, None)


def test_each_change_gives_another_hash_and_taking_it_back_gives_the_first(checkout: Path) -> None:
    def state(text: str, untracked: str | None = None) -> str:
        (checkout / "code.py").write_text(text)
        if untracked is not None:
            (checkout / "new.py").write_text(untracked)
        found = code_state(checkout)
        assert found.dirty
        return found.diff_sha256

    hashes = [state("x = 2\n"), state("x = 3\n"), state("x = 3\n", "y = 1\n"), state("x = 3\n", "y = 2\n")]
    assert len(set(hashes)) == 4
    (checkout / "new.py").unlink()
    assert state("x = 2\n") == hashes[0]


def test_a_broken_link_among_the_untracked_files_does_no_harm(checkout: Path) -> None:
    (checkout / "link").symlink_to("nowhere")
    assert code_state(checkout).dirty


def test_a_package_inside_another_repository_is_not_taken_for_a_checkout(checkout: Path) -> None:
    (checkout / "site-packages").mkdir()
    assert code_state(checkout / "site-packages") is None


@pytest.fixture
def copied(tmp_path: Path):
    """Copies the checkout's files and says what the copy's fingerprint is after an edit."""
    root = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__", "behaviour_policies")
    for package in ("bench", "algorithms"):
        shutil.copytree(CHECKOUT / package, root / package, ignore=ignored)
    shutil.copy(CHECKOUT / "tasks.yaml", root)

    def fingerprint() -> str:
        script = "from bench.provenance import code_fingerprint; print(code_fingerprint())"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=root, env={"PYTHONPATH": str(root)},
            check=True, capture_output=True, encoding="utf-8",
        )  # fmt: skip
        return done.stdout.strip()

    return root, fingerprint


def test_a_copy_has_the_same_fingerprint_and_what_determines_no_number_changes_nothing(copied) -> None:
    root, fingerprint = copied
    (root / "bench" / "notes.txt").write_text("to do")
    (root / "tests").mkdir()
    (root / "tests" / "test_new.py").write_text("")
    for shown in ("cli/run", "report/tables", "store/writer"):
        with (root / "bench" / f"{shown}.py").open("a") as file:
            file.write("\n")
    assert fingerprint() == code_fingerprint()


@pytest.mark.parametrize(
    "name", ["bench/execute/stack.py", "algorithms/dtql.py", "algorithms/presets/dtql.yaml", "tasks.yaml"]
)
def test_one_more_character_anywhere_changes_the_fingerprint(copied, name: str) -> None:
    root, fingerprint = copied
    with (root / name).open("a") as file:
        file.write("\n")
    assert fingerprint() != code_fingerprint()


def test_another_name_changes_the_fingerprint(copied) -> None:
    root, fingerprint = copied
    (root / "algorithms" / "losses.py").rename(root / "algorithms" / "lossen.py")
    assert fingerprint() != code_fingerprint()
