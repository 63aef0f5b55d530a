"""DAC's iterations against a plain per-seed implementation; the multiplier; how it acts."""

from dataclasses import replace

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.dac import DAC, DACConfig
from algorithms.diffusion import vp_schedule
from algorithms.dpm_solver import AncestralSampler
from bench.training import contract
from benchmarks.plain.dac import PlainDAC, PlainNetworks
from benchmarks.plain.modules import q_values
from tests.algorithms import checks

SEEDS, BOUND = (3, 8), 0.8
DIMENSIONS = Dimensions(5, 3, action_bound=BOUND)
CONFIG = DACConfig(
    hidden_width=16,
    batch_size=8,
    ensemble=4,
    samples=3,
    candidates=4,
    train_iterations=14,
    learning_rate=1e-3,
    critic_learning_rate=2e-3,
    discount=0.95,
    target_update_rate=0.05,
    policy_target_start=4,
    policy_target_interval=3,
    gradient_norm=0.5,
    cloning_weight=1.0,
    cloning_weight_rate=0.1,
    cloning_limit=0.7,
    action_margin=0.01,
)
CASES = {
    "bound of the mean": CONFIG,
    "fixed weight, best of the samples": replace(
        CONFIG, cloning_weight=0.1, cloning_weight_rate=0.0, max_q_backup=True, pessimism=1.1
    ),
    "no pessimism": replace(CONFIG, pessimism=0.0, diffusion_steps=7),
    "weight at its limits": replace(CONFIG, cloning_weight_min=0.99, cloning_weight_max=1.01),
    "large norm": replace(CONFIG, gradient_norm=50.0),
}


def in_double(algorithm):
    """The method in float64, schedule and sampler included."""
    schedule = vp_schedule(algorithm.config.diffusion_steps, torch.float64)
    bound = algorithm.dimensions.action_bound
    sampler = AncestralSampler(schedule, bound, variance="beta", first_label=1)
    algorithm = contract.doubled(algorithm, schedule=schedule, sampler=sampler)
    # A start in single precision cannot be undone.
    algorithm.networks["multiplier"].value.data.fill_(algorithm.config.cloning_weight)
    return algorithm


def assert_same_networks(algorithm, plain, seed):
    mine = PlainNetworks.copied(algorithm, seed)
    for name, module in vars(mine).items():
        pairs = zip(module.named_parameters(), getattr(plain.nets, name).parameters(), strict=True)
        for (path, actual), expected in pairs:
            difference, scale = (actual - expected).abs().max(), expected.abs().max()
            assert difference <= 1e-8 * scale + 1e-12, f"{name}.{path}: {difference} of {scale}"


@pytest.mark.parametrize("case", CASES)
def test_fourteen_iterations(case):
    """Losses, order, clipping, rates, targets, intervals and multiplier, step by step."""
    config = CASES[case]
    algorithm = in_double(DAC(DIMENSIONS, config, SEEDS))
    plain = [PlainDAC.of(algorithm, seed) for seed in range(len(SEEDS))]
    generator = torch.Generator().manual_seed(0)
    (phase,) = algorithm.phases
    for step in range(14):
        batch = checks.random_batch(len(SEEDS), 8, 5, 3, generator=generator, bound=BOUND)
        draws = contract.draws_of(phase.draws, SEEDS, step)
        program = phase.program(step)
        assert program == ("train+target_policy" if step in (6, 9, 12) else "train")
        metrics = algorithm.update(program, batch, draws)
        for seed, one in enumerate(plain):
            losses = one.update(program, checks.of_seed(batch, seed), checks.of_seed(draws, seed))
            assert metrics.keys() == losses.keys()
            for name, value in losses.items():
                torch.testing.assert_close(metrics[name][seed], value.detach(), rtol=1e-8, atol=1e-10)
            assert_same_networks(algorithm, one, seed)


def test_the_target_policy_follows_every_fifth_iteration_after_the_1001st():
    """The released counter is 0 in the first iteration and must be above 1000 and a multiple of 5."""
    (phase,) = DAC(DIMENSIONS, DACConfig(hidden_width=4), SEEDS).phases
    following = [step for step in range(1100) if phase.program(step) == "train+target_policy"]
    assert following == list(range(1005, 1100, 5))
    assert (phase.name, phase.iterations, phase.batch_size, phase.evaluated, phase.sampling) == (
        "train",
        2_000_000,
        256,
        True,
        "shuffled",
    )


def updated(config, limit, iterations=3):
    """The multipliers after some iterations with the limit so far from the loss that it is clipped."""
    algorithm = in_double(DAC(DIMENSIONS, replace(config, cloning_limit=limit), SEEDS))
    (phase,) = algorithm.phases
    batch = checks.random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(1), bound=BOUND)
    for step in range(iterations):
        algorithm.update("train", batch, contract.draws_of(phase.draws, SEEDS, step))
    return algorithm.networks["multiplier"].value.tolist()


def test_the_multiplier_grows_above_the_limit_by_one_at_most():
    """Losses lie near 1: a limit of 0.0 exceeds it by about that, one of 50 falls short by more than 1."""
    assert updated(CONFIG, 50.0) == pytest.approx([0.7, 0.7], rel=1e-12)
    assert all(1.0 < value <= 1.3 + 1e-12 for value in updated(CONFIG, 0.0))
    assert updated(replace(CONFIG, cloning_weight_min=0.85), 50.0) == pytest.approx([0.85, 0.85], rel=1e-12)
    assert updated(replace(CONFIG, cloning_weight_rate=0.0), 50.0) == [1.0, 1.0]


def test_what_one_iteration_moves():
    algorithm = in_double(DAC(DIMENSIONS, CONFIG, SEEDS))
    (phase,) = algorithm.phases
    batch = checks.random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(1))
    moving = ("policy", "critics", "target_critics", "multiplier")
    for program, more in (("train", ()), ("train+target_policy", ("target_policy",))):
        before = checks.snapshot(algorithm)
        algorithm.update(program, batch, contract.draws_of(phase.draws, SEEDS))
        checks.assert_only_changes(algorithm, before, *moving, *more)


def test_targets_start_as_copies():
    state = DAC(DIMENSIONS, CONFIG, SEEDS).networks.state_dict()
    targets = {name for name in state if name.startswith("target_")}
    assert {name.split(".")[0] for name in targets} == {"target_policy", "target_critics"}
    assert all(torch.equal(state[name], state[name.removeprefix("target_")]) for name in targets)


def test_actions_are_kept_within_the_bound_before_anything_sees_them():
    """Beyond the margin, all actions are one."""
    ends = []
    for size in (BOUND, BOUND - 0.005):
        algorithm = in_double(DAC(DIMENSIONS, CONFIG, SEEDS))
        batch = checks.random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(1))
        batch["actions"] = torch.full_like(batch["actions"], size)
        algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
        ends.append(checks.snapshot(algorithm))
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_acts_by_the_best_mean_of_the_target_critics():
    algorithm = in_double(DAC(DIMENSIONS, CONFIG, SEEDS))
    for name in ("critics", "target_policy"):
        for parameter in algorithm.networks[name].parameters():
            parameter.data.fill_(float("nan"))
    states, noise = checks.normal(2, 6, 5), checks.normal(2, 6, 5, 4, 3, seed=1)
    actions = algorithm.act(states, {"candidates": noise})
    chosen = set()
    for seed in range(2):
        plain = PlainDAC.of(algorithm, seed)
        for row in range(6):
            s = states[seed, row].expand(4, -1)
            candidates = plain.sampled(plain.nets.policy, s, noise[seed, row]).detach()
            q = torch.stack([q_values(net, s, candidates) for net in plain.nets.target_critics]).mean(dim=0)
            best = max(range(4), key=q.tolist().__getitem__)
            chosen.add(best)
            torch.testing.assert_close(actions[seed, row], candidates[best], rtol=1e-8, atol=1e-10)
    assert len(chosen) > 1


def test_acts_by_its_own_sampler():
    """As it is built, in single precision, where the sampler has not been made anew."""
    algorithm = DAC(DIMENSIONS, replace(CONFIG, candidates=1), SEEDS)
    states, noise = checks.normal(2, 6, 5).float(), checks.normal(2, 6, 5, 1, 3, seed=1).float()
    actions = algorithm.act(states, {"candidates": noise})
    for seed in range(2):
        plain = PlainDAC.of(algorithm, seed)
        expected = plain.sampled(plain.nets.policy, states[seed], noise[seed, :, :, 0].transpose(0, 1))
        torch.testing.assert_close(actions[seed], expected.detach(), rtol=1e-4, atol=1e-5)


def test_declares_what_an_iteration_needs():
    (phase,) = DAC(DIMENSIONS, replace(CONFIG, samples=10), SEEDS).phases
    assert {draw.name: (draw.shape, draw.distribution) for draw in phase.draws} == {
        "next_chain": ((5, 80, 3), "normal"),
        "step": ((8,), "uniform"),
        "noise": ((8, 3), "normal"),
    }
