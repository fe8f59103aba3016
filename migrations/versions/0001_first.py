"""The first schema: messages and contents, the queue, the ledger, notices, workers, tallies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite gives an integer key no index of its own only if the type is spelt INTEGER
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring an empty database to 0001."""
    op.create_table(
        "spool",
        sa.Column("uuid", sa.Text, primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    _messages()
    _queue()
    _ledger()
    _bookkeeping()
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE TABLE attempt_default PARTITION OF attempt DEFAULT")
        op.execute("ALTER TABLE content_chunk ALTER COLUMN data SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE content_chunk SET (toast_tuple_target = 8160)")
        op.execute(
            "ALTER TABLE recipient SET"
            " (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000)"
        )


def _messages() -> None:
    op.create_table(
        "message",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("recipients", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("smtputf8", sa.Boolean, nullable=False),
        sa.Column("envid", sa.Text),
        sa.Column("ret", sa.Text),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("content", sa.BigInteger, nullable=False),
        sa.Column("bare_lf", sa.Integer, nullable=False),
        sa.Column("bare_cr", sa.Integer, nullable=False),
        sa.Column("long_lines", sa.Integer, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("source_offset", sa.BigInteger),
        sa.Column("digest", sa.Text),
    )
    op.create_index("message_expires", "message", ["expires", "id"])
    _partial_index("message_shared_content", "message", ["content"], "content != id")
    _partial_index(
        "message_idempotency",
        "message",
        ["tenant", "idempotency_key"],
        "idempotency_key IS NOT NULL",
        unique=True,
    )
    _partial_index(
        "message_origin",
        "message",
        ["source", "source_offset", "digest"],
        "source IS NOT NULL",
        unique=True,
    )
    op.create_table(
        "content_chunk",
        sa.Column("content", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _queue() -> None:
    op.create_table(
        "recipient",
        sa.Column("message_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("domain", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claims", sa.Integer, nullable=False),
        sa.Column("hold", sa.Text),
        sa.Column("lease", sa.BigInteger),
        sa.Column("may_be_delivered", sa.Boolean, nullable=False),
        sa.Column("notify", sa.Integer, nullable=False),
        sa.Column("orcpt", sa.Text),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("code", sa.Integer, nullable=False),
        sa.Column("enhanced", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    _partial_index(
        "recipient_claimable",
        "recipient",
        ["route", "priority", "due", "message_id", "n"],
        "hold IS NULL AND lease IS NULL",
    )


def _ledger() -> None:
    op.create_table(
        "attempt",
        sa.Column("message_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("worker", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("uncertain", sa.Boolean, nullable=False),
        sa.Column("late", sa.Boolean, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("code", sa.Integer, nullable=False),
        sa.Column("enhanced", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("waited", sa.BigInteger, nullable=False),
        sa.Column("took", sa.BigInteger, nullable=False),
        sa.Column("run", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text),
        sa.Column("why", sa.Text),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (at)",
    )
    if op.get_context().dialect.name == "postgresql":
        op.create_index("attempt_address", "attempt", [sa.text("lower(address)"), "at"])
    else:
        op.create_index("attempt_run", "attempt", ["run", sa.text("lower(address)")])


def _bookkeeping() -> None:
    op.create_table(
        "notice",
        sa.Column("message_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("headers", sa.LargeBinary),
    )
    op.create_table(
        "worker",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("beat_at", sa.BigInteger, nullable=False),
        sa.Column("fenced", sa.BigInteger),
    )
    op.create_table(
        "tally",
        sa.Column("writer", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
