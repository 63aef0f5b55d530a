"""SfBC's phases beside a plain version of one seed; what begins them, and how it acts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from algorithms.registry import configuration
from algorithms.sfbc import NO_VALUE, SfBC, SfBCConfig
from bench.training import contract
from benchmarks.plain.modules import q_values
from benchmarks.plain.sfbc import PlainSfBC
from tests.algorithms import checks
from tests.algorithms.behaviour_phases import (
    DIMENSIONS,
    SEEDS,
    SMALL,
    assert_same_weights,
    dataset,
    prepared,
    train_phase_beside,
)
from tests.algorithms.sfbc.test_losses import planned_by_a_loop

CONFIG = SfBCConfig(
    **SMALL,
    behaviour_iterations=4,
    support_iterations=2,
    returns_iterations=5,
    planning_iterations=2,
    critic_iterations=4,
    critic_batch_size=6,
    planning_batch_size=8,
    discount=0.95,
    critic_learning_rate=3e-3,
    critic_width=10,
    planning_inverse_temperature=3.0,
    candidates=5,
    selected=2,
    selection_inverse_temperature=2.0,
    selection_lead=0.3,
)
CASES = {
    "released": CONFIG,
    "paper": replace(CONFIG, planning="next_state", wide_critic_layer=7, solver_calls=6),
}


@pytest.mark.parametrize("case", CASES)
def test_every_phase_beside_a_plain_version(case):
    data, config = dataset(), CASES[case]
    algorithm = prepared(SfBC(DIMENSIONS, config, SEEDS), data)
    twins = [PlainSfBC.of(algorithm, slot) for slot in range(len(SEEDS))]
    train_phase_beside(algorithm, twins, "behaviour", data, 4)
    train_phase_beside(algorithm, twins, "support", data, 2)
    train_phase_beside(algorithm, twins, "returns", data, 5)
    for slot, twin in enumerate(twins):
        mine, support = PlainSfBC.of(algorithm, slot), algorithm.support["observations"][slot]
        assert (support - twin.support).abs().max() <= 1e-9 * twin.support.abs().max()
        assert_same_weights(mine.score, twin.score)
        assert_same_weights(mine.q, twin.q)
    train_phase_beside(algorithm, twins, "planning", data, 2)
    for slot, twin in enumerate(twins):
        torch.testing.assert_close(algorithm.memory["values"][slot], twin.values, rtol=1e-9, atol=1e-12)
    # 16 of the 24 states have a support; the others are worth no more than their returns.
    assert (algorithm.memory["values"] == NO_VALUE).sum(dim=1).tolist() == [8, 8]
    algorithm.begin_phase("critic")
    twins = [PlainSfBC.of(algorithm, slot) for slot in range(len(SEEDS))]
    train_phase_beside(algorithm, twins, "critic", data, 4)
    for slot, twin in enumerate(twins):
        assert_same_weights(PlainSfBC.of(algorithm, slot).q, twin.q)


@pytest.mark.parametrize("case", CASES)
def test_returns_are_planned_with_what_the_first_critic_found(case):
    data, config = dataset(), CASES[case]
    algorithm = prepared(SfBC(DIMENSIONS, config, SEEDS), data)
    first = {name: tensor.clone() for name, tensor in algorithm.memory.items()}
    plain = planned_by_a_loop(data.rewards, data.ends, np.full(24, -np.inf), 0.95, "this_state")
    expected = (plain - plain.mean()) / max(plain.std(), 0.1)
    for slot in range(2):
        np.testing.assert_allclose(first["returns"][slot], expected, rtol=1e-12, atol=1e-12)
    values = checks.normal(2, 24, seed=4)
    values[:, 20] = NO_VALUE
    algorithm.memory["values"].copy_(values)
    algorithm.begin_phase("critic")
    for slot in range(2):
        known = values[slot].numpy() * plain.std() + plain.mean()
        known[20] = -np.inf
        planned = planned_by_a_loop(data.rewards, data.ends, known, 0.95, config.planning)
        assert (planned > plain + 1e-3).any()
        assert algorithm.memory["mean"][slot].item() == pytest.approx(planned.mean(), rel=1e-12)
        assert algorithm.memory["deviation"][slot].item() == pytest.approx(planned.std(), rel=1e-12)
        standardised = (planned - planned.mean()) / planned.std()
        np.testing.assert_allclose(algorithm.memory["returns"][slot], standardised, rtol=1e-11, atol=1e-12)


def test_returns_that_hardly_differ_are_not_blown_up():
    data = dataset()
    data.rows[:, -2] *= 1e-3
    algorithm = prepared(SfBC(DIMENSIONS, CONFIG, SEEDS), data)
    assert algorithm.memory["deviation"].flatten().tolist() == [0.1, 0.1]
    assert algorithm.memory["returns"].abs().max() < 0.1


def test_the_critic_begins_anew():
    data = dataset()
    algorithm = prepared(SfBC(DIMENSIONS, CONFIG, SEEDS), data)
    fresh = checks.snapshot(algorithm)
    twins = [PlainSfBC.of(algorithm, slot) for slot in range(len(SEEDS))]
    train_phase_beside(algorithm, twins, "returns", data, 2)
    state = algorithm.state_dict()
    assert state["optimiser.critic.steps"] == 2
    assert not torch.equal(state["network.critic.layers.0.weight"], fresh["critic.layers.0.weight"])
    algorithm.begin_phase("critic")
    state = algorithm.state_dict()
    assert all(
        torch.equal(state[f"network.{name}"], tensor) for name, tensor in fresh.items() if "critic" in name
    )
    moments = [tensor for name, tensor in state.items() if name.startswith("optimiser.critic.")]
    assert not any(tensor.any() for tensor in moments)


@pytest.mark.parametrize("case", CASES)
def test_acts_by_the_mean_of_drawn_candidates(case):
    algorithm = contract.doubled(SfBC(DIMENSIONS, CASES[case], SEEDS))
    states, noise = checks.normal(2, 6, 5), checks.normal(2, 6, 5, 3, seed=1)
    uniform = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    actions = algorithm.act(states, {"candidates": noise, "selection": uniform})
    algorithm.prepare(states[0])  # so that there is a support to copy
    algorithm.prepare_trajectories(states[0, :, 0], torch.arange(6) == 5)
    chosen = set()
    for slot in range(2):
        twin = PlainSfBC.of(algorithm, slot)
        for row in range(6):
            s = states[slot, row].expand(5, -1)
            candidates = twin.sampled(s, noise[slot, row]).detach()
            scaled = 2.0 * q_values(twin.q, s, candidates).detach().numpy()
            scaled = np.minimum(scaled, np.sort(scaled)[-2] + 0.3)
            keys = scaled - np.log(-np.log(uniform[slot, row].numpy()))
            two = np.argsort(keys)[-2:]
            chosen.add(tuple(sorted(two)))
            torch.testing.assert_close(
                actions[slot, row], candidates[torch.from_numpy(two)].mean(dim=0), rtol=1e-9, atol=1e-11
            )
    assert len(chosen) > 2


def test_the_phases():
    phases = SfBC(DIMENSIONS, SfBCConfig(), SEEDS).phases
    assert [(p.name, p.iterations, p.batch_size, p.sampling, p.first_rows) for p in phases] == [
        ("behaviour", 600_000, 4096, "shuffled", None),
        ("support", 31_250, 32, "in_order", 1_000_000),
        ("returns", 24_500, 4096, "shuffled", None),
        ("planning", 977, 1024, "in_order", 1_000_000),
        ("critic", 24_255, 4096, "shuffled", None),
    ]
    assert [p.evaluated for p in phases] == [False, False, False, False, True]
    assert [p.remade_until for p in phases] == [None, "planning", None, None, None]
    assert {draw.name: draw.shape for draw in phases[1].draws} == {"support_observations": (32, 16, 3)}


def test_more_drawn_than_sampled_is_refused():
    with pytest.raises(ValueError, match=r"selected is 5; it must be at most candidates \(4\)"):
        configuration("sfbc", {**CONFIG.__dict__, "candidates": 4, "selected": 5})
