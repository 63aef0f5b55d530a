"""Good files that the inputs are made from, made by the commands of the code that is tried."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

TASK = "collected-hopper-quickstart"
D4RL_TASK, D4RL_FILE = "hopper-medium-v2", "hopper_medium-v2.hdf5"
ROWS = 400
SIZES = {
    "hidden_width": 16, "diffusion_width": 16, "candidates": 4, "batch_size": 16,
    "pretrain_iterations": 20, "train_iterations": 40,
}  # fmt: skip
FIXTURE = Path(__file__).parents[1] / "fixtures" / "store_0003.sqlite"


def make_material(folder: Path, code: Path) -> Path:
    """A small dataset; a store with two trained trials, their weights, and rows in every table."""
    data, stores = folder / "data", folder / "stores"
    if stores.exists():
        return folder
    stores.mkdir(parents=True)
    trained, other = stores / "bench.sqlite", stores / "other.sqlite"
    sets = [f"--set={name}={value}" for name, value in SIZES.items()]
    grid = ["run", "--tasks", TASK, "--algos", "dtql", "--seeds", "0-1", "--evals", "2", "--episodes", "1"]
    shutil.copy(FIXTURE, other)
    commands = (
        ["data", "collect", TASK, "--transitions", str(ROWS), "--threads", "1"],
        [*grid, *sets, "--executor", "local", "--store", str(trained)],
        ["db", "upgrade", "--store", str(other)],
        ["db", "merge", str(trained), str(other)],
    )
    environment = os.environ | {"BENCH_DATA_DIR": str(data), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(code)}
    command = [sys.executable, "-c", _PROGRAM, json.dumps(commands)]
    ended = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"the material cannot be made:\n{ended.stdout}{ended.stderr}")
    for store in (trained, other):
        _add_claim(store)
    for left in stores.glob("*.lock"):
        left.unlink()
    return folder


_PROGRAM = """
import json, sys
from bench.cli import main
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = command
    try:
        main(command)
    except SystemExit as ended:
        if ended.code:
            raise
"""
"""All commands in one process, since importing takes longer than they do."""


def _add_claim(store: Path) -> None:
    """A claim is gone once its work is done; a damaged one must be met as well."""
    with sqlite3.connect(store) as connection:
        run, moment = connection.execute("SELECT run_id, started_at FROM runs LIMIT 1").fetchone()
        trial = connection.execute("SELECT id FROM trials WHERE state != 'finished' LIMIT 1").fetchone()
        connection.execute(
            "INSERT INTO claims (trial_id, run_id, claimed_at, heartbeat_at, activity, iterations_done,"
            " iterations_total, iterations_per_second, seconds_left)"
            " VALUES (?, ?, ?, ?, 'train', 10, 60, 5.0, 10.0)",
            ((trial or (1,))[0], run, moment, moment),
        )
    connection.close()
