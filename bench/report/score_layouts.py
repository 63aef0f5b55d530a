"""The papers' score tables: what their CSV files do not say."""

from __future__ import annotations

from bench.report.score_table import ScoreLayout
from bench.report.typography import Bold

SCORES = "Scores are D4RL-normalised: 0 is a random policy, 100 an expert."
_OVER_SEEDS = "±: standard deviation over training seeds, both printed and measured (n of them)."
NO_SPREAD = "The paper prints no spread. Measured ±: standard deviation over n training seeds."
_POOLED = (
    "Printed ±: standard error over the pooled rollouts of all seeds. "
    "Measured ±: standard deviation over n training seeds."
)
_RAT = "Printed and, where there are ten evaluations, measured: the mean of the last ten (RAT)."
OMS = "OMS: the best evaluation over training, an oracle that no deployment has."
_SET = "Measured by bench run{}: shown, never judged."

HIGHEST = Bold()
_SRPO_BOLD = Bold(0.05, averages=False, stated="Numbers within 5 % of the maximum in every individual task")
_BDPO_BOLD = Bold(0.05, stated="We bold values that are within 95% of the top-performing method")

_DTQL = {
    "locomotion": ("Gym", "Gym Average"),
    "antmaze": ("Antmaze", "Antmaze Average"),
    "adroit": ("Adroit Tasks", "Adroit Average"),
    "kitchen": ("Kitchen Tasks", "Kitchen Average"),
}
_EDP = {
    "locomotion": ("Gym", "Average"),
    "kitchen": ("Kitchen", "Average"),
    "adroit": ("Adroit", "Average"),
    "antmaze": ("AntMaze", "Average"),
}
_EDP_METHODS = {name: f"{name} (Ours)" for name in ("EDP+TD3", "EDP+CRR", "EDP+IQL")}

SCORE_LAYOUTS = (
    ScoreLayout(
        id="dtql-1",
        own={"DTQL": "DTQL (Ours)"},
        headings=_DTQL,
        notes=(SCORES, _POOLED),
        bold=HIGHEST,
    ),
    ScoreLayout(
        id="dtql-3",
        own={"DTQL (50-epoch pretrain)": "Pretrain", "DTQL (no pretrain)": "No Pretrain"},
        headings=_DTQL,
        notes=(SCORES, NO_SPREAD, _SET.format(" --set dtql.pretrain_iterations=1 (No Pretrain)")),
        bold=HIGHEST,
    ),
    ScoreLayout(
        id="dtql-5",
        own={"DTQL with KL regulariser (DQL_KL)": "DTQL (KL)", "DTQL": "DTQL"},
        headings=_DTQL,
        notes=(SCORES, NO_SPREAD),
    ),
    ScoreLayout(
        id="dtql-6",
        own={"SRPO": "SRPO", "DTQL": "DTQL (Ours)"},
        headings={"antmaze": ("Antmaze", "Average")},
        notes=(SCORES, _POOLED),
        bold=HIGHEST,
    ),
    ScoreLayout(
        id="srpo-1",
        own={"SRPO": "SRPO (Ours)"},
        headings={
            "locomotion": ("Locomotion", "Average (Locomotion)"),
            "antmaze": ("AntMaze", "Average (AntMaze)"),
        },
        notes=(SCORES, _OVER_SEEDS),
        bold=_SRPO_BOLD,
    ),
    ScoreLayout(
        id="edp-2",
        own=_EDP_METHODS,
        headings=_EDP,
        notes=(SCORES, _RAT, NO_SPREAD),
        bold=HIGHEST,
    ),
    ScoreLayout(
        id="edp-4",
        own={"DQL (JAX)": "DQL (JAX)", "EDP+TD3": "EDP"},
        headings=_EDP,
        notes=(
            SCORES,
            OMS,
            NO_SPREAD,
            "DQL (JAX) is EDP+TD3 without action approximation and with DDPM sampling. "
            + _SET.format(
                " --set edp-td3.action_approximation=false --set edp-td3.sampler=ddpm"
                " --set edp-td3.diffusion_steps=100"
            ),
        ),
        bold=HIGHEST,
    ),
    ScoreLayout(
        id="edp-5",
        own=_EDP_METHODS,
        headings=_EDP,
        notes=(SCORES, "RAT, the paper's Average: mean of the last ten evaluations.", OMS, NO_SPREAD),
    ),
    ScoreLayout(
        id="edp-6",
        own={
            "EDP+TD3": "TD3+Diff",
            "TD3+BC (FF) + EAS": "TD3+EAS",
            "TD3+BC (FF)": "TD3",
        },
        headings={"locomotion": ("Dataset", "gym-locomotion-v2 (avg)")},
        notes=(SCORES, _RAT, NO_SPREAD, "TD3 with a feed-forward policy is no method of this suite."),
        bold=HIGHEST,
    ),
    ScoreLayout(
        id="edp-7",
        own={
            "DDPM (no action approximation, K=100)": "DDPM",
            "action approximation, K=100": "Action Approx",
        },
        headings={"locomotion": ("OMS, K=100", "Average")},
        notes=(
            SCORES,
            OMS,
            NO_SPREAD,
            _SET.format(
                " --set edp-td3.diffusion_steps=100 and, for DDPM, --set edp-td3.sampler=ddpm"
                " --set edp-td3.action_approximation=false"
            ),
        ),
        bold=HIGHEST,
    ),
    ScoreLayout(
        id="bdpo-1",
        own={"BDPO": "BDPO (Ours)"},
        headings={
            "locomotion": ("Locomotion", "locomotion sum"),
            "antmaze": ("AntMaze", "antmaze sum"),
        },
        notes=(SCORES, _OVER_SEEDS),
        bold=_BDPO_BOLD,
    ),
)
