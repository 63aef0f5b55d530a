"""`bench explain` as a person and a program see it."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.catalog import load_catalog
from bench.execute.grid import Request, plan_cells
from bench.records import TrialRecord, config_hash
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import change


@pytest.fixture(scope="module")
def trial() -> TrialRecord:
    """A real configuration, of DTQL on hopper-medium-v2."""
    task = load_catalog().task("hopper-medium-v2")
    (cell,) = plan_cells(Request((task,), ("dtql",), (3,), changes={"batch_size": 17}))
    return cell.trial(3, samples.DATASET)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, trial: TrialRecord) -> Path:
    """Its trial failed, was tried again, was cut off, and finished on another machine."""
    path = tmp_path_factory.mktemp("store") / "bench.sqlite"
    key = trial.key
    timings = [("phase_seconds:pretrain", 130.0), ("phase_seconds:train", 3600.0)]
    with open_store(path) as opened, Writer(opened) as writer:
        writer.begin_run(samples.run_record())
        writer.plan([trial, replace(trial, key=replace(key, seed=4))])
        writer.claim(key.cell, {3}, 1)
        writer.record(samples.failure_record(key))
        writer.retry([key])
        writer.claim(key.cell, {3}, 1)
        writer.begin_execution([key], samples.execution_record((3,)))
        writer.begin_execution(
            [key], samples.execution_record((3,), 500, hostname="node-2", code_sha256="b" * 64)
        )
        for number in range(1, 26):
            writer.record(samples.evaluation_record(key, number))
        for quantity, seconds in timings:
            writer.record(replace(samples.timing_record(key, seconds), quantity=quantity, stack_size=1))
        writer.record(samples.weights_record(key))
        writer.record(samples.finished_record(key, 54.321))
    return path


def facts(output: str) -> dict[str, str]:
    """Names with texts, in lines that have both."""
    found = (re.fullmatch(r"\s*(\S+(?: \S+)*)  +(\S.*)", line) for line in output.splitlines())
    return {match[1]: match[2] for match in found if match}


def test_a_number_is_explained(bench, store: Path, trial: TrialRecord) -> None:
    code, out, _ = bench("explain", 1, "--store", store)
    told = facts(out)
    assert code == 0
    assert out.startswith("Trial 1: dtql (released) on hopper-medium-v2, seed 3\n")
    assert told["Score"] == "54.32; protocol last: the last evaluation, n = 3 episodes"
    assert told["Reduced"] == "batch_size set to 17"
    assert told["State"].startswith("finished 2025-03-01 14:00:00 UTC, begun ")
    assert told["State"].endswith(", attempt 2")
    assert told["Configuration"] == trial.key.config_hash
    assert told["Dataset"] == "hopper-medium-v2, 1,000,000 rows, unverified, replay: unverified"
    assert told["Simulator"] == "mujoco 3.4.0, physics d4rl, task version 1"
    assert told["Files that ran"] == "b" * 64
    assert told["Training"] == "0:00:12 in all, pretrain 0:02:10, train 1:00:00"
    assert told["Peak memory"] == "2.0 GiB"
    assert told["Weights"] == "weights/3.safetensors is missing; it was written by a-machine"
    for text in (samples.DATASET.sha256, "c" * 40, "cd" * 32):
        assert f" {text}\n" in out


def test_every_hyper_parameter_has_value_meaning_and_source(bench, store: Path, trial: TrialRecord) -> None:
    _, out, _ = bench("explain", 1, "--store", store)
    lines = out.splitlines()
    for name in trial.config["hyperparameters"]:
        (line,) = (line for line in lines if line.startswith(f"{name} "))
        assert line.endswith(f"[{trial.config['sources'][name]}]")
    (line,) = (line for line in lines if line.startswith("discount "))
    assert line.split()[:4] == ["discount", "0.99", "per", "step"]
    (line,) = (line for line in lines if line.startswith("batch_size "))
    assert line.split()[1] == "17"
    assert "evaluation episodes  10" in out


def test_each_stretch_of_work_says_what_had_changed(bench, store: Path) -> None:
    _, out, _ = bench("explain", 1, "--store", store)
    work = out.partition("\nWork, in 2 stretches:\n")[2].partition("\n\n")[0]
    first, second = work.split("2.\n")
    assert "iterations from 0, cut off; attempt 2" in first
    assert "node-1, cuda: a GPU, 1 thread" in first
    assert "driver     NVIDIA 570.124.06, CUDA 12.8" in first
    assert "iterations from 500 to 1,000, finished; attempt 2" in second
    assert "CHANGED  hostname node-1 -> node-2\n" in second
    assert f"hash of the code {'a' * 12} -> {'b' * 12}" in second


def test_of_many_evaluations_the_last_are_shown_and_failures_with_their_reason(bench, store: Path) -> None:
    _, out, _ = bench("explain", 1, "--store", store)
    table = out.partition("Evaluations (the last 20 of 25):\n")[2].splitlines()[1:21]
    assert [line.split()[0] for line in table] == [str(number) for number in range(6, 26)]
    assert table[-1].split()[:4] == ["25", "25,000", "9.18", "3"]
    assert (
        "\nAttempt 1 failed after 700 iterations, 2025-03-01 13:00:00 UTC:\n  diverged: critic_loss is NaN\n"
        in out
    )
    assert "  | Traceback (most recent call last):\n" in out


def test_a_trial_that_has_not_begun_has_no_number_yet(bench, store: Path) -> None:
    code, out, _ = bench("explain", 2, "--store", store)
    told = facts(out)
    assert (code, told["Score"]) == (0, "none, not yet; protocol last")
    assert told["State"] == "planned, attempt 1"
    assert "Not evaluated yet." in out


def test_programs_read_the_same_as_json(bench, store: Path, trial: TrialRecord) -> None:
    code, out, _ = bench("explain", 1, "--format", "json", "--store", store)
    found = json.loads(out)
    assert (code, found["trial"]["score"]) == (0, 54.321)
    assert found["trial"]["record"]["config"] == trial.config
    assert found["stretches"][1]["record"]["hostname"] == "node-2"
    assert found["trial"]["finished_at"] == "2025-03-01T14:00:00Z"
    assert found["failures"][0]["record"]["last_metrics"] == {"critic_loss": "Infinity"}
    assert len(found["evaluations"]) == 25


def test_a_method_that_is_gone_by_now_leaves_values_and_sources(bench, store: Path, tmp_path: Path) -> None:
    shutil.copy(store, tmp_path / "old.sqlite")
    with sqlite3.connect(tmp_path / "old.sqlite") as connection:
        (text,) = connection.execute("SELECT config FROM trials WHERE id = 1").fetchone()
        config = json.loads(text) | {"algorithm": "gone"}
        values = ("gone", json.dumps(config), config_hash(config))
        connection.execute(
            "UPDATE trials SET algorithm = ?, config = ?, config_hash = ? WHERE id = 1", values
        )
    code, out, _ = bench("explain", 1, "--store", tmp_path / "old.sqlite")
    assert code == 0
    assert re.search(r"^discount +0.99 +\[.+\]$", out, re.MULTILINE)


def test_an_unknown_trial_is_one_message(bench, store: Path) -> None:
    code, out, err = bench("explain", 99, "--store", store)
    assert (code, out) == (2, "")
    assert err.startswith("bench: no trial 99 in store ")


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_terminal(store: Path, width: int) -> None:
    command = [sys.executable, "-m", "bench", "explain", "1", "--store", str(store)]
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(width), "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=theirs, env=environment)
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 65536):
            output += chunk
    except OSError:  # a terminal whose other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", output.decode()).splitlines()
    assert any("Hyper-parameters" in line for line in lines)
    assert max(map(len, lines)) <= width


def test_a_dataset_is_verified_by_its_hash_alone(bench, store: Path, tmp_path: Path) -> None:
    """What an older version, or somebody else, wrote into the store is not repeated."""
    copied = shutil.copy(store, tmp_path / "bench.sqlite")
    change(str(copied), "UPDATE datasets SET verification = 'verified'")
    _, out, _ = bench("explain", 1, "--store", copied)
    assert facts(out)["Dataset"] == "hopper-medium-v2, 1,000,000 rows, unverified, replay: unverified"


def test_a_run_on_a_machine_whose_name_is_not_known_is_explained(bench, store: Path, tmp_path: Path) -> None:
    shutil.copy(store, tmp_path / "nameless.sqlite")
    with sqlite3.connect(tmp_path / "nameless.sqlite") as connection:
        connection.execute("UPDATE runs SET hardware = '{}'")
    code, _, said = bench("explain", 1, "--store", tmp_path / "nameless.sqlite")
    assert (code, said) == (0, "")
