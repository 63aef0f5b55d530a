"""DTQL's Table 2: only exclusive single-seed timings enter; hours by hand."""

import pytest

from bench.records import PhaseRecord
from bench.report.build import build_table
from bench.report.measured import ReportData
from tests.report.builders import timing

WALKER = "walker2d-medium-expert-v2"
PACE = "training_seconds_per_1k_iterations"
PHASES = (PhaseRecord("pretrain", 50_000, False), PhaseRecord("train", 500_000, True))
OF_DTQL = {("dtql", "released", "antmaze-umaze-v0"): PHASES}


def _measured(*timings):
    table = build_table("dtql-2", ReportData(timings=timings, phases=OF_DTQL))
    place = [column.header for column in table.blocks[0].columns].index("DTQL measured")
    return table, {row.cells[0].text: row.cells[place] for row in table.blocks[0].rows}


def test_printed_numbers_in_the_papers_order():
    table, _ = _measured()
    rows = [[cell.text for cell in row.cells[:5]] for row in table.blocks[0].rows[:4]]
    assert rows == [
        ["Training time (s per 1k steps)", "24.13", "17.57", "24.71", "21.83"],
        ["Inference time (s per trajectory)", "3.03", "3.04", "0.22", "0.35"],
        ["Training epochs", "1000", "3000", "1000", "500"],
        ["Total training time (hours)", "6.70", "14.64", "9.42", "3.33"],
    ]


def test_median_hours_and_latency():
    table, cells = _measured(
        *(timing(PACE, seconds) for seconds in (30.0, 36.0, 90.0)),
        timing("action_latency_median_seconds", 0.0012),
        timing("trajectory_seconds", 0.84),
    )
    assert cells["Training time (s per 1k steps)"].text == "36.00"
    assert cells["Total training time (hours)"].value == pytest.approx(550 * 36 / 3600)
    assert cells["Training epochs"].text == "500"
    assert cells["Action latency, median (ms, batch 1)"].text == "1.200"
    assert cells["Inference time (s per trajectory)"].text == "0.84"
    assert "simulator" in cells["Inference time (s per trajectory)"].footnotes[0]
    reason = "measured on cpu: Some CPU, 2 threads, runner eager; printed on an RTX-A5000 server"
    assert cells["Training time (s per 1k steps)"].not_comparable == (reason,)
    assert str(table.coverage) == "3 of 3 cells measured, 0 comparable"


@pytest.mark.parametrize(
    "change",
    [
        {"exclusive": False},
        {"stack_size": 5},
        {"concurrent_stacks": 2},
        {"task": "hopper-medium-v2"},
        {"algorithm": "srpo2"},
    ],
)
def test_other_timings_stay_away(change):
    _, cells = _measured(timing(PACE, 30.0, **change))
    assert all(cell.text == "" for cell in cells.values())


def test_devices_are_never_mixed():
    earlier = timing(PACE, 1.0, device="cuda: Fast", measured_at=timing("", 0).measured_at.replace(year=2024))
    _, cells = _measured(timing(PACE, 30.0), earlier, timing(PACE, 40.0))
    assert cells["Training time (s per 1k steps)"].text == "35.00"


def _figure_2(*timings):
    phases = {("edp-td3", "released", WALKER): (PhaseRecord("train", 2_000_000, True),)}
    table = build_table("edp-figure-2", ReportData(timings=timings, phases=phases))
    return [
        {
            (row.cells[0].text.split(" (")[0], column.key): cell.text
            for row in block.rows
            for column, cell in zip(block.columns[1:], row.cells[1:], strict=True)
        }
        for block in table.blocks
    ]


def test_edps_speed_figures_as_printed():
    bars, text = _figure_2()
    training = [value for (row, _), value in bars.items() if row == "Training" and value]
    sampling = [value for (row, _), value in bars.items() if row == "Sampling" and value]
    assert training == ["4.66", "22.30", "50.94", "38.4", "116.21"]
    assert sampling == ["18.67", "123.70", "123.06", "411.0", "411.79"]
    assert text["Training", "TD3+BC (FF) printed"] == "689"
    assert text["Training time", "EDP+TD3 printed"] == "5"


def test_edps_speed_is_measured_as_rates_and_hours():
    own = {"algorithm": "edp-td3", "task": WALKER}
    bars, text = _figure_2(timing(PACE, 8.0, **own), timing("action_latency_median_seconds", 0.004, **own))
    assert bars["Training", "EDP measured"] == "125.00"  # 1000 / 8 s
    assert bars["Sampling", "EDP measured"] == "250.00"  # 1 / 4 ms
    assert text["Training time", "EDP+TD3 measured"] == "4.4"  # 2,000 * 8 s
