"""Networks over stacks of training seeds: one batched product per layer, whatever the number of seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from algorithms.base import Dimensions, derived_seed

Activation = Callable[[Tensor], Tensor]


class Initialiser:
    """Initial weights of one network: a function of (seed, network name) alone, not of the stack.

    Numbers are drawn on the CPU so that every device starts from the same weights.
    """

    def __init__(self, seeds: Sequence[int], network: str) -> None:
        self.seeds = tuple(seeds)
        self._generators = [torch.Generator().manual_seed(derived_seed(s, "init", network)) for s in seeds]

    def uniform(self, shape: tuple[int, ...], bound: float) -> Tensor:
        """U(-bound, bound), shape (S, *shape)."""
        draws = [torch.rand(shape, generator=g, dtype=torch.float64) for g in self._generators]
        return (torch.stack(draws) * 2 - 1).mul_(bound).float()

    def normal(self, shape: tuple[int, ...], deviation: float) -> Tensor:
        """N(0, deviation^2), shape (S, *shape)."""
        draws = [torch.randn(shape, generator=g, dtype=torch.float64) for g in self._generators]
        return torch.stack(draws).mul_(deviation).float()

    def orthogonal(self, shape: tuple[int, ...], gain: float) -> Tensor:
        """Orthogonal matrices, shape (S, ..., in, out), as torch.nn.init.orthogonal_ makes for (out, in)."""
        *leading, inputs, outputs = shape
        count = math.prod(leading)
        matrices = [
            nn.init.orthogonal_(torch.empty(outputs, inputs), gain, generator=g).T
            for g in self._generators
            for _ in range(count)
        ]
        return torch.stack(matrices).view(len(self.seeds), *shape)

    def truncated_normal(self, shape: tuple[int, ...], deviation: float) -> Tensor:
        """Normal truncated at two widths, of standard deviation `deviation` after that, (S, *shape)."""
        width = deviation / TRUNCATED_DEVIATION
        draws = [
            nn.init.trunc_normal_(torch.empty(shape, dtype=torch.float64), 0, 1, -2, 2, generator=g)
            for g in self._generators
        ]
        return torch.stack(draws).mul_(width).float()


TRUNCATED_DEVIATION = 0.87962566103423978
"""Standard deviation of a standard normal truncated to [-2, 2]."""

Initialisation = Callable[[Initialiser, tuple[int, ...], int, int], tuple[Tensor, Tensor]]
"""(initialiser, ensemble axes, inputs, outputs) -> weight (S, *axes, in, out), bias (S, *axes, 1, out)."""


def torch_default(
    initialiser: Initialiser, axes: tuple[int, ...], inputs: int, outputs: int
) -> tuple[Tensor, Tensor]:
    """As torch.nn.Linear starts: U(+-1/sqrt(inputs)) for weights and bias."""
    bound = 1.0 / math.sqrt(inputs)
    weight = initialiser.uniform((*axes, inputs, outputs), bound)
    return weight, initialiser.uniform((*axes, 1, outputs), bound)


def orthogonal(gain: float) -> Initialisation:
    """Orthogonal weights times `gain`, zero bias."""

    def initialise(
        initialiser: Initialiser, axes: tuple[int, ...], inputs: int, outputs: int
    ) -> tuple[Tensor, Tensor]:
        weight = initialiser.orthogonal((*axes, inputs, outputs), gain)
        return weight, torch.zeros(len(initialiser.seeds), *axes, 1, outputs)

    return initialise


def lecun_normal(
    initialiser: Initialiser, axes: tuple[int, ...], inputs: int, outputs: int
) -> tuple[Tensor, Tensor]:
    """As flax's Dense starts: truncated normal of standard deviation 1/sqrt(inputs), zero bias."""
    weight = initialiser.truncated_normal((*axes, inputs, outputs), 1.0 / math.sqrt(inputs))
    return weight, torch.zeros(len(initialiser.seeds), *axes, 1, outputs)


class Linear(nn.Module):
    """Affine map of every seed (and ensemble member): (S, [E,] B, in) -> (S, [E,] B, out).

    Weights are (S, [E,] in, out), as one batched product wants them.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        inputs: int,
        outputs: int,
        *,
        members: int | None = None,
        initialisation: Initialisation = torch_default,
    ) -> None:
        super().__init__()
        axes = () if members is None else (members,)
        weight, bias = initialisation(initialiser, axes, inputs, outputs)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.weight.dim() == 3:
            return torch.baddbmm(self.bias, inputs, self.weight)
        stack = self.weight.shape[:-2]
        flat = torch.baddbmm(self.bias.flatten(0, -3), inputs.flatten(0, -3), self.weight.flatten(0, -3))
        return flat.unflatten(0, stack)


class LayerNorm(nn.Module):
    """torch.nn.LayerNorm over the last axis with weights of each seed (and member), (S, [E,] 1, width).

    `epsilon` is added to the variance. It has no default because the authors' libraries differ in theirs:
    torch's LayerNorm takes 1e-5, flax's 1e-6.
    """

    def __init__(self, seeds: int, width: int, *, epsilon: float, members: int | None = None) -> None:
        super().__init__()
        self.epsilon = epsilon
        shape = (seeds, 1, width) if members is None else (seeds, members, 1, width)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, inputs: Tensor) -> Tensor:
        normal = functional.layer_norm(inputs, inputs.shape[-1:], eps=self.epsilon)
        return torch.addcmul(self.bias, normal, self.weight)


class MLP(nn.Module):
    """Fully connected layers, `hidden` of them with an activation, then a linear output.

    Parameters
    ----------
    sizes : input, hidden ..., output widths.
    layer_norm_epsilon : of a LayerNorm between every hidden layer and its activation; None: no LayerNorm.
    plain_first : leave the first hidden layer without an activation.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        sizes: Sequence[int],
        activation: Activation,
        *,
        members: int | None = None,
        layer_norm_epsilon: float | None = None,
        plain_first: bool = False,
        initialisation: Initialisation = torch_default,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.plain_first = plain_first
        pairs = list(itertools.pairwise(sizes))
        self.layers = nn.ModuleList(
            Linear(initialiser, i, o, members=members, initialisation=initialisation) for i, o in pairs
        )
        self.norms = nn.ModuleList(
            LayerNorm(len(initialiser.seeds), o, epsilon=layer_norm_epsilon, members=members)
            for _, o in pairs[:-1]
            if layer_norm_epsilon is not None
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.after_first(self.layers[0](inputs))

    def after_first(self, hidden: Tensor) -> Tensor:
        """Everything behind the first layer's product, given that product."""
        for index, layer in enumerate(self.layers[1:]):
            if self.norms:
                hidden = self.norms[index](hidden)
            if index > 0 or not self.plain_first:
                hidden = self.activation(hidden)
            hidden = layer(hidden)
        return hidden


class CriticEnsemble(nn.Module):
    """E action values: observations (S, B, O), actions (S, B, A) -> (S, E, B)."""

    def __init__(
        self,
        initialiser: Initialiser,
        observation: int,
        action: int,
        hidden: Sequence[int],
        activation: Activation,
        *,
        members: int = 2,
        layer_norm_epsilon: float | None = None,
        initialisation: Initialisation = torch_default,
    ) -> None:
        super().__init__()
        self.members = members
        self.mlp = MLP(
            initialiser,
            (observation + action, *hidden, 1),
            activation,
            members=members,
            layer_norm_epsilon=layer_norm_epsilon,
            initialisation=initialisation,
        )

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        inputs = torch.cat((observations, actions), dim=-1).unsqueeze(1)
        return self.mlp(inputs.expand(-1, self.members, -1, -1)).squeeze(-1)


class NoiseConditionedNetwork(nn.Module):
    """F(noisy actions (S, B, A), observations (S, B, O), noise condition (S, B)) -> (S, B, A).

    A condition that all share may be given once, (1, 1).
    """

    def __init__(
        self, initialiser: Initialiser, dimensions: Dimensions, width: int, embedding: int, plain_first: bool
    ) -> None:
        super().__init__()
        self.embedding_width = embedding
        self.embed = MLP(initialiser, (embedding, 2 * embedding, embedding), mish)
        inputs = dimensions.action + dimensions.observation + embedding
        sizes = (inputs, width, width, width, width, dimensions.action)
        self.mlp = MLP(initialiser, sizes, mish, plain_first=plain_first)

    def forward(self, noisy: Tensor, observations: Tensor, condition: Tensor) -> Tensor:
        features = sinusoidal_embedding(condition, self.embedding_width)
        time = self.embed(features.expand(len(noisy), -1, -1)).expand(*noisy.shape[:-1], -1)
        return self.mlp(torch.cat((noisy, observations, time), dim=-1))


class GaussianActor(nn.Module):
    """Observations (S, B, O) -> mean and log standard deviation before tanh, (S, B, A) each."""

    def __init__(
        self, initialiser: Initialiser, dimensions: Dimensions, width: int, log_std: tuple[float, float]
    ) -> None:
        super().__init__()
        sizes = (dimensions.observation, width, width, width, 2 * dimensions.action)
        self.mlp = MLP(initialiser, sizes, functional.relu, initialisation=orthogonal(1.0))
        self.log_std = log_std

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.mlp(observations).chunk(2, dim=-1)
        return mean, log_std.clamp(*self.log_std)


CACHED = 1 << 16
"""Numbers that, with their intermediate results, stay in a core's cache."""


class _CpuMish(torch.autograd.Function):
    """Mish with one exponential per element, its derivative kept from the forward pass.

    tanh(softplus(x)) = n / (n + 2) with n = e^x (e^x + 2). torch's CPU kernel takes an exponential, a
    logarithm and a hyperbolic tangent forwards and again backwards: a third of DTQL's iteration.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor) -> Tensor:
        # With D = n + 2: value x n / D, derivative (n + 4 x e^x (1 + e^x) / D) / D. Piece by piece within the
        # cache and in place, because memory costs more than the arithmetic. Above 20 n / D is 1 in double
        # precision too; e^(2x) would overflow.
        result, derivative = (torch.empty_like(inputs, memory_format=torch.contiguous_format) for _ in "vd")
        flat = (inputs.reshape(-1), result.view(-1), derivative.view(-1))
        for piece, numerator, slope in zip(*(tensor.split(CACHED) for tensor in flat), strict=True):
            exponential = piece.clamp(max=20.0).exp_()
            torch.add(exponential, 2, out=numerator).mul_(exponential)
            torch.add(exponential, 1, out=slope).mul_(exponential).mul_(piece)
            inverse = torch.add(numerator, 2, out=exponential).reciprocal_()
            slope.mul_(inverse).mul_(4).add_(numerator).mul_(inverse)
            numerator.mul_(inverse).mul_(piece)
        ctx.save_for_backward(derivative)
        return result

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (derivative,) = ctx.saved_tensors
        return gradient * derivative


def mish(inputs: Tensor) -> Tensor:
    """x tanh(softplus(x)), elementwise (Misra 2019)."""
    if inputs.device.type != "cpu":
        return functional.mish(inputs)
    if torch.is_grad_enabled() and inputs.requires_grad:
        return _CpuMish.apply(inputs)
    return _cpu_mish(inputs)


def _cpu_mish(inputs: Tensor) -> Tensor:
    """The forward pass of `_CpuMish`, piece by piece: within the cache it takes a third of the time."""
    result = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    pieces = zip(inputs.reshape(-1).split(CACHED), result.view(-1).split(CACHED), strict=True)
    for piece, numerator in pieces:
        exponential = piece.clamp(max=20.0).exp_()
        torch.add(exponential, 2, out=numerator).mul_(exponential)
        torch.add(numerator, 2, out=exponential).reciprocal_()
        numerator.mul_(exponential).mul_(piece)
    return result


def sinusoidal_embedding(
    times: Tensor, width: int, *, divisor: int | None = None, cosine_first: bool = False
) -> Tensor:
    """Sine and cosine features (..., width) of times (...), frequencies 10000^(-k / divisor), k < width/2.

    The papers differ in the divisor (by default width/2 - 1) and in what comes first.
    """
    half = width // 2
    steps = torch.arange(half, device=times.device, dtype=times.dtype)
    frequencies = torch.exp(steps * (-math.log(10_000.0) / (divisor or half - 1)))
    angles = times.unsqueeze(-1) * frequencies
    parts = (angles.cos(), angles.sin()) if cosine_first else (angles.sin(), angles.cos())
    return torch.cat(parts, dim=-1)
