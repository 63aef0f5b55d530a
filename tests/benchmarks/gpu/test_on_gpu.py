"""On a GPU: every method as captured graphs, from a checkpoint, in a stack and alone.

Nothing is imported before a test runs but pytest and torch, so that they are collected on a machine that has
little else; to run they need what training needs, PyYAML and psutil among it.
"""

import pytest
import torch

METHODS = [
    *("dtql", "dtql-kl", "srpo", "srpo-points", "edp-td3", "edp-crr", "edp-iql"),
    *("bdpo", "bdpo-gaussian", "bdpo-dirac", "bc", "bc-10", "td3bc", "iql", "awac", "cql"),
    *("crr", "onestep", "dt"),
    *("dql", "dac", "idql", "qgpo", "sfbc"),
]
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("double", [False, True], ids=["single", "double"])
@pytest.mark.parametrize("name", METHODS)
def test_graph_equals_eager(name, double):
    """Bit for bit, with readings, a divergence and a checkpoint on the way: see `assert_agree`."""
    from benchmarks.gpu.agreement import assert_agree
    from benchmarks.gpu.subjects import every_program, shrunk

    for task, preset in every_program(name):
        assert assert_agree(task, shrunk(preset), 3, device="cuda", double=double)


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("name", METHODS)
def test_restored_equals_straight(name):
    """The graphs of both, so that a difference is one of the checkpoint."""
    from benchmarks.gpu.agreement import assert_agree
    from benchmarks.gpu.subjects import every_program, shrunk

    task, preset = next(every_program(name))
    assert assert_agree(task, shrunk(preset), 1, device="cuda", ways=("graph", "graph"))


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("name", METHODS)
def test_an_evaluation_beside_training_gives_what_one_before_it_gives(name):
    """By captured graphs and by none, while training captures its own."""
    from benchmarks.gpu.agreement import assert_evaluated_alike
    from benchmarks.gpu.subjects import every_program, shrunk

    task, preset = next(every_program(name))
    assert_evaluated_alike(task, shrunk(preset), 3, device="cuda")


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("name", METHODS)
def test_a_seed_trains_in_a_stack_as_alone(name):
    from benchmarks.gpu.agreement import assert_alone_as_stacked
    from benchmarks.gpu.subjects import every_program, shrunk

    for task, preset in every_program(name):
        assert_alone_as_stacked(task, shrunk(preset), 5, device="cuda")


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("name", METHODS)
def test_compiled_iterations_give_the_numbers_of_eager(name):
    """In double precision, to the last digits: the compiler sums in another order."""
    from benchmarks.gpu.agreement import assert_alike
    from benchmarks.gpu.subjects import every_program, shrunk

    task, preset = next(every_program(name))
    assert_alike(task, shrunk(preset), 2, device="cuda")
