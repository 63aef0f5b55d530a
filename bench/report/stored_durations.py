"""Reads out of a store how long those trials took that were trained alone."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from bench.records import FINISHED
from bench.report.durations import TrialDuration
from bench.store.queries import StoredTrial

ITERATIONS = "train_iterations"
"""Hyper-parameter that counts the iterations of the evaluated phase."""


def trial_durations(stored: Iterable[StoredTrial], timings: pd.DataFrame) -> list[TrialDuration]:
    """Those of finished trials at full budget that were trained alone, in the order of `stored`.

    Parameters
    ----------
    timings : the store's view of that name, whole.
    """
    alone = timings[
        (timings["quantity"] == "evaluation_seconds")
        & timings["trial_id"].notna()
        & (timings["stack_size"] == 1)
        & (timings["concurrent_stacks"] <= 1)
    ]
    # Where a trial was repeated, the row of its last attempt.
    circumstances = {int(row["trial_id"]): row for row in alone.to_dict("records")}
    return [
        _duration(trial, circumstances[trial.trial_id])
        for trial in stored
        if trial.trial_id in circumstances and trial.state == FINISHED and not trial.record.reduced
    ]


def _duration(trial: StoredTrial, row: dict[str, object]) -> TrialDuration:
    key = trial.record.key
    iterations = trial.record.config.get("hyperparameters", {}).get(ITERATIONS)
    return TrialDuration(
        trial_id=trial.trial_id,
        algorithm=key.algorithm,
        variant=key.variant,
        task=key.task,
        seconds=(trial.training_seconds or 0.0) + (trial.evaluation_seconds or 0.0),
        training_iterations=None if iterations is None else int(iterations),
        device=str(row["device"]),
        threads=int(str(row["threads"])),
        runner=str(row["runner"]),
        exclusive=bool(row["exclusive"]),
    )
