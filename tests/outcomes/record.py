"""Trains every case on ten seeds and writes what came out: `python -m tests.outcomes.record [METHOD ...]`.

To be run anew when a method, its case or the measures change, and the new numbers then looked at: the tests
take their thresholds from them.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.outcomes.cases import CASES, measured

SEEDS = tuple(range(10, 20))
"""Other ones than the tests train."""
RECORDED = Path(__file__).with_name("recorded.json")


def record(methods: Sequence[str]) -> None:
    """Record the named methods, all where none is named; the others' numbers stay."""
    torch.set_num_threads(1)
    for case in CASES:
        if not methods or case.method in methods:
            runs = measured(case, SEEDS)
            entry = {"task": case.task, "settings": dict(case.settings), "numbers": _summary(runs)}
            known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
            text = json.dumps(dict(sorted({**known, case.method: entry}.items())), indent=1)
            RECORDED.write_text(text + "\n")


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
