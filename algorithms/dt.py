"""DT: Decision Transformer (Chen et al. 2021), a causal transformer that clones actions given returns-to-go.

Defaults follow the released code (kzl/decision-transformer); the presets' variant `corl` follows CORL's
dt.py. A window may go beyond the end of its trajectory: what stands there counts for nothing in the loss and,
standing last, is seen by nothing before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from algorithms.base import (
    Algorithm,
    BatchSize,
    Count,
    Dimensions,
    Draw,
    NonNegative,
    Phase,
    Positive,
    Tensors,
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.diffusion import squared_error
from algorithms.history import History
from algorithms.networks import (
    Activation,
    Initialisation,
    Initialiser,
    LayerNorm,
    Linear,
    dropout_masks,
    torch_default,
)
from algorithms.optim import TORCH_NORM_MARGIN, Adam, linear_warm_up
from algorithms.standardisation import Standardisation

TOKENS = 3
"""Of a step: return-to-go, observation, action."""
EXPANSION = 4
"""Units of a block's hidden layer, times the width."""
DEVIATION = 0.02
"""Of GPT-2's initial weights."""
LAYER_NORM_EPSILON = 1e-5
"""torch's and GPT-2's."""


def masked_action_loss(predicted: Tensor, actions: Tensor, valid: Tensor, mean_over: str) -> Tensor:
    """Squared error of actions where the window is `valid`: (S, B, K, A) twice, (S, B, K) -> (S,).

    The mean over action components and `valid` steps or, as CORL takes it, over `all` steps of the windows.
    """
    errors = squared_error(predicted, actions).mean(dim=-1) * valid
    if mean_over == "all":
        return errors.mean(dim=(-2, -1))
    return errors.sum(dim=(-2, -1)) / valid.sum(dim=(-2, -1))


def gpt2(initialiser: Initialiser, axes: tuple[int, ...], inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """N(0, 0.02^2) for weights, zero bias."""
    weight = initialiser.normal((*axes, inputs, outputs), DEVIATION)
    return weight, torch.zeros(len(initialiser.seeds), *axes, 1, outputs)


class Block(nn.Module):
    """x + attention(LayerNorm(x)), then x + MLP(LayerNorm(x)): (S, B T, W) -> (S, B T, W), T tokens each."""

    def __init__(self, initialiser: Initialiser, width: int, heads: int, activation: Activation) -> None:
        super().__init__()
        seeds = len(initialiser.seeds)
        self.heads, self.activation = heads, activation
        self.before_attention = LayerNorm(seeds, width, epsilon=LAYER_NORM_EPSILON)
        self.before_mlp = LayerNorm(seeds, width, epsilon=LAYER_NORM_EPSILON)
        self.queries_keys_values = Linear(initialiser, width, 3 * width, initialisation=gpt2)
        self.attended = Linear(initialiser, width, width, initialisation=gpt2)
        self.up = Linear(initialiser, width, EXPANSION * width, initialisation=gpt2)
        self.down = Linear(initialiser, EXPANSION * width, width, initialisation=gpt2)

    def forward(self, hidden: Tensor, later: Tensor, kept: Sequence[Tensor] | None) -> Tensor:
        """`later` (T, T) is -inf where a token must not be looked at, else 0.

        `kept`: dropout masks of attention (S, B, H, T, T) and of what both parts add (S, B T, W); or None.
        """
        of_attention = None if kept is None else kept[0]
        added = self.attended(self._attention(self.before_attention(hidden), later, of_attention))
        hidden = hidden + (added if kept is None else added * kept[1])
        added = self.down(self.activation(self.up(self.before_mlp(hidden))))
        return hidden + (added if kept is None else added * kept[2])

    def _attention(self, hidden: Tensor, later: Tensor, kept: Tensor | None) -> Tensor:
        """Each head's mean of values by the softmax of queries times keys, side by side: (S, B T, W)."""
        tokens = len(later)
        parts = self.queries_keys_values(hidden).unflatten(-1, (3, self.heads, -1)).unflatten(1, (-1, tokens))
        queries, keys, values = parts.permute(3, 0, 1, 4, 2, 5).unbind()  # (S, B, H, T, W / H) each
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
        weights = torch.softmax(scores + later, dim=-1)
        heads = (weights if kept is None else weights * kept) @ values
        return heads.transpose(2, 3).flatten(-2).flatten(1, 2)


class DecisionTransformer(nn.Module):
    """Actions (S, B, K, A) of K steps, each from its step's return-to-go and observation and all before them.

    Parameters
    ----------
    outside : initialisation of what is no block.
    """

    later: Tensor

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        config: DTConfig,
        outside: Initialisation,
    ) -> None:
        super().__init__()
        width, seeds = config.hidden_width, len(initialiser.seeds)
        self.bound = dimensions.action_bound
        self.of_return = Linear(initialiser, 1, width, initialisation=outside)
        self.of_observation = Linear(initialiser, dimensions.observation, width, initialisation=outside)
        self.of_action = Linear(initialiser, dimensions.action, width, initialisation=outside)
        deviation = 1.0 if outside is torch_default else DEVIATION
        self.times = nn.Parameter(initialiser.normal((config.time_steps, width), deviation))
        self.norm = LayerNorm(seeds, width, epsilon=LAYER_NORM_EPSILON)
        activation = functional.relu if config.activation == "relu" else functional.gelu
        self.blocks = nn.ModuleList(
            Block(initialiser, width, config.heads, activation) for _ in range(config.layers)
        )
        self.last_norm = LayerNorm(seeds, width, epsilon=LAYER_NORM_EPSILON)
        self.head = Linear(initialiser, width, dimensions.action, initialisation=outside)
        tokens = TOKENS * config.context_length
        later = torch.full((tokens, tokens), -math.inf).triu(diagonal=1)
        self.register_buffer("later", later, persistent=False)

    def forward(
        self,
        returns_to_go: Tensor,
        observations: Tensor,
        actions: Tensor,
        times: Tensor,
        kept: Sequence[Sequence[Tensor]] | None = None,
    ) -> Tensor:
        """Returns and times are (S, B, K), observations (S, B, K, O), actions (S, B, K, A).

        `kept`: dropout masks, one of the embedded tokens (S, B T, W) and then three of each block.
        """
        batch, steps = times.shape[1:]
        flat = [part.flatten(1, 2) for part in (returns_to_go.unsqueeze(-1), observations, actions)]
        layers = (self.of_return, self.of_observation, self.of_action)
        embedded = torch.stack([layer(part) for layer, part in zip(layers, flat, strict=True)], dim=2)
        hidden = (embedded + self._of_times(times).unsqueeze(2)).flatten(1, 2)
        hidden = self.norm(hidden)
        if kept is not None:
            hidden = hidden * kept[0][0]
        for index, block in enumerate(self.blocks):
            hidden = block(hidden, self.later, None if kept is None else kept[index + 1])
        of_observations = self.last_norm(hidden.unflatten(1, (batch * steps, TOKENS))[:, :, 1])
        return self.bound * torch.tanh(self.head(of_observations)).unflatten(1, (batch, steps))

    def _of_times(self, times: Tensor) -> Tensor:
        """Rows of each seed's own table, (S, B K, W); times behind its end take its last row."""
        seeds, rows, _ = self.times.shape
        first = rows * torch.arange(seeds, device=times.device).unsqueeze(1)
        return functional.embedding(times.flatten(1).clamp(max=rows - 1) + first, self.times.flatten(0, 1))


@hyperparameters
class DTConfig:
    """Hyper-parameters of DT; values, with their sources, are in presets/dt.yaml."""

    train_iterations: Count = 100_000
    """iterations"""
    warm_up_iterations: Count = 10_000
    """iterations at the start in which the learning rate rises in a line"""
    batch_size: BatchSize = 64
    """windows of trajectories"""
    context_length: Annotated[Count, Tiny(3)] = 20
    """steps of a window"""
    learning_rate: Positive = 1e-4
    """per step"""
    weight_decay: NonNegative = 1e-4
    """per step, times the learning rate; of every weight"""
    gradient_norm: Positive = 0.25
    """largest norm of the gradient"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """share that is left out in training of embedded tokens, attention, and what each block adds"""
    layers: Annotated[Count, Tiny(1)] = 3
    """blocks"""
    heads: Count = 1
    """of attention"""
    hidden_width: Width = 128
    """units of a token; four times as many in a block's hidden layer"""
    activation: Literal["relu", "gelu"] = "relu"
    """of the blocks"""
    initialisation: Literal["gpt2", "normal"] = "gpt2"
    """gpt2: N(0, 0.02) in the blocks, as torch starts outside of them; normal: N(0, 0.02) everywhere"""
    time_steps: Annotated[Count, Tiny(40)] = 1000
    """rows of the table of embedded times; later steps of an episode take the last one"""
    mean_over: Literal["valid", "all"] = "valid"
    """steps over which the loss is a mean: those of the trajectory alone, or all of the window"""
    target_return: float = 3600.0
    """reward units; the return that evaluations ask for"""
    return_scale: Positive = 1000.0
    """reward units; divides returns-to-go"""
    deviation_margin: NonNegative = 1e-6
    """observation units; added to the standard deviations that observations are divided by"""

    @model_validator(mode="after")
    def _feasible(self) -> Self:
        if self.hidden_width % self.heads:
            raise ValueError(f"heads is {self.heads}; it must divide hidden_width {self.hidden_width}")
        return self


class DT(Algorithm):
    """Decision Transformer over a stack of seeds."""

    name: ClassVar[str] = "dt"
    config: DTConfig

    @property
    def context(self) -> int:
        """Steps of a window."""
        return self.config.context_length

    def build(self) -> None:
        """The transformer, and what standardises observations."""
        config, dimensions = self.config, self.dimensions
        outside = torch_default if config.initialisation == "gpt2" else gpt2
        self.add("states", Standardisation(len(self.seeds), dimensions.observation))
        self.add(
            "transformer",
            DecisionTransformer(Initialiser(self.seeds, "transformer"), dimensions, config, outside),
        )
        self.optimisers = {
            "transformer": Adam(
                self.networks["transformer"].parameters(),
                config.learning_rate,
                weight_decay=config.weight_decay,
                schedule=linear_warm_up(config.warm_up_iterations),
                largest_norm=config.gradient_norm,
                norm_margin=TORCH_NORM_MARGIN,
            )
        }

    def prepare(self, observations: Tensor) -> None:
        """Standardise by mean and standard deviation (divisor N) of the whole dataset (N, O)."""
        cast(Standardisation, self.networks["states"]).take(observations, self.config.deviation_margin)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`train` alone."""
        config = self.config
        rows, tokens = config.batch_size, TOKENS * config.context_length
        flat = (rows * tokens, config.hidden_width)
        masks = (
            Draw("embedded", (1, *flat), "uniform"),
            Draw("attention", (config.layers, rows, config.heads, tokens, tokens), "uniform"),
            Draw("added", (2 * config.layers, *flat), "uniform"),
        )
        draws = masks if config.dropout else ()
        return (Phase("train", config.train_iterations, rows, draws, evaluated=True),)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One step of the transformer towards the actions of the windows."""
        config = self.config
        predicted = self.networks["transformer"](
            batch["returns_to_go"] / config.return_scale,
            self._standardised(batch["observations"]),
            batch["actions"],
            batch["times"],
            self._kept(draws, batch["actions"].dtype),
        )
        loss = masked_action_loss(predicted, batch["actions"], batch["valid"], config.mean_over)
        self.minimise("transformer", loss)
        return {"action_loss": loss.detach()}

    def _standardised(self, observations: Tensor) -> Tensor:
        """Observations (S, B, K, O)."""
        return self.networks["states"](observations.flatten(1, 2)).unflatten(1, observations.shape[1:3])

    def _kept(self, draws: Tensors, dtype: torch.dtype) -> list[tuple[Tensor, ...]] | None:
        """Dropout masks as the transformer takes them."""
        if not self.config.dropout:
            return None
        embedded, attention, added = (
            dropout_masks(draws[name], self.config.dropout, dtype)
            for name in ("embedded", "attention", "added")
        )
        return [embedded, *zip(attention, added[::2], added[1::2], strict=True)]

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """What the transformer predicts for the present step, given the target return, (S, N, A).

        `draws` hold the history of the robots, as `History.see` gives it; without one it is the first step.
        """
        config = self.config
        if "step" not in draws:
            draws = History(config.context_length, self.dimensions.action).see(observations)
        step, returns = draws["step"], draws["past_returns"]
        last = step.clamp(max=config.context_length - 1)
        times = step - last + torch.arange(config.context_length, device=step.device)
        predicted = self.networks["transformer"](
            (config.target_return - returns) / config.return_scale,
            self._standardised(draws["past_observations"]),
            draws["past_actions"],
            times.expand(returns.shape),
        )
        return predicted.index_select(2, last.view(1)).squeeze(2)
