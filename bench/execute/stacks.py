"""From trials that are left to stacks: cut-off stacks first, with the seeds they were made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from bench.execute.grid import Cell
from bench.records import FAILED, FINISHED, DatasetRecord, TrialKey, TrialRecord
from bench.training.checkpoint import read_pointer


def stacks_of(
    cell: Cell,
    dataset: DatasetRecord,
    seeds: Sequence[int],
    states: Mapping[TrialKey, str],
    *,
    seeds_per_stack: int,
    checkpoints: Path,
) -> list[tuple[TrialRecord, ...]]:
    """The stacks of one cell that are left to run.

    Parameters
    ----------
    states : what the store says of the cell's trials; `failed` ones are left alone.
    checkpoints : folder with one folder per stack; one that was cut off continues with its own seeds, because
        only the same stack repeats the same numbers bit for bit.
    """
    left = [s for s in seeds if states.get(cell.trial(s, dataset).key) not in (FINISHED, FAILED)]
    stacks = []
    for cut_off in _cut_off_stacks(cell.trial(0, dataset).key.config_hash, checkpoints):
        if any(seed in left for seed in cut_off):
            stacks.append(cut_off)
            left = [seed for seed in left if seed not in cut_off]
    stacks += [tuple(left[i : i + seeds_per_stack]) for i in range(0, len(left), seeds_per_stack)]
    return [tuple(cell.trial(seed, dataset) for seed in stack) for stack in stacks]


def _cut_off_stacks(config_hash: str, checkpoints: Path) -> Iterator[tuple[int, ...]]:
    taken: Collection[int] = set()
    for folder in sorted(checkpoints.glob("*")):
        pointer = read_pointer(folder)
        if pointer is None or not pointer["generations"]:
            continue
        host = pointer["generations"][0]["host"]
        seeds = tuple(host["seeds"])
        # Two stacks may share a seed if a grid was cut off twice; the first goes on, the other is left.
        if host["config_hash"] == config_hash and not taken & set(seeds):
            taken = taken | set(seeds)
            yield seeds
