"""Kernels, arithmetic and bytes of every program, counted over fake CUDA tensors, and a model of the time.

Each program as it is captured, operation by operation, and as torch's compiler fuses it for the runner
`compiled`, where bytes are an upper bound: a piece that reads part of a tensor counts the whole. Needs a CUDA
build of torch and a C compiler, but no GPU. The record keeps the table that it began with as `before`; hours
are those of the papers' locomotion grid, training alone, stacks of five on one H200 in turn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import benchmarks
from bench.catalog import load_catalog
from bench.files import write_text
from bench.presets import load_preset, tasks_of
from bench.provenance import code_state
from bench.training.speed import phase_seconds
from benchmarks.gpu import fake, h200
from benchmarks.gpu.count import Counted, Order, counted
from benchmarks.gpu.subjects import all_methods, phases_of

TASK = "hopper-medium-v2"
GRID = ("dtql", "srpo", "edp-td3", "bdpo")
"""One method of each paper."""
STACK = 5
RUNNERS = ("graph", "compiled")


def main(arguments: list[str] | None = None) -> int:
    """Count, print one line per program, write the record; 1 where there are faults, 2 where it cannot."""
    known = [name for name in all_methods() if TASK in tasks_of(name)]
    options = _options(arguments, known)
    reason = fake.why_not()
    if reason is not None:
        print(f"Kernels cannot be counted: {reason}.", file=sys.stderr)
        return 2
    chosen = tuple(options.algos)
    rows = counted(Order(chosen, TASK, tuple(options.seeds)))
    rows += counted(Order(chosen, TASK, (options.seeds[-1],), compiled=True))
    others = counted(Order(chosen, None, (options.seeds[-1],))) if options.all else []
    table = described(rows)
    earlier = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    before = earlier.get("before", table)
    for line in lines(before, table):
        print(line)
    faulty = [row for row in (*rows, *others) if row.faults]
    for row in faulty:
        for fault, count in row.faults.items():
            print(f"FAULT {row.method} {row.variant} {row.task} {row.program}, {count} times: {fault}")
    if options.json:
        write_text(options.json, json.dumps({"before": before, "after": table}, indent=1) + "\n")
    return 1 if faulty else 0


def _options(arguments: list[str] | None, known: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--algos",
        type=lambda text: text.split(","),
        default=list(known),
        help=f"separated by commas (default all that have a preset for {TASK})",
    )
    parser.add_argument(
        "--seeds",
        type=lambda text: [int(number) for number in text.split(",")],
        default=[1, STACK],
        help="sizes of stacks, separated by commas (default 1,5)",
    )
    parser.add_argument("--all", action="store_true", help="look for faults in all other presets too")
    parser.add_argument("--json", type=Path, help="file for the record; what it holds as `before` stays")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.algos if name not in known]
    if unknown:
        parser.error(f"--algos {unknown[0]!r}: there are {', '.join(known)}")
    return options


def described(rows: Sequence[Counted]) -> dict[str, Any]:
    """A table with what it was counted with, and the hours of the grid that it leads to."""
    code = code_state(Path(benchmarks.__file__).resolve().parent.parent)
    return {
        "commit": code.commit[:12] + ("+" if code.dirty else "") if code else None,
        "torch": torch.__version__,
        "rates": asdict(h200.H200),
        "programs": [asdict(row) for row in rows],
        "grid_hours": {
            f"{runner} {precision}": {
                name: grid_hours(name, rows, precision, runner) for name in GRID if _is_whole(name, rows)
            }
            for runner in RUNNERS
            for precision in h200.PRECISIONS
        },
    }


def _is_whole(name: str, rows: Sequence[Counted]) -> bool:
    return {row.runner for row in rows if (row.method, row.seeds) == (name, STACK)} == set(RUNNERS)


def grid_hours(name: str, rows: Sequence[Counted], precision: str, runner: str = RUNNERS[0]) -> float:
    """Hours of training a method on the nine locomotion tasks with released presets, five seeds a stack.

    Each program counts as often as it runs; tasks differ in that alone, all are taken at hopper's sizes.
    """
    of_phase: dict[str, dict[str, float]] = {}
    for row in rows:
        if (row.method, row.seeds, row.runner) == (name, STACK, runner):
            of_phase.setdefault(row.phase, {})[row.program] = row.microseconds[precision]
    catalog, total = load_catalog(), 0.0
    of_counts: dict[object, float] = {}
    for task in map(catalog.task, tasks_of(name)):
        if task.domain != "locomotion":
            continue
        preset = load_preset(name, task)
        # Which program an iteration runs follows from whole numbers and switches; walking takes seconds.
        counts = tuple(value for value in preset.values.values() if not isinstance(value, float))
        if counts not in of_counts:
            of_counts[counts] = sum(
                phase_seconds(phase, of_phase[phase.name]) for phase in phases_of(task, preset)
            )
        total += of_counts[counts]
    return round(total / 3.6e9, 1)


def lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The table for people: each program as it is, and after the arrow as it was where that differs."""

    def key(row: Mapping[str, Any]) -> tuple[object, ...]:
        return tuple(row[name] for name in ("method", "seeds", "phase", "program", "runner"))

    earlier = {key(row): row for row in before["programs"]}
    found = []
    for row in after["programs"]:
        old = earlier.get(key(row), row)
        was = "" if old["kernels"] == row["kernels"] else f" (was {old['kernels']})"
        times = ", ".join(f"{value:,.0f} us {name}" for name, value in row["microseconds"].items())
        found.append(
            f"{row['method']} S={row['seeds']} {row['phase']}/{row['program']}"
            f"{' compiled' if row['runner'] == 'compiled' else ''}: {row['kernels']} kernels{was}"
            f", {row['products']} products, {row['gigaflops']:.1f} GFLOP, {row['megabytes']:,.0f} MB; {times}"
        )
    for kind, hours in after["grid_hours"].items():
        was = before["grid_hours"].get(kind, {})
        parts = ", ".join(f"{name} {value:g} (was {was.get(name, value):g})" for name, value in hours.items())
        found.append(f"grid, {kind}: {parts}; {sum(hours.values()):.0f} hours in all")
    return found


if __name__ == "__main__":
    sys.exit(main())
