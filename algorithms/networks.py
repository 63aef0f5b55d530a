"""Networks over stacks of training seeds: one batched product per layer, whatever the number of seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.func import functional_call
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


def xavier_uniform(
    initialiser: Initialiser, axes: tuple[int, ...], inputs: int, outputs: int
) -> tuple[Tensor, Tensor]:
    """U(+-sqrt(6 / (inputs + outputs))) for weights (Glorot & Bengio 2010), zero bias."""
    weight = initialiser.uniform((*axes, inputs, outputs), math.sqrt(6 / (inputs + outputs)))
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
        if torch.compiler.is_compiling():  # which adds the bias together with what follows
            return inputs @ self.weight + self.bias
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

    def first(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values (S, B) of the first member alone, whose weights get no gradient."""
        weights = {name: weight.detach()[:, 0] for name, weight in self.mlp.named_parameters()}
        inputs = torch.cat((observations, actions), dim=-1)
        return functional_call(self.mlp, weights, (inputs,)).squeeze(-1)


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


# The residual noise-prediction network of IDQL (Hansen-Estruch et al. 2023) with Gaussian Fourier features of
# time (Song et al. 2021): IDQL's policy, and SRPO's behaviour model, as in its released model.py.

EXPANSION = 4
"""Width inside a residual block over the width between blocks."""


class FourierFeatures(nn.Module):
    """Sines, then cosines of 2 pi t W.

    W (S, 1, width / 2) ~ N(0, scale^2) is drawn once; unless `trained` it stays so, as a buffer, so that it
    is saved and restored with the weights, without which the model would be lost.
    """

    frequencies: Tensor

    def __init__(self, initialiser: Initialiser, width: int, scale: float, *, trained: bool = False) -> None:
        super().__init__()
        frequencies = initialiser.normal((1, width // 2), scale)
        if trained:
            self.frequencies = nn.Parameter(frequencies)
        else:
            self.register_buffer("frequencies", frequencies)

    def forward(self, time: Tensor) -> Tensor:
        """Times (S, B) -> features (S, B, width)."""
        angles = 2 * math.pi * time.unsqueeze(-1) * self.frequencies
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class ResidualBlock(nn.Module):
    """x + Linear(act(Linear(LayerNorm(kept x)))), widths W -> 4 W -> W, (S, B, W) -> (S, B, W).

    The released block also owns a W -> W projection, used only where widths change, which they never do; it
    takes no part in any result, so it is left out.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        width: int,
        layer_norm_epsilon: float,
        activation: Activation,
        initialisation: Initialisation,
    ) -> None:
        super().__init__()
        self.norm = LayerNorm(len(initialiser.seeds), width, epsilon=layer_norm_epsilon)
        sizes = (width, EXPANSION * width, width)
        self.mlp = MLP(initialiser, sizes, activation, initialisation=initialisation)

    def forward(self, inputs: Tensor, kept: Tensor | None = None) -> Tensor:
        """`kept` (S, B, W) scales the block's inputs, 0 where dropped; None: no dropout."""
        branch = inputs if kept is None else inputs * kept
        return inputs + self.mlp(self.norm(branch))


class ResidualNoiseNetwork(nn.Module):
    """eps(noisy actions (S, B, A), observations (S, B, O), time (S, B)) -> predicted noise (S, B, A).

    A time that all share may be given once, (S, 1).

    Parameters
    ----------
    trained_features : the frequencies of the time's features are learnt like weights.
    initialisation, inside : of the layers between and within residual blocks.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        *,
        width: int,
        blocks: int,
        layer_norm_epsilon: float,
        time_features: int,
        fourier_scale: float,
        trained_features: bool = False,
        activation: Activation | None = None,
        initialisation: Initialisation = torch_default,
        inside: Initialisation = torch_default,
    ) -> None:
        super().__init__()
        embedding = 2 * time_features
        self.activation = activation or mish
        self.fourier = FourierFeatures(initialiser, time_features, fourier_scale, trained=trained_features)
        sizes = (time_features, embedding, embedding)
        self.embed = MLP(initialiser, sizes, self.activation, initialisation=initialisation)
        inputs = dimensions.action + dimensions.observation + embedding
        self.first = Linear(initialiser, inputs, width, initialisation=initialisation)
        self.blocks = nn.ModuleList(
            ResidualBlock(initialiser, width, layer_norm_epsilon, self.activation, inside)
            for _ in range(blocks)
        )
        self.last = Linear(initialiser, width, dimensions.action, initialisation=initialisation)

    def forward(
        self, noisy: Tensor, observations: Tensor, time: Tensor, kept: Sequence[Tensor] | None = None
    ) -> Tensor:
        """`kept`: one dropout mask per block; None, as in every use but training: no dropout."""
        embedded = self.embed(self.fourier(time)).expand(*noisy.shape[:-1], -1)
        hidden = self.first(torch.cat((noisy, observations, embedded), dim=-1))
        for index, block in enumerate(self.blocks):
            hidden = block(hidden, None if kept is None else kept[index])
        return self.last(self.activation(hidden))


def dropout_masks(uniform: Tensor, rate: float, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Masks from uniforms (S, blocks, B, W): 1 / (1 - rate) where kept, else 0; one (S, B, W) per block."""
    return ((uniform >= rate).to(dtype) / (1 - rate)).unbind(dim=1)


# Networks for several actions of one state at a time, BDPO's. Row axes are free: a state that many actions
# share, or a diffusion step that many rows share, has size 1 there and is multiplied once.

BROADCAST_INITIALISATION = orthogonal(math.sqrt(2))
"""Of every layer, the last one included; biases are zero (released flowrl/module/initialization.py)."""


class BroadcastMLP(MLP):
    """MLP on parts side by side, without ever building their concatenation.

    Parts are (S, [E or 1,] *rows, width) and broadcast against each other over `rows`; at least one has them
    all. The result is (S, [E,] *rows, output).
    """

    def forward(self, *parts: Tensor) -> Tensor:
        first = cast(Linear, self.layers[0])
        leading = first.weight.dim() - 2
        weights = first.weight.split([part.shape[-1] for part in parts], dim=-2)
        *small, largest = sorted(map(_product, parts, weights), key=Tensor.numel)
        ones = [1] * (largest.dim() - first.bias.dim())
        bias = first.bias.unflatten(leading, (*ones, 1))
        hidden = largest.add_(sum(small, start=bias))
        rows = hidden.shape[leading:-1]
        return self.after_first(hidden.flatten(leading, -2)).unflatten(leading, rows)


def _product(part: Tensor, weight: Tensor) -> Tensor:
    """(S, [E or 1,] *rows, in) times (S, [E,] in, out) -> (S, [E,] *rows, out)."""
    leading = weight.dim() - 2
    product = torch.matmul(part.flatten(leading, -2), weight)
    return product.unflatten(leading, part.shape[leading:-1])


class StepEmbedding(nn.Module):
    """Diffusion steps (S, *rows) -> features (S, [E,] *rows, width): cosines and sines, then two layers."""

    def __init__(
        self, initialiser: Initialiser, width: int, hidden: int, *, members: int | None = None
    ) -> None:
        super().__init__()
        self.width = width
        self.members = members
        self.mlp = MLP(
            initialiser,
            (width, hidden, width),
            mish,
            members=members,
            initialisation=BROADCAST_INITIALISATION,
        )

    def forward(self, steps: Tensor) -> Tensor:
        times = steps.flatten(1).to(next(self.mlp.parameters()).dtype)
        features = sinusoidal_embedding(times, self.width, cosine_first=True)
        if self.members is not None:
            features = features.unsqueeze(1).expand(-1, self.members, -1, -1)
        return mish(self.mlp(features)).unflatten(-2, steps.shape[1:])


class BroadcastNoiseNetwork(nn.Module):
    """Noise in a^n: (S, *rows, A), observations (S, *rows, O), steps (S, *rows) -> (S, *rows, A)."""

    def __init__(
        self, initialiser: Initialiser, dimensions: Dimensions, hidden: Sequence[int], embedding: int
    ) -> None:
        super().__init__()
        self.embed = StepEmbedding(initialiser, embedding, embedding)
        sizes = (dimensions.action + embedding + dimensions.observation, *hidden, dimensions.action)
        self.mlp = BroadcastMLP(initialiser, sizes, mish, initialisation=BROADCAST_INITIALISATION)

    def forward(self, noisy: Tensor, observations: Tensor, steps: Tensor) -> Tensor:
        return self.mlp(noisy, self.embed(steps), observations)

    def along(self, observations: Tensor, steps: int) -> Callable[[int, Tensor], Tensor]:
        """The network for states (S, B, O) at steps 1 .. `steps`: (n, a^n (S, B, N, A)) -> (S, B, N, A).

        What the first layer makes of observations and steps is worked out once for all calls and actions.
        """
        numbers = torch.arange(1, steps + 1, device=observations.device).expand(len(observations), -1)
        first = cast(Linear, self.mlp.layers[0])
        embedded = self.embed(numbers)
        widths = (first.weight.shape[1] - embedded.shape[-1] - observations.shape[-1], embedded.shape[-1])
        by_action, by_step, by_state = first.weight.split((*widths, observations.shape[-1]), dim=1)
        of_steps = torch.baddbmm(first.bias, embedded, by_step)
        of_states = torch.bmm(observations, by_state).unsqueeze(2)

        def predict(step: int, noisy: Tensor) -> Tensor:
            hidden = torch.bmm(noisy.flatten(1, 2), by_action).unflatten(1, noisy.shape[1:3])
            hidden = hidden.add_(of_states + of_steps[:, step - 1, None, None])
            return self.mlp.after_first(hidden.flatten(1, 2)).unflatten(1, noisy.shape[1:3])

        return predict


class ActionValues(nn.Module):
    """E action values Q: observations (S, *rows, O), actions (S, *rows, A) -> (S, E, *rows)."""

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        hidden: Sequence[int],
        *,
        members: int,
        layer_norm_epsilon: float | None,
        initialisation: Initialisation = BROADCAST_INITIALISATION,
    ) -> None:
        super().__init__()
        self.mlp = BroadcastMLP(
            initialiser,
            (dimensions.observation + dimensions.action, *hidden, 1),
            mish,
            members=members,
            layer_norm_epsilon=layer_norm_epsilon,
            initialisation=initialisation,
        )

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        return self.mlp(observations.unsqueeze(1), actions.unsqueeze(1)).squeeze(-1)


class DiffusionValues(nn.Module):
    """E values V_n of noisy actions within the reverse chain, always with LayerNorm.

    Observations (S, *rows, O), noisy actions (S, *rows, A), steps n >= 1 (S, *rows) -> (S, E, *rows). Every
    member embeds the step for itself.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        hidden: Sequence[int],
        *,
        members: int,
        embedding: int,
        embedding_hidden: int,
        layer_norm_epsilon: float,
    ) -> None:
        super().__init__()
        self.embed = StepEmbedding(initialiser, embedding, embedding_hidden, members=members)
        self.mlp = BroadcastMLP(
            initialiser,
            (dimensions.observation + dimensions.action + embedding, *hidden, 1),
            mish,
            members=members,
            layer_norm_epsilon=layer_norm_epsilon,
            initialisation=BROADCAST_INITIALISATION,
        )

    def forward(self, observations: Tensor, noisy: Tensor, steps: Tensor) -> Tensor:
        time = self.embed(steps)
        return self.mlp(observations.unsqueeze(1), noisy.unsqueeze(1), time).squeeze(-1)


CACHED = 1 << 16
"""Numbers that, with their intermediate results, stay in a core's cache."""


class _CpuMish(torch.autograd.Function):
    """Mish with one exponential per element, its derivative kept from the forward pass.

    tanh(softplus(x)) = n / (n + 2) with n = e^x (e^x + 2). torch's CPU kernel takes an exponential, a
    logarithm and a hyperbolic tangent forwards and again backwards: a third of DTQL's iteration.
    """

    @staticmethod
    def forward(inputs: Tensor) -> tuple[Tensor, Tensor]:
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
        return result, derivative

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        _, derivative = output
        ctx.mark_non_differentiable(derivative)
        ctx.save_for_backward(derivative)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor, _: Tensor) -> Tensor:
        (derivative,) = ctx.saved_tensors  # type: ignore[attr-defined]  # torch's stub leaves it out
        return gradient * derivative


def mish(inputs: Tensor) -> Tensor:
    """x tanh(softplus(x)), elementwise (Misra 2019)."""
    if inputs.device.type != "cpu":
        return functional.mish(inputs)
    if torch.is_grad_enabled() and inputs.requires_grad:
        result, _ = _CpuMish.apply(inputs)
        return result
    return _cpu_mish(inputs)


def _cpu_mish(inputs: Tensor) -> Tensor:
    """The forward pass of `_CpuMish`, piece by piece: within the cache it takes a third of the time."""
    result = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    flat = (inputs.reshape(-1), result.view(-1))
    # A trace keeps the number of pieces that it saw, and is given other numbers of observations later.
    pieces = (flat,) if torch.jit.is_tracing() else zip(*(one.split(CACHED) for one in flat), strict=True)
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
    last = (1 - half) / (divisor or half - 1)
    frequencies = torch.logspace(0.0, last, half, base=10_000.0, device=times.device, dtype=times.dtype)
    angles = times.unsqueeze(-1) * frequencies
    parts = (angles.cos(), angles.sin()) if cosine_first else (angles.sin(), angles.cos())
    return torch.cat(parts, dim=-1)
