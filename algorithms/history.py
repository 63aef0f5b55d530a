"""What robots saw, did and earned in their last steps, for methods whose actions depend on it."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.base import Tensors


class History:
    """The last C steps of robots that began together, oldest first, the present one among them.

    It belongs to whoever plays episodes, not to the method, so that nothing of an episode is among a method's
    weights. Of a method without a context (C = 0) it holds nothing.

    Parameters
    ----------
    context : steps that are kept.
    actions : components of an action.
    """

    def __init__(self, context: int, actions: int) -> None:
        self._context, self._actions = context, actions
        self._step = -1
        self._held: dict[str, Tensor] = {}
        self._returns = torch.empty(0)

    def see(self, observations: Tensor) -> Tensors:
        """Enter the observations (S, N, O) of the next step; what `act` wants to know besides.

        `past_observations` (S, N, C, O) and `past_actions` (S, N, C, A), the present observation among them
        and zeros for the action that is asked for; `past_returns` (S, N, C), the sum of all rewards before
        each step; `step` (), the steps done since the beginning. While these are fewer than C - 1, the last
        places are empty.
        """
        if not self._context:
            return {}
        if not self._held:
            self._begin(observations)
        self._step += 1
        place = min(self._step, self._context - 1)
        if self._step > place:
            for name in ("past_observations", "past_actions", "past_returns"):
                self._held[name][:, :, :-1] = self._held[name][:, :, 1:].clone()
        self._held["past_observations"][:, :, place] = observations
        self._held["past_actions"][:, :, place].zero_()  # assigning 0 would bring a number to a GPU
        self._held["past_returns"][:, :, place] = self._returns
        self._held["step"].fill_(self._step)
        return self._held

    def did(self, actions: Tensor) -> None:
        """Enter what the robots do in this step, (S, N, A)."""
        if self._context:
            self._held["past_actions"][:, :, min(self._step, self._context - 1)] = actions

    def earned(self, rewards: Tensor) -> None:
        """Enter the rewards (S, N) of this step."""
        if self._context:
            self._returns += rewards.to(self._returns)

    def _begin(self, observations: Tensor) -> None:
        seeds, robots, width = observations.shape
        shape = (seeds, robots, self._context)
        self._held = {
            "past_observations": observations.new_zeros(*shape, width),
            "past_actions": observations.new_zeros(*shape, self._actions),
            "past_returns": observations.new_zeros(shape),
            "step": torch.zeros((), dtype=torch.int64, device=observations.device),
        }
        self._returns = observations.new_zeros(seeds, robots)
