"""Golden records: what the code did when they were made, held against what it does.

`python -m tests.golden record` writes them, `check` compares, `check --only tables verdicts` some of them;
`--checkout DIR` looks at another checkout's code. Exit code 1 where something differs that `intended.yaml`
does not name, or where that names what no longer differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.golden.checkout import HERE
from tests.golden.compare import compared
from tests.golden.files import write_record
from tests.golden.sections import SECTIONS, chosen, taken


def main() -> None:
    """Record or check."""
    options = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    options.add_argument("what", choices=("record", "check"))
    options.add_argument(
        "--only", nargs="+", choices=tuple(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS)
    )
    options.add_argument("--checkout", type=Path, default=HERE, metavar="DIR")
    options.add_argument("--all-lines", action="store_true", help="print every line that differs")
    given = options.parse_args()
    failed = False
    for name in chosen(given.only):
        began = time.perf_counter()
        found = taken(name, given.checkout)
        seconds = f"{time.perf_counter() - began:.0f} s"
        if given.what == "record":
            path = write_record(name, found)
            print(f"{name}: {len(found)} entries, {path.stat().st_size:,} bytes, {seconds}", flush=True)
            continue
        result = compared(name, found)
        failed |= result.failed
        print(f"{name}: {result.headline}, {seconds}", flush=True)
        for line in result.lines(None if given.all_lines else 60):
            print(f"  {line}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
