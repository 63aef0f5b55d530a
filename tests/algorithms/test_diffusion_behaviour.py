"""The behaviour model of QGPO and SfBC against numpy; that both have the very same one."""

import dataclasses

import numpy as np
import pytest
import torch

from algorithms.base import ROWS
from algorithms.diffusion import noise_prediction_loss
from algorithms.diffusion_behaviour import BehaviourConfig, UNoiseNetwork, repeated
from algorithms.networks import Initialiser
from algorithms.qgpo import QGPO, QGPOConfig
from algorithms.sfbc import SfBC, SfBCConfig
from bench.training import contract
from bench.training.trainer import Trainer
from tests.algorithms import checks
from tests.algorithms.behaviour_phases import DIMENSIONS, SEEDS, SMALL, dataset, prepared

METHODS = {
    "qgpo": lambda seeds, **changed: QGPO(
        DIMENSIONS, QGPOConfig(**{**SMALL, "hidden_width": 8, **changed}), seeds
    ),
    "sfbc": lambda seeds, **changed: SfBC(
        DIMENSIONS, SfBCConfig(**{**SMALL, "critic_width": 8, **changed}), seeds
    ),
}


def network():
    made = UNoiseNetwork(
        Initialiser(SEEDS, "behaviour"), DIMENSIONS, width=8, embedding=6, time_features=4, fourier_scale=2.0
    )
    return made.double()


def in_numpy(made, slot, noisy, states, time):
    """The network of one seed: noisy (B, A), states (B, O), time (B,)."""
    weights = {name: tensor[slot].detach().numpy() for name, tensor in made.state_dict().items()}

    def silu(x):
        return x / (1 + np.exp(-x))

    def layer(x, name):
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    angles = 2 * np.pi * time[:, None] * weights["time.fourier.frequencies"]
    of_time = layer(np.concatenate([np.sin(angles), np.cos(angles)], axis=1), "time.layer")
    e = np.concatenate([silu(layer(states, "state")), of_time], axis=1)
    e = silu(layer(silu(layer(e, "embed.0")), "embed.1"))
    parts = np.split(layer(e, "times"), np.cumsum([8, 4, 2, 2, 4]), axis=1)

    def block(x, i):
        name = f"blocks.{i}"
        inside = silu(layer(silu(layer(x, f"{name}.first")) + parts[i], f"{name}.second"))
        return inside + (layer(x, f"{name}.skip") if f"{name}.skip.weight" in weights else x)

    d1 = block(noisy, 0)
    d2 = block(d1, 1)
    d3 = block(d2, 2)
    u3 = block(d3, 3)
    u2 = block(np.concatenate([d3, u3], axis=1), 4)
    u1 = block(np.concatenate([d2, u2], axis=1), 5)
    return layer(np.concatenate([d1, u1], axis=1), "last")


def test_the_network():
    made = network()
    noisy, states, time = checks.normal(2, 7, 3), checks.normal(2, 7, 5, seed=1), checks.normal(2, 7, seed=2)
    found = made(noisy, states, time.abs())
    once = made(noisy, states, time[:, :1].abs())
    for slot in range(2):
        inputs = noisy[slot].numpy(), states[slot].numpy()
        expected = in_numpy(made, slot, *inputs, time[slot].abs().numpy())
        np.testing.assert_allclose(found[slot].detach(), expected, rtol=1e-12, atol=1e-13)
        one_time = np.full(7, time[slot, 0].abs().item())
        expected = in_numpy(made, slot, *inputs, one_time)
        np.testing.assert_allclose(once[slot].detach(), expected, rtol=1e-12, atol=1e-13)


def test_widths_and_skips_of_the_released_network():
    made = UNoiseNetwork(
        Initialiser((0,), "behaviour"),
        DIMENSIONS,
        width=512,
        embedding=128,
        time_features=32,
        fourier_scale=30.0,
    )
    shapes = [tuple(block.first.weight.shape[1:]) for block in made.blocks]
    assert shapes == [(3, 512), (512, 256), (256, 128), (128, 128), (256, 256), (512, 512)]
    skips = [hasattr(block.skip, "weight") for block in made.blocks]
    assert skips == [True, True, True, False, False, False]
    assert made.last.weight.shape == (1, 1024, 3)
    assert made.time.fourier.frequencies.shape == (1, 1, 16)
    assert 20 < made.time.fourier.frequencies.std().item() < 40
    # The layer of all blocks' times starts as each of the released ones does.
    bound = 128**-0.5
    assert 0.99 * bound < made.times.weight.abs().max().item() <= bound


def test_the_loss_is_score_matching():
    """mean_batch sum_dims (sigma_t score + z)^2, the score -eps / sigma_t."""
    made = network()
    actions, states = checks.normal(2, 7, 3), checks.normal(2, 7, 5, seed=1)
    noise, time = checks.normal(2, 7, 3, seed=3), torch.linspace(0.01, 1, 14).double().view(2, 7)
    losses = noise_prediction_loss(made, actions, states, time, noise)
    for slot in range(2):
        t, z = time[slot].numpy(), noise[slot].numpy()
        log_alpha = -0.25 * t**2 * 19.9 - 0.05 * t
        alpha, sigma = np.exp(log_alpha)[:, None], np.sqrt(1 - np.exp(2 * log_alpha))[:, None]
        noisy = alpha * actions[slot].numpy() + sigma * z
        score = -in_numpy(made, slot, noisy, states[slot].numpy(), t) / sigma
        expected = ((sigma * score + z) ** 2).sum(axis=1).mean()
        assert losses[slot].item() == pytest.approx(expected, rel=1e-12)


def behaviour_of(name, runner="eager", **changed):
    """A method's behaviour model after its phase, in single precision as in a run."""
    trainer = Trainer(METHODS[name](SEEDS, behaviour_iterations=6, **changed), single(), runner=runner)
    trainer.advance(6)
    return [trainer.made(slot) for slot in range(len(SEEDS))]


def single():
    data = dataset()
    return dataclasses.replace(data, rows=data.rows.float())


def test_both_methods_train_the_same_model_bit_for_bit():
    """From the same data whatever its rewards; nothing else of the methods matters."""
    qgpo, sfbc = behaviour_of("qgpo", support_actions=2, hidden_width=9), behaviour_of("sfbc", candidates=7)
    start = METHODS["qgpo"](SEEDS).networks["behaviour"].state_dict()
    for slot, (one, other) in enumerate(zip(qgpo, sfbc, strict=True)):
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
        moved = {name for name, tensor in one.items() if not torch.equal(tensor, start[name][slot])}
        assert one.keys() - moved == {"time.fourier.frequencies"}
    assert not torch.equal(qgpo[0]["last.weight"], qgpo[1]["last.weight"])


def test_what_both_declare_to_share_is_the_same_and_all_that_decides_it():
    shared = [METHODS[name](SEEDS).phases[0].shared for name in METHODS]
    assert shared[0] == shared[1]
    assert shared[0].network == "behaviour"
    assert set(shared[0].settings) == {field.name for field in dataclasses.fields(BehaviourConfig)}
    for field in dataclasses.fields(BehaviourConfig):
        changed = {field.name: {"behaviour_width": 12}.get(field.name, SMALL.get(field.name, 1) * 2)}
        if field.name == "behaviour_time_min":
            changed = {field.name: 0.2}
        other = METHODS["sfbc"](SEEDS, **changed).phases[0].shared
        assert other != shared[0], field.name


@pytest.mark.parametrize("name", METHODS)
def test_supports_lie_at_their_rows_and_repeat_from_the_beginning(name):
    """24 rows in batches of 8: after three the rows are through, and the fourth batch is the first again."""
    data = dataset()
    algorithm = prepared(METHODS[name](SEEDS, support_iterations=4), data)
    assert {table.shape for table in algorithm.support.values()} == {(2, 24, 3, 3)}
    rows = torch.arange(16, 24).expand(2, -1)
    draws = {f"support_{kind}": checks.normal(2, 8, 3, 3, seed=7) for kind in algorithm.supports}
    metrics = algorithm.update("support", data.batch(rows), {**draws, ROWS: rows})
    sizes = []
    for kind in algorithm.supports:
        table = algorithm.support[kind]
        assert not table[:, :16].any()
        expected = algorithm.sample(data.batch(rows)[kind], draws[f"support_{kind}"])
        assert torch.equal(table[:, 16:], expected)
        asked = torch.tensor([[23, 16, 17], [18, 19, 0]])
        found = algorithm.supported(kind, asked)
        assert torch.equal(found[0, 0], expected[0, 7])
        assert torch.equal(found[1, 1], expected[1, 3])
        assert not found[1, 2].any()
        sizes.append(expected.abs().mean(dim=(1, 2, 3)))
    torch.testing.assert_close(metrics["support_size"], sum(sizes) / len(sizes))


@pytest.mark.parametrize("name", METHODS)
def test_timing_may_repeat_the_phase_beyond_its_end(name):
    """As estimates do, of phases that are shorter than what is timed: it begins again at the first row."""
    trainer = Trainer(METHODS[name](SEEDS, support_iterations=2), single(), runner="eager")
    trainer.skip_to(1)
    trainer.repeat("support", 5)
    (table, *_) = trainer.algorithm.support.values()
    assert table.shape[1] == 16
    assert table.abs().amin(dim=(2, 3)).min() > 0


def test_few_supports_leave_the_other_rows_out_of_the_energys_training():
    algorithm = METHODS["qgpo"](SEEDS, support_iterations=2)
    (energy,) = (phase for phase in algorithm.phases if phase.name == "energy")
    assert (energy.rows(24), energy.rows(10)) == (16, 10)
    assert prepared(algorithm, dataset()).support["observations"].shape[1] == 16


def test_a_checkpoint_holds_no_support_and_makes_it_again():
    config = {"support_iterations": 3, "behaviour_iterations": 2, "batch_size": 6, "energy_iterations": 4}
    first = Trainer(METHODS["qgpo"](SEEDS, **config), single(), runner="eager")
    for iterations in (2, 3, 1):
        first.advance(iterations)
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    assert not any("support" in name and not name.startswith(("sum.", "count.")) for name in state)
    second = Trainer(METHODS["qgpo"](SEEDS, **config), single(), runner="eager")
    second.load(state, first.position)
    for kind, table in first.algorithm.support.items():
        assert table.any()
        assert torch.equal(table, second.algorithm.support[kind])
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in state.items())
    assert second.phase.name == "energy"


def test_a_support_that_nothing_reads_any_more_is_not_made_again():
    counts = {f"{name}_iterations": 1 for name in ("behaviour", "support", "returns", "planning")}
    config = {**counts, "critic_iterations": 3, "critic_batch_size": 4}
    first = Trainer(METHODS["sfbc"](SEEDS, **config), single(), runner="eager")
    for _ in range(4):
        first.advance(1)
    second = Trainer(METHODS["sfbc"](SEEDS, **config), single(), runner="eager")
    second.load(first.state_dict(), first.position)
    assert first.algorithm.support["observations"].any()
    assert not second.algorithm.support["observations"].any()


def test_states_are_repeated_in_a_row():
    states = torch.arange(4.0).view(1, 2, 2)
    assert repeated(states, 2).tolist() == [[[0, 1], [0, 1], [2, 3], [2, 3]]]


def test_a_method_in_double_precision_has_double_supports():
    assert prepared(METHODS["sfbc"](SEEDS), dataset()).support["observations"].dtype == torch.float64
    assert contract.doubled(METHODS["sfbc"](SEEDS)).support == {}
