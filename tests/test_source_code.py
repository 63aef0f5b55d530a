"""Which code a number came from: the checkout's state, told from an installed package; its fingerprint."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.source_code import code_fingerprint, code_state

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
        script = "from bench.source_code import code_fingerprint; print(code_fingerprint())"
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
    for shown in ("benchmarks/startup", "cli/run", "report/tables", "store/writer"):
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
    (root / "algorithms" / "ddpm.py").rename(root / "algorithms" / "ddpn.py")
    assert fingerprint() != code_fingerprint()
