"""How long planning a grid against a store takes: prints the seconds of each part as JSON.

`python -m benchmarks.planning STORE TASKS SEEDS EVALUATIONS EPISODES`; benchmarks.store calls it.
"""

from __future__ import annotations

import json
import sys
import time

from bench.execute.grid import plan_cells
from bench.provenance import describe_run
from bench.store.database import open_store
from bench.store.writer import Writer
from benchmarks.full_store import Size, dataset_of


def main(arguments: list[str] | None = None) -> None:
    """Plan the grid, storing trials that are new, and print the seconds that it took."""
    store_path, *numbers = sys.argv[1:] if arguments is None else arguments
    request = Size(*map(int, numbers)).request()
    run = describe_run("bench run")
    seconds = {}
    with open_store(store_path) as store, Writer(store) as writer:
        writer.begin_run(run)
        started = time.perf_counter()
        cells = plan_cells(request)
        seconds["cells"] = time.perf_counter() - started
        started = time.perf_counter()
        trials = [trial for cell in cells for trial in cell.trials(request.seeds, dataset_of(cell.task))]
        seconds["trials"] = time.perf_counter() - started
        started = time.perf_counter()
        states = writer.plan(trials)
        seconds["plan"] = time.perf_counter() - started
        assert len(states) == len(trials)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
