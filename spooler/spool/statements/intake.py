"""Statements that put messages in."""

from __future__ import annotations

from spooler.spool.sql import Statement

FIND_KEYS = Statement(
    """
    WITH {b}
    SELECT m.tenant, m.idempotency_key, m.id FROM b CROSS JOIN message m
    WHERE m.tenant = b.tenant AND m.idempotency_key = b.idempotency_key
    """,
    ("tenant text", "idempotency_key text"),
)
FIND_ORIGINS = Statement(
    """
    WITH {b}
    SELECT m.source, m.source_offset, m.digest, m.id FROM b CROSS JOIN message m
    WHERE m.source = b.source AND m.source_offset = b.source_offset AND m.digest = b.digest
    """,
    ("source text", "source_offset bigint", "digest text"),
)
# the contents of many messages come as one blob, and are cut out of it
ADD_CONTENTS = Statement(
    """
    WITH {b}
    INSERT INTO content_chunk (content, sequence, data)
    SELECT b.content, 0, coalesce(substr(:blob, b.start, b.length), x'') FROM b WHERE b.content > 0
    """,  # SQLite's substr of nothing is NULL
    ("content bigint", "start integer", "length integer"),
    postgres="""
    WITH {b}
    INSERT INTO content_chunk (content, sequence, data)
    SELECT b.content, 0, substring(CAST(:blob AS bytea), b.start, b.length) FROM b
    """,
)
ADD_CHUNK = Statement(
    "INSERT INTO content_chunk (content, sequence, data) VALUES (:content, :sequence, :data)"
)
# shared: nobody sweeps it before the message that needs it is there
LOCK_CONTENT = Statement("SELECT 1 FROM content_chunk WHERE content = :content AND sequence = 0 {share}")
CONTENT_SIZE = Statement(
    "SELECT coalesce(sum({length}(data)), 0) FROM content_chunk WHERE content = :content"
)

_MESSAGE = (
    "id bigint",
    "sender text",
    "recipients integer",
    "size bigint",
    "sha256 text",
    "body text",
    "smtputf8 boolean",
    "envid text",
    "ret text",
    "job text",
    "tenant text",
    "priority integer",
    "created bigint",
    "not_before bigint",
    "expires bigint",
    "content bigint",
    "bare_lf integer",
    "bare_cr integer",
    "long_lines integer",
    "idempotency_key text",
    "source text",
    "source_offset bigint",
    "digest text",
)
_NAMES = ", ".join(column.partition(" ")[0] for column in _MESSAGE)
ADD_MESSAGES = Statement(
    f"WITH {{b}} INSERT INTO message ({_NAMES}) SELECT {_NAMES} FROM b WHERE b.id > 0",
    _MESSAGE,
)
ADD_RECIPIENTS = Statement(
    """
    WITH {b}
    INSERT INTO recipient (message_id, n, address, domain, route, priority, due, attempts, claims,
        may_be_delivered, notify, orcpt, stage, code, enhanced, text)
    SELECT b.message_id, b.n, b.address, b.domain, b.route, b.priority, b.due, 0, 0, FALSE,
        b.notify, b.orcpt, '', 0, '', ''
    FROM b WHERE b.message_id > 0
    """,
    (
        "message_id bigint",
        "n integer",
        "address text",
        "domain text",
        "route text",
        "priority integer",
        "due bigint",
        "notify integer",
        "orcpt text",
    ),
)
