"""A store's worth of report data: every number that a paper prints of its own method, measured near it."""

from dataclasses import replace
from functools import cache

from bench.report.build import table_ids
from bench.report.judgement import CellVerdict, Comparison, Judgement, SuiteVerdict
from bench.report.measured import Measured, ReportData, SeedScore, TrialDuration
from bench.report.paper import load_paper_tables
from tests.report.builders import AWKWARD, measured, timing

AGGREGATES = ("average", "sum")
OURS = {"dtql", "dtql-kl", "srpo", "edp-td3", "edp-crr", "edp-iql", "bdpo"}
NOISE = (-1.5, 0.0, 1.5)
WALKER = "walker2d-medium-expert-v2"


@cache
def own_cells() -> tuple:
    """(cell, our name of its method) of every score that may be judged."""
    cells = [cell for table in load_paper_tables().values() for cell in table.rows if cell.accepts_variants]
    named = [(cell, cell.algorithm) for cell in cells]
    return tuple((cell, name) for cell, name in named if name in OURS and cell.mean is not None)


@cache
def filled_measured() -> tuple[Measured, ...]:
    """Three seeds per cell: printed mean -1.5, +0 and +1.5 in all of ten evaluations."""
    found = {}
    for cell, algorithm in own_cells():
        trials = tuple(
            SeedScore(seed, seed, "finished", cell.mean + noise, (cell.mean + noise,) * 10)
            for seed, noise in enumerate(NOISE)
        )
        found.setdefault(
            (algorithm, cell.task_meant),
            measured(
                cell.task_meant,
                algorithm=algorithm,
                variant=cell.accepts_variants[0],
                protocol=cell.protocol,
                episodes=cell.episodes or 10,
                trials=trials,
            ),
        )
    return tuple(found.values())


def filled_data() -> ReportData:
    """All of `filled_measured`, a baseline, a twin, a failed cell, timings, and durations of whole trials."""
    seconds = "training_seconds_per_1k_iterations"
    failed = (SeedScore(1, 0, "failed", None), SeedScore(2, 1, "failed", None))
    entries = (
        measured("hopper-medium-v2", (50.0, 51.0), algorithm="bc"),
        measured("collected-hopper-medium", (12.25, 11.0), twin_of="hopper-medium-v2"),
        measured("hopper-medium-v2", trials=failed, config_hash="ef" * 32, reduced=(f"budget {AWKWARD}",)),
    )
    alone = TrialDuration(
        1, "dtql", "released", "hopper-medium-v2", 18_000.0, 10**6, "cuda: X", 2, "graph", False
    )
    timings = (
        timing(seconds, 20.5),
        timing(seconds, 8.0, algorithm="edp-td3", task=WALKER),
        timing("action_latency_median_seconds", 0.004, algorithm="edp-td3", task=WALKER),
    )
    return ReportData(measured=filled_measured() + entries, timings=timings, durations=(alone,))


OUTCOMES = ("reproduced", "below", "above", "inconclusive")


def filled_judgement() -> Judgement:
    """Made-up verdicts on everything, outcomes taking turns."""
    comparison = Comparison(0.5, 0.8, 6.0, -1.05, 2.05, 5.0, 0.999, 0.998, 1.0, 0.9)
    cells = []
    for number, (cell, algorithm) in enumerate(own_cells()):
        entry = next(m for m in filled_measured() if (m.algorithm, m.task) == (algorithm, cell.task_meant))
        verdict = CellVerdict("", cell, entry, OUTCOMES[number % 4], comparison=comparison, further_seeds=4)
        cells.append(verdict)
    suite = SuiteVerdict(
        "d4rl-locomotion", "DTQL", "dtql", "last", "reproduced", 9, 9,
        measured=gym_mean(), printed=88.7, comparison=comparison,
    )  # fmt: skip
    # As many tasks as on AntMaze-v0, and another mean.
    other = replace(suite, suite="d4rl-antmaze-v2", tasks=6, judged=6, measured=74.13)
    return Judgement(tuple(cells), (suite, other), ("Margin: 5 points.", "Error rates: 5 %, 100 % stated."))


def gym_mean() -> float:
    """Mean of DTQL's nine locomotion scores in its Table 1, typed off the paper."""
    return (57.9 + 99.6 + 89.4 + 50.9 + 100.0 + 88.5 + 92.7 + 109.3 + 110.0) / 9


def all_ids() -> tuple[str, ...]:
    """Every table that a report has."""
    return table_ids()
