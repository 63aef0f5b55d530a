"""A small paper with awkward names, and measurements to stand beside it."""

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.records import FailureRecord, RunRecord, TimingRecord, TrialKey
from bench.report import build
from bench.report.matching import matched
from bench.report.measured import Measured, ReportData, SeedScore
from bench.report.paper import Bold, Erratum, PaperCell, PaperTable, Scores, TableInfo, load_paper_tables
from bench.report.score_tables import score_table

AWKWARD = "a_b&c<script>"
WHEN = datetime(2025, 3, 4, 5, 6, tzinfo=UTC)
INFO = TableInfo(
    file="toy.csv",
    paper="DTQL",
    label="Table 1",
    title="toys",
    own={"DTQL": "DTQL (Ours)"},
    bold=Bold(),
    scores=Scores(headings={"toys": ("Toys", "Toy Average")}),
)


def printed(task, method, mean, **other):
    """A printed cell; the paper's own method unless said otherwise."""
    own = method == "DTQL"
    facts = {
        "paper": "DTQL",
        "table": "Table 1",
        "metric": "d4rl_normalized_score",
        "domain": "toys",
        "spread": None,
        "spread_kind": "",
        "seeds": 5 if own else None,
        "episodes": 10 if own else None,
        "protocol": "last" if own else "",
        "protocol_as_stated": "final checkpoint" if own else "quoted from other papers",
        "accepts_variants": ("released", "paper") if own else (),
        "note": "",
        "errata": (),
    } | other
    spread = facts["spread"]
    printed_spread = "" if spread is None else f"{spread:.2f}"
    return PaperCell(
        task=task, method=method, mean=mean, printed=f"{mean:.1f}", printed_spread=printed_spread, **facts
    )


def toy_paper():
    """Two tasks and their average under two methods, one misprint."""
    misprint = Erratum("mean", "60.1", "The rows average to 60.1.")
    rows = (
        printed(AWKWARD, "TD3+BC", 50.2),
        printed(AWKWARD, "DTQL", 99.6, spread=1.0, spread_kind="se_over_rollouts"),
        printed("hopper-medium-v2", "TD3+BC", 70.0),
        printed("hopper-medium-v2", "DTQL", 60.25, spread=0.87, spread_kind="se_over_rollouts"),
        printed("average", "TD3+BC", 30.1, errata=(misprint,)),
        printed("average", "DTQL", 79.9),
    )
    return PaperTable("toy-1", INFO, rows)


def measured(task=AWKWARD, scores=(98.0, 101.0, 99.5), **other):
    """A cell that meets every condition of comparability, unless changed by `other`."""
    facts = {
        "algorithm": "dtql",
        "variant": "released",
        "config_hash": "ab" * 32,
        "task_version": 1,
        "physics": "d4rl",
        "budget": 1.0,
        "protocol": "last",
        "episodes": 10,
        "reduced": (),
        "dataset": task,
        "verification": "verified",
        "replay": "d4rl",
        "current_task_version": 1,
        "finished_at": WHEN,
        "precision": "fp32",
    } | other
    if "trials" not in facts:
        facts["trials"] = tuple(
            SeedScore(10 + seed, seed, "finished", score) for seed, score in enumerate(scores)
        )
    return Measured(task=task, **facts)


def toy_measured():
    """A full cell, the same cell much reduced, and a collected twin."""
    return (
        measured(),
        measured(
            scores=(1.0, 2.0),
            budget=0.001,
            episodes=3,
            reduced=("budget 0.001", "episodes 3"),
            config_hash="cd" * 32,
        ),
        measured("collected-hopper-medium", (12.25, 11.0), twin_of="hopper-medium-v2", episodes=10),
    )


def toy_table(*entries):
    """The toy paper's table, with `toy_measured` beside it unless other entries are given."""
    paper, entries = toy_paper(), entries or toy_measured()
    own = [entry for entry in entries if entry.algorithm == "dtql"]
    return score_table(paper, paper.info.scores, matched(paper.rows, entries), own=own)


def build_table(table_id, data, judgement=None):
    """One of the tables of a report."""
    papers = load_paper_tables()
    return build.build_table(table_id, data, papers, build.matches_of(papers, data), judgement)


def timing(quantity, value, **other):
    """An exclusive single-seed timing of DTQL."""
    facts = {
        "algorithm": "dtql",
        "variant": "released",
        "task": "antmaze-umaze-v0",
        "trial": None,
        "stack_size": 1,
        "concurrent_stacks": 1,
        "device": "cpu: Some CPU",
        "threads": 2,
        "runner": "eager",
        "exclusive": True,
        "measured_at": WHEN,
    } | other
    return TimingRecord(quantity=quantity, value=value, **facts)


@dataclass(frozen=True)
class Curve:
    """Scores of one trial over training."""

    task: str
    algorithm: str
    variant: str
    config_hash: str
    seed: int
    steps: tuple[int, ...]
    scores: tuple[float, ...]


def with_curves(entries, curves):
    """`measured` and `steps` of report data: entries with what curves say of them, trials numbered apart."""
    by_trial = {TrialKey(c.algorithm, c.variant, c.task, c.seed, c.config_hash): c for c in curves}
    found, steps, taken = [], {}, set()
    for place, entry in enumerate(entries):
        trials = []
        for trial in entry.trials:
            number = trial.trial_id + (1000 * place if trial.trial_id in taken else 0)
            taken.add(number)
            curve = by_trial.get(entry.key.trial(trial.seed))
            if curve is not None:
                steps[number] = curve.steps
            scores = curve.scores if curve is not None else trial.evaluations
            trials.append(replace(trial, trial_id=number, evaluations=scores))
        found.append(replace(entry, trials=tuple(trials)))
    return {"measured": tuple(found), "steps": steps}


def toy_data():
    """Report data with a curve, a run and a failure, all with characters that HTML would misread."""
    key = TrialKey("dtql", "released", AWKWARD, 3, "ab" * 32)
    curves = tuple(
        Curve(AWKWARD, "dtql", "released", "ab" * 32, seed, (50, 100), (10.0 + seed, 20.0))
        for seed in range(2)
    )
    run = RunRecord(
        run_id="run-1",
        command="bench run --tasks 'a<b>'",
        started_at=WHEN,
        code_version="0.1.0",
        code_commit="0123456789abcdef",
        code_dirty=True,
        code_diff_sha256="f" * 64,
        packages={"torch": "2.11.0", "mujoco": "3.4.0"},
        hardware={"cpu": "Some CPU", "cores": 2, "memory_gib": 7.75, "gpus": []},
    )
    failure = FailureRecord(key, 1234, "diverged", "loss is NaN", "Traceback <b>here</b>")
    return ReportData(**with_curves(toy_measured(), curves), runs=(run,), failures=(failure,))


def check_golden(name, text):
    """Compare with tests/report/golden/NAME; BENCH_WRITE_GOLDEN=1 writes it, to be read before a commit."""
    path = Path(__file__).parent / "golden" / name
    if os.environ.get("BENCH_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
