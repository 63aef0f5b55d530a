"""What tests of methods share: batches, seeds cut out of stacks, and what an update may change."""

from collections.abc import Callable

import torch
from torch import nn

from algorithms.base import Algorithm
from bench.training import contract
from benchmarks.plain.modules import PlainVersion


def normal(*shape, seed=0):
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_batch(seeds, size, observation, action, *, generator, bound=1.0):
    """A stacked batch in float64, some actions on the bound, some transitions terminal."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    actions = (normal(seeds, size, action)).clamp(-bound, bound)
    return {
        "observations": normal(seeds, size, observation),
        "actions": actions,
        "next_observations": normal(seeds, size, observation),
        "rewards": normal(seeds, size),
        "terminals": (normal(seeds, size) > 0.8).double(),
        "next_actions": normal(seeds, size, action).clamp(-bound, bound),
    }


def of_seed(tensors, seed):
    """One seed's part of stacked tensors."""
    return {name: tensor[seed] for name, tensor in tensors.items()}


# Beside a plain version of one seed.


def train_beside_plain(
    algorithm: Algorithm,
    plain: type[PlainVersion],
    steps: int,
    *,
    bound: float,
    tolerance: float = 1e-8,
    make_batch: Callable[..., dict[str, torch.Tensor]] = random_batch,
) -> None:
    """Train a float64 method and a plain twin of each seed by the same batches and draws, in every phase.

    Every loss of every step agrees, and at the end all weights, targets and actions, relative to `tolerance`.
    A twin keeps its targets under the name of the network with `slow_` before it.
    """
    twins = [plain.of(algorithm, slot) for slot in range(len(algorithm.seeds))]
    sizes = algorithm.dimensions
    generator = torch.Generator().manual_seed(0)
    places = [(phase, step) for phase in algorithm.phases for step in range(steps)]
    for phase, step in places:
        if step == 0 and phase != algorithm.phases[0]:
            for method in (algorithm, *twins):
                method.begin_phase(phase.name)
        batch = make_batch(
            len(twins), phase.batch_size, sizes.observation, sizes.action, generator=generator, bound=bound
        )
        draws = contract.draws_of(phase.draws, algorithm.seeds, step)
        program = phase.program(step)
        metrics = algorithm.update(program, batch, draws)
        for slot, twin in enumerate(twins):
            losses = twin.update(program, of_seed(batch, slot), of_seed(draws, slot))
            assert metrics.keys() == losses.keys()
            for name, value in losses.items():
                torch.testing.assert_close(
                    metrics[name][slot], value.detach(), rtol=tolerance, atol=1e-11, msg=f"{step} {name}"
                )
    observations = normal(len(twins), 5, sizes.observation, seed=7)
    for slot, twin in enumerate(twins):
        actions = algorithm.act(observations, {})[slot]
        torch.testing.assert_close(actions, twin.act(observations[slot]).detach(), rtol=tolerance, atol=1e-10)
        _assert_same_weights(plain.of(algorithm, slot), twin, "", tolerance)
    targets = [name for name in algorithm.networks if name.startswith("target_")]
    for name in targets:
        algorithm.copy_weights(name, name.removeprefix("target_"))
    for slot, twin in enumerate(twins if targets else ()):
        _assert_same_weights(plain.of(algorithm, slot), twin, "slow_", tolerance)


def _assert_same_weights(fresh: PlainVersion, trained: PlainVersion, prefix: str, tolerance: float) -> None:
    """Networks and single parameters of two twins: without a prefix all, else those that `trained` has so."""
    compared = 0
    for name, value in vars(fresh).items():
        other = getattr(trained, prefix + name, None)
        if not isinstance(value, nn.Module | nn.Parameter) or name.startswith("slow_") or other is None:
            continue
        pairs = [(value, other)]
        if isinstance(value, nn.Module):
            pairs = list(zip(value.parameters(), other.parameters(), strict=True))
        for one, two in pairs:
            difference, scale = (one - two).abs().max(), two.abs().max()
            assert difference <= tolerance * scale + 1e-12, f"{prefix}{name}: {difference} of {scale}"
        compared += 1
    assert compared, "nothing was compared"


# What an update may change.


def assert_only_changes(algorithm: Algorithm, before: dict[str, torch.Tensor], *networks: str) -> None:
    """Since `before` (see `snapshot`) every tensor of `networks` changed, and none of the other networks."""
    for name, tensor in algorithm.networks.state_dict().items():
        changed = not torch.equal(tensor, before[name])
        assert changed == (name.split(".")[0] in networks), f"{name} {'changed' if changed else 'stayed'}"


def snapshot(algorithm: Algorithm) -> dict[str, torch.Tensor]:
    """All network tensors as they are now."""
    return {name: tensor.clone() for name, tensor in algorithm.networks.state_dict().items()}
