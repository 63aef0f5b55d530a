"""`make demo` as a newcomer runs it: its last screen says what is in the store, and its commands work."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = 10
"""Of the last screen: what was found, where the page lies, what to try next."""


def make(folder, *more):
    """Make the demo in another folder, with this installation."""
    command = [
        "make",
        "--no-print-directory",
        "-f",
        ROOT / "Makefile",
        f"VENV={sys.prefix}",
        "INSTALLED=",
        *more,
    ]
    done = subprocess.run([*command, "demo"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout.splitlines()


def test_its_steps_are_bench_commands_alone(tmp_path):
    steps = [line for line in make(tmp_path, "--dry-run") if "/bin/" in line and "echo" not in line]
    assert [line.split("/bin/bench ")[1].split()[0] for line in steps] == [
        *("data", "run", "run", "run", "report", "report"),
    ]


@pytest.mark.slow
def test_the_last_screen_says_what_is_in_the_store(tmp_path):
    last = make(tmp_path)[-LINES:]
    commands = [line.strip() for line in last[-3:]]
    # As typed where the demo stands: there the environment is the folder `.venv`.
    assert max(len(line.replace(sys.prefix, ".venv")) for line in last) <= 80
    assert last[0] == "SRPO Fig. 3 on bandit-energy-moons (5 seeds, reduced): 4 of 4 expectations hold"
    assert (tmp_path / "demo" / "report.html").is_file()
    with sqlite3.connect(tmp_path / "demo" / "bench.sqlite") as store:
        rows = store.execute("SELECT algorithm, avg(score) FROM scores GROUP BY algorithm")
        means = dict(rows.fetchall())
    for name in ("bc", "bc-10"):
        assert any(line.startswith(f"  {name}: {means[name]:.1f}, 95 % interval ") for line in last)
    assert means.keys() == {"srpo-points", "bc", "bc-10", "dtql", "srpo", "edp-td3", "bdpo"}
    subprocess.run(["bash", "-e", "-c", "\n".join(commands)], cwd=tmp_path, check=True, capture_output=True)
