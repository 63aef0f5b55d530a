"""What made a number: code, packages and machine of one run."""

from __future__ import annotations

import platform
import secrets
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench import __version__
from bench.hardware import describe_hardware
from bench.records import RunRecord
from bench.source_code import code_state

_PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "ray", "scipy", "h5py", "safetensors", "sqlalchemy")


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
