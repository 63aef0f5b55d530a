"""Alembic migrations: the history of the schema. A released revision is never edited."""
