"""Ways of running a preset end alike: graph and eager, restored and straight, stacked and alone, compiled.

An evaluation gives the same beside training and before it.

Training goes in pieces of uneven lengths, of which some end within a phase; metrics are read in between, a
seed is spoilt and retired, and the second way goes on from a checkpoint. Everything that a checkpoint would
hold is compared after every piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing

import torch
from torch import Tensor

from bench.catalog import Task
from bench.envs import simulator_for
from bench.evaluation.beside import Beside
from bench.evaluation.rollout import ActingMethod, Rollouts, roll_out
from bench.presets import Preset
from bench.training.batches import PackedDataset
from bench.training.checkpoint import Checkpoint
from bench.training.contract import doubled
from bench.training.draws import DrawStream
from bench.training.speed import synthetic_data
from bench.training.trainer import Trainer
from benchmarks.gpu.subjects import made, shortened

PIECES = (1, 4, 2)
"""Iterations; then the rest of the phase."""
ITERATIONS, BORDER = 12, 3
"""Of a phase and of a stage before another begins: all programs run, each more than once."""
READ_AND_RESTORE_AFTER, SPOIL_AFTER = 2, 4
"""The pieces after which that happens, in every phase; a seed is spoilt in the last phase alone."""
ROWS = 300


class Disagreement(AssertionError):
    """Where two ways part."""


def assert_agree(
    task: Task,
    preset: Preset,
    seeds: int,
    *,
    device: str = "cpu",
    ways: tuple[str, str] = ("eager", "graph"),
    double: bool = False,
) -> set[str]:
    """Train by both runners, in single or double precision; what ran, as `phase/program`.

    Raises
    ------
    Disagreement : a number differs; says where and by how much.
    """
    data, short = _data(task, device, double=double), shortened(preset, ITERATIONS, BORDER)
    stack = tuple(range(seeds))
    one, other = (_trainer(task, short, stack, data, way) for way in ways)
    ran: set[str] = set()
    while one.phase is not None:
        phase, number, step = one.phase, one.position.phase, one.position.step
        last = number == len(one.algorithm.phases) - 1
        for piece in _pieces(one):
            ran |= {f"{phase.name}/{phase.program(step + done)}" for done in range(piece)}
            step += piece
            for trainer in (one, other):
                trainer.advance(piece)
            where = f"{preset.algorithm} {preset.variant} {task.name} S={seeds} {phase.name} after {step}"
            _require_same(one, other, where)
            if one.position.phase != number:
                break
            if piece == READ_AND_RESTORE_AFTER:
                _require(_readable(one) == _readable(other), f"{where}: metrics differ")
                other = _restored(other, _trainer(task, short, stack, data, ways[1]))
                _require_same(one, other, f"{where}, restored")
            if piece == SPOIL_AFTER and seeds > 1 and last:
                for trainer in (one, other):
                    _spoil_and_retire(trainer, slot=1)
                step += 1
                _require_same(one, other, f"{where}, one retired")
    _require(torch.equal(_actions(one), _actions(other)), f"{preset.algorithm}: actions differ")
    return ran


def assert_alike(
    task: Task, preset: Preset, seeds: int, *, device: str = "cpu", limit: float = 1e-12
) -> None:
    """Compiled iterations give what eager ones do, in double precision, at the end of every phase.

    The compiler sums in another order: no number may differ by more than `limit` times the largest of its
    tensor.

    Raises
    ------
    Disagreement : one does.
    """
    data, short = _data(task, device, double=True), shortened(preset, ITERATIONS, BORDER)
    stack = tuple(range(seeds))
    eager, compiled = (_trainer(task, short, stack, data, runner) for runner in ("eager", "compiled"))
    while eager.phase is not None:
        name = eager.phase.name
        for trainer in (eager, compiled):
            trainer.advance(trainer.iterations_left_in_phase)
        expected, found = eager.state_dict(), compiled.state_dict()
        _require(expected.keys() == found.keys(), f"{preset.algorithm} {name}: states hold other tensors")
        for tensor, difference in differences(expected, found).items():
            _require(
                difference <= limit * float(expected[tensor].double().abs().max()),
                f"{preset.algorithm} {preset.variant} {name}: {tensor} differs by {difference:.1e}",
            )


def assert_alone_as_stacked(
    task: Task, preset: Preset, seeds: int, *, device: str = "cpu", limit: float = 1e-9
) -> None:
    """The last seed of a stack goes on alone at the beginning of every phase, and for an iteration alike.

    In double precision. The order of sums may depend on the number of seeds, so the last digits may: no
    parameter may differ by more than `limit` times the largest of its tensor.

    Raises
    ------
    Disagreement : one does.
    """
    data, short = _data(task, device, double=True), shortened(preset, ITERATIONS, BORDER)
    stacked = _trainer(task, short, tuple(range(seeds)), data, "auto")
    while stacked.phase is not None:
        alone = _trainer(task, short, (seeds - 1,), data, "auto")
        own = {
            name: tensor[seeds - 1 :].clone() if tensor.dim() else tensor.clone()
            for name, tensor in stacked.state_dict().items()
        }
        alone.load(own, stacked.position)
        for trainer in (stacked, alone):
            trainer.advance(1)
        theirs = alone.algorithm.networks.state_dict()
        for name, tensor in stacked.algorithm.networks.state_dict().items():
            difference, scale = (tensor[-1] - theirs[name][0]).abs().max(), theirs[name].abs().max()
            _require(
                bool(difference <= limit * scale),
                f"{preset.algorithm} {stacked.position}: alone {name} differs by {float(difference):.1e}",
            )
        stacked.advance(stacked.iterations_left_in_phase)


def assert_evaluated_alike(
    task: Task, preset: Preset, seeds: int, *, device: str = "cpu", runner: str = "graph"
) -> None:
    """An evaluation beside training gives what one before it gives, bit for bit, in the same two groups.

    That beside acts by captured graphs, and training captures its own and runs through meanwhile.

    Raises
    ------
    Disagreement : a return, a length or a weight that was evaluated differs.
    """
    data, short = _data(task, device, double=False), shortened(preset, ITERATIONS, BORDER)
    trainer = _trainer(task, short, tuple(range(seeds)), data, runner)
    weights = {name: tensor.clone() for name, tensor in trainer.algorithm.networks.state_dict().items()}
    with ExitStack() as opened:
        simulators = [
            opened.enter_context(closing(simulator_for(task, task.physics, seeds * episodes)))
            for episodes in (2, 1)
        ]

        def play(policy: ActingMethod, on_step: Callable[[int], None]) -> Rollouts:
            return roll_out(policy, *simulators, evaluation=1, episodes=3, on_step=on_step)

        expected = play(trainer.algorithm, lambda step: None)
        beside = Beside(trainer.algorithm, runner)
        opened.callback(beside.close)
        beside.begin(trainer.algorithm.networks.state_dict(), play)
        while trainer.phase is not None:
            trainer.advance(trainer.iterations_left_in_phase)
        found = beside.result()
    changed = differences(trainer.algorithm.networks.state_dict(), weights)
    _require(bool(changed), f"{preset.algorithm}: training changed nothing")
    evaluated = differences(beside.copy.networks.state_dict(), weights)
    _require(not evaluated, f"{preset.algorithm}: other weights were evaluated: {sorted(evaluated)[:3]}")
    for name in ("returns", "lengths", "finite"):
        one, other = getattr(expected, name).tolist(), getattr(found, name).tolist()
        _require(one == other, f"{preset.algorithm}: {name} {other} beside training, {one} before it")


def _data(task: Task, device: str, *, double: bool) -> PackedDataset:
    data = synthetic_data(task, device, ROWS)
    return data.double() if double else data


def _trainer(task: Task, preset: Preset, stack: tuple[int, ...], data: PackedDataset, runner: str) -> Trainer:
    algorithm = made(task, preset, stack, str(data.rows.device))
    double = data.rows.dtype == torch.float64
    return Trainer(doubled(algorithm) if double else algorithm, data, runner=runner)


def _pieces(trainer: Trainer) -> Iterator[int]:
    """Lengths of the pieces of the present phase, asked for one after another."""
    for piece in PIECES:
        yield min(piece, trainer.iterations_left_in_phase)
    yield trainer.iterations_left_in_phase


def _readable(trainer: Trainer) -> list[str]:
    """Metrics since the last reading; as text, in which NaN equals NaN, and in one order."""
    return [str(sorted(metrics.items())) for metrics in trainer.read_metrics()]


def _restored(trainer: Trainer, new: Trainer) -> Trainer:
    """A new trainer that takes over through the bytes of a checkpoint."""
    content = Checkpoint.of(trainer.state_dict(), {}).content
    new.load(Checkpoint(content, {}).tensors(), trainer.position)
    return new


def _spoil_and_retire(trainer: Trainer, slot: int) -> None:
    for network in trainer.algorithm.networks.values():
        for parameter in network.parameters():
            parameter.data[slot] = math.nan
    trainer.advance(1)
    found = [divergence.slot for divergence in trainer.retire_diverged()]
    _require(found == [slot], f"{found} diverged where {slot} was spoilt")


def _actions(trainer: Trainer, episodes: int = 3) -> Tensor:
    algorithm = trainer.algorithm
    seeds, width = len(algorithm.seeds), algorithm.dimensions.observation
    keys = [f"{seed}/{episode}" for seed in algorithm.seeds for episode in range(episodes)]
    draws = DrawStream(
        keys, "evaluation", algorithm.act_draws, device=algorithm.device, dtype=trainer.data.rows.dtype
    ).at(0)
    noise = {name: draw.unflatten(0, (seeds, episodes)) for name, draw in draws.items()}
    dtype = trainer.data.rows.dtype
    observations = torch.linspace(-1, 1, seeds * episodes * width, dtype=dtype, device=algorithm.device)
    return algorithm.act(observations.view(seeds, episodes, width), noise)


def _require_same(one: Trainer, other: Trainer, where: str) -> None:
    _require(one.position == other.position, f"{where}: at {one.position} and {other.position}")
    differing = differences(one.state_dict(), other.state_dict())
    worst = sorted(differing.items(), key=lambda entry: -entry[1])[:3]
    _require(not differing, f"{where}: {len(differing)} tensors differ, by up to {dict(worst)}")


def differences(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, float]:
    """Names of tensors that are not equal bit for bit (NaN equals NaN), with the largest difference."""
    if one.keys() != other.keys():
        return dict.fromkeys(one.keys() ^ other.keys(), math.inf)
    return {
        name: float((tensor.double() - other[name].double()).abs().nan_to_num(math.inf).max())
        for name, tensor in one.items()
        if not (
            torch.equal(tensor, other[name])
            or torch.equal(tensor.nan_to_num(7.0), other[name].nan_to_num(7.0))
        )
    }


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise Disagreement(message)
