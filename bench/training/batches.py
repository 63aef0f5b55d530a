"""The dataset as one packed tensor on the training device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class PackedDataset:
    """Transitions as rows (N, 2 O + A + 2): observation, action, next observation, reward, terminal."""

    rows: Tensor
    observation: int
    action: int

    @classmethod
    def pack(
        cls,
        observations: NDArray[np.floating],
        actions: NDArray[np.floating],
        next_observations: NDArray[np.floating],
        rewards: NDArray[np.floating],
        terminals: NDArray[np.bool_],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> PackedDataset:
        """Pack arrays (N, O), (N, A), (N, O), (N,), (N,); rewards are in the units the method trains on."""
        columns = (observations, actions, next_observations, rewards[:, None], terminals[:, None])
        rows = torch.cat([torch.from_numpy(column).to(dtype) for column in columns], dim=1)
        return cls(rows.to(device), observations.shape[1], actions.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def observations(self) -> Tensor:
        """Observations of all rows, (N, O)."""
        return self.rows[:, : self.observation]

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """The transitions at `indices` (S, B): observations (S, B, O), ..., rewards and terminals (S, B)."""
        # A fifth of the time that indexing takes.
        rows = self.rows.index_select(0, indices.flatten()).unflatten(0, indices.shape)
        widths = (self.observation, self.action, self.observation, 1, 1)
        observations, actions, next_observations, rewards, terminals = rows.split(widths, dim=-1)
        return {
            "observations": observations,
            "actions": actions,
            "next_observations": next_observations,
            "rewards": rewards.squeeze(-1),
            "terminals": terminals.squeeze(-1),
        }
