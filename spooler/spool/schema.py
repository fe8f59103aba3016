"""The tables, as the newest migration leaves them.

Times are int64 µs UTC. There are no foreign keys: every row of the hot path would pay for a look-up that
the transactions in this package make needless, and retention would pay again. `recipient` has one partial
index, which holds only what can be claimed: a claim takes the row out of it, and an ending is one delete
in the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.schema import DDL

metadata = sa.MetaData()

# SQLite gives an integer key no index of its own only if the type is spelt INTEGER
_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


spool = sa.Table(
    "spool",
    metadata,
    sa.Column("uuid", sa.Text, primary_key=True),
    _big("created"),
)

message = sa.Table(
    "message",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    _text("sender"),
    _number("recipients"),
    _big("size"),
    _text("sha256"),
    _text("body"),
    _flag("smtputf8"),
    sa.Column("envid", sa.Text),
    sa.Column("ret", sa.Text),
    _text("job"),
    _text("tenant"),
    _number("priority"),
    _big("created"),
    sa.Column("not_before", sa.BigInteger),
    _big("expires"),
    _big("content"),
    _number("bare_lf"),
    _number("bare_cr"),
    _number("long_lines"),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("source_offset", sa.BigInteger),
    sa.Column("digest", sa.Text),
)
sa.Index("message_expires", message.c.expires, message.c.id)
_of_job = message.c.job != ""
sa.Index("message_job", message.c.job, message.c.id, sqlite_where=_of_job, postgresql_where=_of_job)
# a message's own content has the message's id: only contents shared by several need looking up
_shared = message.c.content != message.c.id
sa.Index("message_shared_content", message.c.content, sqlite_where=_shared, postgresql_where=_shared)
_keyed = message.c.idempotency_key.is_not(None)
sa.Index(
    "message_idempotency",
    message.c.tenant,
    message.c.idempotency_key,
    unique=True,
    sqlite_where=_keyed,
    postgresql_where=_keyed,
)
_imported = message.c.source.is_not(None)
sa.Index(
    "message_origin",
    message.c.source,
    message.c.source_offset,
    message.c.digest,
    unique=True,
    sqlite_where=_imported,
    postgresql_where=_imported,
)

content_chunk = sa.Table(
    "content_chunk",
    metadata,
    sa.Column("content", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

recipient = sa.Table(
    "recipient",
    metadata,
    sa.Column("message_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    _text("address"),
    _text("domain"),
    _text("route"),
    _number("priority"),
    _big("due"),
    _number("attempts"),
    _number("claims"),
    sa.Column("hold", sa.Text),
    sa.Column("lease", sa.BigInteger),
    _flag("may_be_delivered"),
    _number("notify"),
    sa.Column("orcpt", sa.Text),
    _text("stage"),
    _number("code"),
    _text("enhanced"),
    _text("text"),
    sqlite_with_rowid=False,
)
_claimable = sa.and_(recipient.c.hold.is_(None), recipient.c.lease.is_(None))
sa.Index(
    "recipient_claimable",
    recipient.c.route,
    recipient.c.priority,
    recipient.c.due,
    recipient.c.message_id,
    recipient.c.n,
    sqlite_where=_claimable,
    postgresql_where=_claimable,
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("message_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("address"),
    _text("route"),
    _number("attempt"),
    _text("outcome"),
    _flag("uncertain"),
    _flag("late"),
    _text("stage"),
    _number("code"),
    _text("enhanced"),
    _text("text"),
    _text("destination"),
    _big("waited"),
    _big("took"),
    _big("run"),
    sa.Column("who", sa.Text),
    sa.Column("why", sa.Text),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (at)",
)
# on Postgres the partitions keep it small; on SQLite see `spooler.spool.runs`
_lower = sa.func.lower(attempt.c.address)
sa.Index("attempt_address", _lower, attempt.c.at).ddl_if(dialect="postgresql")
sa.Index("attempt_run", attempt.c.run, _lower).ddl_if(dialect="sqlite")

notice = sa.Table(
    "notice",
    metadata,
    sa.Column("message_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, primary_key=True),
    _big("created"),
    sa.Column("headers", sa.LargeBinary),
)

worker = sa.Table(
    "worker",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=False),
    _text("host"),
    _number("pid"),
    _big("started"),
    _big("beat"),
    _big("beat_at"),
    sa.Column("fenced", sa.BigInteger),
    sa.Column("standing", sa.Text),
)

pause = sa.Table(
    "pause",
    metadata,
    sa.Column("route", sa.Text, primary_key=True),
    _big("at"),
    _text("who"),
    _text("why"),
)

tally = sa.Table(
    "tally",
    metadata,
    sa.Column("writer", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("route", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    _big("count"),
    sqlite_with_rowid=False,
)

POSTGRES_EXTRAS = (
    # every ledger row has a place, also on a day for which nobody made a partition ahead
    "CREATE TABLE attempt_default PARTITION OF attempt DEFAULT",
    # mail is read once or twice and then deleted: compressing it costs more than it saves, and keeping
    # contents up to 8 KB in their own row saves three index entries each
    "ALTER TABLE content_chunk ALTER COLUMN data SET STORAGE EXTERNAL",
    "ALTER TABLE content_chunk SET (toast_tuple_target = 8160)",
    # the queue is churned: vacuum it by what changed, not by its size
    "ALTER TABLE recipient SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000)",
)
for _extra in POSTGRES_EXTRAS:
    _ddl = DDL(_extra)  # type: ignore[no-untyped-call]  # SQLAlchemy left its arguments untyped
    sa.event.listen(metadata, "after_create", _ddl.execute_if(dialect="postgresql"))
