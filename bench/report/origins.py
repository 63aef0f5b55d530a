"""What each trial's numbers depend on, as a report shows it: code, data, machine, settings."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import select

from bench.report.measured import Configuration, Origin
from bench.store.database import Store
from bench.store.models import Trial
from bench.store.views import PROVENANCE


def load_origins(store: Store) -> dict[int, Origin]:
    """The circumstances of every trial, by its number."""
    columns = [PROVENANCE.c[field.name] for field in fields(Origin)]
    with store.connect() as connection:
        return {row.trial_id: Origin(*row) for row in connection.execute(select(*columns))}


def load_configurations(store: Store) -> dict[str, Configuration]:
    """The configuration behind every hash; where seeds noted its sources differently, the latest."""
    chosen = select(Trial.config_hash, Trial.config).order_by(Trial.id)
    with store.connect() as connection:
        return {row.config_hash: row.config for row in connection.execute(chosen)}
