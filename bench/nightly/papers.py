"""The papers' numbers against all that the store has gathered so far."""

from __future__ import annotations

from pathlib import Path

from bench.catalog import Catalog
from bench.files import typed_path
from bench.nightly.config import NightlyFile
from bench.report.judgement import Key, Outcome
from bench.report.margins import Margins, load_margins
from bench.report.measured import load_judged_data
from bench.report.verdicts import judge
from bench.store.database import Store


def margins_path(file: NightlyFile) -> Path | None:
    """Where the margins are that a configuration names; None for the installation's."""
    margins = file.settings.margins
    # Named beside the configuration, wherever the command is typed.
    return None if margins is None else file.path.parent / typed_path(margins)


def margins_of(file: NightlyFile) -> Margins:
    """The margins that nights under a configuration judge by.

    Raises
    ------
    BenchError : as `load_margins`.
    """
    return load_margins(margins_path(file))


def verdicts_of(store: Store, catalog: Catalog, margins: Margins) -> dict[Key, Outcome]:
    """What `bench check --against paper` says of every printed number of which something was measured."""
    judgement = judge(load_judged_data(store, catalog), margins)
    return {verdict.key: verdict.outcome for verdict in judgement.cells}
