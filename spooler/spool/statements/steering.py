"""Statements of what people do with the queue."""

from __future__ import annotations

from spooler.spool.sql import Statement
from spooler.spool.statements.shared import KEYS, STATE

# where a page of so many recipients ends
PAGE_END = Statement(
    """
    SELECT message_id, n FROM recipient WHERE (message_id, n) > (:message_id, :n)
    ORDER BY message_id, n LIMIT 1 OFFSET :skipped
    """
)

# What somebody else is changing at the moment is passed over: nobody who delivers is waited for, and nobody
# waits for another in a ring.
EXAMINE = Statement(
    f"""
    WITH {{b}}
    SELECT r.message_id, r.n, r.route, {STATE} AS state, r.attempts, r.due, r.hold,
        (SELECT m.not_before FROM message m WHERE m.id = r.message_id) AS not_before,
        (SELECT m.expires FROM message m WHERE m.id = r.message_id) AS expires
    FROM b CROSS JOIN recipient r WHERE r.message_id = b.message_id AND r.n = b.n {{skip}}
    """,
    KEYS,
)
QUEUED = Statement(
    """
    WITH {b}
    SELECT r.message_id, r.n FROM b CROSS JOIN recipient r WHERE r.message_id = b.message_id AND r.n = b.n
    """,
    KEYS,
)

RECORD = Statement(
    """
    WITH {b}
    INSERT INTO attempt (message_id, n, at, worker, address, route, attempt, outcome, uncertain, late, stage,
        code, enhanced, text, destination, waited, took, run, who, why)
    SELECT r.message_id, r.n, :now, 0, r.address, r.route, 0, :outcome, FALSE, FALSE, 'local',
        0, :enhanced, :text, '', 0, 0, :run, :who, :why
    FROM b CROSS JOIN recipient r WHERE r.message_id = b.message_id AND r.n = b.n
    """,
    KEYS,
)

_THESE = "WHERE (message_id, n) IN (SELECT message_id, n FROM b)"
HOLD = Statement(f"WITH {{b}} UPDATE recipient SET hold = :hold {_THESE}", KEYS)
# whatever workers died of before, a person has looked at it: see `spooler.policy.poison`
RELEASE = Statement(
    f"""
    WITH {{b}}
    UPDATE recipient SET hold = NULL, claims = attempts + CASE WHEN lease IS NULL THEN 0 ELSE 1 END {_THESE}
    """,
    KEYS,
)
RETRY = Statement(f"WITH {{b}} UPDATE recipient SET due = :now {_THESE}", KEYS)
REROUTE = Statement(f"WITH {{b}} UPDATE recipient SET route = :route {_THESE}", KEYS)
PROLONG = Statement(
    """
    WITH {b}
    UPDATE message SET expires = :expires
    WHERE id IN (SELECT message_id FROM b) AND expires < :expires
    """,
    ("message_id bigint",),
)
