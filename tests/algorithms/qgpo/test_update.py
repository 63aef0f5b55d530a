"""QGPO's phases beside a plain version of one seed; its phases, and how it acts."""

from dataclasses import replace

import pytest
import torch

from algorithms.qgpo import QGPO, QGPOConfig
from bench.training import contract
from benchmarks.plain.qgpo import PlainQGPO
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

CONFIG = QGPOConfig(
    **SMALL,
    behaviour_iterations=4,
    support_iterations=2,
    energy_iterations=8,
    critic_iterations=5,
    batch_size=6,
    discount=0.95,
    learning_rate=1e-3,
    target_update_rate=0.05,
    backup_inverse_temperature=2.0,
    inverse_temperature=4.0,
    hidden_width=10,
    guidance_scale=1.5,
)
CASES = {"released": CONFIG, "even calls": replace(CONFIG, solver_calls=6, support_actions=2)}


@pytest.mark.parametrize("case", CASES)
def test_every_phase_beside_a_plain_version(case):
    data = dataset()
    algorithm = prepared(QGPO(DIMENSIONS, CASES[case], SEEDS), data)
    twins = [PlainQGPO.of(algorithm, slot) for slot in range(len(SEEDS))]
    train_phase_beside(algorithm, twins, "behaviour", data, 4)
    train_phase_beside(algorithm, twins, "support", data, 2)
    for slot, twin in enumerate(twins):
        for name in ("observations", "next_observations"):
            mine, theirs = algorithm.support[name][slot], twin.supports[name]
            assert (mine - theirs).abs().max() <= 1e-9 * theirs.abs().max()
    train_phase_beside(algorithm, twins, "energy", data, 8)
    for slot, twin in enumerate(twins):
        mine = PlainQGPO.of(algorithm, slot)
        for network in ("score", "q1", "q2", "energy"):
            assert_same_weights(getattr(mine, network), getattr(twin, network))
    algorithm.copy_weights("target_critics", "critics")
    for slot, twin in enumerate(twins):
        mine = PlainQGPO.of(algorithm, slot)
        assert_same_weights(mine.q1, twin.slow_q1)
        assert_same_weights(mine.q2, twin.slow_q2)


def test_acts_by_one_guided_sample():
    algorithm = contract.doubled(QGPO(DIMENSIONS, CONFIG, SEEDS))
    for name in ("critics", "target_critics"):
        for parameter in algorithm.networks[name].parameters():
            parameter.data.fill_(float("nan"))
    states, noise = checks.normal(2, 4, 5), checks.normal(2, 4, 3, seed=1)
    actions = algorithm.act(states, {"action": noise})
    alone = contract.doubled(QGPO(DIMENSIONS, replace(CONFIG, guidance_scale=0.0), SEEDS))
    cloned = alone.act(states, {"action": noise})
    assert (actions - cloned).abs().min() > 1e-6
    for slot in range(2):
        twin = PlainQGPO.of(algorithm, slot)
        torch.testing.assert_close(actions[slot], twin.act(states[slot], noise[slot]), rtol=1e-9, atol=1e-11)
        unguided = twin.sampled(states[slot], noise[slot], scale=0.0).detach()
        torch.testing.assert_close(cloned[slot], unguided, rtol=1e-9, atol=1e-11)
    assert not actions.requires_grad


def test_the_phases():
    behaviour, support, energy = QGPO(DIMENSIONS, QGPOConfig(), SEEDS).phases
    phases = behaviour, support, energy
    assert [(p.name, p.iterations, p.batch_size, p.sampling, p.evaluated) for p in phases] == [
        ("behaviour", 600_000, 4096, "shuffled", False),
        ("support", 31_250, 32, "in_order", False),
        ("energy", 1_000_000, 256, "shuffled", True),
    ]  # fmt: skip
    assert (support.remade_until, energy.first_rows) == ("energy", 1_000_000)
    assert [energy.program(step) for step in (0, 499_999, 500_000)] == [*["critics and energy"] * 2, "energy"]
    declared = {draw.name: (draw.shape, draw.distribution) for draw in (*support.draws, *energy.draws)}
    assert declared == {
        "support_observations": ((32, 16, 3), "normal"),
        "support_next_observations": ((32, 16, 3), "normal"),
        "energy_time": ((256,), "uniform"),
        "energy_noise": ((256, 16, 3), "normal"),
    }


def test_what_each_program_moves():
    data = dataset()
    algorithm = prepared(QGPO(DIMENSIONS, CONFIG, SEEDS), data)
    expected = {
        "behaviour": {"behaviour"},
        "support": set(),
        "critics and energy": {"critics", "target_critics", "energy"},
        "energy": {"energy"},
    }
    for phase, program, step in contract.programs(algorithm):
        before = checks.snapshot(algorithm)
        rows = torch.arange(phase.batch_size).expand(2, -1)
        draws = contract.draws_of(phase.draws, SEEDS, step)
        algorithm.update(program, data.batch(rows), {**draws, "rows": rows})
        moved = {
            n.split(".")[0] for n, t in algorithm.networks.state_dict().items() if not t.equal(before[n])
        }
        assert moved == expected.pop(program), program
    assert not expected
