"""BDPO's and its ablations' iterations against plain per-seed implementations with torch's optimisers."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from algorithms.base import Dimensions
from algorithms.bdpo import BDPO, BDPOConfig
from algorithms.bdpo_unimodal import BDPODirac, BDPOGaussian, DiracConfig, GaussianConfig
from algorithms.diffusion import vp_schedule
from bench.training.contract import doubled, draws_of
from benchmarks.plain.bdpo import PlainBDPO, PlainUnimodal, plain_networks
from tests.algorithms.checks import of_seed, random_batch, snapshot

DIMENSIONS, SEEDS = Dimensions(3, 2, action_bound=0.9), (3, 8)
SMALL = {
    "pretrain_iterations": 4,
    "warm_up_iterations": 3,
    "train_iterations": 9,
    "actor_interval": 2,
    "batch_size": 5,
    "discount": 0.95,
    "divergence_weight": 0.3,
    "pessimism": 0.7,
    "ensemble": 3,
    "critic_width": 8,
    "critic_layers": 2,
    "actor_width": 8,
    "actor_layers": 2,
    "actor_learning_rate": 1e-3,
    "behaviour_learning_rate": 2e-3,
    "critic_learning_rate": 3e-3,
    "gradient_norm": 1.0,
    "target_update_rate": 0.05,
    "action_margin": 1e-2,
}
SAMPLED = {"samples": 3, "candidates": 4}
DIFFUSION = {"diffusion_steps": 4, "time_embedding_width": 6, "value_time_width": 10}
CONFIG = BDPOConfig(**SMALL, **SAMPLED, **DIFFUSION)

METHODS = {
    "bdpo": (BDPO, CONFIG, PlainBDPO),
    "gaussian": (BDPOGaussian, GaussianConfig(**SMALL, **SAMPLED), PlainUnimodal),
    "dirac": (BDPODirac, DiracConfig(**SMALL), PlainUnimodal),
}
CASES = [
    ("bdpo", {}),
    ("bdpo", {"penalty_placement": "inside"}),
    ("bdpo", {"max_q_backup": True, "critic_layer_norm": True, "ensemble": 2}),
    ("bdpo", {"clip_denoised": False, "diffusion_steps": 7, "pessimism": 0.0, "samples": 2}),
    ("bdpo", {"behaviour_in_training": False, "warm_up_iterations": 0}),
    ("bdpo", {"gradient_norm": 0.02}),
    ("bdpo", {"diffusion_steps": 1, "ensemble": 1, "samples": 1, "actor_interval": 1}),
    ("gaussian", {}),
    ("gaussian", {"penalty_placement": "inside", "max_q_backup": True}),
    ("dirac", {}),
    ("dirac", {"penalty_placement": "inside", "behaviour_in_training": False}),
]


def built(name, **changes):
    """The method in float64 and its plain twins, one per seed."""
    method, config, plain = METHODS[name]
    config = replace(config, **changes)
    attributes = {"schedule": vp_schedule(config.diffusion_steps, torch.float64)} if name == "bdpo" else {}
    algorithm = doubled(method(DIMENSIONS, config, SEEDS), **attributes)
    return algorithm, [plain.of(algorithm, seed) for seed in range(len(SEEDS))]


def assert_same_networks(algorithm, plain, seed):
    mine = plain_networks(algorithm, seed)
    assert mine.keys() == plain.nets.keys()
    for name, module in mine.items():
        actual = parameters_to_vector(module.parameters())
        expected = parameters_to_vector(plain.nets[name].parameters())
        difference, scale = (actual - expected).abs().max(), expected.abs().max()
        assert difference <= 1e-9 * scale, f"{name}: {difference} of {scale}"


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_iterations_of_both_phases(name, changes):
    """Order of updates, hand-over, warm-up, interval, norms, cosines and averages, through both phases."""
    algorithm, plains = built(name, **changes)
    config, generator, step = algorithm.config, torch.Generator().manual_seed(0), 0
    for phase in algorithm.phases:
        if phase.name == "train":
            algorithm.begin_phase("train")
            for plain in plains:
                plain.hand_over()
        for iteration in range(phase.iterations):
            batch = random_batch(len(SEEDS), config.batch_size, 3, 2, generator=generator)
            draws = draws_of(phase.draws, SEEDS, step)
            step += 1
            program = phase.program(iteration)
            if phase.name == "train":
                actor = iteration >= config.warm_up_iterations and iteration % config.actor_interval == 0
                assert ("actor" in program) == actor
                assert ("behaviour" in program) == (actor and config.behaviour_in_training)
            metrics = algorithm.update(program, batch, draws)
            for seed, plain in enumerate(plains):
                expected = plain.update(program, of_seed(batch, seed), of_seed(draws, seed))
                assert metrics.keys() == expected.keys()
                for key, value in expected.items():
                    torch.testing.assert_close(metrics[key][seed], value, rtol=1e-9, atol=1e-11)
        for seed, plain in enumerate(plains):
            assert_same_networks(algorithm, plain, seed)


def test_programs_and_draws():
    algorithm, _ = built("bdpo")
    pretrain, train = algorithm.phases
    assert (pretrain.iterations, train.iterations) == (4, 9)
    assert (pretrain.evaluated, train.evaluated) == (False, True)
    assert {pretrain.sampling, train.sampling} == {"shuffled"}
    joint = "critic+actor+behaviour"
    assert [train.program(step) for step in range(8)] == [
        "critic", "critic", "critic", "critic", joint, "critic", joint, "critic",
    ]  # fmt: skip
    assert {pretrain.program(step) for step in range(4)} == {"pretrain"}
    assert {draw.name: (draw.shape, draw.distribution) for draw in train.draws} == {
        "next_chain": ((4, 5, 3, 2), "normal"),
        "value_step": ((5,), "uniform"),
        "value_noise": ((5, 2), "normal"),
        "value_reverse": ((5, 3, 2), "normal"),
        "actor_step": ((5,), "uniform"),
        "actor_noise": ((5, 2), "normal"),
        "actor_reverse": ((5, 3, 2), "normal"),
        "behaviour_step": ((5,), "uniform"),
        "behaviour_noise": ((5, 2), "normal"),
    }


def test_defaults_are_the_released_intervals():
    """Table 2: 50k steps of the critics alone, then actor and behaviour model in every fifth."""
    phase = BDPO(DIMENSIONS, BDPOConfig(actor_width=4, critic_width=4), (0,)).phases[1]
    steps = [0, 49_995, 49_999, 50_000, 50_001, 50_004, 50_005, 1_999_995]
    updates = [phase.program(step) != "critic" for step in steps]
    assert updates == [False, False, False, True, False, False, True, True]
    assert sum(phase.program(step) != "critic" for step in range(100_000)) == 10_000


@pytest.mark.parametrize("name", METHODS)
def test_hand_over(name):
    """Actor and its target take the behaviour model's average, not the model; nothing else moves."""
    algorithm, _ = built(name)
    generator = torch.Generator().manual_seed(0)
    for step in range(2):
        batch = random_batch(len(SEEDS), 5, 3, 2, generator=generator)
        algorithm.update("pretrain", batch, draws_of(algorithm.phases[0].draws, SEEDS, step))
    before = snapshot(algorithm)
    algorithm.begin_phase("train")
    for key, tensor in snapshot(algorithm).items():
        network, _, rest = key.partition(".")
        source = "target_behaviour" if network in ("actor", "target_actor") else network
        assert torch.equal(tensor, before[f"{source}.{rest}"]), key
    assert not torch.equal(
        before["behaviour.mlp.layers.0.weight"], before["target_behaviour.mlp.layers.0.weight"]
    )


@pytest.mark.parametrize(("program", "moved"), [
    ("pretrain", {"behaviour"}),
    ("critic", {"critics", "diffusion_values"}),
    ("critic+actor", {"critics", "diffusion_values", "actor"}),
    ("critic+actor+behaviour", {"critics", "diffusion_values", "actor", "behaviour"}),
])  # fmt: skip
def test_what_a_program_moves(program, moved):
    algorithm, _ = built("bdpo")
    before = snapshot(algorithm)
    batch = random_batch(len(SEEDS), 5, 3, 2, generator=torch.Generator().manual_seed(0))
    algorithm.update(program, batch, draws_of(algorithm.phases[1].draws, SEEDS))
    changed = {key.partition(".")[0] for key, t in snapshot(algorithm).items() if not t.equal(before[key])}
    assert changed == moved | {f"target_{name}" for name in moved}
    assert all(p.grad is None for p in algorithm.networks.parameters())


def test_learning_rates_at_chosen_steps():
    """Actor: 390k updates of a cosine over 2M leave 0.909e-5. Critics: half way down at 1M, 0 at the end."""
    algorithm = BDPO(DIMENSIONS, BDPOConfig(actor_width=4, critic_width=4), (0,))

    def rate(name, steps):
        optimiser = algorithm.optimisers[name]
        optimiser.steps.fill_(steps)
        return optimiser.current_learning_rate().item()

    assert rate("actor", 0) == pytest.approx(1e-5)
    assert rate("actor", 390_000) == pytest.approx(0.909e-5, rel=1e-3)
    for name in ("critics", "diffusion_values"):
        assert rate(name, 0) == pytest.approx(3e-4)
        assert rate(name, 1_000_000) == pytest.approx(1.5e-4)
        assert rate(name, 2_000_000) == pytest.approx(0, abs=1e-12)
    assert rate("behaviour", 0) == rate("behaviour", 2_000_000) == 3e-4


def test_norms_are_bounded_per_seed_and_network():
    """After one step the first moment is a tenth of the clipped gradient; an ensemble is one network."""
    algorithm, _ = built("bdpo", gradient_norm=0.01)
    batch = random_batch(len(SEEDS), 5, 3, 2, generator=torch.Generator().manual_seed(0))
    algorithm.update("critic+actor+behaviour", batch, draws_of(algorithm.phases[1].draws, SEEDS))
    for name, optimiser in algorithm.optimisers.items():
        for seed in range(len(SEEDS)):
            norm = torch.cat([m[seed].flatten() for m in optimiser.first_moments]).norm().item()
            assert norm == pytest.approx(0.1 * 0.01, rel=1e-3), (name, seed)


def test_terminal_rows_need_no_chains():
    """Where every row is terminal and the penalty inside, skipping next states changes nothing."""
    results = []
    for skipping in (False, True):
        algorithm, _ = built("bdpo", penalty_placement="inside", all_terminal=skipping)
        phase = algorithm.phases[1]
        assert ("next_chain" in [draw.name for draw in phase.draws]) != skipping
        generator = torch.Generator().manual_seed(0)
        for step in range(6):
            batch = random_batch(len(SEEDS), 5, 3, 2, generator=generator)
            batch["terminals"] = torch.ones_like(batch["terminals"])
            algorithm.update(phase.program(step), batch, draws_of(phase.draws, SEEDS, step))
        results.append(snapshot(algorithm))
    for name, tensor in results[0].items():
        torch.testing.assert_close(tensor, results[1][name], rtol=1e-12, atol=1e-14, msg=name)


@pytest.mark.parametrize(("changes", "skips"), [
    ({"all_terminal": True, "penalty_placement": "inside"}, True),
    ({"all_terminal": True, "penalty_placement": "outside"}, False),  # the penalty is paid at terminals too
    ({"discount": 0.0, "penalty_placement": "inside"}, True),
    ({"discount": 0.0, "penalty_placement": "outside"}, False),
    ({"penalty_placement": "inside"}, False),
])  # fmt: skip
def test_when_next_states_are_skipped(changes, skips):
    names = [draw.name for draw in built("bdpo", **changes)[0].phases[1].draws]
    assert ("next_chain" not in names) == skips


def test_actions_of_the_data_are_kept_within_the_margin():
    """1 - 1e-5 on D4RL (released dataset/d4rl.py); here 0.9 - 0.01."""
    algorithm, _ = built("bdpo")
    batch = random_batch(len(SEEDS), 5, 3, 2, generator=torch.Generator().manual_seed(0))
    wild = {**batch, "actions": torch.full_like(batch["actions"], 5.0)}
    tame = {**batch, "actions": torch.full_like(batch["actions"], 0.89)}
    draws = draws_of(algorithm.phases[1].draws, SEEDS)
    one = algorithm.update("critic", wild, draws)
    other = built("bdpo")[0].update("critic", tame, draws)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("field", "value"), [
    ("batch_size", 0), ("diffusion_steps", 0), ("divergence_weight", -0.1), ("discount", 1.5),
    ("penalty_placement", "beside"), ("gradient_norm", 0.0), ("samples", 0), ("ensemble", 2.5),
    ("time_embedding_width", 5), ("time_embedding_width", 2),
])  # fmt: skip
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        replace(CONFIG, **{field: value})
