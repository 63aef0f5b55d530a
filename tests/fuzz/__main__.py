"""The command; see the package's description."""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tests.fuzz.material import make_material
from tests.fuzz.outcomes import BAD, KINDS
from tests.fuzz.process import LIMIT_SECONDS
from tests.fuzz.worker import TARGETS

HERE = Path(__file__).resolve().parents[2]
SHARES = {"hdf5": 31, "yaml": 12, "stores": 25, "checkpoints": 12, "weights": 2, "commands": 17, "http": 1}
"""Of a hundred inputs."""
INPUTS, SEED, PROCESSES = 20_000, 1, 2
_COPIED = (
    "bench",
    "algorithms",
    "paper_tables",
    "reports/templates",
    "method_template",
    "tasks.yaml",
    "margins.yaml",
    "nightly.yaml",
)


def main() -> None:
    """Run the inputs, print the table, and end with 1 where anything was found."""
    options = _options()
    began = time.monotonic()
    found = []
    with tempfile.TemporaryDirectory(prefix="bench-fuzz-") as folder, ExitStack() as opened:
        results = opened.enter_context(options.results.open("w", buffering=1)) if options.results else None
        tried = fuzz(Path(folder), _inputs(options), options.code, options.seed, options.processes,
        options.limit,
                     show=options.show, material=options.material)  # fmt: skip
        for one in tried:
            found.append(one)
            if results:
                results.write(json.dumps(one) + "\n")
    found.sort(key=lambda one: (one["target"], one["number"]))
    if options.show:
        for one in found:
            print("\n".join(f"{name}: {value}" for name, value in one.items()), end="\n\n")
    print(findings(found), end="")
    print(table(found))
    print(f"seed {options.seed}, {options.processes} processes, {time.monotonic() - began:.0f} s")
    sys.exit(any(one["kind"] in BAD for one in found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz the product; see tests/fuzz."
    )
    parser.add_argument(
        "--inputs", type=int, default=INPUTS, help="how many, over all targets or those of --only"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--code", type=Path, default=HERE, help="checkout whose code is tried")
    parser.add_argument("--only", action="append", default=[], metavar="TARGET[:NUMBER]")
    parser.add_argument(
        "--limit", type=float, default=LIMIT_SECONDS, help="seconds after which an input hangs"
    )
    parser.add_argument("--show", action="store_true", help="print each input with its output")
    parser.add_argument(
        "--material", type=Path, help="folder for the files that inputs are made from; used again"
    )
    parser.add_argument("--results", type=Path, help="write one line of JSON per input")
    return parser.parse_args()


def _inputs(options: argparse.Namespace) -> list[tuple[str, int]]:
    single = [
        (target, int(number))
        for target, colon, number in (name.partition(":") for name in options.only)
        if colon
    ]
    if single:
        return single
    shares = {target: share for target, share in SHARES.items() if target in (options.only or TARGETS)}
    return spread(options.inputs, shares)


def spread(count: int, shares: dict[str, int], of: int | None = None) -> list[tuple[str, int]]:
    """(target, number) of `count` inputs, each target having its share; drawn from the first `of` of them."""
    total, inputs = sum(shares.values()), []
    for target, share in shares.items():
        wanted, there = (max(1, round(size * share / total)) for size in (count, of or count))
        numbers = sorted(Random(target).sample(range(there), wanted))
        inputs += [(place / wanted, target, number) for place, number in enumerate(numbers)]
    return [(target, number) for _, target, number in sorted(inputs)]


def fuzz(
    folder: Path,
    inputs: Iterable[tuple[str, int]],
    code: Path = HERE,
    seed: int = SEED,
    processes: int = PROCESSES,
    limit: float = LIMIT_SECONDS,
    *,
    show: bool = False,
    material: Path | None = None,
) -> Iterator[dict]:
    """What came of each input, as they end; `folder` holds all that is written."""
    material = make_material(material or folder / "material", code.resolve())
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    done: queue.SimpleQueue = queue.SimpleQueue()
    inputs = list(inputs)
    for one in inputs:
        waiting.put(one)
    threads = []
    for number in range(processes):
        copy = _copied(code.resolve(), folder / f"worker-{number}" / "code")
        arguments = [
            "--code",
            copy,
            "--material",
            material,
            "--root",
            copy.parent,
            "--seed",
            seed,
            "--limit",
            limit,
        ]
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.worker",
            *map(str, arguments),
            *(["--show"] if show else []),
        ]
        threads.append(threading.Thread(target=_drive, args=(command, waiting, done), daemon=True))
        threads[-1].start()
    try:
        for _ in inputs:
            answer = done.get()
            if isinstance(answer, Exception):
                raise answer
            yield answer
    finally:
        while not waiting.empty():
            waiting.get()
        for thread in threads:
            thread.join()


def _copied(code: Path, to: Path) -> Path:
    for name in _COPIED:
        if (code / name).is_dir():
            shutil.copytree(code / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(code / name, to / name)
    return to


def _drive(command: list[str], waiting: queue.SimpleQueue, done: queue.SimpleQueue) -> None:
    """Feed one worker an input after the other."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=HERE, env=environment, **pipes) as worker:
        while True:
            try:
                target, number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                worker.stdin.write(f"{target} {number}\n")
                worker.stdin.flush()
                done.put(json.loads(worker.stdout.readline()))
            except (OSError, ValueError):
                worker.kill()
                done.put(RuntimeError(f"the worker ended with {worker.wait()} at {target}:{number}"))
                return


def findings(found: list[dict]) -> str:
    """What was found, one paragraph per cause."""
    causes = defaultdict(list)
    for one in found:
        if one["kind"] in BAD:
            causes[one["target"], one["kind"], one["where"]].append(one)
    lines = []
    for (target, kind, where), ones in sorted(
        causes.items(), key=lambda cause: (cause[0][0], -len(cause[1]))
    ):
        first = ones[0]
        lines.append(
            f"{len(ones):5} {kind}: {where}\n      --only {target}:{first['number']} ({first['name']})\n"
        )
        lines.append(f"      {first['message']}\n")
    return "".join(lines)


def table(found: list[dict]) -> str:
    """Counts of what came of the inputs, by target."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for one in found:
        counts[one["target"]][one["kind"]] += 1
        counts["all"][one["kind"]] += 1
    names = [*(target for target in SHARES if target in counts), "all"]
    head = f"{'target':<12}{'inputs':>9}" + "".join(f"{kind:>16}" for kind in KINDS)
    rows = [
        f"{name:<12}{counts[name].total():>9,}" + "".join(f"{counts[name][kind]:>16,}" for kind in KINDS)
        for name in names
    ]
    return "\n".join([head, *rows])


if __name__ == "__main__":
    main()
