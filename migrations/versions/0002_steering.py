"""What a worker publishes of itself, routes that a person has paused, and a job's messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring a spool of 0001 to 0002; reads all messages once, for the index of those of a job."""
    op.add_column("worker", sa.Column("standing", sa.Text))
    op.create_table(
        "pause",
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
    of_job = sa.text("job <> ''")
    op.create_index("message_job", "message", ["job", "id"], sqlite_where=of_job, postgresql_where=of_job)
