"""The load on a driver: messages come at their rates, wait in a queue, and are told by kind."""

import json

import pytest

from benchmarks import keeper
from benchmarks.keeper import Cost, arrivals, delays, falls_behind, lateness, share_of_a_core


def test_messages_come_at_their_rates():
    found = arrivals(20, 120.0)
    counts = {kind: sum(which == kind for _, which, _ in found) for kind in ("progress", "evaluation")}
    assert counts == {"progress": 20 * 120, "evaluation": 20 * 10}
    assert [at for at, _, _ in found] == sorted(at for at, _, _ in found)
    assert sum(kind == "heartbeat" for _, kind, _ in found) == 8


def test_a_message_waits_for_those_before_it():
    # The second comes while the first is dealt with, the third after a pause.
    assert delays([0.0, 1.0, 10.0], [3.0, 2.0, 1.0]).tolist() == [3.0, 4.0, 1.0]


def test_the_share_of_a_core_is_that_of_the_rates_whatever_was_sent():
    costs = [Cost("progress", 0.001), Cost("progress", 0.003), Cost("checkpoint", 0.6)]
    # Ten workers: ten times 2 ms a second, and a checkpoint of 0.6 s every minute.
    assert share_of_a_core(costs, 10) == pytest.approx(0.02 + 0.01)


def test_messages_are_late_once_they_come_faster_than_they_are_dealt_with():
    # A millisecond each, and one a second from each worker: a thousand are the limit.
    costs = {"progress": [0.001]}
    assert lateness(costs, 10, 500) < 0.01
    assert lateness(costs, 10, 1100) > 1.0
    assert falls_behind(costs, 10) == pytest.approx(1000, rel=0.03)


def test_a_heartbeat_grows_with_the_workers_and_leaves_room_between_its_parts():
    # Of 3 s with a hundred workers: of a thousand ten such parts, more than there is time for until the next.
    costs = {"progress": [1e-6], "heartbeat": [3.0]}
    assert lateness(costs, 100, 100) < 3.0
    assert lateness(costs, 100, 1000) > 15.0
    # Of 0.3 s a part: nothing waits for more than one of them, where all ten at once would be 3 s.
    assert 0.2 < lateness({"progress": [1e-6], "heartbeat": [0.3]}, 100, 1000) < 0.4


def test_a_small_load_goes_through_the_keeper_into_a_store(tmp_path, capsys):
    path = tmp_path / "record.json"
    small = ["--workers", "3", "--stacks", "4", "--seconds", "25", "--checkpoint-mb", "0.1"]
    keeper.main([*small, "--json", str(path)])
    record = json.loads(path.read_text())
    figures = {figure["name"].partition(": ")[2]: figure["median"] for figure in record["figures"]}
    assert all(figures[kind] > 0 for kind in ("claim", "progress", "evaluation", "heartbeat"))
    assert figures["checkpoint in a shared folder"] > 0
    assert figures["checkpoints are shared, falls behind"] > 3
    assert len(capsys.readouterr().out.splitlines()) == len(figures)
