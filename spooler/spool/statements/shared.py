"""Statements and pieces that several concerns use."""

from __future__ import annotations

from spooler.spool.sql import Statement

# the gauge that a queued recipient counts in; `State` says what they mean
STATE = """CASE WHEN r.lease IS NOT NULL THEN 'active' WHEN r.hold IS NOT NULL THEN 'held'
    WHEN r.attempts > 0 THEN 'deferred' ELSE 'waiting' END"""
# the same once the lease is taken off it
STATE_UNLEASED = """CASE WHEN r.hold IS NOT NULL THEN 'held'
    WHEN r.attempts > 0 THEN 'deferred' ELSE 'waiting' END"""

# whether a person has paused the route; the condition does not depend on a row, and is asked once
NOT_PAUSED = "(SELECT 1 FROM pause p WHERE p.route = :route) IS NULL"

KEYS = ("message_id bigint", "n integer")

# ordered, so that two writers that share a slot take their rows in the same order
ADD_TALLIES = Statement(
    """
    WITH {b}
    INSERT INTO tally (writer, route, state, count)
    SELECT :writer, b.route, b.state, b.count FROM b WHERE b.count <> 0 ORDER BY b.route, b.state
    ON CONFLICT (writer, route, state) DO UPDATE SET count = tally.count + excluded.count
    """,
    ("route text", "state text", "count bigint"),
)

# RFC 3461 section 4.1: failures are told unless NOTIFY was given without FAILURE (4); never about the null
# sender's mail. The header section of the first chunk is kept (RET=HDRS), once a message, at most 64 KiB.
_NOTICES = """
    WITH {b}
    INSERT INTO notice (message_id, n, kind, created, headers)
    SELECT r.message_id, r.n, 'failure', :now,
        CASE WHEN b.first = 1 AND NOT EXISTS (SELECT 1 FROM notice o WHERE o.message_id = r.message_id)
        THEN (SELECT %s FROM content_chunk c WHERE c.content = m.content AND c.sequence = 0) END
    FROM b CROSS JOIN recipient r CROSS JOIN message m
    WHERE r.message_id = b.message_id AND r.n = b.n AND m.id = b.message_id
        AND m.sender <> '' AND (r.notify = 0 OR (r.notify & 4) <> 0)
    ON CONFLICT DO NOTHING
    """
ADD_NOTICES = Statement(
    _NOTICES
    % """coalesce(substr(c.data, 1, min(65536, CASE instr(c.data, x'0d0a0d0a') WHEN 0 THEN 65536
            ELSE instr(c.data, x'0d0a0d0a') + 1 END)), x'')""",  # SQLite's substr of nothing is NULL
    (*KEYS, "first integer"),
    postgres=_NOTICES
    % r"""substring(c.data FROM 1 FOR least(65536, CASE position('\x0d0a0d0a'::bytea IN c.data)
            WHEN 0 THEN 65536 ELSE position('\x0d0a0d0a'::bytea IN c.data) + 1 END))""",
)
