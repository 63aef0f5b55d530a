"""Reading the store as data frames, for people and reports. Nothing here writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Select, select

from bench.store.columns import Whole, number_from
from bench.store.database import Store
from bench.store.faults import explained
from bench.store.models import Trial
from bench.store.queries import select_points
from bench.store.views import SCORES, TIMINGS

_PORTION = 100
"""Rows that are turned into columns at a time."""


def scores_frame(store: Store) -> pd.DataFrame:
    """The view `scores`, one row per trial; `score_is_nan` tells a NaN from a score that is missing."""
    frame = _frame(store, select(SCORES).order_by(SCORES.c.trial_id))
    with explained(str(store.location), store.engine):
        pairs = zip(frame["score"], frame["score_is_nan"], strict=True)
        frame["score"] = [number_from(value, is_nan) for value, is_nan in pairs]
    frame["score"] = frame["score"].astype(float)
    return frame


def timings_frame(store: Store) -> pd.DataFrame:
    """The view `timings`, one row per measured duration (s)."""
    return _frame(store, select(TIMINGS).order_by(TIMINGS.c.measured_at))


def learning_curves(store: Store) -> pd.DataFrame:
    """Mean return and normalised score over the episodes of every evaluation made during training.

    Columns: trial_id, algorithm, variant, task, physics, seed, budget, config_hash, number, step, episodes,
    mean_return, mean_score; ordered by trial and number. Of several attempts at a trial the latest counts.
    """
    points = _frame(store, select_points())
    for name in ("return", "score"):
        points[f"mean_{name}"] = _numbers(points[f"mean_{name}"], points.pop(f"{name}_is_nan"))
    latest = points.drop_duplicates(["trial_id", "number"], keep="last").drop(columns=["attempt", "whole"])
    # Joined here: with the names of its trial in every row the answer of the database would be far larger.
    return _frame(store, _select_names()).merge(latest, on="trial_id")


def _select_names() -> Select[Any]:
    names = ("algorithm", "variant", "task", "physics", "seed", "budget", "config_hash")
    return select(Trial.id.label("trial_id"), *(getattr(Trial, name) for name in names)).order_by(Trial.id)


def _frame(store: Store, chosen: Select[Any]) -> pd.DataFrame:
    with store.connect() as connection:
        rows = connection.execute(chosen)
        names = list(rows.keys())
        columns: list[list[Any]] = [[] for _ in names]
        # Column by column, because pandas asks every row what it is; in small portions, because collecting
        # garbage among many row objects takes long. Either costs more than the query itself.
        for portion in rows.partitions(_PORTION):
            for column, values in zip(columns, zip(*portion, strict=True), strict=True):
                column.extend(values)
    frame = pd.DataFrame(dict(zip(names, columns, strict=True)))
    # A missing number would make floats of whole ones.
    whole = [
        column.name
        for column in chosen.selected_columns
        if isinstance(column.type, Whole) and frame[column.name].isna().any()
    ]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _numbers(values: pd.Series, is_nan: pd.Series) -> pd.Series:
    return values.astype(float).mask(is_nan.astype(bool), np.nan)
