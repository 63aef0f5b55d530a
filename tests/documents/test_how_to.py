"""The pages that answer one question each: what they tell to type is typed, and says what they say."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest

import bench as bench_package
from algorithms.registry import methods
from bench.catalog import load_catalog
from bench.presets import load_preset
from bench.report.margins import load_margins
from benchmarks.synthetic_study import Design, draw_study, study_cells
from tests.documents.conftest import Bench
from tests.documents.pages import ROOT, Shown, blocks, console, missing_lines, text_of
from tests.envs.graphics import needs_graphics
from tests.report.synthetic import write_store

MACHINES = text_of("docs/several-machines.md")
VERDICT = text_of("docs/reading-a-verdict.md")
PANDAS = text_of("docs/pandas.md")
PYTHON = text_of("docs/python.md")
POLICY = text_of("docs/trained-policy.md")
HARDWARE = text_of("docs/hardware.md")
SPEED = text_of("docs/speed.md")
SCORES = text_of("docs/your-own-scores.md")
TENSORBOARD = text_of("docs/tensorboard.md")


def as_shown(bench: Bench, shown: Shown, code: int = 0) -> None:
    """Type a command; it ends so, and says what the page says, numbers aside."""
    ended, told = bench(shown.typed)
    assert ended == code, told
    assert missing_lines(shown, told) == []


def test_two_stores_become_one(folder: Path, bench: Bench) -> None:
    shown = console(MACHINES)
    assert [one.typed[:2] for one in shown].count(["db", "merge"]) == 2
    for one in shown:
        as_shown(bench, one)
    assert len(list((folder / "results/weights").iterdir())) == 4
    # "Doing it twice changes nothing."
    (merge,) = (one for one in shown if one.typed[:2] == ["db", "merge"] and "--dry-run" not in one.typed)
    before = bench(["query", "SELECT * FROM provenance", "--format", "csv"])
    as_shown(bench, Shown(merge.typed, []))
    assert bench(["query", "SELECT * FROM provenance", "--format", "csv"]) == before


def test_own_scores_are_held_against_the_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = blocks(SCORES, "python")
    exec(program, {})
    shown = console(SCORES)
    assert [one.typed[0] for one in shown] == ["import", "report", "compare", "compare", "import", "compare"]
    for one in shown:
        as_shown(bench, one)
    assert (tmp_path / "row.tex").read_text().splitlines()[-1].startswith("mine & $")


@pytest.fixture
def cluster() -> Iterator[str]:
    """A Ray of two cores on this machine."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.mark.slow
def test_a_ray_cluster_works_off_the_grid(folder: Path, cluster: str) -> None:
    (shown,) = console(MACHINES, "console ray")
    typed = [cluster if word == "10.0.0.1:6379" else word for word in shown.typed]
    # In a process of its own: this one belongs to the cluster already.
    command = [sys.executable, "-m", "bench", *typed, "--gpus-per-stack", "0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert missing_lines(shown, done.stdout) == []


def made_up_store(path: Path) -> Path:
    """SRPO's locomotion scores as its paper prints them, but for one task that is worse in truth."""
    catalog = load_catalog()
    cells = [
        cell
        for cell in study_cells(catalog)
        if (cell.printed.paper, cell.printed.domain) == ("SRPO", "locomotion")
    ]
    design = Design(printed_anew=False, planted={("SRPO", "srpo", "hopper-medium-v2", "last"): -5.0})
    study = draw_study(tuple(cells), design, load_margins(), catalog, np.random.default_rng(1))
    path.parent.mkdir()
    return write_store(path, study, catalog)


def test_the_verdicts_of_the_example_are_those_that_the_page_explains(folder: Path, bench: Bench) -> None:
    made_up_store(folder / "results/bench.sqlite")
    shown = console(VERDICT)
    assert [one.typed[-1] for one in shown] == ["paper", "srpo/hopper-medium-v2", "srpo/d4rl-locomotion"]
    for one in shown:
        code, told = bench(one.typed)
        assert code == (1 if one.typed[-1] == "paper" else 0), told
        # To the last digit: the scores are drawn with a fixed seed.
        assert missing_lines(one, told, lambda line: " ".join(line.split())) == []
    code, told = bench(["explain", "21"])
    assert code == 0, told


def test_the_notebook_runs_from_top_to_bottom(folder: Path, bench: Bench) -> None:
    matplotlib.use("agg")
    as_shown(bench, console(MACHINES)[0])
    *frames, parquet = blocks(PANDAS, "python")
    names: dict[str, object] = {}
    for block in frames:
        exec(block, names)
    assert list(names["scores"].seed) == [0, 1]
    assert names["table"].columns.tolist() == ["bc"]
    assert sorted(set(names["curves"].seed)) == [0, 1]
    assert len(names["hours"]) == names["machines"].sum() - 1 == 1
    assert "hyperparameters.learning_rate" in names["settings"]
    for one in console(PANDAS):
        as_shown(bench, one)
    exec(parquet, names)
    assert len(names["episodes"]) == 4


def test_curves_go_to_tensorboard_and_mlflow_as_the_page_says(
    folder: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in console(TENSORBOARD):
        as_shown(bench, one)
    logged: dict[str, list[tuple[str, int]]] = {}

    @contextmanager
    def start_run(run_name: str) -> Iterator[None]:
        logged[run_name] = []
        yield

    def log_metric(name: str, value: float, step: int) -> None:
        logged[list(logged)[-1]].append((name, step))

    mlflow = SimpleNamespace(start_run=start_run, log_metric=log_metric, set_experiment=print)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)  # type: ignore[arg-type]
    (code,) = blocks(TENSORBOARD, "python")
    exec(code, {})
    assert [Path(name).name for name in sorted(logged)] == ["seed-0", "seed-1"]
    for points in logged.values():
        assert len([1 for name, _ in points if name == "evaluation/score"]) == 3
        # What MLflow allows in a name.
        assert all(re.fullmatch(r"[\w\-. /]+", name) for name, _ in points)
        told = {name.partition("/")[0] for name, _ in points}
        assert told == {"evaluation", "training", "result", "timing"}


@pytest.fixture
def trained(folder: Path, trained_store: Path) -> Path:
    """The folder with a store in `results/` that has one finished trial and its weights."""
    shutil.copytree(trained_store.parent, folder / "results")
    return folder


def test_the_python_interface_runs_from_top_to_bottom(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    for block in blocks(PYTHON, "python"):
        exec(block, names)
    assert names["cells"]["count"].tolist() == [1]
    assert names["rates"][-1].startswith("Inconclusive")
    assert names["rows"].loc["hopper-medium-v2", "DTQL"] == 99.6
    assert "no trial 10000" in capsys.readouterr().out
    listed = re.findall(r"^\| `bench\.(\w+)", PYTHON, re.MULTILINE)
    assert {*listed, "Policy", "__version__"} == set(bench_package.__all__)


@pytest.mark.filterwarnings("ignore:.*out of date", "ignore:.*deprecated.*:DeprecationWarning")
def test_a_trained_policy_is_used_as_the_page_says(trained: Path, bench: Bench) -> None:
    export, _ = console(POLICY)
    as_shown(bench, export)
    names: dict[str, Any] = {}
    for block in blocks(POLICY, "python"):
        exec(block, names)
    assert 0 < names["episode_return"] < 4000
    assert names["actions"].shape == (4, 3)
    exported = {name for name, method in methods().items() if method.load()[0].one_step}
    listed = POLICY.partition("one pass through a network: ")[2].partition(". A diffusion")[0]
    assert set(re.findall(r"`([\w-]+)`", listed)) == exported


@needs_graphics
def test_an_episode_is_filmed_as_the_page_says(trained: Path, bench: Bench) -> None:
    pytest.importorskip("imageio_ffmpeg")
    _, video = console(POLICY)
    as_shown(bench, video)
    assert (trained / "run.mp4").stat().st_size > 1000


def test_a_dry_run_says_how_long_and_stores_nothing(folder: Path, bench: Bench) -> None:
    (shown,) = console(HARDWARE)
    as_shown(bench, shown)
    assert not (folder / "results").exists()


def benchmark(name: str) -> dict[str, Any]:
    """A record of a benchmark."""
    return json.loads((ROOT / f"reports/benchmarks/{name}.json").read_text(encoding="utf-8"))


def test_the_speeds_are_those_of_the_records() -> None:
    ratio = {
        name: {one["name"]: one["ratio"] for one in benchmark(name)["comparisons"]}
        for name in ("simulator", "robots", "collection", "iteration-cpu", "store")
    }
    cloning = ratio["iteration-cpu"].pop("bc, train")
    evaluation, ending = (1 / one for one in ratio["store"].values())
    figures = {
        name: {one["name"]: one["median"] for one in benchmark(name)["figures"]}
        for name in ("store", "report", "ray-overhead")
    }
    store, report, ray = figures.values()
    told = [
        between(ratio["simulator"], 1, " times SyncVectorEnv's steps"),
        between(ratio["robots"], 1, " times, "),
        between(ratio["collection"], 2, " of its rows"),
        between(ratio["iteration-cpu"], 2, f" times (behaviour cloning {cloning:.2f})"),
        f"report {store['bench report']:.1f} s, status {store['bench status']:.1f} s, "
        f"planning 10,000 trials {store['planning 10,000 trials, 8,000 new']:.1f} s",
        f"an evaluation {evaluation:.1f} times, the end of a trial {ending:.1f} times as long",
        f"{ray['added by ray']:.1f} s (the local executor {ray['added by local']:.1f} s)",
        f"check {report['bench check']:.1f} s, page {report['bench report --format html']:.1f} s, "
        f"all figures {report['bench report --format figures']:.1f} s",
    ]
    checkouts = {one["name"]: one["ratio"] for one in benchmark("checkouts")["comparisons"]}
    commit = {name: ratio for name, ratio in checkouts.items() if name.endswith("the other commit")}
    told += [
        between(commit, 2, " times the speed of the commit before"),
        f"(BDPO {commit['bdpo/train beside the other commit']:.2f})",
    ]
    authors = {one["name"]: one["ratio"] for one in benchmark("checkouts-authors")["comparisons"]}
    beside = {
        name.partition(" beside")[0]: ratio for name, ratio in authors.items() if "including" not in name
    }

    def row(*parts: str) -> str:
        return ", ".join(
            f"{beside[part]:.2g}" if beside[part] > 2 else f"{beside[part]:.2f}" for part in parts
        )

    told += [
        f"| DTQL pretraining, training | {row('dtql/pretrain', 'dtql/train')} |",
        f"| SRPO critic, behaviour, policy | {row('srpo/critic', 'srpo/behaviour', 'srpo/policy')} |",
        f"| EDP with TD3, with IQL (JAX) | {row('edp-td3/train', 'edp-iql/train')} |",
        f"| BDPO pretraining, training (JAX) | {row('bdpo/pretrain', 'bdpo/train')} |",
        f"`--runner compiled` does as XLA does: {row('bdpo/pretrain compiled,')}",
    ]
    assert [one for one in told if one not in SPEED] == []


def between(ratios: dict[str, float], digits: int, unit: str) -> str:
    """`2.3 to 2.8 times`."""
    return f"{min(ratios.values()):.{digits}f} to {max(ratios.values()):.{digits}f}{unit}"


def test_hours_on_a_cpu_follow_from_the_recorded_rates_and_the_presets() -> None:
    record = benchmark("iteration-cpu")
    rates = {one["name"]: statistics.median(one["rates"]["ours, 1 seed"]) for one in record["comparisons"]}
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in HARDWARE.splitlines()]
    told = [row for row in rows if len(row) == 5 and re.fullmatch(r"[\d,]+", row[2])]
    assert [row[0] for row in told] == ["bc", "dtql", "edp-td3", "srpo", "", "bdpo"]
    method = ""
    for name, phase, iterations, rate, hours in told:
        method = name or method
        phase = phase.partition(" ")[0]
        phases = load_preset(method, load_catalog().task("hopper-medium-v2")).phase_iterations
        planned = phases[phase] + (phases["pretrain"] if method == "dtql" else 0)
        count, per_second = int(iterations.replace(",", "")), float(rate)
        assert count == planned
        assert per_second == pytest.approx(rates[f"{method}, {phase}"], rel=0.01)
        assert float(hours) == pytest.approx(count / per_second / 3600, rel=0.05)
