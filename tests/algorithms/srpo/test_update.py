"""SRPO's iterations against a plain per-seed implementation with torch's optimisers; phases; how it acts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from algorithms.base import Dimensions, checked
from algorithms.srpo import SRPO, SRPOConfig
from bench.training import contract
from bench.training.trainer import Trainer
from benchmarks.plain.modules import q_values
from benchmarks.plain.srpo import PlainNetworks, PlainSRPO
from tests.algorithms import checks

DIMENSIONS, SEEDS = Dimensions(4, 2), (3, 8)
CONFIG = SRPOConfig(
    critic_iterations=20,
    behaviour_iterations=20,
    policy_iterations=20,
    hidden_width=12,
    behaviour_width=10,
    behaviour_blocks=2,
    time_features=6,
    batch_size=6,
    behaviour_batch_size=9,
    discount=0.95,
    dropout=0.2,
    beta=0.6,
    target_update_rate=0.05,
    critic_learning_rate=2e-3,
    behaviour_learning_rate=1e-3,
    behaviour_weight_decay=0.3,
    policy_learning_rate=3e-3,
)
VARIANTS = {
    "locomotion": {},
    "antmaze": {"gradient_normalisation": "rms", "policy_hidden_layers": 4, "expectile": 0.9},
    "paper": {"gradient_normalisation": "norm", "noise_baseline": True},
    "others": {"score_weighting": "alpha_over_sigma", "dropout": 0.0},
}
DATA = contract.transitions()


def make(seeds=SEEDS, config=CONFIG, bound=1.0):
    return contract.doubled(SRPO(replace(DIMENSIONS, action_bound=bound), config, seeds))


def one_iteration(algorithm, program, step):
    """A batch of the phase's size and its draws."""
    phase = {phase.name: phase for phase in algorithm.phases}[program]
    generator = torch.Generator().manual_seed(step)
    batch = checks.random_batch(len(SEEDS), phase.batch_size, 4, 2, generator=generator)
    return batch, contract.draws_of(phase.draws, algorithm.seeds, step)


@pytest.mark.parametrize("bound", [1.0, 4.5])
@pytest.mark.parametrize("variant", VARIANTS)
def test_twenty_iterations_of_every_phase(variant, bound):
    config = replace(CONFIG, **VARIANTS[variant])
    algorithm = make(config=config, bound=bound)
    plains = [PlainSRPO.of(algorithm, slot) for slot in range(len(SEEDS))]
    for program in ("critic", "behaviour", "policy"):
        algorithm.begin_phase(program)
        for step in range(20):
            batch, draws = one_iteration(algorithm, program, step)
            metrics = algorithm.update(program, batch, draws)
            for seed, plain in enumerate(plains):
                expected = plain.update(program, checks.of_seed(batch, seed), checks.of_seed(draws, seed))
                assert metrics.keys() == expected.keys()
                for name, value in expected.items():
                    torch.testing.assert_close(metrics[name][seed], value.detach(), rtol=1e-8, atol=1e-10)
        for seed, plain in enumerate(plains):
            assert_same_networks(algorithm, plain, seed)


def assert_same_networks(algorithm, plain, seed):
    """Every parameter of every network of one seed, targets included."""
    for name, module in vars(PlainNetworks.copied(algorithm, seed)).items():
        expected = dict(getattr(plain.nets, name).named_parameters())
        for path, actual in module.named_parameters():
            difference, scale = (actual - expected[path]).abs().max(), expected[path].abs().max()
            assert difference <= 1e-8 * scale, f"{name}.{path}: {difference} of {scale}"


def test_phases():
    shapes = [
        (p.name, p.iterations, p.batch_size, p.evaluated, p.sampling)
        for p in SRPO(DIMENSIONS, SRPOConfig(), (0,)).phases
    ]
    assert shapes == [
        ("critic", 1_500_000, 256, False, "shuffled"),
        ("behaviour", 2_000_000, 2048, False, "shuffled"),
        ("policy", 1_000_000, 256, True, "shuffled"),
    ]
    draws = {p.name: {d.name: (d.shape, d.distribution) for d in p.draws} for p in make().phases}
    assert draws == {
        "critic": {},
        "behaviour": {
            "behaviour_time": ((9,), "uniform"),
            "behaviour_noise": ((9, 2), "normal"),
            "dropout": ((2, 9, 10), "uniform"),
        },
        "policy": {"policy_time": ((6,), "uniform"), "policy_noise": ((6, 2), "normal")},
    }
    assert {program for _, program, _ in contract.programs(make())} == {"critic", "behaviour", "policy"}


def test_each_phase_trains_its_own_networks():
    """And the next takes over exactly what the one before left."""
    trainer = Trainer(make(), DATA, runner="eager")
    trained = {
        "critic": {"critics", "target_critics", "value"},
        "behaviour": {"behaviour"},
        "policy": {"policy"},
    }
    while trainer.phase is not None:
        name, before = trainer.phase.name, checks.snapshot(trainer.algorithm)
        trainer.advance(trainer.iterations_left_in_phase)
        for path, tensor in trainer.algorithm.networks.state_dict().items():
            moves = path.split(".")[0] in trained[name] and "frequencies" not in path
            assert torch.equal(tensor, before[path]) != moves, path


def test_value_target_is_taken_before_the_value_steps():
    """One iteration in which V moves far: Q must have been fitted to the old V."""
    config = replace(CONFIG, critic_learning_rate=1.0)
    algorithm = make(config=config)
    batch, draws = one_iteration(algorithm, "critic", 0)
    expected = []
    for seed in range(len(SEEDS)):
        nets, one = PlainNetworks.copied(algorithm, seed), checks.of_seed(batch, seed)
        y = one["rewards"] + 0.95 * (1 - one["terminals"]) * nets.v(one["next_observations"])[:, 0]
        q = [q_values(net, one["observations"], one["actions"]) for net in (nets.q1, nets.q2)]
        expected.append(sum(((value - y) ** 2).mean() for value in q) / 2)
    metrics = algorithm.update("critic", batch, draws)
    torch.testing.assert_close(metrics["critic_loss"], torch.stack(expected).detach(), rtol=1e-10, atol=0)


def test_learning_rates():
    """Half a cosine on the policy, from the first of its iterations to zero; the others stay."""
    trainer = Trainer(make(), DATA, runner="eager")
    optimisers = trainer.algorithm.optimisers
    seen = []
    while trainer.phase is not None:
        if trainer.phase.name == "policy" and trainer.position.step in (0, 5, 10):
            seen.append(optimisers["policy"].current_learning_rate().item())
        trainer.advance(5)
    seen.append(optimisers["policy"].current_learning_rate().item())
    factors = [0.5 * (1 + np.cos(np.pi * part)) for part in (0, 0.25, 0.5, 1)]
    assert seen == pytest.approx([3e-3 * factor for factor in factors], abs=1e-18)
    assert optimisers["critic"].current_learning_rate().item() == 2e-3
    assert optimisers["behaviour"].current_learning_rate().item() == 1e-3


def test_fourier_features_are_frozen_saved_and_per_seed():
    algorithm = SRPO(DIMENSIONS, SRPOConfig(), tuple(range(40)))
    frequencies = algorithm.networks["behaviour"].fourier.frequencies
    assert frequencies.shape == (40, 1, 32)
    assert stats.kstest(frequencies.flatten() / 30, stats.norm.cdf).pvalue > 1e-3
    name = "behaviour.fourier.frequencies"
    assert name not in dict(algorithm.networks.named_parameters())
    assert torch.equal(algorithm.policy_state(7)[name], frequencies[7])
    other = SRPO(DIMENSIONS, SRPOConfig(), (90,))
    other.load_policy_state(0, algorithm.policy_state(7))
    assert torch.equal(other.networks["behaviour"].fourier.frequencies[0], frequencies[7])
    assert f"network.{name}" in algorithm.state_dict()


def test_networks_have_the_released_sizes():
    networks = SRPO(Dimensions(11, 3), SRPOConfig(policy_hidden_layers=4), (0,)).networks
    shapes = {name: tuple(p.shape[1:]) for name, p in networks.named_parameters() if name.endswith("weight")}
    assert [shapes[f"policy.layers.{i}.weight"] for i in range(5)] == [
        (11, 256),
        (256, 256),
        (256, 256),
        (256, 256),
        (256, 3),
    ]
    assert [shapes[f"critics.mlp.layers.{i}.weight"] for i in range(3)] == [
        (2, 14, 256),
        (2, 256, 256),
        (2, 256, 1),
    ]
    assert [shapes[f"value.layers.{i}.weight"] for i in range(3)] == [(11, 256), (256, 256), (256, 1)]
    behaviour = {name: shape for name, shape in shapes.items() if name.startswith("behaviour")}
    block = {"norm": (1, 256), "mlp.layers.0": (256, 1024), "mlp.layers.1": (1024, 256)}
    assert behaviour == {
        "behaviour.embed.layers.0.weight": (64, 128),
        "behaviour.embed.layers.1.weight": (128, 128),
        "behaviour.first.weight": (3 + 11 + 128, 256),
        "behaviour.last.weight": (256, 3),
        **{f"behaviour.blocks.{i}.{at}.weight": shape for i in range(3) for at, shape in block.items()},
    }


@pytest.mark.parametrize("bound", [1.0, 4.5])
def test_acts_by_the_policy_alone(bound):
    algorithm = make(bound=bound)
    observations = torch.randn(2, 7, 4, dtype=torch.float64)
    actions = algorithm.act(observations, {})
    for seed in range(2):
        expected = bound * torch.tanh(PlainNetworks.copied(algorithm, seed).pi(observations[seed]))
        torch.testing.assert_close(actions[seed], expected.detach(), rtol=1e-12, atol=1e-14)
    assert algorithm.act_draws == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta": 0.0}, "beta is 0.0"),
        ({"beta": -0.1}, "beta is -0.1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"behaviour_batch_size": 0}, "behaviour_batch_size is 0"),
        ({"expectile": 1.0}, "expectile is 1.0"),
        ({"score_weighting": "VDS"}, "score_weighting is 'VDS'; it must be sigma_squared or one or"),
        ({"gradient_normalisation": True}, "gradient_normalisation is True"),
    ],
)
def test_impossible_values_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        checked(SRPOConfig, values)


# What every method must satisfy.


def antmaze(seeds):
    return make(seeds, replace(CONFIG, gradient_normalisation="rms"))


def test_seeds_are_independent():
    contract.assert_seeds_independent(antmaze, DATA)


@pytest.mark.parametrize(("network", "after"), [("critics", 2), ("behaviour", 22), ("policy", 42)])
def test_poison_stays(network, after):
    contract.assert_poison_stays(antmaze, DATA, network, after)


def test_a_retired_seed_stays_at_zero():
    """Where 0 / 0 lurks: its critics have no gradient to normalise."""
    trainer = Trainer(antmaze(SEEDS), DATA, runner="eager")
    trainer.advance(20)
    trainer.algorithm.retire(0)
    while trainer.phase is not None:
        trainer.advance(trainer.iterations_left_in_phase)
    for name, tensor in trainer.algorithm.networks.state_dict().items():
        assert (tensor[0] == 0).all(), name
        assert tensor[1].isfinite().all()


def test_deterministic():
    contract.assert_deterministic(make, DATA)


def test_state_is_whole():
    contract.assert_state_is_whole(make, DATA)


def test_never_waits():
    contract.assert_never_waits(antmaze, DATA)


def test_seed_view():
    contract.assert_seed_view_acts_alike(make((3, 5)))
