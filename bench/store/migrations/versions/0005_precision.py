"""Executions and durations say in which precision matrices were multiplied.

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns. On a CPU it was fp32; of GPUs nothing was noted that tells it of every torch."""
    for name in ("executions", "durations"):
        op.add_column(name, sa.Column("matmul_precision", sa.String(), nullable=True))
        table = sa.table(name, sa.column("device", sa.String), sa.column("matmul_precision", sa.String))
        on_cpu = table.c.device.startswith("cpu")
        op.execute(sa.update(table).where(on_cpu).values(matmul_precision="fp32"))
