"""CPU time of training here and in another checkout: an earlier commit of this project, or the authors' code.

`--commit PATH` names a checkout of this project, `--dtql PATH` and `--srpo PATH` those of the authors'
repositories, which are not part of this one (TianyuCodings/Diffusion_Trusted_Q_Learning, thu-ml/SRPO). Every
turn is a process of its own, the two sides one after the other, and processor time counts, so that the ratio
holds on a busy machine. One thread, one seed, hopper. EDP's and BDPO's authors use JAX and are not compared;
what else the authors' code imports must be installed (DTQL's: einops).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import Comparison, write_record

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
    "bdpo/train": 4,
}
"""What is timed, and how many of it: about a second or two each."""
OF_AUTHORS = {
    "dtql": ("dtql/pretrain", "dtql/train"),
    "srpo": ("srpo/critic", "srpo/behaviour", "srpo/policy"),
}
TARGETS = {"dtql": 1.5, "srpo": 1.5}


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
    options = parser.parse_args(arguments)
    asked = options.parts.split(",") if options.parts else list(ITERATIONS)
    unknown = [part for part in asked if part not in ITERATIONS]
    if unknown:
        parser.error(f"--parts {unknown[0]!r}: there are {', '.join(ITERATIONS)}")
    others = {"ours": options.commit, **{name: getattr(options, name) for name in OF_AUTHORS}}
    if not any(others.values()):
        parser.error("name a checkout with --commit, --dtql or --srpo")
    for path in filter(None, others.values()):
        if not path.is_dir():
            parser.error(f"{path} is no folder")
    comparisons = []
    for code, path in others.items():
        if path is None:
            continue
        for part in asked if code == "ours" else [part for part in OF_AUTHORS[code] if part in asked]:
            count = options.iterations or ITERATIONS[part]
            comparisons.append(_compared(part, code, path, count, options.repeats))
            print(comparisons[-1].as_line(), flush=True)
    if options.json:
        write_record(options.json, comparisons, {"threads": 1, "seeds": 1, "repeats": options.repeats})


def _compared(part: str, code: str, path: Path, count: int, repeats: int) -> Comparison:
    other = "the other commit" if code == "ours" else "the authors' code"
    sides = {"here": ("ours", HERE), other: (code, path)}
    rates: dict[str, tuple[float, ...]] = dict.fromkeys(sides, ())
    for _ in range(repeats):
        for side, (whose, checkout) in sides.items():
            rates[side] += (1e6 / microseconds(whose, checkout, count, [part])[part],)
    return Comparison(f"{part} beside {other}", UNIT, rates, TARGETS.get(code))


def microseconds(code: str, checkout: Path, count: int, parts: Sequence[str]) -> dict[str, float]:
    """CPU microseconds of an iteration of each part, by a process that imports from the checkout."""
    path = os.pathsep.join(filter(None, (str(checkout.resolve()), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", str(SCRIPT), code, str(count), *parts]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{code} in {checkout}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
