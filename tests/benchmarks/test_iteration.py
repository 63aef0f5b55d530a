"""The benchmark of training iterations: whom it compares, in which phase, and that it runs."""

import json
from dataclasses import replace

import pytest
import torch

from algorithms.base import Draw, tiny
from algorithms.registry import configuration
from bench.catalog import load_catalog
from bench.presets import load_preset
from bench.training.speed import synthetic_data
from benchmarks import iteration
from benchmarks.iteration import FreshDraws, Yardstick, in_every_phase, main, subjects
from benchmarks.plain import PLAIN

TASK = load_catalog().task(iteration.TASK)


@pytest.fixture(autouse=True)
def threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_runs_and_writes_a_record(tmp_path, capsys):
    record = tmp_path / "record.json"
    main(["--algos", "bc", "--seconds", "0.01", "--repeats", "1", "--threads", "1", "--json", str(record)])
    assert "bc, train: ours, 1 seed" in capsys.readouterr().out
    (comparison,) = json.loads(record.read_text())["comparisons"]
    assert comparison["target"] == 1.0
    assert set(comparison["rates"]) == {"ours, 1 seed", "plain PyTorch"}


def test_unknown_algorithms_are_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--algos", "bc,nothing"])
    assert caught.value.code == 2
    assert "'nothing'" in capsys.readouterr().err


@pytest.fixture(scope="module", params=subjects(TASK))
def preset(request):
    """A method's own, with the sizes of a tiny test run, the lengths of its phases apart."""
    found = load_preset(request.param, TASK)
    small = tiny(type(configuration(found.algorithm, found.values)))
    changed = {
        name: replace(found.hyperparameters[name], value=size)
        for name, size in small.items()
        if name in found.hyperparameters and name not in found.step_counts
    }
    return replace(found, hyperparameters={**found.hyperparameters, **changed})


@pytest.fixture(scope="module")
def data():
    return synthetic_data(TASK, "cpu", 300)


def test_the_papers_methods_are_measured():
    papers = ["dtql", "dtql-kl", "srpo", "edp-td3", "edp-crr", "edp-iql", "bdpo"]
    simple = ["bc", "bc-10", "td3bc", "iql", "awac", "cql", "crr", "onestep", "dt"]
    assert subjects(TASK) == [*papers, *simple, "dql", "dac", "idql", "qgpo", "sfbc"]


def test_every_phase_is_measured_from_its_beginning_with_its_own_length(preset, data):
    trainers = list(in_every_phase(TASK, preset, 1, data, "eager"))
    lengths = {phase.name: phase.iterations for phase in trainers[0].algorithm.phases}
    assert {trainer.phase.name: trainer.iterations_left_in_phase for trainer in trainers} == lengths
    assert [trainer.phase.name for trainer in trainers] == list(lengths)
    assert set(lengths.values()) <= {preset.values[name] for name in preset.step_counts}


def test_the_plain_version_iterates(preset, data):
    """As many iterations as ours, from the same weights, which move and stay finite, in every phase."""
    for trainer in in_every_phase(TASK, preset, 1, data, "eager"):
        before = PLAIN[preset.algorithm].of(trainer.algorithm, 0)
        yardstick = Yardstick(trainer, data)
        yardstick.advance(6)
        trainer.advance(6)
        assert next(yardstick.steps) == trainer.position.step
        pairs = list(zip(parameters(before), parameters(yardstick.plain), strict=True))
        # Phases that go through the rows in order sample or value them, and train nothing.
        trains = yardstick.phase.sampling != "in_order"
        assert any(not torch.equal(one, other) for one, other in pairs) == trains
        assert all(other.isfinite().all() and other.dtype == torch.float32 for _, other in pairs)


def parameters(plain):
    """Of all networks of a plain version."""
    held = {**vars(plain), **vars(getattr(plain, "nets", plain))}.values()
    modules = [value for value in held if isinstance(value, torch.nn.Module)]
    assert modules
    return [parameter for module in modules for parameter in module.parameters()]


def test_numbers_are_drawn_when_they_are_asked_for():
    draws = FreshDraws([Draw("level", (2000,), "uniform"), Draw("noise", (3, 2), "normal")])
    assert not draws
    assert (draws["level"] > 0).all() and (draws["level"] < 1).all()
    assert draws["noise"].shape == (3, 2)
    assert draws["noise"] is draws["noise"]
