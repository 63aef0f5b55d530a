"""Optimisers, schedules and averaging against torch's own, clipping against optax's, seed by seed."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.optim import (
    TORCH_NORM_MARGIN,
    Adam,
    clip_norm_per_seed,
    constant,
    cosine_in_steps,
    cosine_to_zero,
    move_towards,
)

SEEDS, STEPS = 3, 50
SHAPES = [(4, 5), (1, 5), (2, 3, 2)]


def clip(gradients, maximum):
    """Clip tensors of one joint norm per seed in place, as rows side by side; returns the norms."""
    rows = [gradient.view(len(gradient), -1) for gradient in gradients]
    joint = torch.cat(rows, dim=1)
    norms = clip_norm_per_seed(joint, maximum)
    for row, clipped in zip(rows, joint.split([row.shape[1] for row in rows], dim=1), strict=True):
        row.copy_(clipped)
    return norms


def start(dtype):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(SEEDS, *shape, generator=generator, dtype=dtype) for shape in SHAPES]


def gradients_at(step, dtype):
    """Gradients of very different sizes; zero at some steps, as where nothing reaches a parameter."""
    generator = torch.Generator().manual_seed(100 + step)
    size = 10.0 ** ((step % 7) - 4) * (step % 11 != 5)
    return [size * torch.randn(SEEDS, *shape, generator=generator, dtype=dtype) for shape in SHAPES]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("total", [None, 40])
def test_equals_torch(dtype, tolerance, weight_decay, total):
    """Per seed, with and without the cosine (which also runs past its end)."""
    parameters = start(dtype)
    schedule = constant if total is None else cosine_to_zero(total)
    mine = Adam(parameters, 3e-3, weight_decay=weight_decay, schedule=schedule)
    theirs = [[p[seed].clone().requires_grad_() for p in parameters] for seed in range(SEEDS)]
    kind = torch.optim.AdamW if weight_decay else torch.optim.Adam
    optimisers = [kind(ps, lr=3e-3, weight_decay=weight_decay) for ps in theirs]
    schedulers = [torch.optim.lr_scheduler.CosineAnnealingLR(o, total) for o in optimisers] if total else []
    for step in range(STEPS):
        if total:
            rate = optimisers[0].param_groups[0]["lr"]
            assert mine.current_learning_rate().item() == pytest.approx(rate, rel=1e-9, abs=1e-15)
        gradients = gradients_at(step, dtype)
        mine.step(gradients)
        for seed, optimiser in enumerate(optimisers):
            for parameter, gradient in zip(theirs[seed], gradients, strict=True):
                parameter.grad = gradient[seed].clone()
            optimiser.step()
        for scheduler in schedulers:
            scheduler.step()
    for seed in range(SEEDS):
        for parameter, expected in zip(parameters, theirs[seed], strict=True):
            assert parameter.dtype == dtype
            torch.testing.assert_close(
                parameter[seed], expected.detach(), rtol=tolerance, atol=tolerance * 1e-1
            )


def test_other_betas_and_epsilon():
    parameters = start(torch.float64)
    expected = [p.clone().requires_grad_() for p in parameters]
    mine = Adam(parameters, 0.01, betas=(0.5, 0.9), epsilon=1e-3)
    theirs = torch.optim.Adam(expected, lr=0.01, betas=(0.5, 0.9), eps=1e-3)
    for step in range(STEPS):
        gradients = gradients_at(step, torch.float64)
        mine.step(gradients)
        for parameter, gradient in zip(expected, gradients, strict=True):
            parameter.grad = gradient.clone()
        theirs.step()
    for mine_, theirs_ in zip(parameters, expected, strict=True):
        torch.testing.assert_close(mine_, theirs_.detach(), rtol=1e-12, atol=1e-13)


def test_first_step_by_hand():
    """Adam's first step is the learning rate against the gradient's sign, whatever its size."""
    parameter = torch.tensor([[1.0, 1.0, 1.0]], dtype=torch.float64)
    Adam([parameter], 0.1).step([torch.tensor([[5.0, -1e-3, 0.0]], dtype=torch.float64)])
    assert parameter[0].tolist() == pytest.approx([0.9, 1.1, 1.0], rel=1e-5)


def test_cosine():
    schedule = cosine_to_zero(1000)
    for steps, factor in ((0, 1.0), (250, 0.5 + math.sqrt(0.125)), (500, 0.5), (1000, 0.0)):
        value = schedule(torch.tensor(float(steps), dtype=torch.float64)).item()
        assert value == pytest.approx(factor, abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rate_zero_leaves_parameters(dtype, weight_decay):
    """At the cosine's end the factor is exactly zero."""
    parameters = start(dtype)
    before = [p.clone() for p in parameters]
    mine = Adam(parameters, 0.1, weight_decay=weight_decay, schedule=torch.zeros_like)
    for step in range(12):
        mine.step(gradients_at(step, dtype))
    assert all(torch.equal(a, b) for a, b in zip(parameters, before, strict=True))


def test_cosine_may_begin_later():
    """Against torch: a scheduler that is first stepped after 20 steps without it; the moments carry over."""
    parameters = start(torch.float64)
    expected = [p.clone().requires_grad_() for p in parameters]
    mine = Adam(parameters, 3e-3, schedule=cosine_to_zero(30, after=20))
    theirs = torch.optim.Adam(expected, lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 30)
    for step in range(40):
        gradients = gradients_at(step, torch.float64)
        mine.step(gradients)
        for parameter, gradient in zip(expected, gradients, strict=True):
            parameter.grad = gradient.clone()
        theirs.step()
        if step >= 20:
            scheduler.step()
    for mine_, theirs_ in zip(parameters, expected, strict=True):
        torch.testing.assert_close(mine_, theirs_.detach(), rtol=1e-12, atol=1e-13)


def test_cosine_may_be_stepped_now_and_then():
    """Against torch's scheduler, stepped after every fourth step of the optimiser."""
    parameter = torch.zeros(1, requires_grad=True)
    theirs = torch.optim.SGD([parameter], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 7)
    schedule = cosine_in_steps(7, every=4)
    for step in range(28):
        factor = schedule(torch.tensor(float(step), dtype=torch.float64)).item()
        assert 0.3 * factor == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
        theirs.step()
        if step % 4 == 3:
            scheduler.step()


@pytest.mark.parametrize("maximum", [0.1, 5.0, 1e6])
def test_clipping_is_optax_rule_per_seed(maximum):
    """In NumPy: gradients of a norm below the maximum stay bit for bit, others become g / norm * maximum."""
    gradients = start(torch.float64)
    for gradient in gradients:
        gradient[1] *= 1e-3  # this seed stays below the norm while the others are clipped
    given_ = [g.numpy().copy() for g in gradients]
    norms = clip(gradients, maximum)
    assert norms.shape == (SEEDS,)
    for seed in range(SEEDS):
        norm = np.sqrt(sum((g[seed] ** 2).sum() for g in given_))
        assert norms[seed].item() == pytest.approx(norm, rel=1e-14)
        for mine, before in zip(gradients, given_, strict=True):
            if norm < maximum:
                assert (mine[seed].numpy() == before[seed]).all()
            else:
                expected = before[seed] / norm * maximum
                np.testing.assert_allclose(mine[seed].numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("maximum", "gradient", "clipped"),
    [
        (1.0, (3.0, 4.0), (0.6, 0.8)),
        (1.0, (0.3, -0.4), (0.3, -0.4)),
        (1.0, (0.6, 0.8), (0.6, 0.8)),  # the norm is the maximum itself
        (1.0, (3.0, 0.1), (0.9994449069791544, 0.03331483023263848)),
        (0.7, (0.1, 2.3, -0.9), (0.02831896879219572, 0.6513362822205014, -0.25487071912976145)),
        (5.0, (1.0, -7.0, 2.5), (0.6666666666666666, -4.666666666666667, 1.6666666666666665)),
    ],
)
def test_clipping_gives_what_optax_gave(maximum, gradient, clipped):
    """Printed by optax 0.2.8, clip_by_global_norm in double precision, one parameter per number."""
    gradients = [torch.tensor([[value]], dtype=torch.float64) for value in gradient]
    clip(gradients, maximum)
    assert [float(g) for g in gradients] == pytest.approx(clipped, rel=4e-16, abs=0)


def test_clipping_leaves_alone_what_torch_would_shrink():
    """torch divides by norm + 1e-6 and so scales gradients whose norm is a little below the maximum."""
    gradient = torch.tensor([[1 - 5e-7]], dtype=torch.float64)
    clip([gradient], 1.0)
    assert gradient.item() == 1 - 5e-7


@pytest.mark.parametrize("size", [1e-3, 1 - 5e-7, 1.0, 40.0])
def test_clipping_with_torchs_margin_is_torchs_rule(size):
    parameters = [torch.nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2)]
    for parameter, direction in zip(parameters, ((0.48, 0.36), (0.64, -0.48)), strict=True):
        parameter.grad = size * torch.tensor(direction, dtype=torch.float64)
    rows = torch.cat([parameter.grad for parameter in parameters])[None].clone()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    clip_norm_per_seed(rows, 1.0, TORCH_NORM_MARGIN)
    expected = torch.cat([parameter.grad for parameter in parameters])
    torch.testing.assert_close(rows[0], expected, rtol=1e-14, atol=0)


def test_clipping_keeps_a_diverged_seed_to_itself():
    gradients = start(torch.float64)
    alone = [g[1:].clone() for g in gradients]
    gradients[0][0, 0] = math.nan
    clip(gradients, 0.5)
    clip(alone, 0.5)
    assert all(torch.equal(g[1:], a) for g, a in zip(gradients, alone, strict=True))


@settings(max_examples=30)
@given(rate=st.floats(0, 1), target=st.floats(-100, 100), source=st.floats(-100, 100))
def test_move_towards(rate, target, source):
    slow, fast = (torch.full((2, 3), value, dtype=torch.float64) for value in (target, source))
    move_towards([slow], [fast], rate)
    assert slow[1, 2].item() == pytest.approx((1 - rate) * target + rate * source, rel=1e-9, abs=1e-9)
    assert (fast == source).all()


@settings(max_examples=10, deadline=None)
@given(seeds=st.integers(2, 4), victim=st.integers(0, 3), steps=st.integers(1, 5))
def test_a_seed_with_nan_leaves_the_others_alone(seeds, victim, steps):
    victim %= seeds
    stacks = [torch.ones(seeds, 3, 2, dtype=torch.float64) for _ in range(2)]
    optimisers = [Adam([stack], 0.1, weight_decay=0.01) for stack in stacks]
    generator = torch.Generator().manual_seed(steps)
    for _ in range(steps):
        gradient = torch.randn(seeds, 3, 2, generator=generator, dtype=torch.float64)
        optimisers[0].step([gradient])
        poisoned = gradient.clone()
        poisoned[victim] = math.nan
        optimisers[1].step([poisoned])
    others = [seed for seed in range(seeds) if seed != victim]
    assert torch.equal(stacks[0][others], stacks[1][others])
    assert stacks[1][victim].isnan().all()


@pytest.mark.parametrize(("largest_norm", "norm_margin"), [(None, 0.0), (1.0, 0.0), (1.0, 0.5)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_compiled_steps_equal_those_of_the_kernel(weight_decay, largest_norm, norm_margin):
    """The formulas that a compiler meets, traced and run without fusing, against torch's fused kernel."""

    def made():
        return Adam(
            start(torch.float64),
            3e-3,
            weight_decay=weight_decay,
            schedule=cosine_to_zero(40),
            largest_norm=largest_norm,
            norm_margin=norm_margin,
        )

    torch._dynamo.reset()  # it counts what others have compiled in this process
    plain, traced = made(), made()
    step = torch.compile(traced.step, backend="aot_eager", fullgraph=True)
    for number in range(20):
        gradients = gradients_at(number, torch.float64)
        plain.step(gradients)
        step(gradients)
        for one, other in zip(plain.parameters, traced.parameters, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert traced.steps == plain.steps == 20
