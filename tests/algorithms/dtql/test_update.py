"""DTQL's iterations against a plain per-seed implementation with torch's optimisers; and how it acts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from algorithms.base import Dimensions
from algorithms.dtql import DTQL, DTQLConfig
from bench.training.contract import NoReading, doubled
from benchmarks.plain.dtql import PlainDTQL, PlainNetworks
from benchmarks.plain.modules import q_values
from tests.algorithms.checks import of_seed, random_batch

DIMENSIONS, SEEDS = Dimensions(5, 3), (3, 8)
CONFIG = DTQLConfig(
    hidden_width=16,
    diffusion_width=16,
    batch_size=8,
    candidates=8,
    pretrain_iterations=10,
    train_iterations=10,
    discount=0.95,
    trust_region_weight=2.5,
    learning_rate=1e-3,
    critic_learning_rate=2e-3,
    target_update_rate=0.05,
)
VARIANTS = {
    "released": {},
    "paper": {"truncate_noise": False, "critic_layer_norm": False, "embedding_activation": True},
    "unclipped": {"clip_denoised": False},
}


def draws_for(config, generator):
    """What one iteration of training needs, drawn here."""
    shape = (len(SEEDS), config.batch_size)

    def normal():
        return torch.randn(*shape, DIMENSIONS.action, generator=generator, dtype=torch.float64)

    def uniform():
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    return {
        "behaviour_level": uniform(),
        "behaviour_noise": normal(),
        "action_noise": normal(),
        "actor_level": uniform(),
        "actor_noise": normal(),
    }


def states(algorithm):
    return {name: tensor.clone() for name, tensor in algorithm.networks.state_dict().items()}


def assert_same_networks(algorithm, plain, seed):
    """Every parameter of every network of one seed, targets included."""
    mine = PlainNetworks.copied(algorithm, seed)
    for name, module in vars(mine).items():
        for (path, actual), expected in zip(
            module.named_parameters(), getattr(plain.nets, name).parameters(), strict=True
        ):
            difference, scale = (actual - expected).abs().max(), expected.abs().max()
            assert difference <= 1e-9 * scale, f"{name}.{path}: {difference} of {scale}"


@pytest.mark.parametrize("likelihood_weight", [0.0, 1.0])
@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_twenty_iterations(variant, decay, likelihood_weight):
    """Order critic, diffusion, actor; online bootstrap; polyak and cosine in training alone."""
    config = replace(
        CONFIG, learning_rate_decay=decay, likelihood_weight=likelihood_weight, **VARIANTS[variant]
    )
    algorithm = doubled(DTQL(DIMENSIONS, config, SEEDS))
    plains = [PlainDTQL.of(algorithm, seed) for seed in range(len(SEEDS))]
    generator = torch.Generator().manual_seed(0)
    for step in range(20):
        program = "pretrain" if step < 10 else "train"
        batch = random_batch(len(SEEDS), config.batch_size, 5, 3, generator=generator)
        draws = draws_for(config, generator)
        metrics = algorithm.update(program, batch, draws)
        for seed, plain in enumerate(plains):
            losses = plain.update(program, of_seed(batch, seed), of_seed(draws, seed))
            assert metrics.keys() == losses.keys()
            for name, value in losses.items():
                torch.testing.assert_close(metrics[name][seed], value.detach(), rtol=1e-9, atol=1e-11)
        if step in (0, 9, 10, 19):
            for seed, plain in enumerate(plains):
                assert_same_networks(algorithm, plain, seed)


def test_programs_follow_the_phases():
    config = replace(CONFIG, pretrain_iterations=3, train_iterations=4)
    phases = DTQL(DIMENSIONS, config, SEEDS).phases
    assert [(p.name, p.iterations, p.batch_size, p.evaluated) for p in phases] == [
        ("pretrain", 3, 8, False),
        ("train", 4, 8, True),
    ]
    assert {phase.program(step) for phase in phases for step in range(phase.iterations)} == {
        "pretrain",
        "train",
    }
    generator = torch.Generator().manual_seed(0)
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in draws_for(config, generator).items()}
    assert {draw.name: draw.shape for draw in phases[1].draws} == shapes
    # A level of its own for every loss: the actor's is not the behaviour model's.
    assert {draw.name: draw.distribution for draw in phases[1].draws} == {
        "behaviour_level": "uniform",
        "behaviour_noise": "normal",
        "action_noise": "normal",
        "actor_level": "uniform",
        "actor_noise": "normal",
    }
    assert {draw.name for draw in phases[0].draws} == {"behaviour_level", "behaviour_noise"}


@pytest.fixture
def one_iteration():
    """A batch and draws, the same each time."""
    generator = torch.Generator().manual_seed(4)
    return random_batch(len(SEEDS), 8, 5, 3, generator=generator), draws_for(CONFIG, generator)


def test_actor_step_leaves_critics_and_diffusion_model(one_iteration):
    """With and without the actor's step, the critics and the diffusion model end at the same bits."""
    with_actor, without = (doubled(DTQL(DIMENSIONS, CONFIG, SEEDS)) for _ in range(2))
    with_actor.update("train", *one_iteration)
    without.update("pretrain", *one_iteration)
    one, other = with_actor.state_dict(), without.state_dict()
    for name, tensor in one.items():
        if any(
            part in name for part in ("network.critics", "network.value", "diffusion", "optimiser.critic")
        ):
            assert torch.equal(tensor, other[name]), name
    assert not torch.equal(
        one["network.actor.mlp.layers.0.weight"], other["network.actor.mlp.layers.0.weight"]
    )


def test_pretraining_leaves_actor_and_targets(one_iteration):
    algorithm = DTQL(DIMENSIONS, CONFIG, SEEDS)
    before = states(algorithm)
    batch, draws = one_iteration
    algorithm.update(
        "pretrain",
        {k: v.float() for k, v in batch.items()},
        {k: v if "level" in k else v.float() for k, v in draws.items()},
    )
    for name, tensor in states(algorithm).items():
        assert torch.equal(tensor, before[name]) == name.startswith(("actor", "target_critics")), name


def test_pretraining_needs_no_draws_of_the_actor(one_iteration):
    batch, draws = one_iteration
    algorithm = doubled(DTQL(DIMENSIONS, CONFIG, SEEDS))
    behaviour = {name: draw for name, draw in draws.items() if name.startswith("behaviour")}
    metrics = algorithm.update("pretrain", batch, behaviour)
    assert all(values.shape == (len(SEEDS),) for values in metrics.values())


def test_action_beyond_the_margin_matters_only_to_the_likelihood(one_iteration):
    """0 * NaN must not spoil the loss of tasks that do not use the likelihood."""
    batch, draws = one_iteration
    batch = {**batch, "actions": batch["actions"] * 1.5}
    for weight, finite in ((0.0, True), (1.0, False)):
        algorithm = doubled(DTQL(DIMENSIONS, replace(CONFIG, likelihood_weight=weight), SEEDS))
        assert algorithm.update("train", batch, draws)["actor_loss"].isfinite().all() == finite


@pytest.mark.parametrize("program", ["pretrain", "train"])
def test_update_never_waits_for_the_device(one_iteration, program):
    config = replace(CONFIG, learning_rate_decay=True, likelihood_weight=1.0)
    algorithm = doubled(DTQL(DIMENSIONS, config, SEEDS))
    with NoReading():
        algorithm.update(program, *one_iteration)
        with pytest.raises(AssertionError, match="host synchronisation"):  # the watch works
            torch.ones(()).item()


def acting(count, temperature=1.0, seeds=SEEDS):
    """A method whose critics, targets and actor differ; the same candidates for `count` equal states."""
    algorithm = DTQL(DIMENSIONS, replace(CONFIG, selection_temperature=temperature), seeds)
    doubled(algorithm)
    generator = torch.Generator().manual_seed(6)
    target = algorithm.networks["target_critics"].mlp
    for parameter in target.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data += 0.3 * noise
    state = torch.randn(len(seeds), 1, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(seeds), 1, 8, 3, generator=generator, dtype=torch.float64)
    choice = torch.rand(len(seeds), count, generator=generator, dtype=torch.float64)
    draws = {"candidates": noise.expand(-1, count, -1, -1), "choice": choice}
    return algorithm, state.expand(-1, count, -1), draws


def candidates_and_values(algorithm, observations, draws, seed):
    """Candidates (C, A) and min target values (C,) of the one state, from plain networks."""
    nets = PlainNetworks.copied(algorithm, seed)
    s = observations[seed, :1].expand(8, -1)
    mu, log_std = nets.actor(s).split(3, dim=1)
    noise = draws["candidates"][seed, 0]
    candidates = torch.tanh(mu + log_std.clamp(-5, 2).exp() * noise)
    values = torch.minimum(q_values(nets.target_q1, s, candidates), q_values(nets.target_q2, s, candidates))
    return candidates.detach().numpy(), values.detach().numpy()


def chosen_index(actions, candidates):
    """Which candidate each action is."""
    distances = np.abs(actions[:, None] - candidates[None]).max(-1)
    assert (distances.min(1) < 1e-12).all()
    return distances.argmin(1)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_acts_by_softmax_of_the_target_critics(temperature):
    algorithm, observations, draws = acting(5000, temperature)
    actions = algorithm.act(observations, draws)
    assert actions.shape == (2, 5000, 3)
    for seed in range(2):
        candidates, values = candidates_and_values(algorithm, observations, draws, seed)
        weights = np.exp((values - values.max()) / temperature)
        probabilities = weights / weights.sum()
        index = chosen_index(actions[seed].numpy(), candidates)
        counts = np.bincount(index, minlength=8)
        assert stats.chisquare(counts, 5000 * probabilities).pvalue > 1e-3
        # Exactly: the first candidate whose cumulative probability exceeds the uniform.
        uniforms, cumulative = draws["choice"][seed].numpy(), probabilities.cumsum()
        clear = np.abs(uniforms[:, None] - cumulative).min(1) > 1e-9
        expected = (uniforms[:, None] >= cumulative).sum(1)
        assert (index[clear] == expected[clear]).all()


def test_acts_by_the_best_candidate_when_cold():
    algorithm, observations, draws = acting(50, temperature=1e-6)
    actions = algorithm.act(observations, draws).numpy()
    for seed in range(2):
        candidates, values = candidates_and_values(algorithm, observations, draws, seed)
        assert np.abs(actions[seed] - candidates[values.argmax()]).max() < 1e-12


def test_acts_by_targets_and_not_by_online_critics():
    algorithm, observations, draws = acting(100)
    before = algorithm.act(observations, draws)
    for parameter in algorithm.networks["critics"].parameters():
        parameter.data.fill_(float("nan"))
    assert torch.equal(algorithm.act(observations, draws), before)


def test_candidates_of_no_probability_are_never_chosen():
    """At both ends of the uniform, where all but the best candidate underflow to zero."""
    algorithm, observations, draws = acting(3, temperature=1e-6)
    draws["choice"] = torch.tensor([[0.0, 0.5, 1 - 2**-53]] * 2, dtype=torch.float64)
    actions = algorithm.act(observations, draws).numpy()
    best = []
    for seed in range(2):
        candidates, values = candidates_and_values(algorithm, observations, draws, seed)
        best.append(values.argmax())
        assert (chosen_index(actions[seed], candidates) == best[-1]).all()
    assert max(best) > 0  # otherwise the lower end would prove nothing


def test_declares_what_acting_needs():
    draws = {draw.name: (draw.shape, draw.distribution) for draw in DTQL(DIMENSIONS, CONFIG, SEEDS).act_draws}
    assert draws == {"candidates": ((8, 3), "normal"), "choice": ((), "uniform")}


def test_seed_view_acts_as_its_seed():
    algorithm, observations, draws = acting(10)
    algorithm.networks.float()
    observations, candidates = observations.float(), draws["candidates"].float()
    together = algorithm.act(observations, {**draws, "candidates": candidates})
    alone = algorithm.seed_view(1).act(
        observations[1:], {"candidates": candidates[1:], "choice": draws["choice"][1:]}
    )
    torch.testing.assert_close(alone[0], together[1])


def test_weights_of_one_seed_travel(tmp_path):
    """Out of one stack, into another slot of another."""
    source, target = (DTQL(DIMENSIONS, CONFIG, seeds) for seeds in ((1, 2), (5, 6, 7)))
    before = states(target)
    target.load_policy_state(2, source.policy_state(0))
    for name, tensor in states(target).items():
        assert torch.equal(tensor[2], source.networks.state_dict()[name][0])
        assert torch.equal(tensor[:2], before[name][:2])
    with pytest.raises(ValueError, match="differing names"):
        target.load_policy_state(0, {"nonsense": torch.zeros(1)})


def test_state_of_another_stack_is_refused():
    state = DTQL(DIMENSIONS, CONFIG, (1, 2)).state_dict()
    with pytest.raises(ValueError, match="does not fit"):
        DTQL(DIMENSIONS, CONFIG, (1, 2, 3)).load_state_dict(state)
    with pytest.raises(ValueError, match="differing names"):
        DTQL(DIMENSIONS, replace(CONFIG, critic_layer_norm=False), (1, 2)).load_state_dict(state)
