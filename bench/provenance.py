"""What made a number: the code, packages and machine of one run, and what else its last digits depend on."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import algorithms
from algorithms.registry import methods
from bench.hardware import (
    cpu_model,
    describe_hardware,
    device_name,
    gpu_driver_version,
    matmul_precision,
    output_of,
)
from bench.records import ExecutionRecord, RunRecord
from bench.resources import resource
from bench.version import __version__

_PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "ray", "scipy", "h5py", "safetensors", "sqlalchemy")
_WITHOUT_NUMBERS = {("bench", name) for name in ("cli", "nightly", "report", "store", "_resources")}


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


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that numbers depend on."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe_execution(
    *, algorithm: str, device: str, threads: int, runner: str, stack: tuple[int, ...], from_iteration: int
) -> ExecutionRecord:
    """Describe the stretch of work that this process begins now.

    Parameters
    ----------
    algorithm : the method that is trained; with one from elsewhere its distribution is named among packages.
    device : as torch takes it (`cpu`, `cuda:0`).
    runner : `eager`, `graph` or `compiled`.
    stack : training seeds, side by side.
    from_iteration : iterations of all phases done before.
    """
    return ExecutionRecord(
        started_at=datetime.now(UTC),
        from_iteration=from_iteration,
        stack=stack,
        hostname=socket.gethostname(),
        cpu=cpu_model(),
        device=device_name(device),
        gpu_driver=_gpu_driver(device),
        threads=threads,
        runner=runner,
        precision=precision_settings(),
        packages=package_versions() | _brought_by(algorithm),
        simulator=f"mujoco {metadata.version('mujoco')}",
        code_sha256=code_fingerprint([algorithm]),
        matmul_precision=matmul_precision(device),
    )


def _brought_by(algorithm: str) -> dict[str, str]:
    """Name and version of the distribution that a method came with; empty for one of this package."""
    found = methods().get(algorithm)
    if found is None or found.distribution is None:
        return {}
    name, _, version = found.distribution.rpartition(" ")
    return {name: version}


def precision_settings() -> dict[str, str | bool]:
    """Type of the numbers, and torch's settings in this process that change their last digits.

    A setting `none` follows torch's default, which is full float32 (`ieee`) for products of matrices.
    """
    import torch

    # Of torch's two interfaces only this one answers whatever has been set through either; torch's types do
    # not know all of it.
    return {
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "cuda.matmul.fp32_precision": torch.backends.cuda.matmul.fp32_precision,
        "cudnn.conv.fp32_precision": torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        "mkldnn.matmul.fp32_precision": torch.backends.mkldnn.matmul.fp32_precision,  # type: ignore[attr-defined]
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _gpu_driver(device: str) -> str | None:
    """`NVIDIA 570.124.06, CUDA 12.8`; None on a CPU."""
    import torch

    if torch.device(device).type != "cuda":
        return None
    return f"NVIDIA {gpu_driver_version() or 'unknown'}, CUDA {torch.version.cuda}"


@dataclass(frozen=True)
class CodeState:
    """Which commit the code was at, and a hash of whatever differed from it."""

    commit: str
    dirty: bool
    diff_sha256: str | None


def code_state(root: Path) -> CodeState | None:
    """State of the checkout at `root`; None where it is none (an installed package) or git cannot say.

    The hash covers changes of tracked files and the content of untracked ones that git does not ignore.
    """
    # Asked only where the checkout begins: site-packages may lie inside somebody else's repository.
    if not (root / ".git").exists():
        return None
    commit = output_of("git", "-C", str(root), "rev-parse", "HEAD")
    changes = output_of("git", "-C", str(root), "diff", "--binary", "--no-ext-diff", "HEAD")
    untracked = output_of("git", "-C", str(root), "ls-files", "-z", "--others", "--exclude-standard")
    if commit is None or changes is None or untracked is None:
        return None
    files = [root / os.fsdecode(name) for name in sorted(untracked.split(b"\0")) if name]
    dirty = bool(changes or files)
    diff = _hash_of_changes(changes, root, files) if dirty else None
    return CodeState(commit.decode().strip(), dirty, diff)


def code_fingerprint(trained: Iterable[str] = ()) -> str:
    """SHA-256 over names and contents of the files that determine numbers: code, presets and tasks.yaml.

    The same for a checkout and for a package installed from it; no git is needed. Files of other packages
    count where one of the methods that are `trained` came with them; a method that is not here has none.
    """
    brought = [file for name in trained if name in methods() for file in methods()[name].files()]
    digest = hashlib.sha256()
    for name, path in sorted({*_source_files(), *brought}):
        digest.update(name.encode() + b"\0" + _content_hash(path))
    return digest.hexdigest()


def _source_files() -> Iterator[tuple[str, Path]]:
    """Names as in the checkout, and where the files are.

    What only stores and shows numbers is left out: it may change while a grid runs.
    """
    for package in (Path(__file__).resolve().parent, Path(algorithms.__file__).resolve().parent):
        for pattern in ("*.py", "presets/*.yaml"):
            for path in package.rglob(pattern):
                name = path.relative_to(package.parent)
                if name.parts[:2] not in _WITHOUT_NUMBERS:
                    yield name.as_posix(), path
    yield "tasks.yaml", resource("tasks.yaml")


def _hash_of_changes(changes: bytes, root: Path, files: list[Path]) -> str:
    digest = hashlib.sha256(changes)
    for file in files:
        digest.update(os.fsencode(file.relative_to(root)) + b"\0")
        # A link may point anywhere, or nowhere; where it points is what git would keep of it.
        digest.update(os.fsencode(file.readlink()) if file.is_symlink() else _content_hash(file))
    return digest.hexdigest()


def _content_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
