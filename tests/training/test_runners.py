"""The compiled runner on the CPU, whose compiler writes C++: the numbers of the eager one, from anywhere."""

import shutil
from dataclasses import replace
from unittest import mock

import pytest
import torch

from bench.catalog import load_catalog
from bench.presets import load_preset
from bench.training.checkpoint import Checkpoint
from bench.training.contract import doubled
from bench.training.speed import synthetic_data
from bench.training.trainer import Trainer
from benchmarks.gpu.agreement import assert_alike, differences
from benchmarks.gpu.subjects import all_methods, changed, every_program, made, shortened, shrunk

compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
SEEDS = (0, 1)


@pytest.fixture
def traced(monkeypatch):
    """Compile without writing code: what is traced runs by the operations as they are."""
    original = torch.compile

    def without_code(function, *, options, **others):
        return original(function, backend="aot_eager", **others)

    monkeypatch.setattr(torch, "compile", without_code)


def trainer(task, preset, runner):
    data = synthetic_data(task, "cpu", 100)
    data = replace(data, rows=data.rows.double())
    return Trainer(doubled(made(task, preset, SEEDS)), data, runner=runner)


@pytest.fixture
def hopper():
    return load_catalog().task("hopper-medium-v2")


@pytest.fixture
def cloning(hopper):
    return shortened(shrunk(load_preset("bc", hopper)), 8, 0)


@pytest.mark.slow  # the compiler itself takes twenty seconds
@compiler
def test_code_that_the_compiler_writes_gives_the_numbers_of_eager(hopper, cloning):
    assert_alike(hopper, cloning, 2)


def test_restored_equals_straight_bit_for_bit(hopper, cloning, traced):
    """The first iteration after a restart is compiled too, and the warm-up before it leaves no trace."""
    straight, cut = (trainer(hopper, cloning, "compiled") for _ in range(2))
    straight.advance(6)
    cut.advance(3)
    content = Checkpoint.of(cut.state_dict(), {}).content
    later = trainer(hopper, cloning, "compiled")
    later.load(Checkpoint(content, {}).tensors(), cut.position)
    later.advance(3)
    assert not differences(straight.state_dict(), later.state_dict())


def test_one_process_compiles_stack_after_stack(hopper, cloning, traced):
    """torch gives up on a function that it has compiled a few times; every stack's is the same function."""
    with torch._dynamo.config.patch(recompile_limit=1):
        for width in (8, 12, 16):
            trainer(hopper, changed(cloning, {"hidden_width": width}), "compiled").advance(2)


def test_what_cannot_be_fused_is_an_error_and_not_another_way(hopper, cloning, traced):
    method = trainer(hopper, cloning, "compiled")
    update = method.algorithm.update

    def branching(program, batch, draws):
        metrics = update(program, batch, draws)
        return metrics if metrics["actor_loss"].sum() > 0 else {}

    with (
        mock.patch.object(method.algorithm, "update", branching),
        pytest.raises(torch._dynamo.exc.Unsupported),
    ):
        method.advance(2)


@compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["srpo", "edp-iql", "bdpo"])
def test_large_programs_compile_to_the_numbers_of_eager(name):
    """One of each kind; writing and building the code takes one to two minutes of a core."""
    task, preset = next(every_program(name))
    assert_alike(task, shrunk(preset), 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", all_methods())
def test_every_program_of_every_method_is_traced(name, traced):
    for task, preset in every_program(name):
        assert_alike(task, shrunk(preset), 2)
