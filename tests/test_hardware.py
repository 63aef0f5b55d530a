"""A machine's GPUs, and when it counts as idle."""

from pathlib import Path

import pytest

from bench import hardware


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
