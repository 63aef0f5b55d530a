"""The papers' speed tables: what their CSV files do not say."""

from __future__ import annotations

from bench.report.measured import LATENCY, SECONDS_PER_1K
from bench.report.speed_table import SpeedBlock, SpeedLayout, SpeedRow, as_stored

_MEASURED = "Measured: median over single-seed measurements of bench speed with nothing else running"


def _milliseconds(seconds: float) -> float:
    return 1000.0 * seconds


def _per_second(seconds_per_1k: float) -> float:
    return 1000.0 / seconds_per_1k


def _rate(seconds: float) -> float:
    return 1.0 / seconds


DTQL_SPEED = SpeedLayout(
    id="dtql-2",
    task="antmaze-umaze-v0",
    own={"DTQL": "DTQL (Ours)"},
    hardware="an RTX-A5000 server",
    blocks=(
        SpeedBlock(
            "antmaze-umaze-v0",
            printed_in=("Table 2",),
            rows=(
                SpeedRow("Training time (s per 1k steps)", "train_time_s_per_1k_steps", SECONDS_PER_1K, 2),
                SpeedRow(
                    "Inference time (s per trajectory)",
                    "inference_time_s_per_trajectory",
                    "trajectory_seconds",
                    2,
                    as_stored,
                    "700 steps, one environment: actions and simulator",
                ),
                SpeedRow("Training epochs", "training_epochs", "", 0),
                SpeedRow("Total training time (hours)", "total_training_time_h", "", 2),
                SpeedRow("Action latency, median (ms, batch 1)", "", LATENCY, 3, _milliseconds),
                SpeedRow(
                    "Action latency, 95th percentile (ms)",
                    "",
                    "action_latency_p95_seconds",
                    3,
                    _milliseconds,
                ),
            ),
        ),
    ),
    notes=(f"{_MEASURED}; the last two rows are not in the paper.",),
)

_ITERATIONS = SpeedRow(
    "Training (iterations per second)", "train_iterations_per_second", SECONDS_PER_1K, 2, _per_second
)
EDP_SPEED = SpeedLayout(
    id="edp-figure-2",
    task="walker2d-medium-expert-v2",
    own={"EDP": "EDP", "EDP+TD3": "EDP"},
    hardware="a machine that the paper does not name",
    blocks=(
        SpeedBlock(
            "Figure 2",
            printed_in=("Figure 2",),
            rows=(
                _ITERATIONS,
                SpeedRow(
                    "Sampling (environment steps per second)",
                    "env_steps_per_second",
                    LATENCY,
                    2,
                    _rate,
                    caveat="actions per second, without the simulator's step",
                ),
            ),
        ),
        SpeedBlock(
            "Appendix C.5 and abstract",
            printed_in=("Appendix C.5", "Abstract / Section 1"),
            rows=(
                _ITERATIONS,
                SpeedRow("Training time (hours, 2M iterations)", "total_training_time_h", "", 1),
                SpeedRow("Gym average (score)", "d4rl_normalized_score", None, 1),
            ),
        ),
    ),
    notes=(f"{_MEASURED}, single actions; hours at that pace for the preset's iterations.",),
)
SPEED_LAYOUTS = (DTQL_SPEED, EDP_SPEED)
