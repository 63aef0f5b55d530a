"""The benchmarks run, measure what they say, and write a record; how fast they are is not asserted."""

import importlib
import json

import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.data.behaviours import load_policy
from bench.envs import ROBOTS
from bench.envs.locomotion import WALKERS
from benchmarks import collection, robots, simulator
from benchmarks.measuring import Comparison, compare

SMALL = ["--repeats", "1", "--steps", "20", "--environments", "4", "--threads", "2"]


def test_ratio_is_the_median_of_the_ratios_of_each_turn():
    comparison = Comparison("x", "u", {"ours": (10.0, 30.0, 8.0), "theirs": (5.0, 10.0, 8.0)}, 2.0)
    assert comparison.ratio == 2.0
    assert "ratio 2.00 (target 2.0)" in comparison.as_line()


def test_ways_are_measured_by_turns_and_the_first_turn_does_not_count():
    calls = []

    def way(name):
        calls.append(name)
        return float(len(calls))

    comparison = compare("x", "u", 1.0, {"a": lambda: way("a"), "b": lambda: way("b")}, repeats=2)
    assert calls == ["a", "b"] * 3
    assert comparison.rates == {"a": (3.0, 5.0), "b": (4.0, 6.0)}


SIMULATORS = 3 * len(simulator.others())
"""Three robots beside each."""
UNSAID = simulator.ENVPOOL not in simulator.others()
"""Whether a line says that EnvPool is not here."""


@pytest.mark.parametrize(
    ("benchmark", "count", "more"), [(simulator, SIMULATORS, UNSAID), (collection, 3, False)]
)
def test_a_record_names_the_machine(benchmark, count, more, tmp_path, capsys):
    benchmark.main([*SMALL, "--json", str(tmp_path / "record.json")])
    record = json.loads((tmp_path / "record.json").read_text())
    assert len(record["comparisons"]) == count
    assert record["hardware"]["cpu"]
    assert record["settings"]["threads"] == 2
    assert all(comparison["ratio"] > 0 for comparison in record["comparisons"])
    assert len(capsys.readouterr().out.splitlines()) == count + more


def test_cpu_time_of_a_step_is_told_of_both_and_a_physics_alone_does_all_its_steps(tmp_path, monkeypatch):
    simulator.main([*SMALL, "--json", str(tmp_path / "record.json")])
    used = json.loads((tmp_path / "record.json").read_text())["cpu_microseconds_per_step"]
    assert len(used) == SIMULATORS
    assert all(value > 0 for of_way in used.values() for value in of_way.values())
    taken = []
    rollout = importlib.import_module("mujoco.rollout")
    monkeypatch.setattr(rollout, "rollout", lambda model, data, states, controls: taken.append(controls))
    actions = np.random.default_rng(1).uniform(-1, 1, (7, 4, 3)).astype(np.float32)
    simulator.rollouts("hopper", actions, 2)
    # Hopper's action holds for four steps of the physics.
    assert taken[0].shape == (4, 28, 3)
    assert (taken[0][2, 8:12] == actions[2, 2]).all()


def test_every_robot_of_the_other_domains_is_measured_with_its_share_of_physics(tmp_path, capsys):
    small = ["--repeats", "1", "--steps", "2", "--environments", "2"]
    robots.main([*small, "--json", str(tmp_path / "record.json")])
    record = json.loads((tmp_path / "record.json").read_text())
    measured = set(record["cpu_microseconds_per_step"])
    assert measured == {name for name in ROBOTS if name not in (*WALKERS, "kitchen-mixed")}
    assert [comparison["name"] for comparison in record["comparisons"]] == list(robots.TARGETS)
    for figures in record["cpu_microseconds_per_step"].values():
        assert len(figures["batched"]) == len(figures["bare physics"]) == 1
        assert figures["share of bare physics"] == figures["bare physics"][0] / figures["batched"][0]
    assert capsys.readouterr().out.count("bare physics") == len(measured)


def test_bare_physics_follows_the_recorded_states():
    task, policy = load_catalog().task("collected-hopper-medium"), load_policy("hopper", "early")
    recording = collection.record(task, policy, steps=300, count=2)
    assert sum(map(len, recording.resets)) > 2  # some fell, or nothing would be compared with resets
    expected = policy.sample(recording.observations.reshape(-1, 11), recording.noise.reshape(-1, 3))
    np.testing.assert_allclose(recording.actions.reshape(-1, 3), expected, atol=1e-5)
    assert collection.bare_physics(task, policy, recording, threads=2) > 0
