"""Every command fits a terminal: each runs on a pseudo-terminal of 80 and 120 columns over a full store."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.cli.stores import FIXTURES
from tests.commands import all_commands
from tests.execute.tiny import TASK
from tests.pictures import make_up_store
from tests.store import samples

MARK = "=== "
RUN = """
import sys
from bench.cli import main
for line in sys.stdin.read().splitlines():
    words = line.split("\\t")
    print("=== " + " ".join(words), flush=True)
    sys.argv = ["bench", *words]
    try:
        main(words)
    except SystemExit:
        pass
    sys.stdout.flush(), sys.stderr.flush()
"""
READING = (
    "list", "list suites", "list tasks", "list tasks --suite quickstart", "list algorithms", "list tables",
    "show bdpo hopper-medium-v2", "show dtql antmaze-large-play-v2", "show edp kitchen-mixed-v0",
    f"import {FIXTURES}/scores.csv --as other", "import --as other --remove", "import --as nobody --remove",
    f"import {FIXTURES}/scores.csv --as mine --data d4rl --protocol last --episodes 10 --physics d4rl",
    "compare mine", "compare mine --against dtql", "compare mine --against paper:edp", "compare nobody",
    "explain 181",
    "report", "report --full", "report --tables dtql-2", "report --tables combined --algos dtql",
    "report --tables bandit2d",
    "check", "check --all", "check --explain dtql/hopper-medium-v2/last",
    "check --explain srpo/d4rl-locomotion/last",
    "status", "status --store rough.sqlite", "explain 1", "explain 2 --store rough.sqlite", "explain 2",
    "query select\u00a0*\u00a0from\u00a0scores --limit 3",
    "query select\u00a0*\u00a0from\u00a0provenance --limit 3",
    "query select\u00a0task,algorithm,avg(score)\u00a0from\u00a0scores\u00a0group\u00a0by\u00a01,2",
    "db info", "db info --check", "baseline list", "data list", "data list --all",
    "data list d4rl-adroit --paths",
    f"run --tasks collected-antmaze-medium-diverse,{TASK} --algos bc --dry-run",
    # What is wrong is told as narrowly.
    "nothing", "show dtpl hopper-medium-v2", "run --suite nothing --algos dtql",
    "run --tasks hopper-medium-v2 --algos srpo --set lr=1 --dry-run",
    "run --tasks hopper-medium-v2 --algos dtql --seeds 0..4", "report --format word", "check --suite nothing",
    "explain 99999", "query nothing", "db merge full.sqlite none.sqlite", "report --store none.sqlite",
    "evaluate 99999", "export-policy 99999", "video 99999", "serve --host 0.0.0.0",
    "new-method wide", "new-method Wide",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full grid, and a store with what runs, failed, was cut off and is reduced."""
    made = tmp_path_factory.mktemp("wide")
    make_up_store(made / "full.sqlite")
    trials = [samples.trial_record(seed) for seed in range(5)]
    command = (
        "bench run --suite d4rl-locomotion --algos dtql,srpo,edp,bdpo --store results/some-long-name.sqlite"
    )
    with open_store(made / "rough.sqlite") as store, Writer(store) as writer:
        writer.begin_run(samples.run_record(command=command))
        writer.plan(trials)
        keys = [trial.key for trial in trials]
        writer.claim(keys[0].cell, {0, 1, 2}, 3)
        writer.record(samples.finished_record(keys[0]))
        writer.record(samples.failure_record(keys[1]))
        writer.begin_execution(keys[2:3], samples.execution_record())
    return made


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_any_command_is_longer_than_the_terminal(folder: Path, width: int) -> None:
    helps = ["--help", *(f"{name} --help" for name in all_commands())]
    told = printed([*READING, *helps], width, folder)
    assert len(told) == len(READING) + len(helps)
    assert not [
        command
        for command, lines in told.items()
        if any(line.startswith("bench: a defect") for line in lines)
    ]
    long = [
        (command, line)
        for command, lines in told.items()
        for line in lines
        if cell_len(line) > width and not any(cell_len(word) > width - 40 for word in line.split())
    ]
    assert long == []


def printed(commands: list[str], width: int, folder: Path) -> dict[str, list[str]]:
    """Lines of each command on a pseudo-terminal, without colours and cursor movements."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, width))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {
        **kept, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "BENCH_STORE": "full.sqlite", "BENCH_DATA_DIR": str(folder / "data"), "PYTHONUTF8": "1",
    }  # fmt: skip
    typed = "\n".join("\t".join(command.split(" ")).replace("\u00a0", " ") for command in commands)
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env=environment,
    )
    os.close(slave)
    assert child.stdin is not None
    child.stdin.write(typed.encode())
    child.stdin.close()
    text = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the child has ended
            break
        if not part:
            break
        text += part
    child.wait()
    os.close(master)
    # A carriage return alone begins a line that is written over another, as those of progress are.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode()).replace("\r\n", "\n").replace("\r", "\n")
    parts = plain.split(MARK)[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2].splitlines() for part in parts}
