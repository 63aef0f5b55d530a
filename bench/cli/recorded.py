"""The run of a command in the store: who typed what, on which machine and with which code, recorded it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.cli.options import typed_command
from bench.provenance import describe_run
from bench.store.writer import Writer


@contextmanager
def recorded_run(writer: Writer) -> Iterator[str]:
    """Within, what `writer` records belongs to the run of the command that was typed, whose id is given."""
    run = describe_run(typed_command())
    writer.begin_run(run)
    yield run.run_id
    writer.end_run(run.run_id)
