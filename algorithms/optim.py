"""Adam, AdamW, learning-rate schedules and per-seed clipping over stacked parameters.

One implementation for all runners: elementwise, in place, with counters and learning rates on the device, so
that it can be captured into a CUDA graph. Equal to `torch.optim` per seed.
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
    return lambda steps: 0.5 * (1.0 + torch.cos(math.pi * (steps - after).clamp(min=0) / total))


class Adam:
    """Adam (Kingma & Ba 2015), with decoupled weight decay on request (AdamW).

    Parameters
    ----------
    parameters : stacked tensors with a leading seed axis (S, ...), updated in place.
    learning_rate : base rate, times `schedule` of the steps done.
    weight_decay : AdamW's decoupled decay, per step and times the learning rate; 0 is Adam.
    largest_norm : gradients are clipped to this joint norm, each seed's by itself; None: as they are.
    clip_members : clip the gradients (S, E, ...) of every ensemble member by themselves.
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
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.betas, self.epsilon, self.weight_decay, self.schedule = betas, epsilon, weight_decay, schedule
        self.largest_norm, self.clip_members = largest_norm, clip_members
        self.first_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.second_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        # Double precision: 1 - beta^t loses four digits in single precision during the first steps.
        self.steps = torch.zeros((), dtype=torch.float64, device=self.parameters[0].device)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One update from gradients in the order of `parameters`; clips them in place."""
        gradients = self._clipped(gradients)
        beta1, beta2 = self.betas
        dtype = self.parameters[0].dtype
        rate = self.current_learning_rate()
        self.steps += 1
        correction1 = 1.0 - beta1**self.steps
        correction2 = 1.0 - beta2**self.steps
        if self.weight_decay:
            torch._foreach_mul_(self.parameters, (1.0 - rate * self.weight_decay).to(dtype))
        torch._foreach_lerp_(self.first_moments, gradients, 1.0 - beta1)
        torch._foreach_mul_(self.second_moments, beta2)
        torch._foreach_addcmul_(self.second_moments, gradients, gradients, value=1.0 - beta2)
        denominators = torch._foreach_sqrt(self.second_moments)
        torch._foreach_div_(denominators, correction2.sqrt().to(dtype))
        torch._foreach_add_(denominators, self.epsilon)
        # The rate goes into the denominator because foreach_addcdiv takes no tensor factor; a rate of
        # zero gives an infinite denominator and so, as it should, no change.
        torch._foreach_mul_(denominators, (-correction1 / rate).to(dtype))
        torch._foreach_addcdiv_(self.parameters, self.first_moments, denominators)

    def _clipped(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        if self.largest_norm is None:
            return list(gradients)
        of_each = [gradient.flatten(0, 1) if self.clip_members else gradient for gradient in gradients]
        clip_norm_per_seed(of_each, self.largest_norm)
        return [clipped.view_as(gradient) for clipped, gradient in zip(of_each, gradients, strict=True)]

    def current_learning_rate(self) -> Tensor:
        """Learning rate of the next step, a scalar tensor in double precision."""
        return self.learning_rate * self.schedule(self.steps)


@torch.no_grad()
def clip_norm_per_seed(gradients: Sequence[Tensor], maximum: float) -> Tensor:
    """Scale gradients (S, ...) in place so that each seed's joint norm is at most `maximum`.

    A seed whose norm is below the maximum keeps its gradients bit for bit; those of another become
    g / norm * maximum, in this order. Returns the norms before clipping, (S,). Source:
    optax.clip_by_global_norm, as in the released code of EDP and BDPO; that of DTQL and SRPO clips nothing.
    (torch.nn.utils.clip_grad_norm_ divides by norm + 1e-6 instead, so it also shrinks gradients whose norm is
    just below the maximum.)
    """
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
    within = norms < maximum
    divisors = norms.masked_fill(within, 1.0)
    factors = torch.full_like(norms, maximum).masked_fill(within, 1.0)
    for gradient in gradients:
        per_seed = (-1, *[1] * (gradient.dim() - 1))
        gradient.div_(divisors.view(per_seed)).mul_(factors.view(per_seed))
    return norms


@torch.no_grad()
def move_towards(targets: Iterable[Tensor], sources: Iterable[Tensor], rate: float) -> None:
    """Polyak averaging in place: target <- (1 - rate) target + rate source."""
    torch._foreach_lerp_(list(targets), list(sources), rate)
