"""What is read back is what was recorded."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from bench.errors import BenchError
from bench.store.database import Store, head_revision
from bench.store.queries import (
    change_token,
    codes_of,
    describe,
    evaluation_means,
    evaluations,
    failures,
    find_trial,
    learning_curves,
    next_reevaluation,
    scores_frame,
    timings_frame,
    trial_states,
    trials,
    weights_of,
)
from bench.store.status import CellCounts, cells, commands_left, running_stacks
from bench.store.writer import Writer
from tests.store import samples

HOPPER = [samples.trial_record(seed) for seed in range(4)]
WALKER = samples.trial_record(0, "walker2d-medium-v2")


@pytest.fixture
def filled(store: Store, writer: Writer) -> Store:
    """Hopper: a trial in each state; walker: one planned by a later run."""
    writer.plan(HOPPER)
    for trial in HOPPER[:3]:
        writer.claim(trial.key.cell, {trial.key.seed}, 1)
        writer.record(samples.evaluation_record(trial.key, 1))
    finished, _, failed, _ = (trial.key for trial in HOPPER)
    writer.record(samples.evaluation_record(finished, 2, (30.0, 90.0)))
    writer.record(samples.weights_record(finished))
    writer.record(samples.timing_record(finished))
    writer.record(samples.timing_record(None))
    writer.record(samples.finished_record(finished))
    writer.record(samples.failure_record(failed))
    later = replace(samples.run_record("run-2", "bench run --suite s2"), code_commit="d" * 40)
    writer.begin_run(replace(later, started_at=samples.NOON + timedelta(days=1)))
    writer.plan([WALKER])
    return store


def test_a_trial_comes_back_whole(filled: Store) -> None:
    trial = find_trial(filled, 1)
    end = samples.finished_record(HOPPER[0].key)
    assert trial.record == HOPPER[0]
    assert (trial.state, trial.attempt, trial.run_id, trial.score) == ("finished", 1, "run-1", end.score)
    assert trial.finished_at == end.finished_at
    assert (trial.training_seconds, trial.evaluation_seconds, trial.peak_memory_bytes) == (12.5, 2.5, 2**31)


def test_an_unknown_trial_is_said_with_the_query_that_lists_them(filled: Store) -> None:
    with pytest.raises(BenchError, match="no trial 99") as error:
        find_trial(filled, 99)
    assert "bench query" in error.value.do_this


def test_trials_can_be_chosen_by_state_and_task(filled: Store) -> None:
    assert [trial.trial_id for trial in trials(filled)] == [1, 2, 3, 4, 5]
    assert [trial.trial_id for trial in trials(filled, states=["planned"])] == [4, 5]
    assert [trial.record for trial in trials(filled, tasks=["walker2d-medium-v2"])] == [WALKER]
    assert trials(filled, states=["failed"], tasks=["walker2d-medium-v2"]) == []


def test_states_are_given_for_known_trials_only(filled: Store) -> None:
    same_config_other_seed = samples.trial_record(9).key
    keys = [trial.key for trial in HOPPER]
    states = trial_states(filled, [*keys, same_config_other_seed])
    assert states == dict(zip(keys, ["finished", "running", "failed", "planned"], strict=True))


def test_evaluations_come_back_whole(filled: Store) -> None:
    first, second = evaluations(filled, 1)
    expected = samples.evaluation_record(HOPPER[0].key, 1)
    assert first.metrics.pop("actor_loss") != first.metrics  # NaN, which equals nothing
    expected.metrics.pop("actor_loss")
    assert first == expected
    assert (second.number, second.returns, second.scores) == (2, (30.0, 90.0), (1.0, 3.0))
    assert evaluations(filled, 4) == []


def test_weights_come_back_by_role(filled: Store) -> None:
    assert weights_of(filled, 1) == {"final": samples.weights_record(HOPPER[0].key)}
    assert weights_of(filled, 2) == {}


def test_judgements_are_numbered_downwards_from_zero_and_stay_out_of_the_curve(
    filled: Store, writer: Writer
) -> None:
    for number in (0, -1):
        assert next_reevaluation(filled, 1) == number
        judged = replace(samples.evaluation_record(HOPPER[0].key, number), physics="modern")
        writer.begin_run(samples.run_record(f"judge{number}"))
        writer.record(judged)
    assert [evaluation.number for evaluation in evaluations(filled, 1)] == [-1, 0, 1, 2]
    assert set(learning_curves(filled)["number"]) == {1, 2}


def test_the_scores_frame_has_one_row_per_trial_with_its_provenance(filled: Store) -> None:
    frame = scores_frame(filled)
    assert list(frame["state"]) == ["finished", "running", "failed", "planned", "planned"]
    assert frame["score"].tolist()[0] == 9.2
    assert frame["score"].isna().tolist() == [False, True, True, True, True]
    assert list(frame["code_commit"]) == ["c" * 40] * 4 + ["d" * 40]
    assert frame["reduced"][0] == ["budget 0.001", "episodes 3"]
    assert frame["finished_at"][0] == samples.finished_record(HOPPER[0].key).finished_at


def test_timings_of_trials_and_of_synthetic_data_are_told_apart(filled: Store) -> None:
    frame = timings_frame(filled).set_index("exclusive")
    assert (frame.loc[False, "trial_id"], frame.loc[False, "seed"]) == (1, 0)
    assert str(frame.loc[True, "trial_id"]) == "<NA>"
    assert frame.loc[True, "value"] == 3.5


def test_learning_curves_are_means_over_episodes(filled: Store) -> None:
    curve = learning_curves(filled).query("trial_id == 1")
    assert list(curve["number"]) == [1, 2]
    assert list(curve["step"]) == [1000, 2000]
    assert list(curve["episodes"]) == [3, 2]
    assert curve["mean_return"].tolist() == pytest.approx([(300 + 250.5 + 275.25) / 3, 60])
    assert curve["mean_score"].tolist() == pytest.approx([(300 + 250.5 + 275.25) / 90, 2])


def test_infinite_scores_of_both_signs_have_no_mean(store: Store, writer: Writer) -> None:
    key = HOPPER[0].key
    writer.plan(HOPPER[:1])
    writer.claim(key.cell, {0}, 1)
    writer.record(samples.evaluation_record(key, 1, (math.inf, -math.inf, 3.0)))
    writer.record(samples.evaluation_record(key, 2, (30.0, math.nan)))
    writer.record(samples.evaluation_record(key, 3, (30.0, 90.0)))
    (means,) = evaluation_means(store).values()
    assert [math.isnan(mean) for mean in means] == [True, True, False]
    assert learning_curves(store)["mean_score"].isna().tolist() == [True, True, False]


def test_cells_count_their_trials(filled: Store) -> None:
    hopper, walker = HOPPER[0].key, WALKER.key
    name = ("dtql", "released", "hopper-medium-v2", hopper.config_hash, "d4rl", 0.001)
    other = ("dtql", "released", "walker2d-medium-v2", walker.config_hash, "d4rl", 0.001)
    planned, running, cut_off, finished, failed = 1, 1, 0, 1, 1
    counts = (planned, running, cut_off, finished, failed)
    assert cells(filled, running_stacks(filled)) == [
        CellCounts(*name, *counts),
        CellCounts(*other, 1, 0, 0, 0, 0),
    ]


def test_what_was_begun_and_is_worked_on_by_nobody_is_cut_off(filled: Store) -> None:
    hopper, _ = cells(filled, [])
    assert (hopper.running, hopper.cut_off) == (0, 1)


def test_other_hyperparameters_make_another_cell(store: Store, writer: Writer) -> None:
    writer.plan([samples.trial_record(), samples.trial_record(discount={"value": 0.9})])
    assert [cell.planned for cell in cells(store, [])] == [1, 1]


def test_failures_say_why_and_with_which_command(filled: Store) -> None:
    (failure,) = failures(filled)
    assert failure.record == samples.failure_record(HOPPER[2].key)
    assert (failure.trial_id, failure.command, failure.current) == (3, "bench run --suite quickstart", True)


def test_commands_with_work_left_are_given_latest_first(filled: Store) -> None:
    assert commands_left(filled, []) == ["bench run --suite s2", "bench run --suite quickstart"]


def test_a_command_that_runs_need_not_be_given_again(filled: Store) -> None:
    assert commands_left(filled, running_stacks(filled)) == ["bench run --suite s2"]


def test_an_empty_store_answers_everything(store: Store) -> None:
    assert (trials(store), cells(store, []), failures(store), commands_left(store, [])) == ([], [], [], [])
    assert [len(frame(store)) for frame in (scores_frame, timings_frame, learning_curves)] == [0, 0, 0]
    contents = describe(store)
    assert contents.dialect == ("sqlite" if store.location.path else "postgresql")
    assert contents.revision == head_revision()
    assert {table.rows for table in contents.tables} == {0}


def test_codes_are_those_that_a_trials_numbers_went_through(store: Store, writer: Writer) -> None:
    writer.plan(HOPPER[:3])
    continued, anew, untouched = (trial.key for trial in HOPPER[:3])
    for key, starts in ((continued, (0, 500)), (anew, (0, 0))):
        writer.claim(key.cell, {key.seed}, 1)
        for number, iteration in enumerate(starts):
            begun = samples.NOON + timedelta(minutes=number)
            code = "ab"[number] * 64
            record = samples.execution_record((key.seed,), iteration, started_at=begun, code_sha256=code)
            writer.begin_execution([key], record)
    assert codes_of(store, [continued, anew, untouched]) == {
        continued: {"a" * 64, "b" * 64},
        anew: {"b" * 64},
    }
    assert codes_of(store, []) == {}


def test_every_kind_of_news_changes_the_token_and_nothing_else(store: Store, writer: Writer) -> None:
    trial = samples.trial_record(0)
    key = trial.key
    steps = [
        lambda: writer.plan([trial]),
        lambda: writer.claim(key.cell, [0], 1),
        lambda: writer.begin_execution([key], samples.execution_record((0,))),
        lambda: writer.record(samples.evaluation_record(key)),
        lambda: writer.record(samples.timing_record(key)),
        lambda: writer.record(samples.failure_record(key)),
        lambda: writer.retry([key]),
        lambda: writer.note_dataset(replace(trial.dataset, verification="verified", replay="d4rl")),
    ]
    seen = [change_token(store)]
    for number, step in enumerate(steps):
        step()
        if number != 1:  # a claim alone is no result
            assert change_token(store) not in seen, number
        seen.append(change_token(store))
    assert change_token(store) == seen[-1]
