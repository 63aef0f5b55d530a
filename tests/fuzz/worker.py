"""Runs a share of the inputs: holds the imported code, makes each input and forks a process for it."""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import json
import os
import pkgutil
import shutil
import sys
import traceback
import warnings
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

from tests.fuzz import checkpoints, commands, hdf5, http, stores, weights, yaml_files
from tests.fuzz.material import TASK
from tests.fuzz.outcomes import NOT_MADE, Case, Ended, Outcome, judged
from tests.fuzz.process import fresh_place, random_of, run_case

TARGETS = {
    "hdf5": hdf5,
    "yaml": yaml_files,
    "stores": stores,
    "checkpoints": checkpoints,
    "weights": weights,
    "commands": commands,
    "http": http,
}


def main() -> None:
    """One line of JSON per input on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--limit", type=float, required=True)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    load_code(options.code)
    warm_up(options.material, options.root)
    worker = Worker(options.root, options.material, options.code, options.seed, options.limit)
    for line in sys.stdin:
        target, number = line.split()
        case, ended, outcome = worker.tried(target, int(number))
        told = {
            "target": target, "number": int(number), "name": case.name, "kind": outcome.kind,
            "where": outcome.where, "message": outcome.message, "seconds": round(ended.seconds, 3),
            "busy_seconds": round(ended.busy_seconds, 3),
        }  # fmt: skip
        if options.show:
            told |= {"run": str(case.run), "code": ended.code, "output": ended.output, "errors": ended.errors}
            told |= {"expect": case.expect, "changed": ended.changed, "must_say": case.must_say}
        print(json.dumps(told), flush=True)


def load_code(code: Path) -> None:
    """Import `bench` and `algorithms` from a checkout; `tests` stays the one that this module is of."""
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(code))
    for package in ("algorithms", "bench"):
        root = importlib.import_module(package)
        assert Path(root.__file__).is_relative_to(code), (
            f"{package} comes from {root.__file__}, not from {code}"
        )
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not module.name.startswith(_NOT_WANTED):
                importlib.import_module(module.name)
    _measure_nothing()


def _measure_nothing() -> None:
    """Leave out what trains for seconds: how long a run takes, and what code does to the last bit."""
    estimate = importlib.import_module("bench.execute.estimate")

    def estimated(_: object, cell: Any, seeds: int) -> object:
        estimate.method_for(cell.task, cell.preset.algorithm, cell.preset.values, tuple(range(seeds)), "cpu")
        return estimate.Estimate(1.0, 1.0)

    estimate.Estimator.estimate = estimated
    night, exact = (
        importlib.import_module("bench.nightly.night"),
        importlib.import_module("bench.nightly.exact"),
    )
    night.fingerprints = lambda tasks: exact.Fingerprints(exact.machine(), {}, {}, {})


def warm_up(material: Path, root: Path) -> None:
    """Do once what every process would do again: read the installation's files, import what comes late."""
    from bench.cli import main as bench

    os.environ.update(BENCH_DATA_DIR=str(material / "data"), HOME=str(root))
    store = shutil.copy(material / "stores" / "bench.sqlite", root / "warm.sqlite")
    for command in (["data", "info", TASK], ["check", "--store", store], ["report", "--store", store]):
        with redirect_stdout(io.StringIO()), suppress(SystemExit):
            bench(command)
    # What is there now is never looked through again, and stays shared with the forked processes.
    gc.collect()
    gc.freeze()


_NOT_WANTED = ("bench.execute.ray_tune", "bench.__main__", "bench.store.migrations")


class Worker:
    """Makes inputs, runs them and judges what came of them.

    Parameters
    ----------
    root : folder in which each input gets its own place, one after the other.
    code : copy of a checkout, whose YAML files may be changed for the time of an input.
    """

    def __init__(self, root: Path, material: Path, code: Path, seed: int, limit: float) -> None:
        self._root, self._material, self._code, self._seed, self._limit = root, material, code, seed, limit
        self._usual: dict[tuple[str, ...], str] = {}

    def tried(self, target: str, number: int) -> tuple[Case, Ended, Outcome]:
        """Make an input, run it, judge it."""
        place = fresh_place(self._root / "place", self._material, self._code)
        try:
            case = TARGETS[target].make(number, place, random_of(target, self._seed, number))
        except Exception as error:  # noqa: BLE001
            where = traceback.extract_tb(error.__traceback__)[-1]
            fault = Outcome(
                NOT_MADE, f"{where.filename}:{where.lineno}", f"{type(error).__name__}: {error}"[:300]
            )
            return Case("", []), Ended(0, False, "", "", 0.0, 0.0, ()), fault
        ended = run_case(case, place, self._limit)
        if case.undo:
            case.undo()
        usual = self._usual_output(target, case) if case.same_output else None
        return case, ended, judged(case, ended, usual)

    def _usual_output(self, target: str, case: Case) -> str:
        """What the command says of the undamaged input."""
        assert isinstance(case.run, list)
        key = (target, *case.run)
        if key not in self._usual:
            place = fresh_place(self._root / "place", self._material, self._code)
            TARGETS[target].pristine(place)
            self._usual[key] = run_case(Case("", case.run), place, self._limit).output
        return self._usual[key]


if __name__ == "__main__":
    main()
