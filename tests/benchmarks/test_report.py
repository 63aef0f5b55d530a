"""The benchmark of check and report: it runs every command on a store of its own, and refuses what failed."""

import json

import pytest

from benchmarks import report


@pytest.mark.slow
def test_every_command_is_measured_beside_its_imports(tmp_path, capsys):
    sizes = ("--tasks", "1", "--seeds", "2", "--evaluations", "2", "--episodes", "2", "--repeats", "1")
    report.main([*sizes, "--json", str(tmp_path / "record.json")])
    record = json.loads((tmp_path / "record.json").read_text())
    names = ["bench check", "bench report", "bench report --format html", "bench report --format figures"]
    assert [figure["name"] for figure in record["figures"]] == names
    assert [set(comparison["rates"]) for comparison in record["comparisons"]] == [
        {name, "imports"} for name in names
    ]
    assert [figure["limit"] for figure in record["figures"]] == [2, 10, 10, 10]
    assert "Store: 8 trials, 32 episodes" in capsys.readouterr().out


def test_a_command_that_fails_is_no_measurement():
    with pytest.raises(RuntimeError, match="ended with 3"):
        report.seconds_of(["-c", "raise SystemExit(3)"], (0, 1))()
