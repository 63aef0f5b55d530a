"""Draws are a function of (key, stream, step, name) alone, and distributed as declared."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from algorithms.base import Draw, derived_seed
from bench.training.draws import BLOCK_NUMBERS, MAXIMUM_BLOCK_STEPS, DrawStream, block_steps

NORMAL = Draw("noise", (4, 3), "normal")
UNIFORM = Draw("level", (4,), "uniform")
INDEX = Draw("rows", (4,), "index")
ALL = (NORMAL, UNIFORM, INDEX)


def stream(keys=(1, 2), name="train", draws=ALL, rows=1000, **options):
    return DrawStream(keys, name, draws, rows=rows, **options)


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@settings(max_examples=25, deadline=None)
@given(
    keys=st.lists(st.integers(0, 10**6), min_size=1, max_size=4, unique=True),
    steps=st.lists(st.integers(0, 400), min_size=1, max_size=5),
)
def test_alone_or_among_others_in_any_order(keys, steps):
    together = stream(keys)
    for step in steps:
        draws = together.at(step)
        for slot, key in enumerate(keys):
            alone = stream((key,)).at(step)
            assert all(torch.equal(draws[name][slot], alone[name][0]) for name in draws)


def test_independent_of_other_declared_draws():
    for draw in ALL:
        alone = stream(draws=(draw,)).at(130)
        assert torch.equal(alone[draw.name], stream(draws=ALL[::-1]).at(130)[draw.name])


def test_asking_again_or_going_back_gives_the_same():
    source = stream()
    first = {name: tensor.clone() for name, tensor in source.at(5).items()}
    for step in (6, 127, 128, 300):
        source.at(step)
    assert_same(source.at(5), first)
    assert_same(source.at(5), first)


def test_block_edges_are_invisible():
    """No number comes twice in two blocks, and a stream that begins around the edge sees the same."""
    edge = block_steps(NORMAL)
    assert edge == MAXIMUM_BLOCK_STEPS
    source = stream(dtype=torch.float64)
    numbers = torch.stack([source.at(step)["noise"].clone() for step in range(2 * edge)])
    assert len(numbers.unique()) == numbers.numel()
    for step in range(edge - 3, edge + 3):
        assert torch.equal(stream(dtype=torch.float64).at(step)["noise"], numbers[step])


@pytest.mark.parametrize(
    ("shape", "steps"), [((), 128), ((2048, 8), 16), ((256, 3), 128), ((1 << 20,), 1), ((1 << 17,), 2)]
)
def test_blocks_hold_about_as_many_numbers(shape, steps):
    assert block_steps(Draw("x", shape, "normal")) == steps
    assert steps == 1 or steps * int(np.prod(shape)) <= BLOCK_NUMBERS


def test_everything_that_should_tell_apart_does():
    base = stream().at(3)
    for other in (stream(name="pretrain").at(3), stream(keys=(3, 4)).at(3), stream().at(4)):
        assert not any(torch.equal(base[name], other[name]) for name in base)
    renamed = stream(draws=(Draw("other", (4, 3), "normal"),)).at(3)["other"]
    assert not torch.equal(base["noise"], renamed)
    assert not torch.equal(base["noise"][0], base["noise"][1])


def test_keys_of_several_parts_do_not_run_together():
    assert derived_seed("1", "23") != derived_seed("12", "3")
    assert derived_seed(1, "train", 0) != derived_seed(1, "train", 1)
    assert all(0 <= derived_seed(i) < 2**63 for i in range(100))


def test_seeds_stay_what_they_were():
    """Stored results and checkpoints rest on this number; blake2b of "0 unit separator init", 63 bits."""
    assert derived_seed(0, "init") == 4659744837173112029


def test_shapes_and_types():
    draws = stream(keys=(1, 2, 3)).at(0)
    assert {name: (tuple(t.shape), t.dtype) for name, t in draws.items()} == {
        "noise": ((3, 4, 3), torch.float32),
        "level": ((3, 4), torch.float64),
        "rows": ((3, 4), torch.int64),
    }
    assert stream(dtype=torch.float64).at(0)["noise"].dtype == torch.float64


def test_distributions():
    wide = tuple(Draw(draw.name, (500,), draw.distribution) for draw in ALL)
    source = stream(keys=(7,), draws=wide, rows=10)
    steps = [{n: t.flatten().clone() for n, t in source.at(step).items()} for step in range(100)]
    numbers = {name: torch.cat([step[name] for step in steps]).numpy() for name in steps[0]}
    assert stats.kstest(numbers["noise"], "norm").pvalue > 1e-3
    assert stats.kstest(numbers["level"], "uniform").pvalue > 1e-3
    assert numbers["level"].min() >= 0
    assert numbers["level"].max() < 1
    # Double resolution: numbers of single precision would be multiples of 2^-24.
    assert (np.abs(numbers["level"] * 2**24 % 1) > 0).mean() > 0.99
    counts = np.bincount(numbers["rows"], minlength=10)
    assert len(counts) == 10
    assert stats.chisquare(counts).pvalue > 1e-3


def test_seeds_steps_and_names_are_uncorrelated():
    draws = (Draw("a", (2000,), "normal"), Draw("b", (2000,), "normal"))
    source = stream(keys=(0, 1), draws=draws)
    first, second = source.at(0), source.at(1)
    rows = torch.cat([first["a"], first["b"], second["a"], second["b"]])
    off_diagonal = torch.corrcoef(rows) - torch.eye(8)
    assert off_diagonal.abs().max() < 5 / np.sqrt(2000)


def test_shuffled_rows_are_a_permutation_per_epoch_without_the_tail():
    shuffled = Draw("rows", (4,), "shuffled")
    made = stream(draws=(shuffled,), rows=11)  # two minibatches of 4 and a tail of 3
    epochs = [torch.cat([made.at(2 * epoch + i)["rows"] for i in range(2)], dim=1) for epoch in range(3)]
    for epoch in epochs:
        for rows in epoch:
            assert len(set(rows.tolist())) == 8
            assert set(rows.tolist()) <= set(range(11))
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0][0], epochs[0][1])
    again = stream((2,), draws=(shuffled,), rows=11)
    assert torch.equal(again.at(5)["rows"][0], made.at(5)["rows"][1])


def test_over_many_epochs_no_row_is_left_out():
    shuffled = Draw("rows", (4,), "shuffled")
    made = stream((1,), draws=(shuffled,), rows=11)
    counts = torch.bincount(torch.cat([made.at(step)["rows"].flatten() for step in range(2 * 200)]))
    assert len(counts) == 11
    assert counts.min() > 100
    assert counts.max() <= 200


def test_fewer_rows_than_a_minibatch_are_passed_through_more_than_once():
    shuffled = Draw("rows", (8,), "shuffled")
    rows = stream((1,), draws=(shuffled,), rows=3).at(0)["rows"][0]
    assert sorted(rows[:3].tolist()) == sorted(rows[3:6].tolist()) == [0, 1, 2]


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 50), size=st.integers(1, 20), step=st.integers(0, 400))
def test_rows_in_order_go_on_from_the_last_minibatch_and_begin_again(rows, size, step):
    draws = stream((1, 2), draws=(Draw("rows", (size,), "in_order"),), rows=rows).at(step)["rows"]
    expected = [(step * size + place) % rows for place in range(size)]
    assert draws.tolist() == [expected, expected]
