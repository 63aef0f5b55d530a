"""Adam, AdamW, learning-rate schedules and per-seed clipping over stacked parameters.

One implementation for all runners: in place, with counters and learning rates on the device, so that it can
be captured into a CUDA graph, and by few kernels. Equal to `torch.optim` per seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

Schedule = Callable[[Tensor], Tensor]
"""Maps the number of steps done (a scalar tensor, float64) to a factor on the learning rate."""


def constant(steps: Tensor) -> Tensor:
    """Factor 1 at every step."""
    return torch.ones_like(steps)


def cosine_to_zero(total: int, *, after: int = 0) -> Schedule:
    """Factor 1 for `after` steps, then half a cosine from 1 to 0 over `total` steps.

    The cosine is torch's CosineAnnealingLR with eta_min 0 and T_max `total`.
    """
    if not after:
        return lambda steps: 0.5 * (1.0 + torch.cos(steps * (math.pi / total)))
    return lambda steps: 0.5 * (1.0 + torch.cos((steps - after).clamp(min=0) * (math.pi / total)))


def linear_warm_up(total: int) -> Schedule:
    """Factor 1 / total at the first step, rising in a line to 1 at step number `total`, then 1."""
    return lambda steps: ((steps + 1) / total).clamp(max=1.0)


def cosine_in_steps(total: int, *, every: int) -> Schedule:
    """`cosine_to_zero` of `total`, one step of it for `every` steps of the optimiser."""
    cosine = cosine_to_zero(total)
    return lambda steps: cosine(torch.floor(steps / every))


class Adam:
    """Adam (Kingma & Ba 2015), with decoupled weight decay on request (AdamW).

    Parameters
    ----------
    parameters : stacked tensors with a leading seed axis (S, ...), updated in place.
    learning_rate : base rate, times `schedule` of the steps done.
    weight_decay : AdamW's decoupled decay, per step and times the learning rate; 0 is Adam.
    largest_norm : gradients are clipped to this joint norm, each seed's by itself; None: as they are.
    clip_members : clip the gradients (S, E, ...) of every ensemble member by themselves.
    norm_margin : added to the norms that are compared with `largest_norm`: 0 as optax, `TORCH_NORM_MARGIN`.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        schedule: Schedule = constant,
        largest_norm: float | None = None,
        clip_members: bool = False,
        norm_margin: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.betas, self.epsilon, self.weight_decay, self.schedule = betas, epsilon, weight_decay, schedule
        self.largest_norm, self.clip_members = largest_norm, clip_members
        self.norm_margin = norm_margin
        self.first_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.second_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        # Double precision, in which the cosine keeps its digits where it comes to its end.
        self.steps = torch.zeros((), dtype=torch.float64, device=self.parameters[0].device)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One update from gradients in the order of `parameters`."""
        rate = self._next_rate()
        self.steps += 1
        # A compiler cannot look into torch's kernel; it fuses the formulas.
        (self._by_formulas if torch.compiler.is_compiling() else self._by_kernel)(gradients, rate)

    def _by_kernel(self, gradients: Sequence[Tensor], rate: float | Tensor) -> None:
        changed = [*map(self._pieces, (self.parameters, self.first_moments, self.second_moments))]
        # torch's kernel takes all tensors at once, if they lie alike: so they go in as pieces of one axis.
        update = torch._fused_adamw_ if self.weight_decay else torch._fused_adam_
        update(
            changed[0],
            self._clipped(gradients),
            changed[1],
            changed[2],
            [],
            [self.steps.float()] * len(changed[0]),
            lr=rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def _by_formulas(self, gradients: Sequence[Tensor], rate: float | Tensor) -> None:
        parts = self._clipped_alone
        rows = [gradient.reshape(parts, -1) for gradient in gradients]
        if self.largest_norm is not None:
            norms = torch.stack([row.square().sum(dim=1) for row in rows]).sum(dim=0).sqrt()
            divisors_of_parts = _divisors(norms, self.largest_norm, self.norm_margin)
            rows = [row / divisors_of_parts.unsqueeze(1) for row in rows]
        values, first, second = (
            [tensor.view(parts, -1) for tensor in tensors]
            for tensors in (self.parameters, self.first_moments, self.second_moments)
        )
        beta1, beta2 = self.betas
        dtype = values[0].dtype
        if self.weight_decay:
            torch._foreach_mul_(values, 1 - rate * self.weight_decay)
        torch._foreach_lerp_(first, rows, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, rows, rows, value=1 - beta2)
        divisors = torch._foreach_sqrt(second)
        torch._foreach_div_(divisors, (1 - beta2**self.steps).sqrt().to(dtype))
        torch._foreach_add_(divisors, self.epsilon)
        moves = torch._foreach_mul(first, (rate / (1 - beta1**self.steps)).to(dtype))
        torch._foreach_sub_(values, torch._foreach_div(moves, divisors))

    def _pieces(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Flat views of the tensors, of each seed (and member) that is clipped by itself."""
        return [piece for tensor in tensors for piece in tensor.view(self._clipped_alone, -1).unbind()]

    def _clipped(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The gradients as `_pieces`, clipped."""
        rows = [gradient.reshape(self._clipped_alone, -1) for gradient in gradients]
        if self.largest_norm is not None:
            joint = torch.cat(rows, dim=1)
            clip_norm_per_seed(joint, self.largest_norm, self.norm_margin)
            rows = list(joint.split([row.shape[1] for row in rows], dim=1))
        return [piece for row in rows for piece in row.unbind()]

    @property
    def _clipped_alone(self) -> int:
        """How many parts of every gradient have a norm of their own; 1 where nothing is clipped."""
        if self.largest_norm is None:
            return 1
        return math.prod(self.parameters[0].shape[: 2 if self.clip_members else 1])

    def _next_rate(self) -> float | Tensor:
        """Learning rate of the next step as torch's kernels take it."""
        if self.schedule is constant:
            return self.learning_rate
        rate = self.current_learning_rate()
        return rate if rate.device.type == "cpu" else rate.float()

    def current_learning_rate(self) -> Tensor:
        """Learning rate of the next step, a scalar tensor in double precision."""
        return self.learning_rate * self.schedule(self.steps)


@torch.no_grad()
def clip_norm_per_seed(gradients: Tensor, maximum: float, margin: float = 0.0) -> Tensor:
    """Scale gradients (S, P) in place so that each seed's norm is at most `maximum`.

    A seed whose norm plus `margin` is below the maximum keeps its gradients bit for bit; those of another
    become g / ((norm + margin) / maximum). Returns the norms before clipping, (S,). Source: without a margin
    optax.clip_by_global_norm, as in the released code of EDP, BDPO and DAC; with `TORCH_NORM_MARGIN`
    torch.nn.utils.clip_grad_norm_, as in Diffusion-QL's, which also shrinks gradients whose norm is just
    below the maximum. The released code of DTQL and SRPO clips nothing.
    """
    norms = gradients.norm(dim=1)
    gradients.div_(_divisors(norms, maximum, margin).unsqueeze(1))
    return norms


def _divisors(norms: Tensor, maximum: float, margin: float) -> Tensor:
    """What gradients of these norms are divided by; 1 where they are small enough."""
    return (norms + margin if margin else norms).clamp(min=maximum) / maximum


TORCH_NORM_MARGIN = 1e-6
"""What torch.nn.utils.clip_grad_norm_ adds to a norm."""


@torch.no_grad()
def move_towards(targets: Iterable[Tensor], sources: Iterable[Tensor], rate: float) -> None:
    """Polyak averaging in place: target <- (1 - rate) target + rate source."""
    torch._foreach_lerp_(list(targets), list(sources), rate)
