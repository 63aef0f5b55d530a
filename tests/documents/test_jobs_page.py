"""docs/jobs.md: its scripts run with SLURM played, Ray takes a job, and the image copies what is needed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.documents.pages import ROOT, blocks, numbers_aside, text_of
from tests.execute.sameness import rows
from tests.execute.tiny import TASK
from tests.execute.two_nodes import free_port

PAGE = text_of("docs/jobs.md")
DOCKERFILE = text_of("Dockerfile")
BIN = Path(sys.executable).parent
GRID = ("--tasks", TASK, "--algos", "bc", "--budget", "0.0001", "--evals", "1", "--episodes", "2")
LIMIT_SECONDS = 600
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
[[ "$1 $2" == "ray start" ]] && set -- "$@" --object-store-memory=100000000 --num-gpus=0 \\
    --min-worker-port=0 --max-worker-port=0 $([[ "$*" == *--head* ]] && echo --temp-dir="$RAY_FOLDER")
exec "$@"
"""
"""Runs what it is given on this machine; two machines that are one must not take each other's ports."""
SCONTROL = """#!/bin/bash
printf '127.0.0.1\\n127.0.0.1\\n'
"""


@pytest.fixture
def slurm(tmp_path: Path, tiny_data: Path) -> dict[str, str]:
    """An environment in which `srun` and `scontrol` are played."""
    played = tmp_path / "played"
    played.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (played / name).write_text(text)
        (played / name).chmod(0o755)
    return os.environ | {
        "PATH": os.pathsep.join((str(played), str(BIN), os.environ["PATH"])),
        "BENCH_DATA_DIR": str(tiny_data),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_JOB_NODELIST": "node[1-2]",
    }


def started(
    name: str, environment: dict[str, str], *arguments: str, **variables: str
) -> subprocess.Popen[str]:
    """A script of the page as SLURM starts it: a copy, in the folder it was submitted from."""
    copy = Path(environment["SLURM_SUBMIT_DIR"], f"copy-of-{name}")
    shutil.copy(ROOT / "docs/slurm" / name, copy)
    return subprocess.Popen(
        ["bash", str(copy), *GRID, *arguments],
        cwd=environment["SLURM_SUBMIT_DIR"],
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, output
    return output


def bench(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(
        command, cwd=environment["SLURM_SUBMIT_DIR"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_script_is_told_of_and_is_one_of_bash() -> None:
    scripts = sorted((ROOT / "docs/slurm").iterdir())
    assert {f"slurm/{path.name}" for path in scripts} == set(re.findall(r"\]\((slurm/[^)]+)\)", PAGE))
    for path in scripts:
        text = path.read_text()
        assert text.startswith("#!/bin/bash\n# ")
        assert re.search(r"^#SBATCH --time=", text, re.MULTILINE)
        # Behind the first command SLURM reads no more of them.
        assert "#SBATCH" not in text.partition("set -euo pipefail")[2]
        assert subprocess.run(["bash", "-n", str(path)], capture_output=True).returncode == 0


@pytest.mark.slow
def test_an_array_of_seeds_fills_stores_that_become_one(slurm: dict[str, str]) -> None:
    for number in ("0", "1"):
        ended(started("seeds.sh", slurm, SLURM_ARRAY_TASK_ID=number))
    stores = sorted(Path(slurm["SLURM_SUBMIT_DIR"]).glob("stores/*/bench.sqlite"))
    assert [path.parent.name for path in stores] == ["seed-0", "seed-1"]
    (lines,) = (block for block in blocks(PAGE, "bash") if "sbatch" in block)
    assert "bench db merge results/bench.sqlite stores/*/bench.sqlite" in lines
    bench(slurm, "db", "merge", "results/bench.sqlite", *map(str, stores))
    assert "2 trials: 2 finished." in bench(slurm, "status")


@pytest.mark.slow
def test_equal_jobs_at_once_share_a_store_and_no_trial_runs_twice(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    shared = {"BENCH_STORE": str(tmp_path / "shared.sqlite")}
    jobs = [started("shared.sh", slurm, "--seeds", "0-3", **shared) for _ in range(2)]
    for job in jobs:
        ended(job)
    assert rows(tmp_path / "shared.sqlite", "SELECT COUNT(*), COUNT(DISTINCT trial_id) FROM executions") == [
        (4, 4)
    ]
    assert rows(tmp_path / "shared.sqlite", "SELECT DISTINCT state FROM trials") == [("finished",)]


@pytest.fixture
def ray_folder():
    """Short, because the path of a socket may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_ray_cluster_in_a_job_works_off_the_grid(
    slurm: dict[str, str], ray_folder: Path, tmp_path: Path
) -> None:
    of_ray = {"RAY_PORT": str(free_port()), "RAY_FOLDER": str(ray_folder)}
    arguments = ("--seeds", "0,1", "--gpus-per-stack", "0", "--store", str(tmp_path / "ray.sqlite"))
    told = ended(started("ray.sh", slurm, *arguments, **of_ray))
    assert "2 trials: 2 finished." in told


@pytest.mark.slow
def test_a_job_is_submitted_to_a_ray_that_runs(
    slurm: dict[str, str], ray_folder: Path, tmp_path: Path
) -> None:
    (shown,) = blocks(PAGE, "console job")
    line, *lines = shown.splitlines()
    port = str(free_port())
    replaced = {
        "http://127.0.0.1:8265": f"http://127.0.0.1:{port}",
        "/shared/bench.sqlite": str(tmp_path / "b.sqlite"),
    }
    typed = [replaced.get(word, word) for word in shlex.split(line.removeprefix("$ "))]
    environment = {name: value for name, value in slurm.items() if not name.startswith("RAY_AUTH")}
    size = ["--num-cpus=2", "--num-gpus=0", "--object-store-memory=100000000"]
    ports = [f"--port={free_port()}", f"--dashboard-port={port}"]
    ports += [f"--dashboard-agent-listen-port={free_port()}"]
    start = ["ray", "start", "--head", "--block", f"--temp-dir={ray_folder}", *size, *ports]
    head = subprocess.Popen(
        start, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert head.stdout is not None
        while "Ray runtime started" not in (said := head.stdout.readline()):
            assert said, "Ray has ended"
        for _ in range(60):  # the dashboard comes up after Ray says that it runs
            done = subprocess.run(
                typed, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
            )
            if "Failed to connect" not in done.stderr:
                break
            time.sleep(1)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        head.terminate()
        head.wait()
    for one in lines:
        assert numbers_aside(one) in numbers_aside(done.stdout)
    assert rows(tmp_path / "b.sqlite", "SELECT DISTINCT state FROM trials") == [("finished",)]


def test_the_image_copies_all_that_the_package_is_built_of(tmp_path: Path) -> None:
    sources = [
        word
        for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for word in line.split()
    ]
    for name in sources:
        target = tmp_path / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    held = []
    for place in (tmp_path / "source", ROOT):
        out = tmp_path / f"wheel-{len(held)}"
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
        subprocess.run(build, cwd=place, check=True, capture_output=True)
        (wheel,) = out.iterdir()
        held.append({name for name in zipfile.ZipFile(wheel).namelist() if "__pycache__" not in name})
    assert held[0] == held[1]


def test_the_image_has_extras_and_a_python_that_there_are() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", DOCKERFILE)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    versions = set(re.findall(r"python:?(3\.\d+)", DOCKERFILE))
    assert len(versions) == 1
    (version,) = versions
    assert f"Python {version}" in text_of("constraints.txt").splitlines()[0]
