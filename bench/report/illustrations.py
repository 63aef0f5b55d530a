"""Trials on the 2D problems as figures and numbers need them: point clouds, landscapes, what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

SHOWN_INTERVALS = (50, 30, 15, 5)
"""BDPO Figs. 4 and 11 begin an interval at each of these of 50 steps; other lengths scale them."""


@dataclass(frozen=True, eq=False)
class Clouds:
    """Arrays of one trained seed; what its method does not have is None or empty.

    M points each; G*G grid points; T diffusion steps; K temperatures; P target points.
    """

    actions: Array
    """(M, 2) actions of the trained policy."""
    data: Array
    """(M, 2) points of the dataset."""
    data_reward: Array
    """(M,) their rewards."""
    truth: Array
    """(M, 2) the data exactly re-weighted by exp(reward / eta), or those on the best modes."""
    grid: Array
    """(G*G, 2) where landscapes are given."""
    behaviour: Array | None = None
    """(M, 2) samples of the behaviour model."""
    path: Array | None = None
    """(T+1, M', 2) generation of samples: path[n] is noise level n, path[0] the actions."""
    action_value: Array | None = None
    """(G*G,) value of an action."""
    diffusion_values: Mapping[int, Array] = field(default_factory=dict)
    """By step n, (G*G,) diffusion value V_n."""
    value_test: Array | None = None
    """(2,) mean V_T at noise, and eta log mean exp(Q / eta) over behaviour samples."""
    targets: Array | None = None
    """(P, 2) points of highest value, one problem each."""
    betas: Array | None = None
    """(K,) temperatures."""
    points: Array | None = None
    """(K, P, 2) optimised action for each temperature and target."""


@dataclass(frozen=True, eq=False)
class Illustration:
    """One finished trial on a 2D problem."""

    trial_id: int
    algorithm: str
    variant: str
    task: str
    seed: int
    config_hash: str
    budget: float
    reduced: tuple[str, ...]
    clouds: Clouds
    numbers: Mapping[str, float]
    """What was measured on the clouds when training ended, by name."""
    mean_return: float
    """Mean reward of the policy in its last evaluation; NaN without one."""


@dataclass(frozen=True)
class Illustrations:
    """All that a store holds, and what could not be read."""

    items: tuple[Illustration, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Sentences that name files which are missing or not what was stored."""


def representative(items: Sequence[Illustration], algorithm: str, task: str) -> Illustration | None:
    """The trial that a figure shows: largest budget, released before paper, latest settings, lowest seed."""
    cell = [item for item in items if (item.algorithm, item.task) == (algorithm, task)]
    if not cell:
        return None
    newest = {item.config_hash: item.trial_id for item in sorted(cell, key=lambda item: item.trial_id)}
    return max(
        cell, key=lambda i: (i.budget, i.variant == "released", newest[i.config_hash], -i.seed, i.trial_id)
    )


def interval_bounds(clouds: Clouds) -> list[int]:
    """Steps at which the shown intervals begin, noise first, then 0: (50, 30, 15, 5, 0) scaled to T.

    Only steps of which the value landscape is stored: the nearest ones, each once.
    """
    last = 0 if clouds.path is None else len(clouds.path) - 1
    stored = [step for step in clouds.diffusion_values if step <= last]
    wanted = [last * step / SHOWN_INTERVALS[0] for step in SHOWN_INTERVALS] if stored else []
    nearest = {min(stored, key=lambda step, aim=aim: (abs(step - aim), step)) for aim in wanted}
    return [*sorted(nearest, reverse=True), 0]
