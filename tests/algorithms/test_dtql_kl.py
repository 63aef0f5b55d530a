"""The KL-regularised DTQL against a plain per-seed implementation, and under the checks of every method."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.base import Dimensions
from algorithms.dtql_kl import DTQLKL, DTQLKLConfig, kl_loss
from bench.training import contract
from bench.training.contract import doubled, draws_of
from benchmarks.plain.dtql import PlainDTQLKL, PlainKLNetworks, generate
from benchmarks.plain.modules import q_values
from tests.algorithms import checks
from tests.algorithms.checks import of_seed, random_batch, snapshot

DIMENSIONS, SEEDS = Dimensions(4, 2), (3, 8)
CONFIG = DTQLKLConfig(
    hidden_width=12,
    diffusion_width=10,
    batch_size=6,
    candidates=8,
    pretrain_iterations=10,
    train_iterations=20,
    discount=0.95,
    trust_region_weight=2.5,
    action_value_weight=0.7,
    learning_rate=1e-3,
    critic_learning_rate=2e-3,
    target_update_rate=0.05,
)
VARIANTS = {
    "released": {},
    "paper": {"truncate_noise": False, "critic_layer_norm": False, "embedding_activation": True},
    "2D": {"clip_denoised": False, "pretrain_iterations": 0},
}


def make(seeds, config=CONFIG, dimensions=DIMENSIONS):
    return doubled(DTQLKL(dimensions, config, seeds))


def assert_same_networks(algorithm, plain, seed):
    mine = PlainKLNetworks.copied(algorithm, seed)
    for name, module in vars(mine).items():
        expected = getattr(plain.nets, name).parameters()
        for (path, actual), other in zip(module.named_parameters(), expected, strict=True):
            difference, scale = (actual - other).abs().max(), other.abs().max()
            assert difference <= 1e-9 * scale, f"{name}.{path}: {difference} of {scale}"


@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_whole_training(variant, decay):
    """Every iteration of both phases, the hand-over between them included."""
    config = replace(CONFIG, learning_rate_decay=decay, **VARIANTS[variant])
    algorithm = make(SEEDS, config)
    plains = [PlainDTQLKL.of(algorithm, slot) for slot in (0, 1)]
    generator = torch.Generator().manual_seed(0)
    for index, phase in enumerate(algorithm.phases):
        if index:
            algorithm.begin_phase(phase.name)
            for plain in plains:
                plain.hand_over()
        for step in range(phase.iterations):
            batch = random_batch(2, config.batch_size, 4, 2, generator=generator)
            draws = draws_of(phase.draws, SEEDS, step)
            metrics = algorithm.update(phase.program(step), batch, draws)
            for slot, plain in enumerate(plains):
                losses = plain.update(phase.name, of_seed(batch, slot), of_seed(draws, slot))
                assert metrics.keys() == losses.keys()
                for name, value in losses.items():
                    torch.testing.assert_close(metrics[name][slot], value.detach(), rtol=1e-8, atol=1e-11)
        for slot, plain in enumerate(plains):
            assert_same_networks(algorithm, plain, slot)


def test_kl_loss_has_the_gradient_of_distribution_matching():
    """dL/da = (fake - real) / mean_d |a - real| / (B A), and no other gradient."""
    generator = torch.Generator().manual_seed(1)
    actions, real, fake = (
        torch.randn(2, 5, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)
    )
    losses = kl_loss(actions, real, fake)
    assert losses.shape == (2,)
    gradient, *others = torch.autograd.grad(losses.sum(), (actions, real, fake), allow_unused=True)
    assert others == [None, None]
    for seed in range(2):
        for row in range(5):
            a, r, k = (tensor[seed, row].detach() for tensor in (actions, real, fake))
            expected = (k - r) / ((a - r).abs().sum() / 3)
            torch.testing.assert_close(gradient[seed, row], expected / 15, rtol=1e-10, atol=1e-14)


def test_both_models_see_the_same_noised_action():
    algorithm, seen = make(SEEDS), {}
    phase = algorithm.phases[1]
    hooks = [
        algorithm.networks[name].register_forward_hook(
            lambda module, inputs, output, name=name: seen.setdefault(name, []).append(inputs)
        )
        for name in ("diffusion", "fake_score")
    ]
    generator = torch.Generator().manual_seed(0)
    algorithm.update("train", random_batch(2, 6, 4, 2, generator=generator), draws_of(phase.draws, SEEDS))
    for hook in hooks:
        hook.remove()
    for mine, other in zip(seen["diffusion"][1], seen["fake_score"][0], strict=True):
        assert torch.equal(mine, other)
    # The loss that trains K has its own noise.
    assert not torch.equal(seen["fake_score"][0][2], seen["fake_score"][1][2])


def test_pretraining_steps_critics_and_diffusion_alone():
    algorithm = make(SEEDS)
    before, phase = snapshot(algorithm), algorithm.phases[0]
    generator = torch.Generator().manual_seed(0)
    batch = random_batch(2, 6, 4, 2, generator=generator)
    algorithm.update("pretrain", batch, draws_of(phase.draws, SEEDS))
    checks.assert_only_changes(algorithm, before, "critics", "value", "diffusion")


def test_policy_steps_leave_critics_and_diffusion_model():
    with_policy, without = make(SEEDS), make(SEEDS)
    generator = torch.Generator().manual_seed(0)
    batch, draws = random_batch(2, 6, 4, 2, generator=generator), draws_of(with_policy.phases[1].draws, SEEDS)
    with_policy.update("train", batch, draws)
    without.update("pretrain", batch, draws)
    one, other = with_policy.state_dict(), without.state_dict()
    names = ("network.critics", "network.value", "network.diffusion", "optimiser.critic", "optimiser.diffus")
    kept = [name for name in one if name.startswith(names)]
    assert kept
    for name in kept:
        assert torch.equal(one[name], other[name]), name


def test_hand_over_copies_the_diffusion_model():
    algorithm = make(SEEDS)
    networks = algorithm.networks
    diffusion = networks["diffusion"].state_dict()
    addresses = {name: p.data_ptr() for name, p in networks.named_parameters()}
    for name in ("actor", "fake_score"):
        assert not torch.equal(networks[name].mlp.layers[0].weight, diffusion["mlp.layers.0.weight"])
    algorithm.begin_phase("train")
    for name in ("actor", "fake_score"):
        for path, tensor in networks[name].state_dict().items():
            assert torch.equal(tensor, diffusion[path])
            assert tensor.data_ptr() != diffusion[path].data_ptr()
        assert algorithm.optimisers[name].steps == 0
    # In place, as captured graphs need.
    assert addresses == {name: p.data_ptr() for name, p in networks.named_parameters()}


def test_without_pretraining_there_is_one_phase_and_no_hand_over():
    algorithm = make(SEEDS, replace(CONFIG, pretrain_iterations=0))
    assert [phase.name for phase in algorithm.phases] == ["train"]
    first = [algorithm.networks[name].mlp.layers[0].weight for name in ("diffusion", "actor", "fake_score")]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    assert not torch.equal(first[1], first[2])


def test_acts_by_the_best_of_its_actions_when_cold():
    algorithm = make(SEEDS, replace(CONFIG, selection_temperature=1e-6))
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in algorithm.networks["target_critics"].parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    states = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 5, 8, 2, generator=generator, dtype=torch.float64)
    draws = {"candidates": noise, "choice": torch.full((2, 5), 0.5, dtype=torch.float64)}
    actions = algorithm.act(states, draws)
    for slot in range(2):
        nets = PlainKLNetworks.copied(algorithm, slot)
        for row in range(5):
            s = states[slot, row].expand(8, -1)
            candidates = generate(nets.g, noise[slot, row], s)
            values = torch.minimum(
                q_values(nets.target_q1, s, candidates), q_values(nets.target_q2, s, candidates)
            )
            expected = candidates[values.argmax()]
            torch.testing.assert_close(actions[slot, row], expected, rtol=1e-10, atol=1e-12)


def test_one_candidate_is_a_plain_sample():
    algorithm = make(SEEDS, replace(CONFIG, candidates=1))
    states = torch.randn(2, 5, 4, dtype=torch.float64)
    noise = torch.randn(2, 5, 1, 2, dtype=torch.float64)
    actions = algorithm.act(states, {"candidates": noise, "choice": torch.zeros(2, 5, dtype=torch.float64)})
    for slot in range(2):
        expected = generate(PlainKLNetworks.copied(algorithm, slot).g, noise[slot, :, 0], states[slot])
        torch.testing.assert_close(actions[slot], expected, rtol=1e-10, atol=1e-12)


DATA = contract.transitions()


@pytest.mark.parametrize(
    "check",
    [
        contract.assert_seeds_independent,
        contract.assert_deterministic,
        contract.assert_state_is_whole,
        contract.assert_never_waits,
    ],
)
def test_as_every_method(check):
    config = replace(CONFIG, learning_rate_decay=True, pretrain_iterations=20)
    check(lambda seeds: make(seeds, config), DATA)


@pytest.mark.parametrize("network", ["critics", "diffusion", "actor", "fake_score"])
def test_poison_stays(network):
    # After the hand-over: before it, actor and fake score would be overwritten by good weights.
    contract.assert_poison_stays(make, DATA, network, after=CONFIG.pretrain_iterations + 2)


def test_seed_view():
    contract.assert_seed_view_acts_alike(make(SEEDS))


@settings(max_examples=8, deadline=None)
@given(
    observation=st.integers(1, 4),
    action=st.integers(1, 3),
    batch=st.integers(1, 5),
    candidates=st.integers(1, 4),
    pretrained=st.booleans(),
)
def test_any_sizes(observation, action, batch, candidates, pretrained):
    config = replace(
        CONFIG,
        batch_size=batch,
        candidates=candidates,
        pretrain_iterations=2 * pretrained,
        train_iterations=2,
        hidden_width=3,
        diffusion_width=3,
    )
    data = contract.transitions(observation, action, rows=20)

    def any_size(seeds):
        return make(seeds, config, Dimensions(observation, action))

    contract.assert_never_waits(any_size, data)
    contract.assert_seeds_independent(any_size, data)
    contract.assert_deterministic(any_size, data)
