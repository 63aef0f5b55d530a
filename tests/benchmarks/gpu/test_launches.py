"""What is counted as a kernel, as arithmetic and as bytes; what the model makes of it."""

import pytest
import torch

from benchmarks.gpu import h200
from benchmarks.gpu.launches import Launch, Product, Recorder


def launches(work):
    with Recorder("cpu") as recorder, torch.no_grad():
        work()
    return recorder.launches


def test_a_product_adds_its_bias_by_a_copy_unless_in_place_or_left_out():
    bias, left, right = torch.zeros(2, 1, 5), torch.ones(2, 3, 4), torch.ones(2, 4, 5)
    copy, product = launches(lambda: torch.baddbmm(bias, left, right))
    assert (copy.kind, copy.kernels, copy.bytes) == ("copy", 1, 2 * 2 * 3 * 5 * 4)
    assert product.product == Product(batch=2, rows=3, columns=5, inner=4)
    assert product.product.flops == 2 * 2 * 3 * 5 * 4
    (alone,) = launches(lambda: torch.baddbmm(bias, left, right, beta=0))
    assert alone.kind == "product"
    (alone,) = launches(lambda: left @ right)
    assert alone.product == product.product


def test_views_launch_nothing():
    data = torch.ones(4, 6)
    assert launches(lambda: data.view(2, 12).t()[1:].unsqueeze(0).expand(3, -1, -1)) == []


def test_an_expanded_tensor_is_read_once():
    one = torch.ones(1, 8).expand(100, 8)
    (added,) = launches(lambda: one + one)
    assert added.bytes == 2 * 8 * 4 + 100 * 8 * 4


def test_alike_lists_share_launches_and_others_do_not():
    def lists(count, shape=(3,)):
        return [torch.ones(shape) for _ in range(count)]

    few, many = lists(48), lists(49)
    (together,) = launches(lambda: torch._foreach_addcmul_(few, few, few))
    assert (together.kind, together.kernels) == ("list", 1)
    (together,) = launches(lambda: torch._foreach_addcmul_(many, many, many))
    assert together.kernels == 2
    large = [torch.ones(65536 * 200) for _ in range(2)]
    (together,) = launches(lambda: torch._foreach_add_(large, 1.0))
    assert together.kernels == 2  # 400 blocks, 320 a launch
    mixed = [torch.ones(3), torch.ones(3, dtype=torch.float64)]
    (apart,) = launches(lambda: torch._foreach_mul_(mixed, 2.0))
    assert (apart.operation, apart.kernels) == ("_foreach_mul one by one", 2)


def test_a_fused_optimiser_goes_through_memory_once():
    parameters, gradients, first, second = ([torch.ones(3) for _ in range(37)] for _ in range(4))
    steps = [torch.ones(()) for _ in range(37)]
    rates = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "eps": 1e-8}
    lists = (parameters, gradients, first, second, [], steps)
    (step,) = launches(lambda: torch._fused_adam_(*lists, **rates, amsgrad=False, maximize=False))
    assert (step.kind, step.kernels, step.bytes) == ("list", 2, 7 * 37 * 3 * 4)  # 36 tensors a launch


@pytest.mark.parametrize("precision", h200.PRECISIONS)
def test_the_time_of_a_product_is_that_of_its_tiles_or_bytes(precision):
    large = Product(batch=1, rows=128 * 132, columns=128 * 10, inner=8192)  # ten whole waves
    share = h200.H200.shares[precision][128]
    expected = large.flops / (h200.H200.flops[precision] * share)
    assert h200.product_seconds(large, precision) == pytest.approx(expected, rel=0.02)
    tiny = Launch("mm", "product", 1, 4e9, Product(1, 8, 8, 8))
    assert h200.seconds([tiny], precision) == pytest.approx(1e-3, rel=0.01)  # 4 GB at 4 TB/s


def test_short_kernels_cost_two_and_a_half_microseconds():
    assert h200.seconds([Launch("add", "pointwise", 4, 0.0)], "fp32") == pytest.approx(10e-6)
