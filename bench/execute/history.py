"""What the host remembers of a stack besides tensors: JSON values, saved with every checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from bench.evaluation.rollout import Rollouts


class StoredEvaluation(TypedDict):
    """One evaluation of the whole stack; lists by seed, then by episode."""

    number: int
    step: int
    returns: list[list[float]]
    lengths: list[list[int]]
    metrics: list[dict[str, float]]
    seconds: float
    evaluated_at: str
    """With its zone, as `isoformat` writes it."""


class StoredPending(TypedDict):
    """An evaluation that has begun and not ended, while training goes on.

    A checkpoint holds the weights that it evaluates.
    """

    number: int
    step: int
    iterations: int
    """Of all phases, done when it began."""
    metrics: list[dict[str, float]]
    """By seed, of training up to there."""


class StoredFailure(TypedDict):
    """What is known of a seed that diverged."""

    step: int
    message: str
    last_metrics: dict[str, float]
    iterations: int
    """Of the evaluated phase."""
    failed_at: str


@dataclass
class History:
    """Evaluations, failures and times of a stack."""

    evaluations: list[StoredEvaluation] = field(default_factory=list)
    failed: dict[str, StoredFailure] = field(default_factory=dict)
    """By slot."""
    pending: StoredPending | None = None
    phase_seconds: dict[str, float] = field(default_factory=dict)
    evaluation_seconds: float = 0.0
    made_under: str = ""
    """Under what the first phase, if other methods share it, was trained from its beginning; empty: under
    several conditions."""

    @property
    def begun(self) -> int:
        """Evaluations that have begun, a pending one among them."""
        return len(self.evaluations) + (self.pending is not None)

    def add(self, asked: StoredPending, rollouts: Rollouts) -> None:
        """Remember what came of an evaluation."""
        self.evaluations.append(
            {
                "number": asked["number"],
                "step": asked["step"],
                "returns": rollouts.returns.tolist(),
                "lengths": rollouts.lengths.tolist(),
                "metrics": asked["metrics"],
                "seconds": rollouts.seconds,
                "evaluated_at": datetime.now(UTC).isoformat(),
            }
        )
        self.evaluation_seconds += rollouts.seconds

    def require_fitting(
        self, steps: Sequence[int], *, seeds: int, episodes: int, iterations: int, retired: set[str]
    ) -> None:
        """Refuse a history that is not of the stack as the trainer stands.

        Parameters
        ----------
        steps : of the plan's evaluations.
        iterations : of the evaluated phase, that are done.
        retired : slots of seeds that train no more.

        Raises
        ------
        ValueError : names what does not fit.
        """
        begun: list[StoredEvaluation | StoredPending] = [*self.evaluations]
        if self.pending is not None:
            begun.append(self.pending)
        if [(entry["number"], entry["step"]) for entry in begun] != list(enumerate(steps[: len(begun)], 1)):
            raise ValueError("its evaluations are not those of the plan")
        if begun and begun[-1]["step"] > iterations:
            raise ValueError("it was evaluated at a step that it has not come to")
        if any(len(entry["metrics"]) != seeds for entry in begun):
            raise ValueError(f"its evaluations are not of {seeds} seeds")
        for entry in self.evaluations:
            per_seed: tuple[Sequence[float], ...] = (*entry["returns"], *entry["lengths"])
            counts = {len(entry["returns"]), len(entry["lengths"])}
            if counts != {seeds} or any(len(values) != episodes for values in per_seed):
                raise ValueError(
                    f"evaluation {entry['number']} is not of {seeds} seeds x {episodes} episodes"
                )
            datetime.fromisoformat(entry["evaluated_at"])
        if self.failed.keys() != retired:
            raise ValueError(f"it names other seeds as failed than {sorted(retired)}")
        for failure in self.failed.values():
            datetime.fromisoformat(failure["failed_at"])
