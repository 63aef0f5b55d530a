"""An evaluation beside training: both ways are timed, and must come to the same returns."""

import json
import time
from dataclasses import replace

import pytest

from benchmarks import overlap

SMALL = ("bc", "halfcheetah-medium-v2", 1)


def test_both_ways_are_timed_and_recorded(tmp_path, capsys):
    path = tmp_path / "record.json"
    algo, task, episodes = SMALL
    options = ["--algo", algo, "--task", task, "--episodes", str(episodes), "--repeats", "2"]
    overlap.main([*options, "--json", str(path)])
    without_waits, as_it_was = json.loads(path.read_text())["comparisons"]
    for comparison in (without_waits, as_it_was):
        assert {name: len(rates) for name, rates in comparison["rates"].items()} == {
            "beside": 2,
            "in turn": 2,
        }
    # A wait for a core is a part of the wall time.
    for name, rates in as_it_was["rates"].items():
        assert all(wall <= own for wall, own in zip(rates, without_waits["rates"][name], strict=True))
    assert "ratios of the turns" in capsys.readouterr().out


def test_other_returns_beside_training_are_an_error(monkeypatch):
    with overlap.prepared(*SMALL) as work:
        overlap.same_returns(work)
        play = overlap.Work.play

        def disturbed(self, policy, on_step=lambda step: None):
            found = play(self, policy, on_step)
            return found if policy is self.trainer.algorithm else replace(found, returns=found.returns + 1)

        monkeypatch.setattr(overlap.Work, "play", disturbed)
        with pytest.raises(AssertionError, match="other returns"):
            overlap.same_returns(work)


def test_sleep_counts_as_time_of_one_s_own():
    """As waiting for the interpreter's lock does; only the wait for a core does not."""
    with overlap.timed() as spent:
        time.sleep(0.05)
    assert spent.wall >= 0.05
    assert spent.wall >= spent.without_wait > 0
