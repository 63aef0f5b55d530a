"""Trains every case on ten seeds and writes what came out: `python -m tests.outcomes.record [METHOD ...]`.

To be run anew when a method, its case or the measures change, and the new numbers then looked at: the tests
take their thresholds from them. What the papers say is held against them here: exit code 1 names what of it
they do not show.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from tests.outcomes.cases import CASES, measured

SEEDS = tuple(range(10, 20))
"""Other ones than the tests train."""
RECORDED = Path(__file__).with_name("recorded.json")
Records = Mapping[str, dict]
"""By method: its task, settings and numbers."""


def record(methods: Sequence[str]) -> None:
    """Record the named methods, all where none is named; the others' numbers stay."""
    torch.set_num_threads(1)
    known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    for case in CASES:
        if not methods or case.method in methods:
            runs = measured(case, SEEDS)
            known[case.method] = {
                "task": case.task, "settings": dict(case.settings), "numbers": _summary(runs)
            }  # fmt: skip
            RECORDED.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    if broken := unmet(known):
        sys.exit("The recorded runs do not show that\n" + "\n".join(f"  {claim}" for claim in broken))


def unmet(records: Records) -> list[str]:
    """What the papers say of the methods and the recorded runs do not show."""

    def of(method: str, name: str) -> tuple[float, float]:
        """Mean and standard deviation over the recorded runs."""
        number = records[method]["numbers"][name]
        return number["mean"], number["deviation"]

    held = {
        "BDPO is nearer to the re-weighted truth than its behaviour model": clearly_less(
            of("bdpo", "energy_distance_to_truth"), of("bdpo", "behaviour_energy_distance_to_truth")
        ),
        "BDPO's V_T at noise is within 10 % of eta log mean exp(Q / eta)": clearly_less(
            of("bdpo", "value_test_relative"), (0.1, 0.0)
        ),
        "guidance leads EDP to the best modes": clearly_less(
            of("edp-td3", "data_share_on_best_modes"), of("edp-td3", "share_on_best_modes")
        ),
        "guidance leads SRPO to the best modes": clearly_less(
            of("srpo", "data_share_on_best_modes"), of("srpo", "share_on_best_modes")
        ),
        "EDP is nearer to the re-weighted truth than the data": clearly_less(
            of("edp-td3", "energy_distance_to_truth"), of("edp-td3", "data_energy_distance_to_truth")
        ),
        # Its policy is one point, whose distance from a cloud says little; here it lies on the data.
        "SRPO stays in support": of("srpo", "share_in_support") == (1.0, 0.0),
        # Of single runs the next four cannot be said: the KL variant's differ much, and one of ten ended on
        # one mode.
        "the trust region stays in support": less_on_average((0.9, 0.0), of("dtql", "share_in_support")),
        "the trust region has more actions in support than KL": less_on_average(
            of("dtql-kl", "share_in_support"), of("dtql", "share_in_support")
        ),
        "KL spreads more than the trust region": less_on_average(
            of("dtql", "spread"), of("dtql-kl", "spread")
        ),
        "KL reaches more modes than the trust region": less_on_average(
            of("dtql", "modes_reached"), of("dtql-kl", "modes_reached")
        ),
    }
    return [claim for claim, holds in held.items() if not holds]


def clearly_less(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """The first below the second by over three standard deviations of the difference of two runs."""
    return first[0] + 3 * math.hypot(first[1], second[1]) < second[0]


def less_on_average(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """The first mean below the second by over three standard errors of the difference of the means."""
    return first[0] + 3 * math.hypot(first[1], second[1]) / math.sqrt(len(SEEDS)) < second[0]


def _summary(runs: list[dict[str, float]]) -> dict[str, dict[str, object]]:
    """By number: its value in every run, their mean and standard deviation."""
    names = (name for name in runs[0] if "sliced" not in name)
    columns = {name: [round(float(run[name]), 4) for run in runs] for name in names}
    return {
        name: {"mean": statistics.fmean(values), "deviation": statistics.stdev(values), "values": values}
        for name, values in columns.items()
    }


if __name__ == "__main__":
    record(sys.argv[1:])
