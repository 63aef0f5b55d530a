"""What the plain versions share: stacked weights as torch's own modules, clipping of gradients, averages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm

Tensors = Mapping[str, Tensor]


class PlainVersion(ABC):
    """One seed of a method, written from its formulas as one would first write it: no stacks, torch.optim.

    Only weights come from the stacked code. So the same batches and draws must give the same losses and
    weights in both (`tests/algorithms`), and iterations of the two side by side tell what stacking and
    explicit draws cost or gain (`benchmarks.iteration`).
    """

    @classmethod
    @abstractmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainVersion:
        """The plain twin of the seed in a slot of `algorithm`, with copies of its weights as they are now."""

    def begin_phase(self, name: str) -> None:  # noqa: B027  (most methods have no hand-over)
        """Hand-over from the phase before, as the method's own."""

    @abstractmethod
    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration on a batch (B, ...) with draws as the method declares them; returns the losses."""


def slice_of(stacked: Tensors, prefix: str, seed: int, member: int | None = None) -> dict[str, Tensor]:
    """Tensors of one seed (and ensemble member) of a stacked state dict, as {name below prefix: tensor}."""
    index = (seed,) if member is None else (seed, member)
    return {k.removeprefix(prefix): v[index] for k, v in stacked.items() if k.startswith(prefix)}


def linear(weights: Tensors, name: str) -> nn.Linear:
    """torch.nn.Linear from entries `name`.weight (in, out) and `name`.bias (1, out)."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    inputs, outputs = weight.shape
    module = nn.Linear(inputs, outputs, dtype=weight.dtype)
    module.weight.data.copy_(weight.T)
    module.bias.data.copy_(bias[0])
    return module


def layered(weights: Tensors, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers from entries `layers.0`, `layers.1`, ... with an activation between them."""
    count = sum(name.startswith("layers.") and name.endswith(".weight") for name in weights)
    layers = [part for i in range(count) for part in (linear(weights, f"layers.{i}"), activation())]
    return nn.Sequential(*layers[:-1])


def layer_norm(weights: Tensors, name: str, epsilon: float = 1e-5) -> nn.LayerNorm:
    """torch.nn.LayerNorm from entries `name`.weight and `name`.bias, (1, width); torch's own epsilon."""
    weight = weights[f"{name}.weight"]
    module = nn.LayerNorm(weight.shape[-1], eps=epsilon, dtype=weight.dtype)
    module.weight.data.copy_(weight[0])
    module.bias.data.copy_(weights[f"{name}.bias"][0])
    return module


def q_values(network: nn.Module, s: Tensor, a: Tensor) -> Tensor:
    """Values (...) of a plain critic of state (..., O) and action (..., A) side by side."""
    return network(torch.cat([s, a], dim=-1))[..., 0]


def step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of a loss."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def follow(target: nn.Module, online: nn.Module, rate: float) -> None:
    """Move `target` by the share `rate` towards `online`."""
    with torch.no_grad():
        for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
            slow.copy_((1 - rate) * slow + rate * fast)


def clip_by_global_norm(parameters: Iterable[nn.Parameter], maximum: float) -> None:
    """optax's rule on the gradients of one network: kept below the maximum, else g / norm * maximum."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    if not norm < maximum:
        for gradient in gradients:
            gradient.div_(norm).mul_(maximum)
