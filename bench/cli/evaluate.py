"""`bench evaluate`: judge stored weights again."""

from __future__ import annotations

import statistics
from typing import Annotated

import typer

from bench.cli.common import MOST_THREADS, StoreOption, TrialArgument, choice, typed_command
from bench.provenance import describe_run
from bench.records import Physics
from bench.store.database import open_store
from bench.store.location import DEFAULT_STORE
from bench.store.writer import Writer


def evaluate(
    trial: TrialArgument,
    episodes: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="By default as many as in training.")
    ] = None,
    physics: Annotated[
        Physics | None, choice("physics", Physics, help="d4rl or modern; by default the trial's.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=MOST_THREADS, help="CPU threads.")] = 1,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Judge the stored weights of a finished trial in fresh episodes, and store the result beside its scores.

    The trial's own score stays as it is.
    """
    from bench.execute.reevaluate import reevaluate  # takes PyTorch, which `--help` need not wait for

    with open_store(store, create=False) as opened, Writer(opened) as writer:
        result = reevaluate(opened, trial, episodes=episodes, physics=physics, threads=threads)
        run = describe_run(typed_command())
        writer.begin_run(run)
        writer.record(result)
        writer.end_run(run.run_id)
    spread = f" ± {statistics.stdev(result.scores):.1f} (sd over episodes)" if len(result.scores) > 1 else ""
    mean = statistics.mean(result.scores)
    print(
        f"trial {trial}, {len(result.scores)} fresh episodes, physics {result.physics}: "
        f"score {mean:.1f}{spread}, return {statistics.mean(result.returns):.0f}, "
        f"length {statistics.mean(result.lengths):.0f}"
    )
