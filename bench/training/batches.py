"""The dataset as packed tensors on the training device, and the minibatches that are taken from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Trajectories:
    """Where each row stands in its trajectory."""

    returns_to_go: Tensor
    """(N,) sum of the rewards from this row to the trajectory's end."""
    times: Tensor
    """(N,) steps since the trajectory's beginning."""
    last: Tensor
    """(N,) number of the trajectory's last row."""

    @classmethod
    def of(cls, rewards: Tensor, ends: Tensor) -> Trajectories:
        """Of rows in order (N,), of which `ends` (N,) the last of each trajectory are marked."""
        numbers = torch.arange(len(ends), device=ends.device)
        next_end = torch.where(ends, numbers, len(ends) - 1)
        last = next_end.flip(0).cummin(dim=0).values.flip(0)
        begins = torch.where(ends.roll(1), numbers, 0)
        times = numbers - begins.cummax(dim=0).values
        # In double precision: all rewards of a dataset are added up.
        done = rewards.double().cumsum(dim=0)
        return cls((done[last] - done + rewards).to(rewards.dtype), times, last)


@dataclass(frozen=True)
class PackedDataset:
    """Transitions as rows (N, 2 O + A + 2): observation, action, next observation, reward, terminal."""

    rows: Tensor
    observation: int
    action: int
    ends: Tensor
    """(N,) bool: rows that end a trajectory, the last one always."""
    next_actions: Tensor | None = None
    """What the data did in the next observations, (N, A); None where no method asks for it."""

    @classmethod
    def pack(
        cls,
        observations: NDArray[np.floating],
        actions: NDArray[np.floating],
        next_observations: NDArray[np.floating],
        rewards: NDArray[np.floating],
        terminals: NDArray[np.bool_],
        *,
        ends: NDArray[np.bool_] | None = None,
        next_actions: NDArray[np.floating] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> PackedDataset:
        """Pack arrays (N, O), (N, A), (N, O), (N,), (N,); rewards are in the units the method trains on.

        `ends` (N,) are the rows that end a trajectory; None: the terminals and the last row. `next_actions`
        (N, A) are for methods that ask for them.
        """
        columns = (observations, actions, next_observations, rewards[:, None], terminals[:, None])
        rows = torch.cat([torch.from_numpy(column).to(dtype) for column in columns], dim=1)
        ending = torch.from_numpy(terminals if ends is None else ends).bool().clone()
        ending[-1:] = True
        following = None if next_actions is None else torch.from_numpy(next_actions).to(device, dtype)
        return cls(rows.to(device), observations.shape[1], actions.shape[1], ending.to(device), following)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def observations(self) -> Tensor:
        """Observations of all rows, (N, O)."""
        return self.rows[:, : self.observation]

    @property
    def rewards(self) -> Tensor:
        """Rewards of all rows, (N,)."""
        return self.rows[:, -2]

    @cached_property
    def trajectories(self) -> Trajectories:
        """Where each row stands in its trajectory."""
        return Trajectories.of(self.rewards, self.ends)

    def double(self) -> PackedDataset:
        """The same in double precision."""
        following = None if self.next_actions is None else self.next_actions.double()
        return replace(self, rows=self.rows.double(), next_actions=following)

    def batch(self, indices: Tensor, *, next_actions: bool = False, window: int = 0) -> dict[str, Tensor]:
        """The transitions at `indices` (S, B): observations (S, B, O), ..., rewards and terminals (S, B).

        With `window` K instead what `windows` gives.

        Raises
        ------
        ValueError : next actions are asked for, and were not packed.
        """
        if window:
            return self.windows(indices, window)
        # A fifth of the time that indexing takes, and no detour by Python as `split` takes.
        rows = torch.embedding(self.rows, indices)
        widths = (self.observation, self.action, self.observation, 1, 1)
        observations, actions, next_observations, rewards, terminals = rows.split_with_sizes(widths, dim=-1)
        batch = {
            "observations": observations,
            "actions": actions,
            "next_observations": next_observations,
            "rewards": rewards.squeeze(-1),
            "terminals": terminals.squeeze(-1),
        }
        if next_actions:
            if self.next_actions is None:
                raise ValueError("the dataset was packed without next actions")
            batch["next_actions"] = torch.embedding(self.next_actions, indices)
        return batch

    def windows(self, indices: Tensor, steps: int) -> dict[str, Tensor]:
        """Steps K of trajectories from the rows at `indices` (S, B) on.

        `observations` (S, B, K, O), `actions` (S, B, K, A), `returns_to_go`, `times` and `valid` (S, B, K): 1
        within the trajectory, 0 behind its end, where its last row stands again.
        """
        last = self.trajectories.last[indices].unsqueeze(-1)
        places = indices.unsqueeze(-1) + torch.arange(steps, device=indices.device)
        valid, places = (places <= last).to(self.rows.dtype), torch.minimum(places, last)
        rows = self.rows[:, : self.observation + self.action].index_select(0, places.flatten())
        observations, actions = rows.unflatten(0, places.shape).split((self.observation, self.action), dim=-1)
        return {
            "observations": observations,
            "actions": actions,
            "returns_to_go": self.trajectories.returns_to_go[places],
            "times": self.trajectories.times[places],
            "valid": valid,
        }
