"""The loop: seeds that do not touch each other, divergence, hand-over, and continuing from a checkpoint."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from algorithms.base import ROWS, Dimensions, Draw
from algorithms.dtql import DTQL, DTQLConfig
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.presets import PresetFiles, preset_of
from bench.training.batches import PackedDataset
from bench.training.checkpoint import Checkpoint, CheckpointFolder
from bench.training.contract import doubled
from bench.training.draws import DrawStream
from bench.training.trainer import Divergence, Position, Trainer, phases_for
from benchmarks.plain.dtql import PlainDTQL, PlainNetworks
from tests.algorithms.checks import of_seed

DIMENSIONS, SEEDS = Dimensions(4, 2), (0, 1, 2, 3, 4)
CONFIG = DTQLConfig(
    hidden_width=16,
    diffusion_width=16,
    batch_size=8,
    candidates=8,
    pretrain_iterations=20,
    train_iterations=20,
    learning_rate_decay=True,
    likelihood_weight=0.5,
)
ROW_COUNT = 500


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    return PackedDataset.pack(
        generator.normal(size=(ROW_COUNT, 4)),
        generator.uniform(-1, 1, size=(ROW_COUNT, 2)),
        generator.normal(size=(ROW_COUNT, 4)),
        generator.normal(size=ROW_COUNT),
        generator.uniform(size=ROW_COUNT) < 0.1,
        dtype=torch.float64,
    )


def trainer_of(data, seeds=SEEDS, config=CONFIG):
    return Trainer(doubled(DTQL(DIMENSIONS, config, seeds)), data, runner="eager")


def copied(tensors):
    return {name: tensor.clone() for name, tensor in tensors.items()}


def networks_of(trainer, slot):
    return {name: tensor[slot].clone() for name, tensor in trainer.algorithm.networks.state_dict().items()}


def advance_through(trainer, iterations):
    """Iterations across phase ends."""
    while iterations:
        chunk = min(iterations, trainer.iterations_left_in_phase)
        trainer.advance(chunk)
        iterations -= chunk


def draws_at(phase, step, seeds=SEEDS):
    """The draws of one iteration, made apart from the trainer."""
    declared = (Draw(ROWS, (phase.batch_size,), "index"), *phase.draws)
    return DrawStream(seeds, phase.name, declared, rows=ROW_COUNT, dtype=torch.float64).at(step)


def test_one_seed_alone_or_among_five(data):
    """20 iterations of every program: 1e-12 after the first, 1e-9 after the last, per parameter."""
    together = trainer_of(data)
    alone = [trainer_of(data, (seed,)) for seed in SEEDS]

    def worst():
        differences = []
        for slot, single in enumerate(alone):
            expected = networks_of(single, 0)
            for name, tensor in networks_of(together, slot).items():
                scale = expected[name].abs().max()
                difference = (tensor - expected[name]).abs().max()
                differences.append(0.0 if scale == difference == 0 else (difference / scale).item())
        return max(differences)

    for _ in range(2):  # pretrain, train
        for iterations, limit in ((1, 1e-12), (19, 1e-9)):
            for trainer in (together, *alone):
                trainer.advance(iterations)
            assert worst() <= limit
    assert together.phase is None


def test_equals_plain_training_on_the_same_rows(data):
    """The whole loop against the plain implementation fed by hand: minibatches, draws, phases."""
    trainer = trainer_of(data, seeds=(3,))
    plain = PlainDTQL.of(trainer.algorithm, 0)
    columns = dict(
        zip(("observations", "actions", "next_observations"), ((0, 4), (4, 6), (6, 10)), strict=True)
    )
    for phase in trainer.algorithm.phases:
        for step in range(phase.iterations):
            draws = of_seed(draws_at(phase, step, (3,)), 0)
            rows = data.rows[draws[ROWS]]
            batch = {name: rows[:, first:last] for name, (first, last) in columns.items()}
            batch |= {"rewards": rows[:, 10], "terminals": rows[:, 11]}
            plain.update(phase.name, batch, draws)
    advance_through(trainer, 40)
    trained = PlainNetworks.copied(trainer.algorithm, 0)
    for name, module in vars(trained).items():
        expected = getattr(plain.nets, name).parameters()
        for actual, other in zip(module.parameters(), expected, strict=True):
            assert (actual - other).abs().max() <= 1e-9 * other.abs().max(), name


def poison(trainer, slot, network="critics"):
    first = next(iter(trainer.algorithm.networks[network].parameters()))
    first.data[slot] = math.nan


def test_a_poisoned_seed_leaves_the_others_unchanged(data):
    clean, poisoned = trainer_of(data), trainer_of(data)
    for trainer in (clean, poisoned):
        advance_through(trainer, 5)
    poison(poisoned, 0)
    for iterations in (1, 14, 10):
        for trainer in (clean, poisoned):
            advance_through(trainer, iterations)
    for slot in range(1, len(SEEDS)):
        expected = networks_of(clean, slot)
        for name, tensor in networks_of(poisoned, slot).items():
            assert torch.equal(tensor, expected[name]), name
    assert clean.read_metrics()[1:] == poisoned.read_metrics()[1:]
    draws = {
        "candidates": torch.zeros(5, 3, 8, 2, dtype=torch.float64),
        "choice": torch.full((5, 3), 0.5, dtype=torch.float64),
    }
    observations = torch.ones(5, 3, 4, dtype=torch.float64)
    actions = [trainer.algorithm.act(observations, draws)[1:] for trainer in (clean, poisoned)]
    assert torch.equal(*actions)


@pytest.mark.parametrize(
    ("done", "phase", "step"), [(0, "pretrain", 0), (7, "pretrain", 7), (23, "train", 3)]
)
def test_divergence_is_found_at_its_step_and_frozen(data, done, phase, step):
    clean, trainer = trainer_of(data), trainer_of(data)
    for each in (clean, trainer):
        advance_through(each, done)
    assert trainer.retire_diverged() == []
    poison(trainer, 2)
    advance_through(trainer, 6)
    assert trainer.retire_diverged() == [Divergence(2, phase, step)]
    assert trainer.retire_diverged() == []  # said once
    assert trainer.algorithm.alive.tolist() == [True, True, False, True, True]
    frozen = networks_of(trainer, 2)
    moments = {n: t[2].clone() for n, t in trainer.state_dict().items() if ".first." in n or ".second." in n}
    assert moments
    advance_through(trainer, 10)
    assert trainer.retire_diverged() == []
    for name, tensor in networks_of(trainer, 2).items():
        assert torch.equal(tensor, frozen[name])
    assert all(torch.equal(trainer.state_dict()[name][2], moment) for name, moment in moments.items())
    advance_through(clean, 16)
    for slot in (0, 1, 3, 4):
        expected = networks_of(clean, slot)
        assert all(torch.equal(t, expected[name]) for name, t in networks_of(trainer, slot).items())


def test_divergence_from_the_data(data):
    """A NaN reward: each seed diverges when its own minibatch first holds that row."""
    bad = replace(data, rows=data.rows.clone())
    bad.rows[17, 10] = math.nan
    config = replace(CONFIG, pretrain_iterations=60)
    trainer = trainer_of(bad, config=config)
    phase = trainer.algorithm.phases[0]
    first = {}
    for step in range(60):
        for slot, rows in enumerate(draws_at(phase, step)[ROWS]):
            if (rows == 17).any():
                first.setdefault(slot, step)
    assert 0 < len(first) <= 5
    assert len(set(first.values())) > 1
    trainer.advance(60)
    assert {d.slot: d.step for d in trainer.retire_diverged()} == first


def test_two_seeds_diverge_at_different_steps_and_in_a_later_phase(data):
    """Found late, after the phase has ended: the step is still that of the first loss that was not finite."""
    trainer = trainer_of(data)
    advance_through(trainer, 4)
    poison(trainer, 1)
    advance_through(trainer, 18)
    poison(trainer, 3, "actor")
    advance_through(trainer, 3)
    assert trainer.retire_diverged() == [Divergence(1, "pretrain", 4), Divergence(3, "train", 2)]


def test_hand_over_between_phases(data):
    """The actor and the targets wait for training; moments carry over; the cosine begins there."""
    trainer = trainer_of(data)
    start = copied(trainer.algorithm.networks.state_dict())
    trainer.advance(20)
    assert trainer.position == Position(1, 0)
    assert trainer.phase.name == "train"
    now = trainer.algorithm.networks.state_dict()
    for name, tensor in start.items():
        assert torch.equal(tensor, now[name]) == name.startswith(("actor", "target_critics")), name
    optimisers = trainer.algorithm.optimisers
    for optimiser in optimisers.values():
        assert optimiser.current_learning_rate().item() == pytest.approx(3e-4, rel=1e-12)
    assert all(m.abs().sum() > 0 for m in optimisers["diffusion"].first_moments)
    trainer.advance(10)
    for optimiser in optimisers.values():  # half of 20
        assert optimiser.current_learning_rate().item() == pytest.approx(1.5e-4, rel=1e-12)
    assert trainer.iterations_left_in_phase == 10


def test_more_iterations_than_left_are_refused(data):
    trainer = trainer_of(data, seeds=(0,))
    with pytest.raises(ValueError, match="21 iterations asked, 20 left"):
        trainer.advance(21)
    advance_through(trainer, 40)
    assert trainer.phase is None
    with pytest.raises(ValueError, match="1 iterations asked, 0 left"):
        trainer.advance(1)


def test_numbers_below_the_normal_range_are_zero_while_training_alone(data, monkeypatch):
    """They make an iteration several times as long on some processors; the caller's arithmetic stays."""

    def product():
        return float(torch.tensor(2e-38) * 0.1)

    trainer = trainer_of(data, seeds=(0,))
    update, seen = trainer.algorithm.update, []

    def watched(*arguments):
        seen.append(product())
        if len(seen) == 4:
            raise RuntimeError("the fourth iteration fails")
        return update(*arguments)

    monkeypatch.setattr(trainer.algorithm, "update", watched)
    trainer.advance(2)
    trainer.repeat(trainer.phase.program(2), 1)
    with pytest.raises(RuntimeError, match="fourth"):
        trainer.advance(1)
    assert seen == [0.0] * 4
    assert product() > 0


def test_metrics_are_means_since_the_last_reading(data):
    """Also where a phase with other metrics begins in between."""
    trainer = trainer_of(data)
    seen = []
    update = trainer.algorithm.update

    def recorded(program, batch, draws):
        metrics = update(program, batch, draws)
        seen.append(copied(metrics))
        return metrics

    trainer.algorithm.update = recorded
    for iterations in (7, 20, 13):
        seen.clear()
        advance_through(trainer, iterations)
        read = trainer.read_metrics()
        names = {name for metrics in seen for name in metrics}
        for slot in range(len(SEEDS)):
            assert read[slot].keys() == names
            for name in names:
                values = [metrics[name][slot].item() for metrics in seen if name in metrics]
                assert read[slot][name] == pytest.approx(np.mean(values), rel=1e-12)


def test_reading_before_anything_happened(data):
    assert trainer_of(data).read_metrics() == [{}] * len(SEEDS)


def test_finite_metrics_whose_sum_is_not_have_not_diverged(data, monkeypatch):
    trainer = trainer_of(data)
    large = torch.full((len(trainer.algorithm.seeds),), 3e38)
    monkeypatch.setattr(trainer.algorithm, "update", lambda *given: {"one": large, "other": large})
    trainer.advance(1)
    assert trainer.retire_diverged() == []


def test_metrics_of_a_lone_diverged_seed_are_nan_not_absent(data):
    trainer = trainer_of(data, (0,))
    poison(trainer, 0)
    trainer.advance(1)
    assert math.isnan(trainer.read_metrics()[0]["critic_loss"])


LONG = replace(CONFIG, pretrain_iterations=131, train_iterations=12)


@pytest.fixture(scope="module")
def uninterrupted(data):
    trainer = trainer_of(data, (5, 6), LONG)
    advance_through(trainer, 143)
    return copied(trainer.state_dict())


@pytest.mark.parametrize(
    "stops", [(0,), (1,), (60, 61), (127,), (128,), (130,), (131,), (140,), (3, 129, 133)]
)
def test_interrupted_equals_uninterrupted(data, uninterrupted, stops, tmp_path):
    """Mid-block, at a block's edge, before, at and after the phase's end; through a checkpoint on disk."""
    trainer = trainer_of(data, (5, 6), LONG)
    done = 0
    for stop in stops:
        advance_through(trainer, stop - done)
        done = stop
        folder = CheckpointFolder(tmp_path, "a")
        folder.save(Checkpoint.of(trainer.state_dict(), vars(trainer.position)))
        checkpoint, complaints = folder.load()
        assert complaints == []
        trainer = trainer_of(data, (5, 6), LONG)
        trainer.load(checkpoint.tensors(), Position(**checkpoint.host))
    advance_through(trainer, 143 - done)
    finished = trainer.state_dict()
    assert finished.keys() == uninterrupted.keys()
    for name, tensor in uninterrupted.items():
        assert torch.equal(finished[name], tensor), name


def test_divergence_survives_an_interruption(data):
    trainer = trainer_of(data)
    advance_through(trainer, 4)
    poison(trainer, 1)
    advance_through(trainer, 18)
    again = trainer_of(data)
    again.load(copied(trainer.state_dict()), trainer.position)
    assert again.retire_diverged() == [Divergence(1, "pretrain", 4)]
    once_more = trainer_of(data)
    once_more.load(copied(again.state_dict()), again.position)
    assert once_more.retire_diverged() == []
    assert not once_more.algorithm.alive[1]


def test_checkpoint_of_another_stack_is_refused(data):
    state = trainer_of(data, (0, 1)).state_dict()
    with pytest.raises(ValueError, match="does not fit"):
        trainer_of(data, (0, 1, 2)).load(state, Position(0, 0))


ODD_STATES = {
    "a tensor less": lambda state: state.pop("diverged_at"),
    "a tensor more": lambda state: state.update(more=torch.zeros(2)),
    "a sum without its count": lambda state: state.pop(next(name for name in state if "count." in name)),
    "a sum of other seeds": lambda state: state.update(
        {name: torch.zeros(3, dtype=value.dtype) for name, value in state.items() if "sum." in name}
    ),
    "a counter per seed": lambda state: state.update(iterations=torch.zeros(2, dtype=torch.int64)),
    "a counter that is no whole number": lambda state: state.update(iterations=torch.tensor(5.0)),
    "a counter at another step": lambda state: state.update(iterations=torch.tensor(6)),
    "another precision": lambda state: state.update(
        {name: value.float() for name, value in state.items() if value.is_floating_point()}
    ),
}


@pytest.mark.parametrize("change", ODD_STATES.values(), ids=ODD_STATES)
def test_a_state_must_fit_the_trainer_and_its_position(data, change):
    trainer = trainer_of(data, (0, 1))
    trainer.advance(5)
    state = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    trainer_of(data, (0, 1)).load(state, Position(0, 5))
    change(state)
    with pytest.raises(ValueError, match=r"fit|differ|step"):
        trainer_of(data, (0, 1)).load(state, Position(0, 5))


@pytest.mark.parametrize("position", [(-1, 0), (0, -1), (0, 10**6), (99, 0), (2, 1)])
def test_a_position_must_be_one_of_training(data, position):
    state = trainer_of(data, (0, 1)).state_dict()
    with pytest.raises(ValueError, match=r"there is no phase|is behind the end|stand at step"):
        trainer_of(data, (0, 1)).load(state, Position(*position))


def test_acting_does_not_touch_training(data):
    quiet, acting = trainer_of(data, (0, 1)), trainer_of(data, (0, 1))
    draws = {
        "candidates": torch.zeros(2, 1, 8, 2, dtype=torch.float64),
        "choice": torch.zeros(2, 1, dtype=torch.float64),
    }
    for _ in range(5):
        quiet.advance(2)
        acting.advance(2)
        acting.algorithm.act(torch.zeros(2, 1, 4, dtype=torch.float64), draws)
    state = acting.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in quiet.state_dict().items())


def test_graphs_need_a_gpu(data):
    algorithm = DTQL(DIMENSIONS, CONFIG, (0,))
    with pytest.raises(BenchError, match="needs a CUDA device"):
        Trainer(algorithm, data, runner="graph")
    with pytest.raises(BenchError, match="unknown runner 'fast'"):
        Trainer(algorithm, data, runner="fast")
    assert Trainer(algorithm, data).runner == "eager"


# What a method says of itself before it is made.


EXPECTED = {
    "awac": ["train"],
    "bc": ["train"],
    "bc-10": ["train"],
    "cql": ["train"],
    "crr": ["train"],
    "bdpo": ["pretrain", "train"],
    "bdpo-dirac": ["pretrain", "train"],
    "bdpo-gaussian": ["pretrain", "train"],
    "dac": ["train"],
    "dql": ["train"],
    "dt": ["train"],
    "dtql": ["pretrain", "train"],
    "dtql-kl": ["pretrain", "train"],
    "edp-td3": ["train"],
    "edp-crr": ["train"],
    "edp-iql": ["train"],
    "iql": ["train"],
    "idql": ["train"],
    "onestep": ["behaviour", "critic", "policy"],
    "td3bc": ["train"],
    "qgpo": ["behaviour", "support", "energy"],
    "sfbc": ["behaviour", "support", "returns", "planning", "critic"],
    "srpo": ["critic", "behaviour", "policy"],
    "srpo-points": ["behaviour", "policy"],
}


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_the_phases_of_a_method_with_a_preset(name: str, expected: list[str]) -> None:
    catalog, presets = load_catalog(), PresetFiles()[name]
    task = next(task for task in catalog.tasks.values() if task.preset_task in presets.tasks)
    values = preset_of(presets, task, "released").values
    phases = phases_for(task, name, values)
    assert [phase.name for phase in phases] == expected
    assert [phase.iterations for phase in phases] == [values[f"{name}_iterations"] for name in expected]
    # The last alone is evaluated, of all methods that there are.
    assert [phase.evaluated for phase in phases] == [False] * (len(expected) - 1) + [True]
