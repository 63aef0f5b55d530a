"""Which tables there are: the papers' tables as layouts over their CSV files."""

from __future__ import annotations

from bench.errors import BenchError, unknown_name
from bench.report.measured import ReportData
from bench.report.paper import load_paper_table, paper_tables
from bench.report.score_table import ScoreLayout, score_table
from bench.report.speed_table import SECONDS_PER_1K, SpeedLayout, SpeedRow, speed_table
from bench.report.table2d import TABLE_2D, table_2d
from bench.report.tables import Table

_SCORES = "Scores are D4RL-normalised: 0 is a random policy, 100 an expert."
_OVER_SEEDS = "±: standard deviation over training seeds, both printed and measured (n of them)."
_NO_SPREAD = "The paper prints no spread. Measured ±: standard deviation over n training seeds."
_POOLED = (
    "Printed ±: standard error over the pooled rollouts of all seeds. "
    "Measured ±: standard deviation over n training seeds."
)
_RAT = "Printed and, where there are ten evaluations, measured: the mean of the last ten (RAT)."
_BOLD = "Bold: the highest printed number of a row; the paper states no rule for its bold type."

_DTQL_HEADINGS = {
    "locomotion": ("Gym", "Gym Average"),
    "antmaze": ("Antmaze", "Antmaze Average"),
    "adroit": ("Adroit Tasks", "Adroit Average"),
    "kitchen": ("Kitchen Tasks", "Kitchen Average"),
}
_EDP_HEADINGS = {
    "locomotion": ("Gym", "Average"),
    "kitchen": ("Kitchen", "Average"),
    "adroit": ("Adroit", "Average"),
    "antmaze": ("AntMaze", "Average"),
}
_EDP_METHODS = {name: f"{name} (Ours)" for name in ("EDP+TD3", "EDP+CRR", "EDP+IQL")}

DTQL_SCORES = ScoreLayout(
    id="dtql-1",
    own={"DTQL": "DTQL (Ours)"},
    headings=_DTQL_HEADINGS,
    notes=(_SCORES, _POOLED, _BOLD),
    takes_all=True,
)
DTQL_KL = ScoreLayout(
    id="dtql-5",
    own={"DTQL with KL regulariser (DQL_KL)": "DTQL (KL)", "DTQL": "DTQL"},
    headings=_DTQL_HEADINGS,
    notes=(_SCORES, "One column of this table survives in the text at hand."),
)
DTQL_ANTMAZE = ScoreLayout(
    id="dtql-6",
    own={"SRPO": "SRPO", "DTQL": "DTQL (Ours)"},
    headings=_DTQL_HEADINGS,
    notes=(_SCORES, _POOLED),
)
SRPO_SCORES = ScoreLayout(
    id="srpo-1",
    own={"SRPO": "SRPO (Ours)"},
    headings={"locomotion": ("Locomotion", "Average"), "antmaze": ("AntMaze", "Average")},
    notes=(_SCORES, _OVER_SEEDS, _BOLD),
)
EDP_SCORES = ScoreLayout(
    id="edp-2", own=_EDP_METHODS, headings=_EDP_HEADINGS, notes=(_SCORES, _RAT, _NO_SPREAD, _BOLD)
)
EDP_BEST = ScoreLayout(
    id="edp-5",
    own=_EDP_METHODS,
    headings=_EDP_HEADINGS,
    notes=(_SCORES, "RAT: mean of the last ten evaluations. OMS: the best one, an oracle.", _NO_SPREAD),
)
BDPO_SCORES = ScoreLayout(
    id="bdpo-1",
    own={"BDPO": "BDPO (Ours)"},
    headings={"locomotion": ("Locomotion", "Sum"), "antmaze": ("AntMaze", "Sum")},
    notes=(_SCORES, _OVER_SEEDS, _BOLD),
)

DTQL_SPEED = SpeedLayout(
    id="dtql-2",
    task="antmaze-umaze-v0",
    own_method="DTQL",
    own_header="DTQL (Ours)",
    hardware="an RTX-A5000 server",
    rows=(
        SpeedRow("Training time (s per 1k steps)", "train_time_s_per_1k_steps", SECONDS_PER_1K, 2),
        SpeedRow(
            "Inference time (s per trajectory)",
            "inference_time_s_per_trajectory",
            "inference_seconds_per_trajectory",
            2,
        ),
        SpeedRow("Training epochs", "training_epochs", "", 0),
        SpeedRow("Total training time (hours)", "total_training_time_h", "", 2),
        SpeedRow("Action latency, median (ms, batch 1)", "", "action_latency_median_seconds", 3, 1000.0),
        SpeedRow("Action latency, 95th percentile (ms)", "", "action_latency_p95_seconds", 3, 1000.0),
    ),
    notes=(
        "Measured: median over single-seed measurements of bench speed with nothing else running; the last "
        "two rows are not in the paper.",
    ),
)

LAYOUTS: dict[str, ScoreLayout | SpeedLayout] = {
    layout.id: layout
    for layout in (
        DTQL_SCORES,
        DTQL_SPEED,
        DTQL_KL,
        DTQL_ANTMAZE,
        SRPO_SCORES,
        EDP_SCORES,
        EDP_BEST,
        BDPO_SCORES,
    )
}


def choose_tables(names: str) -> list[str]:
    """Ids from a comma-separated list, or all of them for `all`.

    Raises
    ------
    BenchError : a name is unknown or has no layout, or none is given.
    """
    reported = [*LAYOUTS, TABLE_2D]
    if names.strip() == "all":
        return reported
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not chosen:
        raise BenchError(f"no table named in {names!r}", "", f"Known: {', '.join(reported)}, or all.")
    known = {*paper_tables(), TABLE_2D}
    for name in chosen:
        if name not in known:
            raise unknown_name("table", name, known, "bench list tables")
        if name not in reported:
            what = f"table {name!r} cannot be reported yet"
            raise BenchError(what, "", f"Tables that can: {', '.join(reported)}.")
    return chosen


def build_table(table_id: str, data: ReportData) -> Table:
    """The table with this id, filled from `data`."""
    if table_id == TABLE_2D:
        return table_2d(data.illustrations)
    layout = LAYOUTS[table_id]
    paper = load_paper_table(table_id)
    if isinstance(layout, ScoreLayout):
        return score_table(layout, paper, data.measured)
    return speed_table(layout, paper, data.timings, data.schedules)
