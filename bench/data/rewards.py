"""Reward transforms of the methods, by the name that presets use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import (
    BoolArray,
    FloatArray,
    Transitions,
    ends_by_count,
    jumps,
    require_order,
    segment_returns,
)
from bench.errors import BenchError, unknown_name

RETURN_SPAN = 1000.0
"""Difference between the best and the worst return after return scaling."""


def transformed_rewards(name: str, transitions: Transitions) -> FloatArray:
    """Rewards (N,) under the transform called `name`.

    Raises
    ------
    BenchError : there is no such transform, or the data has no spread, or no trajectories, to scale by.
    """
    if name not in REWARD_TRANSFORMS:
        raise unknown_name("reward transform", name, REWARD_TRANSFORMS, "bench show ALGORITHM TASK")
    return REWARD_TRANSFORMS[name](transitions).astype(np.float32)


def unchanged(transitions: Transitions) -> NDArray[np.floating]:
    """r. DTQL, Diffusion-QL and TD3+BC outside AntMaze; EDP's TD3 and CRR on locomotion."""
    return transitions.rewards


def minus_one(transitions: Transitions) -> NDArray[np.floating]:
    """r - 1. AntMaze in IQL, DTQL, SRPO, IDQL and EDP's IQL (`iql_antmaze` in the released samplers)."""
    return transitions.rewards - 1.0


def centred_by_four(transitions: Transitions) -> NDArray[np.floating]:
    """4 (r - 0.5). AntMaze in Diffusion-QL and EDP's TD3 and CRR (`cql_antmaze` in the released samplers)."""
    return (transitions.rewards - 0.5) * 4.0


def ten_minus_five(transitions: Transitions) -> NDArray[np.floating]:
    """10 r - 5. AntMaze in CORL's CQL."""
    return transitions.rewards * 10.0 - 5.0


def times_hundred(transitions: Transitions) -> NDArray[np.floating]:
    """100 r. AntMaze in BDPO (`antmaze100` in flow-rl)."""
    return transitions.rewards * 100.0


def standardised(transitions: Transitions) -> NDArray[np.floating]:
    """(r - mean) / sd over transitions, sd with N - 1. Adroit in Diffusion-QL (`normalize` there)."""
    rewards = transitions.rewards.astype(np.float64)
    return (rewards - rewards.mean()) / _spread(rewards.std(ddof=1), "rewards")


def minimum_to_maximum(transitions: Transitions) -> NDArray[np.floating]:
    """Rewards moved to [-1, 1] linearly. Kitchen and Adroit in EDP (`trainer.py`)."""
    rewards = transitions.rewards.astype(np.float64)
    lowest = rewards.min()
    return 2.0 * ((rewards - lowest) / _spread(rewards.max() - lowest, "rewards") - 0.5)


def return_scaled_iql(transitions: Transitions) -> NDArray[np.floating]:
    """1000 r / (best - worst return), trajectories cut where observations jump. IQL, IDQL, DAC, EDP's IQL.

    The last trajectory counts although it may be incomplete (released IQL code, `split_into_trajectories`).
    """
    return _return_scaled(
        transitions, segment_returns(transitions.rewards, ends_by_discontinuity(transitions))
    )


def return_scaled_srpo(transitions: Transitions) -> NDArray[np.floating]:
    """1000 r / (best - worst return), cut at terminals or after 1000 kept rows. SRPO (`return_range`), CORL.

    Kept episodes have 999 rows, so the cuts drift over the borders, and the last incomplete piece is left
    out: the factor differs a little from IQL's.
    """
    ends = ends_by_count(transitions)
    returns = segment_returns(transitions.rewards, ends)
    return _return_scaled(transitions, returns if ends[-1] else returns[:-1])


def return_scaled_bdpo(transitions: Transitions) -> NDArray[np.floating]:
    """1000 r / (best - worst return), cut at the file's end flags, an incomplete last one counted. BDPO."""
    return _return_scaled(transitions, segment_returns(transitions.rewards, transitions.trajectory_ends))


REWARD_TRANSFORMS: dict[str, Callable[[Transitions], NDArray[np.floating]]] = {
    "none": unchanged,
    "minus_one": minus_one,
    "centred_by_four": centred_by_four,
    "ten_minus_five": ten_minus_five,
    "times_hundred": times_hundred,
    "standardised": standardised,
    "minimum_to_maximum": minimum_to_maximum,
    "return_scaled_iql": return_scaled_iql,
    "return_scaled_srpo": return_scaled_srpo,
    "return_scaled_bdpo": return_scaled_bdpo,
}

TRANSFORMS_OF_RETURNS = ("return_scaled_iql", "return_scaled_srpo", "return_scaled_bdpo")
"""Which need whole trajectories."""


def _return_scaled(transitions: Transitions, returns: NDArray[np.float64]) -> NDArray[np.floating]:
    require_order(transitions.observations, transitions.next_observations, transitions.terminals)
    if len(returns) == 0:
        raise BenchError(
            "the rewards cannot be scaled by returns", "The dataset holds no complete trajectory.", ""
        )
    return transitions.rewards * (RETURN_SPAN / _spread(returns.max() - returns.min(), "returns"))


def _spread(value: float, of: str) -> float:
    if not value > 0:
        raise BenchError(
            f"the {of} of this dataset are all equal",
            "They cannot be scaled by their spread.",
            "Use more data, or another reward transform.",
        )
    return float(value)


def ends_by_discontinuity(transitions: Transitions) -> BoolArray:
    """Trajectory ends (N,) as IQL and EDP find them: terminal, or the next row's observation is another."""
    ends = transitions.terminals.copy()
    ends[:-1] |= jumps(transitions.observations, transitions.next_observations)
    ends[-1] = True
    return ends
