"""How evaluations become the score that is reported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.errors import unknown_name

RUNNING_AVERAGE = 10
"""Evaluations averaged by `rat` (EDP, section 5)."""

PROTOCOLS = ("last", "rat", "oms")


def reported_score(protocol: str, scores: Sequence[float]) -> float | None:
    """Score of a trial from the mean normalised scores of its evaluations, in order.

    `last`: the final evaluation. `rat`: the mean of the last ten; None with fewer. `oms`: the best over
    training, an oracle that no deployment has. None without evaluations.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS, "bench show dtql hopper-medium-v2")
    if not scores:
        return None
    if protocol == "last":
        return float(scores[-1])
    if protocol == "oms":
        return float(np.max(scores))
    return float(np.mean(scores[-RUNNING_AVERAGE:])) if len(scores) >= RUNNING_AVERAGE else None
