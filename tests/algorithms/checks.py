"""What tests of methods share: batches, seeds cut out of stacks, and what an update may change."""

import torch

from algorithms.base import Algorithm


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
    }


def of_seed(tensors, seed):
    """One seed's part of stacked tensors."""
    return {name: tensor[seed] for name, tensor in tensors.items()}


# What an update may change.


def assert_only_changes(algorithm: Algorithm, before: dict[str, torch.Tensor], *networks: str) -> None:
    """Since `before` (see `snapshot`) every tensor of `networks` changed, and none of the other networks."""
    for name, tensor in algorithm.networks.state_dict().items():
        changed = not torch.equal(tensor, before[name])
        assert changed == (name.split(".")[0] in networks), f"{name} {'changed' if changed else 'stayed'}"


def snapshot(algorithm: Algorithm) -> dict[str, torch.Tensor]:
    """All network tensors as they are now."""
    return {name: tensor.clone() for name, tensor in algorithm.networks.state_dict().items()}
