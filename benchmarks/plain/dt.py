"""DT of one seed, written a second time: torch's layers, head by head, AdamW, LambdaLR, clip_grad_norm_."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.dt import DTConfig
from benchmarks.plain.modules import PlainVersion, Tensors, layer_norm, linear, slice_of


class PlainBlock(nn.Module):
    """Causal self-attention and a two-layer network, each behind a LayerNorm and added."""

    def __init__(self, weights: Tensors, config: DTConfig) -> None:
        super().__init__()
        self.norm1 = layer_norm(weights, "before_attention")
        self.norm2 = layer_norm(weights, "before_mlp")
        self.qkv = linear(weights, "queries_keys_values")
        self.out = linear(weights, "attended")
        activation = nn.ReLU() if config.activation == "relu" else nn.GELU()
        self.mlp = nn.Sequential(linear(weights, "up"), activation, linear(weights, "down"))
        self.heads = config.heads

    def forward(self, x: Tensor, masks: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
        """Tokens (B, T, W) to such; masks multiply attention (B, H, T, T) and both additions (B, T, W)."""
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        width = q.shape[-1] // self.heads
        results = []
        for head in range(self.heads):
            part = slice(head * width, (head + 1) * width)
            scores = torch.einsum("btw,bsw->bts", q[..., part], k[..., part]) / math.sqrt(width)
            seen = torch.ones(scores.shape[1:], dtype=torch.bool, device=x.device).tril()
            attention = torch.where(seen, scores, -math.inf).softmax(dim=-1)
            if masks is not None:
                attention = attention * masks[0][:, head]
            results.append(torch.einsum("bts,bsw->btw", attention, v[..., part]))
        added = self.out(torch.cat(results, dim=-1))
        x = x + (added if masks is None else added * masks[1])
        added = self.mlp(self.norm2(x))
        return x + (added if masks is None else added * masks[2])


class PlainTransformer(nn.Module):
    """Actions (B, K, A) from returns-to-go, states, actions and times of K steps."""

    def __init__(self, weights: Tensors, config: DTConfig, bound: float) -> None:
        super().__init__()
        self.embed_return = linear(weights, "of_return")
        self.embed_state = linear(weights, "of_observation")
        self.embed_action = linear(weights, "of_action")
        self.embed_time = nn.Embedding.from_pretrained(weights["times"].clone(), freeze=False)
        self.norm, self.last_norm = layer_norm(weights, "norm"), layer_norm(weights, "last_norm")
        self.blocks = nn.ModuleList(
            PlainBlock(
                {
                    name.removeprefix(f"blocks.{i}."): value
                    for name, value in weights.items()
                    if name.startswith(f"blocks.{i}.")
                },
                config,
            )
            for i in range(config.layers)
        )
        self.head = linear(weights, "head")
        self.bound = bound

    def forward(
        self, returns: Tensor, s: Tensor, a: Tensor, t: Tensor, masks: list[tuple[Tensor, ...]] | None = None
    ) -> Tensor:
        """Tokens stand as (R_1, s_1, a_1, R_2, ...); an action is read at its state's token."""
        t = t.clamp(max=self.embed_time.num_embeddings - 1)
        time = self.embed_time(t)
        parts = (self.embed_return(returns[..., None]), self.embed_state(s), self.embed_action(a))
        tokens: list[Tensor] = []
        for step in range(s.shape[1]):
            tokens += [(part + time)[:, step] for part in parts]
        x = self.norm(torch.stack(tokens, dim=1))
        if masks is not None:
            x = x * masks[0][0]
        for index, block in enumerate(self.blocks):
            x = block(x, None if masks is None else masks[index + 1])
        return self.bound * torch.tanh(self.head(self.last_norm(x)[:, 1::3]))


class PlainDT(PlainVersion):
    """Training of one seed."""

    def __init__(self, algorithm: Algorithm, seed: int) -> None:
        state = algorithm.networks.state_dict()
        config: DTConfig = algorithm.config
        self.config, self.dimensions = config, algorithm.dimensions
        statistics = slice_of(state, "states.", seed)
        self.mean, self.scale = statistics["mean"][0], 1 / statistics["factor"][0]
        self.transformer = PlainTransformer(
            slice_of(state, "transformer.", seed), config, algorithm.dimensions.action_bound
        )
        self.optimiser = torch.optim.AdamW(
            self.transformer.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda steps: min((steps + 1) / config.warm_up_iterations, 1)
        )

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainDT:
        """The twin of a seed, before training."""
        return cls(algorithm, seed)

    def predicted(self, batch: Tensors, masks: list[tuple[Tensor, ...]] | None = None) -> Tensor:
        """Actions of a batch of windows."""
        s = (batch["observations"] - self.mean) / self.scale
        returns = batch["returns_to_go"] / self.config.return_scale
        return self.transformer(returns, s, batch["actions"], batch["times"], masks)

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, A) of a first step, from a window of that step alone."""
        return self.act_after([observations], [], [])

    def act_after(self, seen: list[Tensor], done: list[Tensor], rewards: list[Tensor]) -> Tensor:
        """Actions (B, A) after all that an episode has been, of which the last K steps count."""
        count, first = len(seen), max(0, len(seen) - self.config.context_length)
        goal = torch.full(seen[0].shape[:1], self.config.target_return, dtype=seen[0].dtype)
        goals = [goal]
        for reward in rewards:
            goals.append(goals[-1] - reward)
        nothing = torch.zeros(len(seen[0]), self.dimensions.action, dtype=seen[0].dtype)
        batch = {
            "observations": torch.stack(seen[first:], dim=1),
            "actions": torch.stack([*done, nothing][first:], dim=1),
            "returns_to_go": torch.stack(goals[first:], dim=1),
            "times": torch.arange(first, count).expand(len(goal), -1),
        }
        return self.predicted(batch)[:, -1]

    def masks(self, draws: Tensors) -> list[tuple[Tensor, ...]] | None:
        """Dropout by the draws: 0 below the rate, else 1 / (1 - rate)."""
        rate, config = self.config.dropout, self.config
        if not rate:
            return None
        dtype = next(self.transformer.parameters()).dtype

        def mask(uniform: Tensor) -> Tensor:
            kept = uniform >= rate
            return torch.where(kept, torch.ones((), dtype=dtype) / (1 - rate), torch.zeros((), dtype=dtype))

        shape = (config.batch_size, -1, config.hidden_width)
        found: list[tuple[Tensor, ...]] = [(mask(draws["embedded"][0]).reshape(shape),)]
        for layer in range(config.layers):
            one, two = (mask(draws["added"][2 * layer + i]).reshape(shape) for i in (0, 1))
            found.append((mask(draws["attention"][layer]), one, two))
        return found

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration on a batch of windows."""
        errors = (self.predicted(batch, self.masks(draws)) - batch["actions"]) ** 2
        valid = batch["valid"] > 0
        if self.config.mean_over == "valid":
            loss = errors[valid].mean()
        else:
            loss = (errors * batch["valid"][..., None]).mean()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.transformer.parameters(), self.config.gradient_norm)
        self.optimiser.step()
        self.schedule.step()
        return {"action_loss": loss.detach()}
