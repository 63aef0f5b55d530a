"""How evaluations become the score that is reported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from bench.errors import unknown_name

RUNNING_AVERAGE = 10
"""Evaluations averaged by `rat` (EDP, section 5)."""
MEAN_OF = 5
"""Evaluations averaged by `mean5` (DAC)."""
BC_LOSS = "bc_loss"
"""Metric by which `bc-select` chooses: mean behaviour-cloning loss since the evaluation before."""
BEST_CANDIDATES = "last-bestN"

PROTOCOLS = ("last", "rat", "oms", "mean5", "bc-select", BEST_CANDIDATES)
BY_METRICS = ("bc-select", BEST_CANDIDATES)
"""Those that choose by metrics of the evaluations."""

_CANDIDATES = re.compile(r"score_of_(\d+)_candidates")


def reported_score(
    protocol: str,
    scores: Sequence[float],
    metrics: Sequence[Mapping[str, float]] = (),
    selected_rank: int | None = None,
) -> float | None:
    """Score of a trial from the mean normalised scores of its evaluations, in order.

    `last`: the final evaluation. `rat`, `mean5`: the mean of the last ten or five; None with fewer. `oms`:
    the best over training, an oracle that no deployment has. `bc-select`: the evaluation that Diffusion-QL
    chooses by its behaviour-cloning loss. `last-bestN`: the final evaluation with the number of candidates
    that scores best. None without evaluations, and where what the protocol chooses by was not recorded.

    Parameters
    ----------
    metrics : of each evaluation; only for `bc-select` and `last-bestN`.
    selected_rank : of `bc-select`: Diffusion-QL's top_k, 0 for the smallest loss.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS, "bench show dtql hopper-medium-v2")
    if not scores:
        return None
    if protocol == "last":
        return float(scores[-1])
    if protocol == "oms":
        return float(np.max(scores))
    if protocol == "bc-select":
        losses = [of[BC_LOSS] for of in metrics if BC_LOSS in of]
        if selected_rank is None or len(losses) != len(scores):
            return None
        return float(scores[selected_by_loss(losses, selected_rank)])
    if protocol == BEST_CANDIDATES:
        return max(by_candidates(metrics[-1]).values(), default=None) if metrics else None
    averaged = RUNNING_AVERAGE if protocol == "rat" else MEAN_OF
    return float(np.mean(scores[-averaged:])) if len(scores) >= averaged else None


def selected_by_loss(losses: Sequence[float], rank: int) -> int:
    """Index of the evaluation that Diffusion-QL's offline model selection takes.

    Meant is the evaluation whose loss has this rank. With `order` the indices of the losses by size, the
    released main.py takes the index at which `order` holds the rank, which is the inverse permutation: the
    rank of the loss of evaluation number `rank`. Both agree where the losses only fall or only rise. A rank
    beyond the evaluations is the last, as there.
    """
    order = np.argsort(losses, kind="stable")
    return int(np.argmax(order == min(rank, len(losses) - 1)))


def candidates_metric(candidates: int) -> str:
    """Name of the metric that is an evaluation's mean score with so many candidates per action."""
    return f"score_of_{candidates}_candidates"


def by_candidates(metrics: Mapping[str, float]) -> dict[int, float]:
    """Mean scores by number of candidates, out of an evaluation's metrics."""
    found = ((_CANDIDATES.fullmatch(name), value) for name, value in metrics.items())
    return {int(match[1]): value for match, value in found if match is not None}


def best_candidates(seeds: Sequence[Mapping[int, float]]) -> int | None:
    """The number of candidates with the highest mean over seeds, of those that every seed was scored with.

    One number for all seeds of a task, as IDQL chooses: an optimistic choice, for it is made by the scores
    that are then reported. None where no number is common to all.

    Parameters
    ----------
    seeds : of each seed its scores by number of candidates.
    """
    common = sorted(set.intersection(*(set(of) for of in seeds))) if seeds else []
    return max(common, key=lambda n: float(np.mean([of[n] for of in seeds])), default=None)
