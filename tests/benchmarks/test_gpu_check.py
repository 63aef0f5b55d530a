"""The check of a GPU, tried without one: it runs through, keeps its record, and tells what it leaves out."""

import json

import pytest
import torch

from benchmarks import gpu_check


def test_the_smallest_form_of_all_steps_but_the_tests(tmp_path, capsys):
    record = tmp_path / "record.json"
    steps = "agreement,times,evaluation,overlap,checkpoints,simulator"
    options = ["--device", "cpu", "--algos", "bc", "--steps", steps, "--json", str(record)]
    assert gpu_check.main(options) == 0
    written = json.loads(record.read_text())
    assert written["faults"] == written["left_out"] == []
    found = written["found"]
    assert found["graph = eager"] == {"bc": "equal"}
    assert found["graph = eager, hopper"] == {"bc": ["train/train"]}
    assert found["iteration"].keys() == {
        f"bc graph S={seeds} {name}" for seeds in (1, 5) for name in ("fp32", "tf32")
    }
    timed = found["iteration"]["bc graph S=5 fp32"]["train"]
    assert timed["milliseconds"] >= timed["host_milliseconds"] > 0
    assert timed["model_milliseconds"] > 0
    assert found["evaluation"]["bc"]["step_milliseconds"] > 0
    assert min(found["overlap"]["bc"].values()) > 0
    assert found["checkpoint"]["bc"]["megabytes"] > 0
    assert len(found["simulator"]) == 6
    assert "0 faults" in capsys.readouterr().out
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_fault_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    def broken(*arguments, **options):
        raise gpu_check.Disagreement("1 tensors differ")

    monkeypatch.setattr(gpu_check, "assert_agree", broken)
    record = tmp_path / "record.json"
    options = ["--device", "cpu", "--algos", "bc", "--steps", "agreement,checkpoints", "--json", str(record)]
    assert gpu_check.main(options) == 1
    assert "FAULT graph = eager: bc: Disagreement: 1 tensors differ" in capsys.readouterr().out
    assert "checkpoint" in json.loads(record.read_text())["found"]


def test_what_time_does_not_allow_is_left_out(tmp_path, capsys):
    record = tmp_path / "record.json"
    options = ["--device", "cpu", "--algos", "bc", "--steps", "checkpoints", "--seconds", "-1"]
    assert gpu_check.main([*options, "--json", str(record)]) == 0
    assert json.loads(record.read_text())["left_out"] == ["checkpoint: bc"]
    assert "left out" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "there is no CUDA device here"),
        (["--device", "cpu", "--algos", "no"], "'no': there are"),
        (["--device", "cpu", "--steps", "no"], "'no': there are agreement"),
    ],
)
def test_what_cannot_be_is_refused(options, said, capsys):
    with pytest.raises(SystemExit) as caught:
        gpu_check.main(options)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
