"""Kernels are counted over fake CUDA tensors where that can be; their table, and the hours of the grid."""

import json
from pathlib import Path

import pytest

from benchmarks import kernels
from benchmarks.gpu import fake
from benchmarks.gpu.count import Counted, Order, counted
from tests.benchmarks.gpu import broken

NOT_HERE = fake.why_not()
needs_fake_tensors = pytest.mark.skipif(NOT_HERE is not None, reason=f"no fake CUDA tensors: {NOT_HERE}")
RECORD = Path("reports/benchmarks/kernels.json")


def row(**changes):
    usual = {
        "method": "bdpo",
        "variant": "released",
        "task": kernels.TASK,
        "seeds": kernels.STACK,
        "phase": "train",
        "program": "critic",
        "runner": "graph",
        "kernels": 10,
        "products": 4,
        "gigaflops": 1.0,
        "megabytes": 2.0,
        "microseconds": {"fp32": 1000.0, "tf32": 500.0},
        "kinds": {"product": 4, "pointwise": 6},
        "places": {"backward": 10},
        "faults": {},
    }
    return Counted(**{**usual, **changes})


@pytest.mark.skipif(NOT_HERE is None, reason="they can be had here")
def test_where_it_cannot_be_the_reason_is_said(capsys):
    assert kernels.main([]) == 2
    assert f"Kernels cannot be counted: {NOT_HERE}." in capsys.readouterr().err


def test_programs_count_as_often_as_they_run():
    """BDPO on nine tasks: 2 million iterations each in both phases, every fifth with an actor step."""
    phases = (("pretrain", "pretrain"), ("train", "critic"), ("train", "critic+actor+behaviour"))
    rows = [row(phase=phase, program=program) for phase, program in phases]
    cheaper = [*rows[:1], *(row(program=each.program, microseconds={"fp32": 0.0}) for each in rows[1:])]
    whole, pretraining = (kernels.grid_hours("bdpo", each, "fp32") for each in (rows, cheaper))
    assert whole == pytest.approx(9 * 4e6 * 1e-3 / 3600, rel=0.01)
    assert pretraining == pytest.approx(whole / 2, rel=0.01)


def test_the_table_says_what_was_before():
    before, after = kernels.described([row(method="bc")]), kernels.described([row(method="bc", kernels=7)])
    assert "bc S=5 train/critic: 7 kernels (was 10), 4 products" in kernels.lines(before, after)[0]
    assert "was" not in kernels.lines(before, before)[0]


@needs_fake_tensors
def test_behaviour_cloning_is_counted_without_a_fault(tmp_path, capsys):
    record = tmp_path / "kernels.json"
    for _ in range(2):
        assert kernels.main(["--algos", "bc", "--seeds", "1,5", "--json", str(record)]) == 0
    written = json.loads(record.read_text())
    assert written["before"] == written["after"]
    training = [each for each in written["after"]["programs"] if each["program"] == "train"]
    assert [each["seeds"] for each in training] == [1, 5]
    assert all(each["products"] == 8 for each in training)
    assert "bc S=5 train/train" in capsys.readouterr().out


@needs_fake_tensors
@pytest.mark.slow
def test_no_program_of_any_preset_has_a_fault():
    faults = {(each.method, each.task, each.program): each.faults for each in counted(Order(seeds=(3,)))}
    assert not any(faults.values()), {key: fault for key, fault in faults.items() if fault}


BY_FAKE_TENSORS = {
    broken.ItemInTheOptimiser: "DataDependentOutput",
    broken.ConstantOnTheCPU: "a tensor () on cpu",
    broken.MomentsReplaced: "is another tensor than before",
    broken.IndexByMask: "DynamicOutputShape",
    broken.StateOutsideStateDict: "not in state_dict()",
}


@needs_fake_tensors
def test_mistakes_are_found(tmp_path):
    done = fake.in_child(broken.__name__, [], tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for kind, fault in BY_FAKE_TENSORS.items():
        assert any(fault in each for each in found[kind.__name__]), (kind, found[kind.__name__])
    assert not found["CountsOnTheHost"]  # tensors alone do not show it; a graph does
