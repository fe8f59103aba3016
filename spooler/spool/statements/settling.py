"""Statements that make results durable, and those that end what is over its time."""

from __future__ import annotations

from spooler.spool.sql import Statement
from spooler.spool.statements.shared import KEYS, STATE

END = Statement(
    """
    WITH {b}
    DELETE FROM recipient WHERE (message_id, n) IN (SELECT message_id, n FROM b) AND lease = :worker
    """,
    KEYS,
    postgres="""
    WITH {b}
    DELETE FROM recipient r USING b WHERE r.message_id = b.message_id AND r.n = b.n AND r.lease = :worker
    """,
)
# An attempt that is recorded already changes nothing, even if the same worker claimed the recipient again.
# One that came to its end clears of suspicion: see `spooler.policy.poison`.
DEFER = Statement(
    """
    WITH {b}
    UPDATE recipient AS r SET lease = NULL, due = b.due, attempts = b.attempt, claims = b.attempt,
        may_be_delivered = r.may_be_delivered OR b.uncertain,
        stage = b.stage, code = b.code, enhanced = b.enhanced, text = b.text,
        hold = coalesce(r.hold, nullif(b.hold, ''))
    FROM b WHERE r.message_id = b.message_id AND r.n = b.n AND r.lease = :worker AND r.attempts < b.attempt
        AND r.hold IS NULL
    """,
    (
        *KEYS,
        "due bigint",
        "attempt integer",
        "uncertain boolean",
        "stage text",
        "code integer",
        "enhanced text",
        "text text",
        "hold text",
    ),
)
# of those that a person held while they were on their way
DEFER_HELD = Statement(DEFER.text.replace("AND r.hold IS NULL", "AND r.hold IS NOT NULL"), DEFER.columns)
RECORD = Statement(
    """
    WITH {b}
    INSERT INTO attempt (message_id, n, at, worker, address, route, attempt, outcome, uncertain, late, stage,
        code, enhanced, text, destination, waited, took, run)
    SELECT b.message_id, b.n, b.at, :worker, b.address, b.route, b.attempt, b.outcome, b.uncertain, b.late,
        b.stage, b.code, b.enhanced, b.text, b.destination, b.waited, b.took, :run
    FROM b WHERE b.message_id > 0
    ON CONFLICT DO NOTHING
    """,
    (
        *KEYS,
        "at bigint",
        "address text",
        "route text",
        "attempt integer",
        "outcome text",
        "uncertain boolean",
        "late boolean",
        "stage text",
        "code integer",
        "enhanced text",
        "text text",
        "destination text",
        "waited bigint",
        "took bigint",
    ),
)
# The recipients of a message from `first` to `last` that ended alike. Their addresses stand in the queue, so
# they are recorded first and then removed.
RECORD_STRETCHES = Statement(
    """
    WITH {b}
    INSERT INTO attempt (message_id, n, at, worker, address, route, attempt, outcome, uncertain, late, stage,
        code, enhanced, text, destination, waited, took, run)
    SELECT r.message_id, r.n, b.at, :worker, r.address, b.route, b.attempt, b.outcome, b.uncertain, FALSE,
        b.stage, b.code, b.enhanced, b.text, b.destination, b.waited, b.took, :run
    FROM b CROSS JOIN recipient r
    WHERE r.message_id = b.message_id AND r.n BETWEEN b.first AND b.last
        AND r.lease = :worker AND r.attempts + 1 = b.attempt
    ON CONFLICT DO NOTHING
    """,
    (
        "message_id bigint",
        "first integer",
        "last integer",
        "at bigint",
        "route text",
        "attempt integer",
        "outcome text",
        "uncertain boolean",
        "stage text",
        "code integer",
        "enhanced text",
        "text text",
        "destination text",
        "waited bigint",
        "took bigint",
    ),
)
END_STRETCH = Statement(
    """
    DELETE FROM recipient
    WHERE message_id = :message_id AND n BETWEEN :first AND :last AND lease = :worker
    """
)
# The same in one statement: `f` of a recipient is the number of its facts, from 1. A row that is there
# already is an error: ON CONFLICT would look for one before each.
END_ALIKE = Statement(
    "",
    ("message_id bigint", "n integer", "f integer"),
    postgres="""
    WITH {b},
    gone AS (
        DELETE FROM recipient r USING b WHERE r.message_id = b.message_id AND r.n = b.n AND r.lease = :worker
        RETURNING r.message_id, r.n, r.address, r.attempts, b.f),
    facts AS MATERIALIZED (
        SELECT i AS f, CAST(e->>0 AS bigint) AS at, e->>1 AS route, CAST(e->>2 AS integer) AS attempt,
            e->>3 AS outcome, CAST(e->>4 AS boolean) AS uncertain, e->>5 AS stage,
            CAST(e->>6 AS integer) AS code, e->>7 AS enhanced, e->>8 AS text, e->>9 AS destination,
            CAST(e->>10 AS bigint) AS waited, CAST(e->>11 AS bigint) AS took
        FROM jsonb_array_elements(CAST(:facts AS jsonb)) WITH ORDINALITY AS given(e, i))
    INSERT INTO attempt (message_id, n, at, worker, address, route, attempt, outcome, uncertain, late, stage,
        code, enhanced, text, destination, waited, took, run)
    SELECT g.message_id, g.n, f.at, :worker, g.address, f.route, f.attempt, f.outcome, f.uncertain, FALSE,
        f.stage, f.code, f.enhanced, f.text, f.destination, f.waited, f.took, :run
    FROM gone g JOIN facts f ON f.f = g.f WHERE g.attempts + 1 = f.attempt
    """,
)
# what stands of the recipients of a batch, when not all is as the worker left it
STANDING = Statement(
    f"""
    WITH {{b}}
    SELECT r.message_id, r.n, r.lease, r.attempts, r.hold, r.route, {STATE} AS state
    FROM b CROSS JOIN recipient r WHERE r.message_id = b.message_id AND r.n = b.n {{lock}}
    """,
    KEYS,
)
RECORDED = Statement(
    """
    WITH {b}
    SELECT a.message_id, a.n, a.at FROM b CROSS JOIN attempt a
    WHERE a.message_id = b.message_id AND a.n = b.n AND a.at = b.at AND a.worker = :worker
    """,
    (*KEYS, "at bigint"),
)
REMOVE = Statement(
    """
    WITH {b}
    DELETE FROM recipient WHERE (message_id, n) IN (SELECT message_id, n FROM b)
    """,
    KEYS,
    postgres="""
    WITH {b}
    DELETE FROM recipient r USING b WHERE r.message_id = b.message_id AND r.n = b.n
    """,
)

# not EXISTS, which Postgres may turn into a join with the whole queue
_OPEN = """
    (SELECT 1 FROM recipient r WHERE r.message_id = p.id AND r.hold IS NULL AND r.lease IS NULL
        ORDER BY r.n LIMIT 1)
    """
# messages in the order in which they go over their time: those with something open, and the last of the page
OVERDUE = Statement(
    f"""
    WITH page AS (
        SELECT id, expires FROM message WHERE (expires, id) > (:expires, :id) AND expires <= :now
        ORDER BY expires, id LIMIT :limit)
    SELECT p.expires, p.id, {_OPEN} AS open FROM page p
    WHERE {_OPEN} IS NOT NULL
        OR (p.expires, p.id) = (SELECT l.expires, l.id FROM page l ORDER BY 1 DESC, 2 DESC LIMIT 1)
    ORDER BY 1, 2
    """
)
# `route` "" is any. On Postgres LATERAL keeps it to the index, whatever it believes to be there.
OVERDUE_RECIPIENTS = Statement(
    f"""
    WITH {{b}}
    SELECT r.message_id, r.n, r.address, r.route, r.attempts, r.due, {STATE} AS state
    FROM b CROSS JOIN recipient r
    WHERE r.message_id = b.message_id AND (b.route = '' OR r.route = b.route)
        AND r.hold IS NULL AND r.lease IS NULL
    LIMIT :limit
    """,
    ("message_id bigint", "route text"),
    postgres=f"""
    WITH {{b}}
    SELECT o.* FROM b CROSS JOIN LATERAL (
        SELECT r.message_id, r.n, r.address, r.route, r.attempts, r.due, {STATE} AS state
        FROM recipient r
        WHERE r.message_id = b.message_id AND (b.route = '' OR r.route = b.route)
            AND r.hold IS NULL AND r.lease IS NULL
        ORDER BY r.n LIMIT :limit FOR UPDATE OF r) AS o
    LIMIT :limit
    """,
)
