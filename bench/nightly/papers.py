"""The papers' numbers against all that the store has gathered so far."""

from __future__ import annotations

from bench.catalog import Catalog
from bench.nightly.config import NightlyFile
from bench.report.gathering import load_judged_data
from bench.report.judgement import Key, Outcome
from bench.report.margins import load_margins
from bench.report.verdicts import judge
from bench.store.database import Store


def verdicts_of(store: Store, catalog: Catalog, file: NightlyFile) -> dict[Key, Outcome]:
    """What `bench check --against paper` says of every printed number of which something was measured."""
    margins = file.settings.margins
    # Named beside the configuration, wherever the command is typed.
    chosen = load_margins(None if margins is None else file.path.parent / margins)
    judgement = judge(load_judged_data(store, catalog), chosen)
    return {verdict.key: verdict.outcome for verdict in judgement.cells}
