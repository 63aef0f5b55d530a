"""Score against cost: which measurements enter, what the papers print, and how points are told apart."""

import math
import statistics
from dataclasses import replace

import pytest
from scipy import stats

from bench.catalog import load_catalog
from bench.records import PhaseRecord
from bench.report.figures import page_figures
from bench.report.measured import Origin, ReportData, SeedScore
from bench.report.series import by_series
from bench.report.tradeoffs import (
    action_milliseconds,
    load_cost_sources,
    measured_points,
    printed_points,
    training_hours,
)
from tests.report.builders import measured, timing

TASK = "hopper-medium-v2"
PACE = "training_seconds_per_1k_iterations"
PHASES = (PhaseRecord("pretrain", 50_000, False), PhaseRecord("train", 1_000_000, True))
LOCOMOTION = [task.name for task in load_catalog().suites["d4rl-locomotion"].tasks]


def origin(trial_id, seconds, stack):
    return Origin(
        trial_id,
        "run-1",
        "0.1.0",
        None,
        None,
        None,
        "ab",
        None,
        "cuda: a GPU",
        "graph",
        1,
        stack,
        seconds,
        5.0,
    )


def data_of(*cells, timings=(), **other):
    phases = {("dtql", "released", TASK): PHASES}
    return ReportData(measured=cells, timings=tuple(timings), phases=phases, **other)


def speed(quantity, value, **other):
    return timing(quantity, value, task=TASK, **other)


def test_hours_alone_add_up_the_phases_at_their_own_pace():
    timings = [speed(PACE, 7.2), speed(PACE, 7.0), speed(PACE, 7.4), speed(f"{PACE}:pretrain", 3.6)]
    costs = training_hours(data_of(timings=timings), [TASK])
    # 1,000 thousands at 7.2 s and 50 thousands at 3.6 s.
    assert costs.alone(measured(TASK)) == pytest.approx((7200 + 180) / 3600)
    assert costs.alone(measured(TASK, reduced=("budget 0.1",))) is None
    assert costs.alone(measured(TASK, algorithm="srpo")) is None
    assert training_hours(data_of(timings=timings[:3]), [TASK]).alone(measured(TASK)) is None


@pytest.mark.parametrize("fault", [{"exclusive": False}, {"stack_size": 2}, {"concurrent_stacks": 3}])
def test_only_what_was_measured_alone_counts_as_alone(fault):
    timings = [speed("action_latency_median_seconds", 0.002, **fault)]
    assert action_milliseconds(data_of(timings=timings), [TASK]).alone(measured(TASK)) is None


def test_latencies_of_one_device_are_not_mixed_with_those_of_another():
    name = "action_latency_median_seconds"
    timings = [speed(name, 0.002), speed(name, 0.004), speed(name, 9.0, device="cuda: a GPU")]
    costs = action_milliseconds(data_of(timings=timings), [TASK])
    assert costs.alone(measured(TASK)) == pytest.approx(3.0)
    assert str(costs.circumstances) == "Some CPU, 2 threads, runner eager"


def test_hours_of_a_grid_are_shared_among_the_seeds_of_a_stack():
    cell = measured(TASK)
    origins = {10: origin(10, 7200.0, [0, 1]), 11: origin(11, 7200.0, [0, 1]), 12: origin(12, 9000.0, [2])}
    costs = training_hours(data_of(cell, origins=origins), [TASK])
    assert costs.shared(cell) == pytest.approx(statistics.median([1.0, 1.0, 2.5]))
    latencies = {10: 0.001, 11: 0.003, 99: 5.0}
    assert action_milliseconds(data_of(cell, latencies=latencies), [TASK]).shared(cell) == pytest.approx(2.0)


def test_a_point_is_the_mean_over_tasks_with_its_interval():
    cells = (measured(TASK, scores=(10.0, 20.0, 60.0)), measured("walker2d-medium-v2", scores=(50.0, 70.0)))
    cells = (cells[0], replace(cells[1], config_hash="cd" * 32))
    origins = {trial: origin(trial, 3600.0 * trial, [0]) for trial in (10, 11, 12)}
    data = data_of(*cells, origins=origins)
    tasks = [TASK, "walker2d-medium-v2"]
    _, (point,) = measured_points(by_series(data.measured, tasks), training_hours(data, tasks))
    assert (point.mark, point.name) == ("shared", "DTQL (n = 2\N{EN DASH}3)")
    assert point.score == pytest.approx((30 + 60) / 2)
    assert point.cost == pytest.approx((11 + 10.5) / 2)
    # Variances of the two means, and Satterthwaite's degrees of freedom, written anew.
    parts = [statistics.variance((10, 20, 60)) / 3, statistics.variance((50, 70)) / 2]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 1)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts)) / 2
    assert (point.low, point.high) == (pytest.approx(45 - half), pytest.approx(45 + half))


def test_a_point_promises_no_tasks_whose_cost_is_unknown():
    other, tasks = "walker2d-medium-v2", [TASK, "walker2d-medium-v2"]
    more = tuple(SeedScore(trial, trial, "finished", 70.0) for trial in (20, 21, 22))
    most = tuple(SeedScore(trial, trial, "finished", 60.0) for trial in (30, 31))
    cells = (
        measured(TASK, (10.0, 20.0)),
        measured(other, trials=more),
        measured(TASK, algorithm="srpo", trials=most),
        measured(other, algorithm="srpo", trials=most),
    )
    data = data_of(*cells, latencies=dict.fromkeys((10, 11, 30, 31), 0.001))
    _, (dtql, srpo) = measured_points(by_series(data.measured, tasks), action_milliseconds(data, tasks))
    assert (dtql.name, dtql.score) == ("DTQL (n = 2, 1 task)", pytest.approx(15.0))
    assert (srpo.name, srpo.score) == ("SRPO (n = 2, 2 tasks)", pytest.approx(60.0))
    shown = [figure for figure in page_figures(data) if figure.id == "score-latency-d4rl-locomotion"]
    assert ["Not all methods cover the same tasks" in figure.about for figure in shown] == [True]


@pytest.mark.parametrize("section", ["score-latency", "profiles"])
def test_failed_trials_are_told_wherever_means_are_shown(section):
    trials = tuple(SeedScore(seed, seed, state, 50.0) for seed, state in enumerate(("finished", "failed")))
    data = data_of(measured(TASK, trials=trials), latencies={0: 0.001})
    figures = [figure for figure in page_figures(data) if figure.section == section]
    assert figures
    assert all("Failed trials are left out: DTQL 1 of 2." in figure.about for figure in figures)


def test_two_seeds_of_one_task_have_no_interval():
    cell = measured(TASK, scores=(10.0, 20.0))
    data = data_of(cell, latencies={10: 0.001, 11: 0.001})
    _, (point,) = measured_points(by_series([cell], [TASK]), action_milliseconds(data, [TASK]))
    assert math.isnan(point.low)


def test_methods_are_compared_under_one_protocol():
    averaged = replace(measured(TASK, protocol="rat"), trials=())
    assert by_series([averaged], [TASK]) == {}
    trial = replace(measured(TASK).trials[0], score=1.0, evaluations=tuple(float(n) for n in range(12)))
    (series,) = by_series([replace(averaged, trials=(trial,))], [TASK]).values()
    assert series[TASK].scores == (11.0,)


def by_method(points):
    """Points by what stands before the source in their names."""
    return {point.name.partition(" (")[0]: point for point in points}


def test_the_papers_hours_and_scores():
    sources = load_cost_sources()
    found = by_method(printed_points(sources, LOCOMOTION, "locomotion"))
    # DTQL Table 7: the nine locomotion rows; Table 1 prints their average as 88.7.
    hours = (5.1, 5.0, 4.9, 5.1, 5.4, 4.9, 5.5, 5.2, 4.9)
    assert found["DTQL"].cost == pytest.approx(sum(hours) / 9)
    assert found["DTQL"].score == pytest.approx(88.7, abs=0.05)
    assert (found["Diffusion-QL"].cost, found["Diffusion-QL"].score) == (120, 89.4)
    assert (found["EDP+TD3"].cost, found["EDP+TD3"].score) == (5, 90.3)
    assert set(found) == {"DTQL", "Diffusion-QL", "EDP+TD3"}


def test_one_task_has_the_four_methods_of_dtqls_table_2():
    found = by_method(printed_points(load_cost_sources(), ["antmaze-umaze-v0"], "antmaze"))
    assert {method: point.cost for method, point in found.items()} == {
        "DQL": 6.70, "IDQL": 14.64, "SRPO": 9.42, "DTQL": 3.33
    }  # fmt: skip
    assert found["SRPO"].score == 90.8
    assert printed_points(load_cost_sources(), ["collected-hopper-medium"], "locomotion") == []
    assert printed_points(load_cost_sources(), [], "locomotion") == []


def test_the_page_says_which_measurements_enter():
    cells = [measured(task) for task in LOCOMOTION]
    data = data_of(*cells, origins={trial: origin(trial, 7200.0, [0, 1, 2]) for trial in (10, 11, 12)})
    figures = {figure.id: figure for figure in page_figures(data)}
    time = figures["score-time-d4rl-locomotion"]
    assert "Pale: from the grid, the stack's time divided by its seeds" in time.about
    assert "Hollow: as printed, on the papers' own hardware; DTQL Table 7: evaluations included" in time.about
    assert "Filled" not in time.about
    assert "DTQL (DTQL Table 7)" in time.svg
    assert "training time per seed (hours)" in time.svg
    assert (time.section, time.methods, time.tasks) == ("score-time", ("dtql",), tuple(LOCOMOTION))
    # No latency was measured, so there is no such figure.
    assert not any(figure.section == "score-latency" for figure in figures.values())
