"""IDQL's iterations against a plain per-seed implementation; how it acts."""

from dataclasses import replace

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.diffusion import vp_schedule
from algorithms.idql import IDQL, IDQLConfig
from bench.training import contract
from benchmarks.plain.idql import PlainIDQL, PlainNetworks
from benchmarks.plain.modules import q_values
from tests.algorithms import checks

SEEDS, BOUND = (3, 8), 0.8
DIMENSIONS = Dimensions(5, 3, action_bound=BOUND)
CONFIG = IDQLConfig(
    policy_width=12,
    policy_blocks=2,
    critic_width=16,
    time_features=8,
    batch_size=8,
    critic_batch_size=8,
    candidates=4,
    train_iterations=12,
    cosine_steps=12,
    learning_rate=1e-3,
    critic_learning_rate=2e-3,
    weight_decay=0.5,
    discount=0.95,
    target_update_rate=0.05,
    policy_target_rate=0.1,
    dropout=0.3,
    action_margin=0.01,
)
PAPER = replace(
    CONFIG,
    policy_steps=2,
    critic_batch_size=3,
    cosine_steps=30,
    weight_decay=0.0,
    policy_activation="mish",
    value_layer_norm=False,
    expectile=0.9,
)
CASES = {"released": CONFIG, "paper": PAPER, "no dropout": replace(CONFIG, dropout=0.0, diffusion_steps=8)}


def in_double(algorithm):
    """The method in float64, schedule included."""
    schedule = vp_schedule(algorithm.config.diffusion_steps, torch.float64)
    return contract.doubled(algorithm, schedule=schedule)


def assert_same_networks(algorithm, plain, seed):
    mine = PlainNetworks.copied(algorithm, seed)
    for name, module in vars(mine).items():
        pairs = zip(module.named_parameters(), getattr(plain.nets, name).parameters(), strict=True)
        for (path, actual), expected in pairs:
            difference, scale = (actual - expected).abs().max(), expected.abs().max()
            assert difference <= 1e-8 * scale + 1e-12, f"{name}.{path}: {difference} of {scale}"


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations(case):
    """Losses, order, shares of the batch, decay, rates and averages of all networks, step by step."""
    config = CASES[case]
    algorithm = in_double(IDQL(DIMENSIONS, config, SEEDS))
    plain = [PlainIDQL.of(algorithm, seed) for seed in range(len(SEEDS))]
    generator = torch.Generator().manual_seed(0)
    (phase,) = algorithm.phases
    for step in range(12):
        batch = checks.random_batch(len(SEEDS), 8, 5, 3, generator=generator, bound=BOUND)
        draws = contract.draws_of(phase.draws, SEEDS, step)
        metrics = algorithm.update(phase.program(step), batch, draws)
        for seed, one in enumerate(plain):
            losses = one.update("train", checks.of_seed(batch, seed), checks.of_seed(draws, seed))
            assert metrics.keys() == losses.keys()
            for name, value in losses.items():
                torch.testing.assert_close(metrics[name][seed], value.detach(), rtol=1e-8, atol=1e-10)
            assert_same_networks(algorithm, one, seed)


def test_the_phase():
    (phase,) = IDQL(DIMENSIONS, IDQLConfig(), SEEDS).phases
    assert (phase.name, phase.iterations, phase.batch_size, phase.evaluated, phase.sampling) == (
        "train",
        3_000_000,
        512,
        True,
        "index",
    )
    assert {draw.name: (draw.shape, draw.distribution) for draw in phase.draws} == {
        "step": ((512,), "uniform"),
        "noise": ((512, 3), "normal"),
        "dropout": ((3, 512, 256), "uniform"),
    }
    (phase,) = IDQL(DIMENSIONS, replace(CONFIG, dropout=0.0), SEEDS).phases
    assert {draw.name for draw in phase.draws} == {"step", "noise"}


def test_what_one_iteration_moves():
    algorithm = in_double(IDQL(DIMENSIONS, CONFIG, SEEDS))
    before = checks.snapshot(algorithm)
    batch = checks.random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(1))
    algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
    moved = {
        name.split(".")[0]
        for name, tensor in algorithm.networks.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert moved == {"policy", "target_policy", "critics", "target_critics", "value"}
    frequencies = algorithm.networks.state_dict()["policy.fourier.frequencies"]
    assert not torch.equal(frequencies, before["policy.fourier.frequencies"])


def test_targets_start_as_copies():
    state = IDQL(DIMENSIONS, CONFIG, SEEDS).networks.state_dict()
    targets = {name for name in state if name.startswith("target_")}
    assert {name.split(".")[0] for name in targets} == {"target_policy", "target_critics"}
    assert all(torch.equal(state[name], state[name.removeprefix("target_")]) for name in targets)


def test_actions_are_kept_within_the_bound_before_anything_sees_them():
    """Beyond the margin, all actions are one."""
    ends = []
    for size in (BOUND, BOUND - 0.005):
        algorithm = in_double(IDQL(DIMENSIONS, CONFIG, SEEDS))
        batch = checks.random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(1))
        batch["actions"] = torch.full_like(batch["actions"], size)
        algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
        ends.append(checks.snapshot(algorithm))
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


@pytest.mark.parametrize("case", CASES)
def test_acts_by_the_lower_of_the_target_critics(case):
    """The average policy's samples, all steps, and the best of them; nothing else is asked."""
    algorithm = in_double(IDQL(DIMENSIONS, CASES[case], SEEDS))
    for name in ("critics", "policy", "value"):
        for parameter in algorithm.networks[name].parameters():
            parameter.data.fill_(float("nan"))
    steps = CASES[case].diffusion_steps
    states, noise = checks.normal(2, 6, 5), checks.normal(2, 6, steps, 4, 3, seed=1)
    actions = algorithm.act(states, {"candidates": noise})
    chosen = set()
    for seed in range(2):
        plain = PlainIDQL.of(algorithm, seed)
        for row in range(6):
            s = states[seed, row].expand(4, -1)
            candidates = plain.sampled(plain.nets.target_policy, s, noise[seed, row]).detach()
            q = torch.minimum(
                q_values(plain.nets.target_q1, s, candidates), q_values(plain.nets.target_q2, s, candidates)
            )
            best = max(range(4), key=q.tolist().__getitem__)
            chosen.add(best)
            torch.testing.assert_close(actions[seed, row], candidates[best], rtol=1e-8, atol=1e-10)
    assert len(chosen) > 1
