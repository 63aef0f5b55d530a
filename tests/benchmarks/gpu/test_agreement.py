"""Captured graphs, emulated: every program of every method equals eager bit for bit; mistakes are found."""

from functools import cache
from unittest import mock

import pytest
import torch

from algorithms.base import Algorithm
from algorithms.bc import BC
from bench.presets import load_preset
from bench.training.runners import GraphRunner
from bench.training.speed import synthetic_data
from bench.training.trainer import Trainer
from benchmarks.gpu import agreement
from benchmarks.gpu.agreement import BORDER, ITERATIONS, Disagreement, assert_agree, assert_alone_as_stacked
from benchmarks.gpu.count import CountingRunner
from benchmarks.gpu.emulated import CaptureError, emulated_graphs
from benchmarks.gpu.subjects import (
    all_methods,
    every_program,
    phases_of,
    shortened,
    shrunk,
)
from tests.benchmarks.gpu import broken


@cache
def presets(name):
    return [(task, shrunk(preset)) for task, preset in every_program(name)]


def programs(task, preset, iterations, border):
    phases = phases_of(task, shortened(preset, iterations, border))
    return {f"{phase.name}/{program}" for phase in phases for program in phase.occurrences}


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", all_methods())
def test_emulated_graphs_equal_eager(name, seeds):
    """Every kind of every setting in a stack; of one seed every program once, as shapes alone differ."""
    seen = set()
    for task, preset in presets(name):
        wanted = programs(task, preset, ITERATIONS, BORDER)
        assert wanted == programs(task, preset, 200, 20)
        if seeds == 1 and wanted <= seen:
            continue
        seen |= wanted
        with emulated_graphs():
            assert assert_agree(task, preset, seeds) == wanted


def test_graphs_are_captured_by_the_runner_of_the_product():
    data = synthetic_data(broken.TASK, "cpu", 50)
    with emulated_graphs():
        trainer = Trainer(broken.maker(BC)(broken.TASK, broken.PRESET, (0,)), data, runner="graph")
        assert trainer.runner == GraphRunner.name
        trainer.advance(2)


@pytest.mark.parametrize("name", ["bc", "dtql"])
def test_an_evaluation_beside_training_gives_what_one_before_it_gives(name):
    preset = shrunk(load_preset(name, broken.TASK))
    with emulated_graphs():
        agreement.assert_evaluated_alike(broken.TASK, preset, 2)


def test_an_evaluation_of_weights_that_train_on_is_found(monkeypatch):
    monkeypatch.setattr(Algorithm, "acting_copy", lambda algorithm: algorithm)
    with emulated_graphs(), pytest.raises(Disagreement, match="other weights were evaluated"):
        agreement.assert_evaluated_alike(broken.TASK, broken.PRESET, 2)


# Which mistake which instrument finds; the constant on the CPU is found by fake CUDA tensors alone.

BY_GRAPH = {
    broken.CountsOnTheHost: Disagreement,
    broken.ItemInTheOptimiser: CaptureError,
    broken.MomentsReplaced: Disagreement,
    broken.IndexByMask: CaptureError,
    broken.StateOutsideStateDict: Disagreement,
}


@pytest.mark.parametrize(("kind", "error"), BY_GRAPH.items(), ids=lambda each: each.__name__)
def test_emulated_graphs_find_a_mistake(kind, error):
    with (
        mock.patch.object(agreement, "made", broken.maker(kind)),
        emulated_graphs(),
        pytest.raises(error),
    ):
        assert_agree(broken.TASK, broken.PRESET, 1)


BY_RECORDER = {
    broken.ItemInTheOptimiser: "waits for the device: _local_scalar_dense",
    broken.MomentsReplaced: "first.0 is another tensor than before",
    broken.IndexByMask: "waits for the device: index",
    broken.StateOutsideStateDict: "changes a tensor (3,) that is not in state_dict()",
}


@pytest.mark.parametrize(("kind", "fault"), [*BY_RECORDER.items(), (BC, None)])
def test_the_recorder_finds_a_mistake(kind, fault):
    """On the CPU too; behaviour cloning as it is has none."""
    data = synthetic_data(broken.TASK, "cpu", 50)
    made = []

    def make_runner(name, iteration, state, device):
        made.append(CountingRunner(iteration, state, "cpu"))
        return made[-1]

    with mock.patch("bench.training.trainer.make_runner", make_runner):
        Trainer(broken.maker(kind)(broken.TASK, broken.PRESET, (0, 1, 2)), data).advance(1)
    (recorder,) = made[0].recorded.values()
    assert any(fault in found for found in recorder.faults) if fault else not recorder.faults


def test_a_seed_alone_as_in_a_stack():
    assert_alone_as_stacked(broken.TASK, broken.PRESET, 3)


def test_a_difference_of_one_bit_is_one():
    one = {"a": torch.tensor([1.0, float("nan")]), "b": torch.tensor([2])}
    other = {"a": torch.tensor([1.0 + 2**-23, float("nan")]), "b": torch.tensor([2])}
    assert agreement.differences(one, one) == {}
    assert agreement.differences(one, other).keys() == {"a"}
    assert agreement.differences(one, {"a": one["a"]}).keys() == {"b"}
