"""CPU time of training here and in another checkout: an earlier commit of this project, or the authors' code.

`--commit PATH` names a checkout of this project, `--dtql`, `--srpo`, `--edp` and `--bdpo PATH` those of the
authors' repositories, which are not part of this one (TianyuCodings/Diffusion_Trusted_Q_Learning,
thu-ml/SRPO, sail-sg/edp, typoverflow/flow-rl). Each side is a process of its own; they run by turns, and
processor time counts, so that the ratio holds on a busy machine. One thread, one seed, hopper. What the
authors' code imports must be installed: einops for DTQL's; jax, flax, optax, distrax, ml_collections,
omegaconf and hydra-core for EDP's and BDPO's, which may be in another environment (`--python`).

JAX compiles a program when it first comes, as this project's `--runner compiled` does. Such parts are
compared twice: by their pace, and with the compiling spread over the iterations of a whole run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench.catalog import load_catalog
from bench.presets import load_preset
from bench.training.trainer import phases_for
from benchmarks.cpu_seconds import TASK, WARM_UP
from benchmarks.measuring import Comparison, Figure, write_record

SCRIPT = Path(__file__).with_name("cpu_seconds.py")
HERE = SCRIPT.parents[1]
UNIT = "iterations per CPU second"
ITERATIONS = {
    "bc/train": 1000,
    "dtql/pretrain": 40,
    "dtql/train": 30,
    "dtql-kl/train": 20,
    "dtql/act": 10,
    "srpo/critic": 100,
    "srpo/behaviour": 10,
    "srpo/policy": 80,
    "edp-td3/train": 30,
    "edp-crr/train": 20,
    "edp-iql/train": 40,
    "bdpo/pretrain": 60,
    "bdpo/train": 5,
}
"""What is timed, and how many of it: about a second or two each; of every fifth EDP and BDPO do more."""
OF_AUTHORS = {
    "dtql": ("dtql/pretrain", "dtql/train"),
    "srpo": ("srpo/critic", "srpo/behaviour", "srpo/policy"),
    "edp": ("edp-td3/train", "edp-iql/train"),
    "bdpo": ("bdpo/pretrain", "bdpo/train"),
}
WITH_JAX = ("edp", "bdpo")
TARGETS = {"dtql": 1.5, "srpo": 1.5, "edp": 1.1, "bdpo": 1.1}


def main(arguments: list[str] | None = None) -> None:
    """Compare and print one line per part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commit", type=Path, help="checkout of an earlier commit")
    for name in OF_AUTHORS:
        parser.add_argument(f"--{name}", type=Path, help=f"checkout of the authors' code of {name}")
    parser.add_argument("--parts", help=f"of {','.join(ITERATIONS)} (default all)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each side (default 3)")
    parser.add_argument("--iterations", type=int, help="of every part, instead of a second's or two")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the code that uses JAX")
    parser.add_argument("--runner", choices=("eager", "compiled"), default="eager", help="of this checkout")
    options = parser.parse_args(arguments)
    asked = options.parts.split(",") if options.parts else list(ITERATIONS)
    unknown = [part for part in asked if part not in ITERATIONS]
    if unknown:
        parser.error(f"--parts {unknown[0]!r}: there are {', '.join(ITERATIONS)}")
    others = {"ours": options.commit, **{name: getattr(options, name) for name in OF_AUTHORS}}
    if not any(others.values()):
        parser.error(f"name a checkout with --commit, {', '.join(f'--{name}' for name in OF_AUTHORS)}")
    for path in filter(None, others.values()):
        if not path.is_dir():
            parser.error(f"{path} is no folder")
    comparisons: list[Comparison] = []
    figures: list[Figure] = []
    for code, path in others.items():
        if path is None:
            continue
        for part in asked if code == "ours" else [part for part in OF_AUTHORS[code] if part in asked]:
            python = options.python if code in WITH_JAX else sys.executable
            ours = {"eager": ("here", "ours"), "compiled": ("here, compiled", "compiled")}[options.runner]
            other = "the other commit" if code == "ours" else "the authors' code"
            with started(*ours, HERE, part) as here, started(other, code, path, part, python) as there:
                found = _compared(here, there, options.iterations or ITERATIONS[part], options.repeats)
            comparisons += found
            figures += [_starting(side) for side in (here, there)] if len(found) > 1 else []
            for comparison in found:
                print(comparison.as_line(), flush=True)
    if options.json:
        settings = {"threads": 1, "seeds": 1, "repeats": options.repeats, "runner": options.runner}
        write_record(options.json, comparisons, settings, figures=figures)


class Side:
    """A process that trains a part by the code of a checkout, as many iterations at a time as it is told.

    Attributes
    ----------
    name : what the record calls it.
    starting : CPU seconds of the warm-up, in which programs are compiled.
    paces : CPU seconds of an iteration, of every turn.
    """

    def __init__(
        self, name: str, code: str, checkout: Path, part: str, process: subprocess.Popen[str], errors: IO[str]
    ) -> None:
        self.name, self.code, self.checkout, self.part = name, code, checkout, part
        self._process, self._errors = process, errors
        self.starting = self._answer()
        self.paces: list[float] = []

    def turn(self, iterations: int) -> None:
        """Run that many iterations."""
        print(iterations, file=self._process.stdin, flush=True)
        self.paces.append(self._answer() / iterations)

    def _answer(self) -> float:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1]
            raise SystemExit(f"{self.code} in {self.checkout}: {last}")
        return float(line)

    @property
    def compiling(self) -> float:
        """CPU seconds of the warm-up beyond what its iterations take at the pace of the turns."""
        return max(0.0, self.starting - WARM_UP * statistics.median(self.paces))

    def rates(self, run: int | None = None) -> tuple[float, ...]:
        """Iterations per CPU second of every turn; of a run of so many, compiling included."""
        return tuple(1 / (pace + (self.compiling / run if run else 0.0)) for pace in self.paces)


@contextmanager
def started(name: str, code: str, checkout: Path, part: str, python: str = sys.executable) -> Iterator[Side]:
    """A side, warmed up, whose process imports from the checkout."""
    path = os.pathsep.join(filter(None, (str(checkout.resolve()), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    # Compiled from the beginning, and by the process itself, which measures what that takes.
    environment |= {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [python, "-P", str(SCRIPT), code, part],
            cwd=checkout,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        yield Side(name, code, checkout, part, process, errors)


def _compared(here: Side, there: Side, iterations: int, repeats: int) -> list[Comparison]:
    for _ in range(repeats):
        for side in (here, there):
            side.turn(iterations)
    target = TARGETS.get(there.code)
    runs: dict[str, int | None] = {"": None}
    if there.code in WITH_JAX or here.code == "compiled":
        runs[", compiling included"] = iterations_of_a_run(here.part)
    return [
        Comparison(
            f"{here.part} {'compiled, ' if here.code == 'compiled' else ''}beside {there.name}{how}",
            UNIT,
            {side.name: side.rates(run) for side in (here, there)},
            target,
        )
        for how, run in runs.items()
    ]


def iterations_of_a_run(part: str) -> int:
    """Iterations of a phase by its preset."""
    method, phase = part.split("/")
    task = load_catalog().task(TASK)
    phases = phases_for(task, method, load_preset(method, task).values)
    return next(declared.iterations for declared in phases if declared.name == phase)


def _starting(side: Side) -> Figure:
    return Figure(f"compiling {side.part}, {side.name}", "CPU seconds", (side.compiling,), None)


if __name__ == "__main__":
    main()
