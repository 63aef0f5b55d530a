"""What a dataset is like: episodes, returns, lengths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.catalog import Task
from bench.data.dataset import cut_rows, episodes, in_order, transitions_of
from bench.data.reader import opened_dataset, read_rows
from bench.envs import robot_of


@dataclass(frozen=True)
class DatasetSummary:
    """Statistics over the whole episodes of a file; an incomplete one at its end is left out.

    Ready-made transitions do not say how their episodes ended; the last one counts like the others.
    """

    task: str
    rows: int
    """Rows in the file."""
    layout: str
    """`rows in order` or `ready-made transitions`."""
    transitions: int
    """Transitions that training sees."""
    terminals: int
    timeouts: int
    episodes: int
    mean_return: float
    return_deviation: float
    """Standard deviation over episodes."""
    lowest_return: float
    highest_return: float
    mean_length: float
    """Steps."""
    mean_score: float
    """D4RL-normalised: 0 random, 100 expert; of what the environment itself would have counted."""
    score_deviation: float
    in_order: bool
    """Whether the rows follow one another; where not, nothing is known of episodes, nor of their returns."""
    jumps: int | None
    """Transitions that lead further than any step does: D4RL's v0 files cut episodes at wrong rows. None
    where that cannot be told."""
    physics: str | None
    """Physics that a collected file says it was made with; None where a file does not say."""


def summarise(path: Path, task: Task) -> DatasetSummary:
    """Read a dataset and describe it.

    Raises
    ------
    BenchError : the file cannot be read or is not the task's.
    """
    with opened_dataset(path, task) as file:
        raw, physics = read_rows(file, task), file.texts("metadata").get("physics")
    robot = None if task.generated else robot_of(task.environment)
    found = episodes(raw, terminals_end=robot is None or robot.terminals_end)
    whole = slice(None) if found.last_is_whole or len(found.returns) == 1 else slice(-1)
    transitions = transitions_of(raw, task)
    returns, lengths = found.returns[whole], found.lengths[whole]
    earned = found.returns if robot is None else robot.earned(found.returns, found.largest)
    scores = task.normalised(earned[whole])
    seen, next_seen = transitions.observations, transitions.next_observations
    return DatasetSummary(
        task=task.name,
        rows=raw.rows,
        layout=raw.layout,
        transitions=len(transitions),
        terminals=int(raw.terminals.sum()),
        timeouts=int(cut_rows(raw).sum()),
        episodes=len(returns),
        mean_return=float(returns.mean()),
        return_deviation=float(returns.std()),
        lowest_return=float(returns.min()),
        highest_return=float(returns.max()),
        mean_length=float(lengths.mean()),
        mean_score=float(scores.mean()),
        score_deviation=float(scores.std()),
        in_order=in_order(seen, next_seen, transitions.terminals),
        jumps=None if robot is None else robot.jumps(seen, next_seen),
        physics=physics,
    )
