"""What every method must satisfy, whatever it computes.

A check takes `make`, which builds the method in float64 over the seeds it is given (see `doubled`), and
transitions in float64 (see `transitions`), and raises AssertionError. It drives the method through all of its
phases, so choose configurations whose phases are short and whose programs all occur; `check_method` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from algorithms.base import ROWS, Algorithm, Dimensions, Draw, Phase, Tensors, tiny
from algorithms.registry import build, method
from bench.catalog import load_catalog
from bench.presets import Preset, PresetFiles, preset_of
from bench.training.batches import PackedDataset
from bench.training.draws import DrawStream
from bench.training.trainer import Trainer, phases_for

SEEDS = (0, 1, 2, 3, 4)
DIMENSIONS = Dimensions(observation=4, action=2)
ITERATIONS = 24
"""Of all phases of a method together, about."""
SHORTEST = 4
"""Iterations of a phase, so that something follows its first ones and its programs occur."""

Make = Callable[[Sequence[int]], Algorithm]


def check_method(name: str) -> None:
    """Hold a method to all of this, in each of its variants, at the tiny sizes that it declares.

    Its preset is that of the first task of its file. Takes seconds, on one CPU and without any data.

    Raises
    ------
    AssertionError : it breaks a rule; the traceback names the check, whose docstring says which.
    BenchError : there is no such method, or its preset file is at fault.
    """
    presets, catalog = PresetFiles()[name], load_catalog()
    task = catalog.task(presets.tasks[0])
    for variant in presets.variants:
        preset = preset_of(presets, task, variant)
        phases_for(task, name, preset.values)

        def make(seeds: Sequence[int], preset: Preset = preset) -> Algorithm:
            return doubled(tiny_method(preset, DIMENSIONS, seeds, ITERATIONS))

        data = transitions()
        with one_thread():
            for check in (
                assert_seeds_independent,
                assert_poison_stays,
                assert_deterministic,
                assert_state_is_whole,
                assert_never_waits,
            ):
                check(make, data)
            assert_seed_view_acts_alike(make(SEEDS))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one CPU thread until the end of the block."""
    # Sums are split among threads, and the last digits depend on how; and tiny networks only wait for others.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def tiny_method(preset: Preset, dimensions: Dimensions, seeds: Sequence[int], iterations: int) -> Algorithm:
    """A preset's method at the sizes that it declares for this, its phases together of about `iterations`.

    No phase that the preset has is shorter than `SHORTEST`.
    """
    sizes = tiny(method(preset.algorithm).load()[1])

    def sized(values: Mapping[str, object]) -> Algorithm:
        return build(preset.algorithm, dimensions, {**values, **sizes}, seeds)

    total = sum(phase.iterations for phase in sized(preset.values).phases)
    short = preset.scaled(iterations / total)
    counts = {name: max(SHORTEST, count) for name in preset.phases.values() if (count := short.count(name))}
    return sized({**short.values, **counts})


def doubled(algorithm: Algorithm, **attributes: object) -> Algorithm:
    """The method in float64: its networks and the moments of its optimisers.

    `attributes` replace what it holds besides, such as `schedule=vp_schedule(5, torch.float64)`: a table
    rounded to single precision cannot be undone.
    """
    algorithm.networks.double()
    for optimiser in algorithm.optimisers.values():
        optimiser.first_moments = [moment.double() for moment in optimiser.first_moments]
        optimiser.second_moments = [moment.double() for moment in optimiser.second_moments]
    for name, value in attributes.items():
        assert hasattr(algorithm, name), f"{type(algorithm).__name__} has no {name}"
        setattr(algorithm, name, value)
    return algorithm


def transitions(
    observation: int = 4,
    action: int = 2,
    rows: int = 200,
    bound: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> PackedDataset:
    """Random transitions with next actions, a tenth of them terminal."""
    generator = np.random.default_rng(0)
    return PackedDataset.pack(
        generator.normal(size=(rows, observation)),
        generator.uniform(-bound, bound, size=(rows, action)),
        generator.normal(size=(rows, observation)),
        generator.normal(size=rows),
        generator.uniform(size=rows) < 0.1,
        next_actions=generator.uniform(-bound, bound, size=(rows, action)),
        dtype=dtype,
    )


def draws_of(declared: Sequence[Draw], seeds: Sequence[int], step: int = 0, rows: int = 0) -> Tensors:
    """Declared draws in float64, each (S, *shape)."""
    return DrawStream(seeds, "test", declared, rows=rows, dtype=torch.float64).at(step)


def assert_seeds_independent(make: Make, data: PackedDataset, iterations: int = 20) -> None:
    """Every seed trains alike alone and among five.

    Per parameter, relative: 1e-12 after the first iteration of each phase, 1e-9 at its end (or after
    `iterations`).
    """
    together = Trainer(make(SEEDS), data, runner="eager")
    alone = [Trainer(make((seed,)), data, runner="eager") for seed in SEEDS]
    while together.phase is not None:
        for slot, single in enumerate(alone):
            single.algorithm.load_state_dict(_slot(together.algorithm, slot))
        left = together.iterations_left_in_phase
        for chunk, limit in ((1, 1e-12), (min(left, iterations) - 1, 1e-9)):
            for trainer in (together, *alone):
                trainer.advance(chunk)
            for slot, single in enumerate(alone):
                _assert_close(_slot(together.algorithm, slot), single.algorithm.state_dict(), limit)
        for trainer in (together, *alone):
            if left > iterations:
                trainer.advance(left - iterations)


def assert_poison_stays(make: Make, data: PackedDataset, network: str | None = None, after: int = 2) -> None:
    """NaN in `network` of seed 0, put there after some iterations, leaves all others bit for bit the same.

    None: in every network at once.
    """
    clean, poisoned = (Trainer(make(SEEDS), data, runner="eager") for _ in range(2))
    for trainer in (clean, poisoned):
        _advance(trainer, after)
    networks = poisoned.algorithm.networks
    for name in networks if network is None else (network,):
        for weights in islice(networks[name].parameters(), 1):
            weights.data[0] = math.nan
    for trainer in (clean, poisoned):
        _advance(trainer)
    found = poisoned.retire_diverged()
    assert [divergence.slot for divergence in found] == [0], "the poison was not noticed"
    for slot in range(1, len(SEEDS)):
        _assert_same(_slot(clean.algorithm, slot), _slot(poisoned.algorithm, slot))
    actions = [action(trainer.algorithm)[1:] for trainer in (clean, poisoned)]
    assert torch.equal(*actions)


def assert_deterministic(make: Make, data: PackedDataset) -> None:
    """Trained twice, everything ends at the same bits; another seed ends elsewhere."""
    one, same, other = (Trainer(make(seeds), data, runner="eager") for seeds in ((3,), (3,), (4,)))
    for trainer in (one, same, other):
        _advance(trainer)
    _assert_same(one.algorithm.state_dict(), same.algorithm.state_dict())
    assert torch.equal(action(one.algorithm), action(same.algorithm))
    assert not torch.equal(action(one.algorithm), action(other.algorithm))


def assert_state_is_whole(make: Make, data: PackedDataset, after: int = 3) -> None:
    """A copy that takes over the state in the midst of every phase continues bit for bit."""
    first = Trainer(make(SEEDS[:2]), data, runner="eager")
    for index in range(len(first.algorithm.phases)):
        while first.position.phase < index:
            _advance(first, 1)
        _advance(first, min(after, first.iterations_left_in_phase - 1))
        copy = Trainer(make(SEEDS[:2]), data, runner="eager")
        copy.load({name: tensor.clone() for name, tensor in first.state_dict().items()}, first.position)
        left = first.iterations_left_in_phase
        for trainer in (first, copy):
            _advance(trainer, left)  # and so into the next phase
        _assert_same(first.algorithm.state_dict(), copy.algorithm.state_dict())


def assert_never_waits(make: Make, data: PackedDataset) -> None:
    """No program reads a value of a tensor back, nor makes shapes depend on values."""
    algorithm = make(SEEDS[:2])
    algorithm.prepare(data.observations)
    algorithm.prepare_trajectories(data.rewards, data.ends)
    for phase, program, step in programs(algorithm):
        rows = Draw(ROWS, (phase.batch_size,), phase.sampling)
        draws = draws_of((rows, *phase.draws), algorithm.seeds, step, phase.rows(len(data)))
        batch = data.batch(draws[ROWS], next_actions=algorithm.next_actions, window=algorithm.context)
        with NoReading():
            metrics = algorithm.update(program, batch, draws)
        assert metrics, program
        assert all(values.shape == (2,) for values in metrics.values()), program
        assert not any(values.requires_grad for values in metrics.values()), program


def assert_seed_view_acts_alike(algorithm: Algorithm, **attributes: object) -> None:
    """A seed cut out of the stack acts as within it, up to single precision; `attributes` as of `doubled`."""
    slot = len(algorithm.seeds) - 1
    alone = doubled(algorithm.seed_view(slot), **attributes)
    torch.testing.assert_close(action(alone)[0], action(algorithm)[slot], rtol=1e-4, atol=1e-6)


_WAITING = (
    *("_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "equal", "allclose"),
    *("bincount", "_unique", "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave.Tensor"),
)
_INDEXING = ("index", "index_put", "_index_put_impl", "_unsafe_index", "_unsafe_index_put")


def operator_name(operator: Any) -> str:  # noqa: ANN401 (an operator of torch)
    """Without the underscore of operators that work in place, which launch what the others do."""
    name: str = operator._schema.name.split("::")[1]
    return name if name.startswith("__") else name.rstrip("_")


def waits(operator: Any, inputs: Sequence[torch.Tensor]) -> bool:  # noqa: ANN401 (an operator of torch)
    """Whether an operator lets the host wait for numbers on the device, which no captured graph allows.

    It does where a value is read, or where a shape depends on values: on how many elements a mask chooses,
    say, unless one number is put in all their places.

    Parameters
    ----------
    inputs : all tensors among its arguments, in their order.
    """
    name = operator_name(operator)
    if name in _INDEXING:
        is_put = "put" in name
        places = inputs[1:-1] if is_put else inputs[1:]
        has_mask = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in places)
        return has_mask and not (is_put and inputs[-1].numel() == 1)
    return name in _WAITING or f"{name}.{operator._overloadname}" in _WAITING


class NoReading(TorchDispatchMode):
    """Raises where the host waits for what is on the device."""

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 (an operator of torch)
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (what the operator gives)
        """Run the operator, unless it is forbidden."""
        leaves = tree_leaves((args, dict(kwargs or {})))
        if waits(func, [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]):
            raise AssertionError(f"host synchronisation by {operator_name(func)}")
        return func(*args, **(kwargs or {}))


def programs(algorithm: Algorithm) -> Iterator[tuple[Phase, str, int]]:
    """Every program of every phase with the first step that runs it; enters the phases in order."""
    for index, phase in enumerate(algorithm.phases):
        if index:
            algorithm.begin_phase(phase.name)
        first: dict[str, int] = {}
        for step in range(phase.iterations):
            first.setdefault(phase.program(step), step)
        for program, step in first.items():
            yield phase, program, step


def action(algorithm: Algorithm, count: int = 3) -> torch.Tensor:
    """Actions (S, count, A) for fixed observations and draws, in float64."""
    generator = torch.Generator().manual_seed(0)
    width = algorithm.dimensions.observation
    observations = torch.randn(1, count, width, generator=generator, dtype=torch.float64)
    actions = algorithm.act(
        observations.expand(len(algorithm.seeds), -1, -1), _acting_draws(algorithm, count)
    )
    assert actions.shape == (len(algorithm.seeds), count, algorithm.dimensions.action)
    return actions


def _acting_draws(algorithm: Algorithm, count: int) -> Tensors:
    """Draws of `act` for `count` states, alike for every seed: (S, count, *shape)."""
    declared = [Draw(d.name, (count, *d.shape), d.distribution) for d in algorithm.act_draws]
    return {
        name: draw.expand(len(algorithm.seeds), *draw.shape[1:])
        for name, draw in draws_of(declared, (0,)).items()
    }


def _advance(trainer: Trainer, iterations: int | None = None) -> None:
    """Across phase ends; to the end of training when no number is given."""
    while trainer.phase is not None and iterations != 0:
        left = trainer.iterations_left_in_phase
        chunk = left if iterations is None else min(left, iterations)
        trainer.advance(chunk)
        iterations = None if iterations is None else iterations - chunk


def _slot(algorithm: Algorithm, slot: int) -> Tensors:
    """State of one seed as a stack of one would have it; counters have no seed axis."""
    state = algorithm.state_dict()
    return {
        name: (tensor[slot : slot + 1] if tensor.dim() else tensor).clone() for name, tensor in state.items()
    }


def _assert_same(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def _assert_close(one: Tensors, other: Tensors, limit: float) -> None:
    for name, tensor in one.items():
        if name.startswith("network."):
            difference, scale = (tensor - other[name]).abs().max(), other[name].abs().max()
            assert difference <= limit * scale, f"{name}: {difference} of {scale}"
