"""What made a number: code, packages and machine of one run."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import __version__
from bench.records import RunRecord

_PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "ray", "scipy")
_GIB = 2**30


@dataclass(frozen=True)
class CodeState:
    """Which commit the code was at, and a hash of whatever differed from it."""

    commit: str
    dirty: bool
    diff_sha256: str | None


def describe_run(command: str) -> RunRecord:
    """Describe this process's run of `command` (as typed), begun now."""
    now = datetime.now(UTC)
    code = code_state(Path(__file__).resolve().parent.parent)
    return RunRecord(
        run_id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        command=command,
        started_at=now,
        code_version=__version__,
        code_commit=code.commit if code else None,
        code_dirty=code.dirty if code else None,
        code_diff_sha256=code.diff_sha256 if code else None,
        packages=package_versions(),
        hardware=describe_hardware(),
    )


def code_state(root: Path) -> CodeState | None:
    """State of the checkout at `root`; None where it is none (an installed package) or git cannot say.

    The hash covers changes of tracked files and the content of untracked ones that git does not ignore.
    """
    # Asked only where the checkout begins: site-packages may lie inside somebody else's repository.
    if not (root / ".git").exists():
        return None
    commit = _output_of("git", "-C", str(root), "rev-parse", "HEAD")
    changes = _output_of("git", "-C", str(root), "diff", "--binary", "--no-ext-diff", "HEAD")
    untracked = _output_of("git", "-C", str(root), "ls-files", "-z", "--others", "--exclude-standard")
    if commit is None or changes is None or untracked is None:
        return None
    files = [root / os.fsdecode(name) for name in sorted(untracked.split(b"\0")) if name]
    dirty = bool(changes or files)
    diff = _hash(changes, root, files) if dirty else None
    return CodeState(commit.decode().strip(), dirty, diff)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that numbers depend on."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


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
    names = _output_of("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names.decode().splitlines() if names else []


def _hash(changes: bytes, root: Path, files: list[Path]) -> str:
    digest = hashlib.sha256(changes)
    for file in files:
        digest.update(os.fsencode(file.relative_to(root)) + b"\0")
        # A link may point anywhere, or nowhere; where it points is what git would keep of it.
        digest.update(os.fsencode(file.readlink()) if file.is_symlink() else _content_hash(file))
    return digest.hexdigest()


def _content_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _output_of(*command: str) -> bytes | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else None
