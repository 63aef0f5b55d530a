"""How long whole trials took, of those that were trained alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrialDuration:
    """Training and evaluation of one full trial: one seed, no other stack of its run beside."""

    trial_id: int
    algorithm: str
    variant: str
    task: str
    seconds: float
    """All phases and all evaluations."""
    training_iterations: int | None
    """Of the evaluated phase; None where the method does not count it so."""
    device: str
    threads: int
    runner: str
    exclusive: bool
    """Whether it is known that the machine did nothing else of ours."""

    @property
    def hours(self) -> float:
        """Wall-clock hours."""
        return self.seconds / 3600
