"""DT's iterations against a plain version, how it acts along episodes, and the checks of every method."""

from dataclasses import replace

import pytest
import torch

from algorithms.base import Dimensions, checked
from algorithms.dt import DT, DTConfig
from algorithms.history import History
from algorithms.optim import linear_warm_up
from bench.training import contract
from benchmarks.plain.dt import PlainDT
from tests.algorithms.checks import assert_only_changes, normal, snapshot, train_beside_plain

DIMENSIONS, SEEDS = Dimensions(4, 2), (3, 8)
CONFIG = DTConfig(
    context_length=3, layers=2, hidden_width=8, time_steps=9, batch_size=6, train_iterations=12,
    warm_up_iterations=5, learning_rate=1e-2, target_return=7.0, return_scale=2.0,
)  # fmt: skip
CASES = {
    "as released": CONFIG,
    "as CORL's": replace(CONFIG, activation="gelu", initialisation="normal", mean_over="all"),
    "two heads, decayed": replace(CONFIG, heads=2, weight_decay=0.5, gradient_norm=1e-3),
    "without dropout": replace(CONFIG, dropout=0.0),
}


def make(seeds, config=CONFIG, dimensions=DIMENSIONS):
    return contract.doubled(DT(dimensions, config, seeds))


def windows(seeds, size, observation, action, *, generator, bound=1.0):
    """A stacked batch of windows in float64, some of which end within."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    steps = CONFIG.context_length
    within = torch.randint(1, steps + 1, (seeds, size, 1), generator=generator)
    return {
        "observations": normal(seeds, size, steps, observation),
        "actions": normal(seeds, size, steps, action).clamp(-bound, bound),
        "returns_to_go": normal(seeds, size, steps),
        "times": torch.randint(12, (seeds, size, steps), generator=generator),
        "valid": (torch.arange(steps) < within).double(),
    }


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations(case):
    """The rate rises for five of them; what is behind a window's end counts for nothing."""
    algorithm = make(SEEDS, CASES[case], Dimensions(4, 2, action_bound=0.8))
    algorithm.prepare(3 * normal(50, 4, seed=9) + 1)
    train_beside_plain(algorithm, PlainDT, 12, bound=0.8, make_batch=windows)


def test_what_is_behind_a_windows_end_changes_nothing():
    ends = []
    for shift in (0.0, 1.0):
        algorithm = make(SEEDS)
        batch = windows(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
        behind = shift * (1 - batch["valid"])
        for name in ("observations", "actions"):
            batch[name] = batch[name] + behind.unsqueeze(-1)
        batch["returns_to_go"] = batch["returns_to_go"] + behind
        algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
        ends.append(snapshot(algorithm))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=1e-12, atol=1e-15, msg=name)


def test_what_one_iteration_moves():
    algorithm = make(SEEDS, replace(CONFIG, time_steps=3))
    for block in algorithm.networks["transformer"].blocks:
        block.up.bias.data += 0.1  # so that a unit is at work
    before = snapshot(algorithm)
    batch = windows(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
    algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
    assert_only_changes(algorithm, before, "transformer")


@pytest.mark.parametrize("steps", [1, 3, 14])
def test_acts_by_the_last_steps_of_an_episode_and_by_what_is_left_of_the_target(steps):
    """As a plain version that keeps lists: before the window is full, after, behind the table's end."""
    algorithm = make(SEEDS)
    algorithm.prepare(3 * normal(50, 4, seed=9) + 1)
    twins = [PlainDT.of(algorithm, slot) for slot in range(2)]
    history = History(algorithm.context, 2)
    seen, done, rewards = [], [], []
    for step in range(steps):
        seen.append(normal(2, 5, 4, seed=step))
        actions = algorithm.act(seen[-1], history.see(seen[-1]))
        for slot, twin in enumerate(twins):
            lists = [[one[slot] for one in of] for of in (seen, done, rewards)]
            torch.testing.assert_close(actions[slot], twin.act_after(*lists).detach(), rtol=1e-9, atol=1e-12)
        done.append(actions)
        rewards.append(normal(2, 5, seed=100 + step))
        history.did(actions)
        history.earned(rewards[-1])


def test_a_history_of_a_method_without_a_context_holds_nothing():
    history = History(0, 2)
    assert history.see(normal(2, 5, 4)) == {}
    history.did(normal(2, 5, 2))
    history.earned(normal(2, 5))
    assert history.see(normal(2, 5, 4)) == {}


def test_the_rate_rises_in_a_line():
    factors = [float(linear_warm_up(4)(torch.tensor(steps, dtype=torch.float64))) for steps in range(6)]
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_declares_its_masks_where_there_is_dropout_and_acts_without():
    algorithm = DT(DIMENSIONS, replace(CONFIG, heads=2), SEEDS)
    assert {draw.name: draw.shape for draw in algorithm.phases[0].draws} == {
        "embedded": (1, 54, 8),
        "attention": (2, 6, 2, 9, 9),
        "added": (4, 54, 8),
    }
    assert {draw.distribution for draw in algorithm.phases[0].draws} == {"uniform"}
    assert DT(DIMENSIONS, CASES["without dropout"], SEEDS).phases[0].draws == ()
    assert (algorithm.act_draws, algorithm.context) == ((), 3)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="heads is 3; it must divide hidden_width 128"):
        checked(DTConfig, {"heads": 3})


def test_as_every_method():
    contract.check_method("dt")
