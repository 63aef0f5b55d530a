"""The soak test: ten minutes of kills, then every trial once and bit-equal (`python -m tests.soak`)."""

import sqlite3
import time

import pytest

from tests.soak import cuts_of, require_cuts, soak, told_cuts


def test_a_stretch_of_work_counts_as_cut_where_the_next_one_goes_on_from_later(tmp_path):
    store = tmp_path / "bench.sqlite"
    with sqlite3.connect(store) as connection:
        connection.execute("CREATE TABLE trials (id, algorithm, stack, started_at)")
        connection.execute("CREATE TABLE executions (trial_id, stack, started_at, from_iteration)")
        connection.executemany(
            "INSERT INTO trials (id, algorithm) VALUES (?, ?)", [(1, "bc"), (2, "bc"), (3, "dtql")]
        )
        stretches = [
            (1, "[0, 1]", "10:00", 0),
            (2, "[0, 1]", "10:00", 0),  # the same stretch, of another seed
            (1, "[0, 1]", "10:01", 0),  # the first was cut as it started: no work
            (1, "[0, 1]", "10:02", 1500),
            (1, "[0, 1]", "10:03", 3000),  # the one before had nothing left to train
            (3, "[2]", "10:00", 0),
            (3, "[2]", "10:05", 180),
        ]
        connection.executemany("INSERT INTO executions VALUES (?, ?, ?, ?)", stretches)
    connection.close()
    cuts = cuts_of(store)
    assert cuts == [0.5, 0.1]
    assert told_cuts(cuts) == "2 stretches of work cut; in each fifth of their way: 1, 0, 1, 0, 0"


def test_a_soak_that_cut_too_little_or_always_at_the_same_place_fails():
    require_cuts([0.1, 0.9] * 5, minutes=10)
    with pytest.raises(AssertionError, match="at least 10 were wanted"):
        require_cuts([0.1, 0.9], minutes=10)
    with pytest.raises(AssertionError, match="always in the same half"):
        require_cuts([0.1] * 20, minutes=10)


@pytest.mark.slow
def test_ten_minutes_of_kills_lose_and_change_nothing(tmp_path):
    soak(tmp_path, minutes=10, seed=int(time.time()))
