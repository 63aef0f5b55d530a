"""How Alembic reaches the database: over the connection that bench.store.database hands in."""

from __future__ import annotations

from alembic import context

from bench.store.models import Base


def migrate() -> None:
    """Run the asked-for migrations, whole or not at all: the caller's transaction holds them."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Base.metadata,
        transactional_ddl=False,  # the caller has begun already
    )
    context.run_migrations()


migrate()
