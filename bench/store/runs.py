"""Which runs made the numbers of a store."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import select

from bench.records import RunRecord
from bench.store.database import Store
from bench.store.models import Run


def runs(store: Store) -> list[RunRecord]:
    """Every run with its code, packages and hardware, the latest first."""
    columns = [getattr(Run, field.name) for field in fields(RunRecord)]
    with store.connect() as connection:
        rows = connection.execute(select(*columns).order_by(Run.started_at.desc())).mappings()
        return [RunRecord(**row) for row in rows]
