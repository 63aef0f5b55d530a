"""A trial carries the phases of its method.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; of trials that were planned before nothing is known."""
    op.add_column("trials", sa.Column("phases", sa.JSON(), nullable=True))
