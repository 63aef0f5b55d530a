"""How the driver shares a machine out among its stacks, and what it takes for a folder of checkpoints."""

import math

import pytest
import torch

from bench.execute import driver
from bench.execute.driver import Settings, cpus_per_stack, stacks_at_once
from bench.hardware import stacks_on
from tests.execute.tiny import completed, typed


@pytest.mark.parametrize(
    ("gpus", "share", "expected"),
    [(1, 0.5, 2), (2, 0.5, 4), (1, 0.1, 10), (3, 0.3, 9), (4, 1, 4), (4, 2, 2), (3, 2, 1), (0, 0.5, 0)],
)
def test_how_many_stacks_fit_on_gpus(gpus, share, expected):
    assert stacks_on(gpus, share) == expected


@pytest.mark.parametrize(
    ("cores", "gpus", "share", "stacks", "threads"),
    [(16, 1, 0.5, 2, 8), (16, 2, 0.5, 4, 4), (3, 1, 0.5, 2, 1), (2, 2, 0.25, 8, 1), (16, 1, 2, 1, 16)],
)
def test_a_gpu_machine_s_cores_are_shared_out_among_its_stacks(
    monkeypatch, cores, gpus, share, stacks, threads
):
    monkeypatch.setattr(driver, "usable_cores", lambda: cores)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert stacks_at_once(Settings(), "cuda", share) == stacks
    assert cpus_per_stack(Settings(), "cuda", share) == threads
    assert cpus_per_stack(Settings(cpus_per_stack=3), "cuda", share) == 3


def test_on_a_cpu_and_on_a_cluster_a_stack_has_one_thread_unless_it_is_told(monkeypatch):
    monkeypatch.setattr(driver, "usable_cores", lambda: 16)
    for settings, device in ((Settings(), "cpu"), (Settings(address="head:6379"), "cuda")):
        assert stacks_at_once(settings, device, 0.5) == 1
        assert cpus_per_stack(settings, device, 0.5) == 1
    assert cpus_per_stack(Settings(cpus_per_stack=2), "cpu", 0.0) == 2


@pytest.mark.parametrize(
    ("asked", "seconds", "share"), [(None, 60.0, 0.01), (0.0, 0.0, math.inf), (5.0, 5.0, math.inf)]
)
def test_an_interval_that_is_asked_for_is_kept_whatever_it_costs(asked, seconds, share):
    assert driver.checkpoints(Settings(checkpoint_seconds=asked)) == (seconds, share)


@pytest.mark.slow
def test_a_shared_folder_holds_the_checkpoints_of_one_store(tiny_data, tmp_path):
    shared = tmp_path / "shared"

    def asked(store, folder=shared):
        options = ("--executor", "local", "--seeds", "0", "--shared-checkpoints", folder)
        return completed(typed("--store", tmp_path / store / "bench.sqlite", *options), tiny_data)

    code, output = asked("one")
    assert code == 0, output
    assert [path.name for path in shared.iterdir()] == ["shared-checkpoints.txt"]
    assert not (tmp_path / "one" / "checkpoints").exists()
    code, output = asked("two")
    assert code == 2, output
    assert "It holds those of another store" in output
    assert "one/bench.sqlite" in output.replace("\n", "")
    (tmp_path / "a file").touch()
    code, output = asked("two", tmp_path / "a file")
    assert code == 2, output
    assert "checkpoints cannot be written into" in output
