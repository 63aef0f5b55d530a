"""Where a number came from: the checkout's state, told apart from an installed package."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC
from pathlib import Path

import pytest
import torch

from bench.provenance import code_state, describe_hardware, describe_run, package_versions


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
