"""NaN, infinity and times come back as they were stored, and an average shows that something is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from bench.store.columns import metrics_from_json, metrics_to_json, number_columns, number_from
from bench.store.database import Store
from bench.store.queries import evaluations, failures, find_trial, learning_curves, scores_frame, trials
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import fetched

ODD = (1.5, math.nan, math.inf, -math.inf, 0.1 + 0.2, 1e308)


def same(left: float | None, right: float | None) -> bool:
    return left == right or (left != left and right != right)


@pytest.fixture
def odd(store: Store, writer: Writer) -> Store:
    """Three finished trials: 10, NaN and 20; and one evaluation with odd returns."""
    records = [samples.trial_record(seed) for seed in range(3)]
    writer.plan(records)
    for record, score in zip(records, (10.0, math.nan, 20.0), strict=True):
        writer.record(samples.evaluation_record(record.key, 1, ODD if score != score else (30.0, 60.0)))
        writer.record(samples.finished_record(record.key, score))
    return store


@pytest.mark.parametrize("value", [*ODD, None])
def test_two_columns_hold_any_number(value: float | None) -> None:
    columns = number_columns("score", value)
    assert same(number_from(columns["score"], columns["score_is_nan"]), value)


def test_episodes_come_back_as_they_were(odd: Store) -> None:
    (evaluation,) = evaluations(odd, 2)
    assert all(same(left, right) for left, right in zip(evaluation.returns, ODD, strict=True))
    assert all(same(left, right / 30) for left, right in zip(evaluation.scores, ODD, strict=True))


def test_a_trial_that_ended_in_nan_says_so(odd: Store) -> None:
    assert math.isnan(find_trial(odd, 2).score)
    assert [trial.score for trial in trials(odd) if trial.trial_id != 2] == [10.0, 20.0]
    frame = scores_frame(odd)
    assert list(frame["score_is_nan"]) == [False, True, False]
    assert frame["score"].isna().tolist() == [False, True, False]


def test_a_plain_average_over_a_nan_is_no_number_that_anybody_believes(odd: Store) -> None:
    assert fetched(odd.location.url, "SELECT AVG(score) FROM scores") == [(-math.inf,)]
    assert fetched(odd.location.url, "SELECT AVG(score) FROM scores WHERE NOT score_is_nan") == [(15.0,)]
    assert fetched(odd.location.url, "SELECT COUNT(*) FROM scores WHERE score > 5") == [(2,)]
    # It holds no NULL in its place: that is what an average would leave out.
    assert fetched(odd.location.url, "SELECT COUNT(*) FROM scores WHERE score IS NULL") == [(0,)]


def test_a_learning_curve_with_a_nan_episode_has_a_nan_there(odd: Store) -> None:
    curves = learning_curves(odd).set_index("trial_id")
    assert curves.loc[1, "mean_return"] == 45.0
    assert curves.loc[1, "mean_score"] == 1.5
    assert math.isnan(curves.loc[2, "mean_return"])


def test_a_score_that_a_protocol_does_not_give_is_missing_rather_than_nan(
    store: Store, writer: Writer
) -> None:
    record = samples.trial_record()
    writer.plan([record])
    writer.record(samples.finished_record(record.key, None))
    trial = find_trial(store, 1)
    assert (trial.state, trial.score) == ("finished", None)
    assert list(scores_frame(store)["score_is_nan"]) == [False]


def test_metrics_are_json_that_any_parser_reads() -> None:
    metrics = {"loss": 0.5, "nan": math.nan, "up": math.inf, "down": -math.inf}
    text = json.dumps(metrics_to_json(metrics), allow_nan=False)
    back = metrics_from_json(json.loads(text))
    assert back.keys() == metrics.keys()
    assert all(same(back[name], metrics[name]) for name in metrics)


def test_any_text_of_an_error_can_be_kept(store: Store, writer: Writer) -> None:
    record = samples.trial_record()
    writer.plan([record])
    odd = {"message": "no file 'a\x00b\udcff'", "traceback": "Zeile 1\n\u00fc \U0001f4a5"}
    for _ in range(2):
        writer.record(dataclasses.replace(samples.failure_record(record.key), **odd))
    (stored,) = failures(store)
    assert stored.record.message == r"no file 'a\x00b\udcff'"
    assert stored.record.traceback == odd["traceback"]


def test_times_are_kept_in_utc_whatever_their_zone(store: Store, writer: Writer) -> None:
    record = samples.trial_record()
    writer.plan([record])
    local = datetime(2025, 7, 1, 1, 30, tzinfo=timezone(timedelta(hours=3)))
    writer.record(samples.timing_record(record.key, measured_at=local))
    with store.connect() as connection:
        shown = connection.scalar(text("SELECT CAST(measured_at AS VARCHAR) FROM timings"))
    assert shown.startswith("2025-06-30 22:30:00")
    planned = find_trial(store, 1).planned_at
    assert planned.tzinfo is UTC
    assert abs(datetime.now(UTC) - planned) < timedelta(minutes=1)


def test_a_time_without_a_zone_is_a_mistake(writer: Writer) -> None:
    with pytest.raises(Exception, match="no time zone"):
        writer.record(samples.timing_record(None, measured_at=datetime(2025, 7, 1)))
