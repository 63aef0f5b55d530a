"""EDP's iterations against a plain per-seed implementation with torch's optimisers; and how it acts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from algorithms.base import Dimensions
from algorithms.diffusion import linear_schedule, vp_schedule
from algorithms.dpm_solver import AncestralSampler
from algorithms.edp import EDPCRR, EDPIQL, EDPTD3, EDPCRRConfig, EDPIQLConfig, EDPTD3Config
from bench.training import contract
from benchmarks.plain.edp import PlainEDP, PlainNetworks, PlainSolver, ddpm_sample
from benchmarks.plain.modules import q_values
from tests.algorithms import checks

DIMENSIONS, SEEDS = Dimensions(5, 3), (3, 8)
SMALL = {
    "hidden_width": 16,
    "batch_size": 8,
    "candidates": 4,
    "train_iterations": 12,
    "diffusion_steps": 30,
    "solver_calls": 6,
    "learning_rate": 1e-3,
    "discount": 0.95,
    "target_update_rate": 0.05,
    "gradient_norm": 0.5,
}
TARGET_POLICY = {"policy_target_start": 4, "policy_target_interval": 3}
FIVE_STEPS = SMALL | {"diffusion_steps": 5, "noise_schedule": "vp", "sampler": "ddpm"}
CASES = {
    "td3": (EDPTD3, EDPTD3Config(**SMALL, **TARGET_POLICY)),
    "td3 with guidance 0.3": (EDPTD3, EDPTD3Config(**SMALL, **TARGET_POLICY, guidance_weight=0.3)),
    "td3 with max-Q backup": (EDPTD3, EDPTD3Config(**SMALL, **TARGET_POLICY, backup_samples=3)),
    "td3 without approximation": (EDPTD3, EDPTD3Config(**SMALL, **TARGET_POLICY, action_approximation=False)),
    "dql": (
        EDPTD3,
        EDPTD3Config(**FIVE_STEPS, **TARGET_POLICY, action_approximation=False),
    ),
    "crr": (EDPCRR, EDPCRRConfig(**SMALL, **TARGET_POLICY, advantage_samples=3, weight_limit=1.05)),
    "crr, ddpm": (
        EDPCRR,
        EDPCRRConfig(**FIVE_STEPS, **TARGET_POLICY, diffusion_weight=0.7),
    ),
    "iql": (EDPIQL, EDPIQLConfig(**SMALL, weight_limit=1.2)),
    "iql, other weights": (
        EDPIQL,
        EDPIQLConfig(**SMALL, expectile=0.9, guidance_weight=0.1, inverse_temperature=1.0),
    ),
}


def schedule_of(config):
    schedule = {"linear": linear_schedule, "vp": vp_schedule}[config.noise_schedule]
    return schedule(config.diffusion_steps, torch.float64)


def build(method, config, seeds=SEEDS, dimensions=DIMENSIONS):
    """The method in float64, tables and sampler included."""
    schedule = schedule_of(config)
    algorithm = contract.doubled(method(dimensions, config, seeds), schedule=schedule)
    if config.sampler == "ddpm":
        algorithm.sampler = AncestralSampler(schedule, dimensions.action_bound)
    return algorithm


def plains(algorithm, config):
    abar = schedule_of(config).abar[1:]
    bound = algorithm.dimensions.action_bound
    return [
        PlainEDP(PlainNetworks.copied(algorithm, seed), config, abar, bound) for seed in range(len(SEEDS))
    ]


def assert_same_networks(algorithm, plain, seed):
    mine = PlainNetworks.copied(algorithm, seed)
    for name, module in vars(mine).items():
        expected_module = getattr(plain.nets, name)
        assert (module is None) == (expected_module is None)
        for (path, actual), expected in zip(
            module.named_parameters() if module else (),
            expected_module.parameters() if module else (),
            strict=True,
        ):
            difference, scale = (actual - expected).abs().max(), expected.abs().max()
            assert difference <= 1e-8 * scale + 1e-12, f"{name}.{path}: {difference} of {scale}"


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations(case):
    """Losses, order, clipping, targets and intervals of all networks, step by step."""
    method, config = CASES[case]
    dimensions = Dimensions(5, 3, action_bound=0.8)
    algorithm = build(method, config, dimensions=dimensions)
    plain = plains(algorithm, config)
    generator = torch.Generator().manual_seed(0)
    (phase,) = algorithm.phases
    for step in range(12):
        batch = checks.random_batch(len(SEEDS), config.batch_size, 5, 3, generator=generator, bound=0.8)
        draws = contract.draws_of(phase.draws, SEEDS, step)
        program = phase.program(step)
        start = getattr(config, "policy_target_start", 12)
        follows = step + 1 > start and (step + 1) % config.policy_target_interval == 0
        assert program == ("train+target_policy" if follows else "train")
        metrics = algorithm.update(program, batch, draws)
        for seed, one in enumerate(plain):
            losses = one.update(program, checks.of_seed(batch, seed), checks.of_seed(draws, seed))
            assert metrics.keys() == losses.keys()
            for name, value in losses.items():
                torch.testing.assert_close(metrics[name][seed], value.detach(), rtol=1e-8, atol=1e-10)
            assert_same_networks(algorithm, one, seed)


def test_the_target_policy_follows_every_fifth_step_after_a_thousand():
    (phase,) = EDPTD3(DIMENSIONS, EDPTD3Config(hidden_width=4), SEEDS).phases
    following = [step + 1 for step in range(1100) if phase.program(step) == "train+target_policy"]
    assert following == list(range(1005, 1101, 5))
    assert {phase.program(step) for step in range(1100)} == {"train", "train+target_policy"}
    assert (phase.name, phase.iterations, phase.batch_size, phase.evaluated) == (
        "train",
        2_000_000,
        256,
        True,
    )
    (phase,) = EDPIQL(DIMENSIONS, EDPIQLConfig(hidden_width=4), SEEDS).phases
    assert {phase.program(step) for step in range(1100)} == {"train"}


@pytest.mark.parametrize(
    ("case", "moving"),
    [
        ("td3", {"policy", "critics", "target_critics"}),
        ("crr", {"policy", "critics", "target_critics"}),
        ("iql", {"policy", "critics", "target_critics", "value"}),
    ],
)
def test_what_one_iteration_moves(case, moving):
    method, config = CASES[case]
    algorithm = build(method, config)
    before = checks.snapshot(algorithm)
    batch = checks.random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(1))
    algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
    checks.assert_only_changes(algorithm, before, *moving)
    if "target_policy" in algorithm.networks:
        algorithm.update("train+target_policy", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
        checks.assert_only_changes(algorithm, before, *moving, "target_policy")


def test_targets_start_as_copies():
    algorithm = build(*CASES["td3"])
    state = algorithm.networks.state_dict()
    for name, tensor in state.items():
        if name.startswith("target_"):
            assert torch.equal(tensor, state[name.removeprefix("target_")])
    assert not any(p.requires_grad for p in algorithm.networks["target_policy"].parameters())
    assert not any(p.requires_grad for p in algorithm.networks["target_critics"].parameters())


def test_actions_are_clipped_before_anything_sees_them():
    """Beyond 0.999 of the bound, all actions are one."""
    ends = []
    for size in (1.0, 0.9995):
        algorithm = build(*CASES["iql"])
        batch = checks.random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(1))
        batch["actions"] = torch.full_like(batch["actions"], size)
        algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
        ends.append(checks.snapshot(algorithm))
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


@pytest.mark.parametrize("diffusion_steps", [1000, 50])
def test_the_solver_sampler(diffusion_steps):
    """All 15 calls, clipped predictions, several actions per state, the result left unclipped."""
    config = replace(CASES["td3"][1], diffusion_steps=diffusion_steps, solver_calls=15)
    algorithm = build(EDPTD3, config)
    policy = algorithm.networks["policy"]
    for parameter in policy.mlp.layers[-1].parameters():
        parameter.data *= 30  # so that many predictions are clipped
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 1, 12, 3, generator=generator, dtype=torch.float64)
    actions = algorithm.sampler(policy, states, noise)
    abar = schedule_of(config).abar[1:]
    for seed in range(2):
        plain = PlainNetworks.copied(algorithm, seed).policy
        repeated = states[seed].repeat_interleave(3, dim=0)
        expected = PlainSolver(abar, 15).sample(plain, repeated, noise[seed, 0], 1.0)
        torch.testing.assert_close(actions[seed], expected.detach(), rtol=1e-7, atol=1e-9)
    assert actions.abs().max() > 1


def test_the_ancestral_sampler():
    config = replace(CASES["dql"][1], diffusion_steps=7)
    algorithm = build(EDPTD3, config)
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 7, 8, 3, generator=generator, dtype=torch.float64)
    actions = algorithm.sampler(algorithm.networks["policy"], states, noise)
    abar = vp_schedule(7, torch.float64).abar[1:]
    for seed in range(2):
        plain = PlainNetworks.copied(algorithm, seed).policy
        repeated = states[seed].repeat_interleave(2, dim=0)
        expected = ddpm_sample(plain, abar, repeated, noise[seed], 1.0)
        torch.testing.assert_close(actions[seed], expected.detach(), rtol=1e-8, atol=1e-10)


def test_acts_by_the_softmax_of_the_online_critics():
    method, config = CASES["td3"]
    algorithm = build(method, config)
    for parameter in algorithm.networks["critics"].parameters():
        parameter.data *= 1.5
    for name in ("target_critics", "target_policy"):
        for parameter in algorithm.networks[name].parameters():
            parameter.data.fill_(float("nan"))
    generator = torch.Generator().manual_seed(6)
    count = 4000
    state = torch.randn(2, 1, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 1, 1, 4, 3, generator=generator, dtype=torch.float64)
    uniform = torch.rand(2, count, generator=generator, dtype=torch.float64)
    draws = {"candidates": noise.expand(-1, count, -1, -1, -1), "choice": uniform}
    actions = algorithm.act(state.expand(-1, count, -1), draws)
    assert actions.shape == (2, count, 3)
    abar = schedule_of(config).abar[1:]
    for seed in range(2):
        nets = PlainNetworks.copied(algorithm, seed)
        s = state[seed].expand(4, -1)
        candidates = PlainSolver(abar, config.solver_calls).sample(nets.policy, s, noise[seed, 0, 0], 1.0)
        q = torch.minimum(q_values(nets.q1, s, candidates), q_values(nets.q2, s, candidates))
        probabilities = torch.softmax(q, dim=0).detach().numpy()
        distances = (actions[seed, :, None] - candidates.detach()[None]).abs().amax(dim=-1)
        assert distances.amin(dim=1).max() < 1e-8
        counts = np.bincount(distances.argmin(dim=1).numpy(), minlength=4)
        assert stats.chisquare(counts, count * probabilities).pvalue > 1e-3


def test_one_candidate_is_a_plain_sample():
    """No critic is asked: broken ones do not matter."""
    algorithm = build(EDPTD3, replace(CASES["td3"][1], candidates=1))
    for parameter in algorithm.networks["critics"].parameters():
        parameter.data.fill_(float("nan"))
    assert contract.action(algorithm).isfinite().all()


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("td3", {"next_noise": ((1, 8, 3), "normal"), "critic_choice": ((), "uniform")}),
        (
            "td3 without approximation",
            {
                "next_noise": ((1, 8, 3), "normal"),
                "critic_choice": ((), "uniform"),
                "policy_noise": ((1, 8, 3), "normal"),
            },
        ),
        ("td3 with max-Q backup", {"next_noise": ((1, 24, 3), "normal"), "critic_choice": ((), "uniform")}),
        ("crr, ddpm", {"next_noise": ((5, 8, 3), "normal"), "advantage_noise": ((10, 8, 3), "normal")}),
        ("iql", {}),
    ],
)
def test_declares_what_an_iteration_needs(case, expected):
    method, config = CASES[case]
    algorithm = method(DIMENSIONS, config, SEEDS)
    declared = {draw.name: (draw.shape, draw.distribution) for draw in algorithm.phases[0].draws}
    assert declared == {"step": ((8,), "uniform"), "noise": ((8, 3), "normal"), **expected}
