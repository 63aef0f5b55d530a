"""A phase's speed: each of its programs is timed, and counts as often as the phase runs it."""

import itertools
import subprocess
import sys

import pytest

from bench.catalog import load_catalog
from bench.presets import load_preset
from bench.training import speed
from bench.training.speed import phase_seconds, program_speeds, time_training
from bench.training.trainer import Trainer
from benchmarks.gpu.subjects import phases_of, shrunk

TASK = load_catalog().task("hopper-medium-v2")
COSTS = {"pretrain": 1.0, "critic": 10.0, "critic+actor+behaviour": 20.0}
"""Made-up seconds of an iteration of BDPO's programs."""


@pytest.fixture
def clock(monkeypatch):
    """Time stands still but for the iterations that are repeated; yields those of each program."""
    now, repeated = [0.0], {}

    def repeat(trainer, program, iterations):
        now[0] += COSTS[program] * iterations
        repeated[trainer.phase.name, program] = repeated.get((trainer.phase.name, program), 0) + iterations

    monkeypatch.setattr(Trainer, "repeat", repeat)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    return repeated


def bdpo():
    return shrunk(load_preset("bdpo", TASK))


def test_programs_run_as_often_as_the_preset_says():
    # 50,000 iterations of the critic alone, then the actor every fifth time, of two million in all.
    _, train = phases_of(TASK, bdpo())
    found = {program: count for program, (_, count) in train.occurrences.items()}
    assert sum(found.values()) == 2_000_000
    assert found["critic+actor+behaviour"] == pytest.approx(1_950_000 / 5, abs=1)
    seconds = phase_seconds(train, {"critic": 1.0, "critic+actor+behaviour": 3.0})
    assert seconds == pytest.approx(2_000_000 + 2 * 390_000, abs=2)


def test_a_phase_of_two_programs_is_as_fast_as_their_mixture(clock):
    pretrain, train = time_training(TASK, bdpo(), iterations=100)
    assert (pretrain.phase, pretrain.seconds_per_1k_iterations, pretrain.evaluated) == (
        "pretrain",
        1000.0,
        False,
    )
    assert train.seconds_per_1k_iterations == pytest.approx(1000 * (10 * 0.805 + 20 * 0.195), rel=1e-5)
    # A warm-up of 20 each, and of the hundred as many as each has in the phase.
    assert clock == {
        ("pretrain", "pretrain"): 120,
        ("train", "critic"): 20 + 80,
        ("train", "critic+actor+behaviour"): 20 + 20,
    }


def test_a_limit_of_time_ends_a_slow_program_after_one_iteration(clock):
    speeds = program_speeds(TASK, bdpo(), seeds=2, device="cpu", runner="eager", iterations=20, seconds=2.0)
    assert {(one.phase.name, one.program): one.seconds for one in speeds} == {
        ("pretrain", "pretrain"): 1.0,
        ("train", "critic"): 10.0,
        ("train", "critic+actor+behaviour"): 20.0,
    }
    assert clock["train", "critic"] == 1
    assert clock["pretrain", "pretrain"] == 1 + 2


def test_a_warm_up_keeps_within_the_limit_of_time_too(clock):
    pretrain, _ = time_training(TASK, bdpo(), iterations=100, seconds=4.0)
    assert pretrain.seconds_per_1k_iterations == 1000.0
    assert clock == {
        ("pretrain", "pretrain"): 1 + 4 + 4,
        ("train", "critic"): 1 + 1 + 1,
        ("train", "critic+actor+behaviour"): 1,
    }


def test_every_program_really_runs(monkeypatch):
    run = []
    update = Trainer.repeat
    monkeypatch.setattr(
        Trainer, "repeat", lambda trainer, program, n: run.append(program) or update(trainer, program, n)
    )
    speeds = program_speeds(TASK, bdpo(), seeds=1, device="cpu", runner="eager", iterations=1, seconds=0.0)
    assert all(one.seconds > 0 for one in speeds)
    assert [program for program, _ in itertools.groupby(run)] == list(COSTS)


FIRST = """
import sys
from bench.catalog import load_catalog
from bench.presets import load_preset
from bench.training import speed
from benchmarks.gpu.subjects import shrunk

seconds = speed._repeat

def repeat(*arguments):
    before = set(sys.modules)
    found = seconds(*arguments)
    print(*(set(sys.modules) - before))
    return found

speed._repeat = repeat
task = load_catalog().task("hopper-medium-v2")
preset = shrunk(load_preset("bc", task))
list(speed.program_speeds(task, preset, seeds=1, device="cpu", runner="eager", iterations=1))
"""


def test_the_first_iteration_that_is_timed_imports_nothing():
    """A second of imports on a busy machine was once taken for the length of all iterations."""
    done = subprocess.run([sys.executable, "-c", FIRST], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
