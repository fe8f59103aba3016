"""Statements of workers and their leases.

A claim on SQLite is a look and an update inside BEGIN IMMEDIATE, where nobody can come between; the look
comes back as one row of JSON, for each row more would cost a hand-over of the interpreter lock. On
Postgres it is one statement.
"""

from __future__ import annotations

from spooler.envelope import Priority
from spooler.spool.sql import Statement
from spooler.spool.statements.shared import KEYS, NOT_PAUSED, STATE_UNLEASED

ADD_WORKER = Statement(
    "INSERT INTO worker (id, host, pid, started, beat, beat_at) VALUES (:id, :host, :pid, :now, 0, :now)"
)
BEAT = Statement(
    """
    UPDATE worker SET beat = beat + 1, beat_at = :now, standing = coalesce(:standing, standing)
    WHERE id = :worker AND fenced IS NULL
    """
)
STANDINGS = Statement("SELECT id, standing FROM worker WHERE standing IS NOT NULL")
WORKERS = Statement("SELECT id, host, pid, started, beat, beat_at FROM worker ORDER BY id")
FENCE = Statement("UPDATE worker SET fenced = coalesce(fenced, :now) WHERE id = :worker")
REMOVE_WORKER = Statement("DELETE FROM worker WHERE id = :worker")
# one statement on Postgres, for a worker that was declared dead may still be counting
FOLD_TALLIES = Statement(
    """
    INSERT INTO tally (writer, route, state, count)
    SELECT :slot, route, state, count FROM tally WHERE writer = :worker ORDER BY route, state
    ON CONFLICT (writer, route, state) DO UPDATE SET count = tally.count + excluded.count
    """,
    postgres="""
    WITH gone AS (DELETE FROM tally WHERE writer = :worker RETURNING route, state, count)
    INSERT INTO tally (writer, route, state, count)
    SELECT :slot, route, state, count FROM gone ORDER BY route, state
    ON CONFLICT (writer, route, state) DO UPDATE SET count = tally.count + excluded.count
    """,
)
REMOVE_TALLIES = Statement("DELETE FROM tally WHERE writer = :worker")

DUE = """
    SELECT r.message_id, r.n FROM recipient r
    WHERE r.route = :route AND r.priority = :priority AND r.hold IS NULL AND r.lease IS NULL AND r.due <= :now
    ORDER BY r.due, r.message_id, r.n LIMIT :limit
    """
_SOME = [
    f"""(SELECT 1 FROM recipient r WHERE r.route = :route AND r.priority = {p.value}
        AND r.hold IS NULL AND r.lease IS NULL AND r.due <= :now ORDER BY r.due LIMIT 1)"""
    for p in Priority
]
# Whether anything is due of each class, and whether the route is not paused; no row for a worker that was
# declared dead. The worker's row is locked, shared: who fences it waits until the claim is committed, and
# then finds it.
SOME_DUE = Statement(
    f"""
    SELECT {", ".join(_SOME)}, {NOT_PAUSED} FROM worker w
    WHERE w.id = :worker AND w.fenced IS NULL {{share}}
    """
)
_COUNTS = [
    f"(SELECT count(*) FROM ({DUE.replace(':priority', str(p.value))}) AS d{p.value})" for p in Priority
]
# how many are due of each class, up to a limit
COUNT_DUE = Statement(f"SELECT {', '.join(_COUNTS)}")

# an array a message, in the order of `spooler.claim.Claim`'s fields
LOOK_AT_DUE = Statement(
    f"""
    SELECT '[' || group_concat(one, ',') || ']' FROM (
        SELECT json_array(m.id, :route, m.sender, m.content, m.size, m.body, m.smtputf8, m.envid, m.ret,
            m.created, m.expires,
            json_group_array(json_array(r.n, r.address, r.attempts, r.claims + 1, r.due, r.notify, r.orcpt))
        ) AS one
        FROM ({DUE}) AS d
        CROSS JOIN recipient r ON r.message_id = d.message_id AND r.n = d.n
        CROSS JOIN message m ON m.id = d.message_id
        GROUP BY m.id)
    """
)
# all recipients of a message from `first` to `last`, which were just looked at
TAKE_STRETCH = Statement(
    """
    UPDATE recipient SET lease = :worker, claims = claims + 1
    WHERE message_id = :message_id AND n BETWEEN :first AND :last
    """
)
TAKE_DUE = Statement(
    f"""
    UPDATE recipient SET lease = :worker, claims = claims + 1
    WHERE (message_id, n) IN ({DUE})
    """
)
CLAIM = Statement(
    "",
    postgres=f"""
    WITH d AS MATERIALIZED ({DUE} FOR UPDATE SKIP LOCKED),
    taken AS (
        UPDATE recipient r SET lease = :worker, claims = r.claims + 1
        FROM d WHERE r.message_id = d.message_id AND r.n = d.n
        RETURNING r.message_id, r.n, r.address, r.attempts, r.claims, r.due, r.notify, r.orcpt)
    SELECT CAST(json_agg(json_build_array(m.id, CAST(:route AS text), m.sender, m.content, m.size, m.body,
        m.smtputf8, m.envid, m.ret, m.created, m.expires, g.recipients) ORDER BY m.id) AS text)
    FROM (
        SELECT t.message_id,
            json_agg(json_build_array(t.n, t.address, t.attempts, t.claims, t.due, t.notify, t.orcpt))
                AS recipients
        FROM taken t GROUP BY t.message_id) AS g
    JOIN message m ON m.id = g.message_id
    """,
)

# FOR UPDATE also waits for a commit in flight, of which nobody knows the fate yet
LEASED_STATES = Statement(
    f"""
    WITH {{b}}
    SELECT route, state, count(*) FROM (
        SELECT r.route, {STATE_UNLEASED} AS state, r.lease
        FROM b CROSS JOIN recipient r WHERE r.message_id = b.message_id AND r.n = b.n {{lock}}) AS l
    WHERE lease = :worker GROUP BY route, state
    """,
    KEYS,
)
# Handed over by a worker that nobody knows here: the database is older than its journal, as where it was
# restored. If the ledger has had the doubt since that worker began, it was taken over before.
_FORGOTTEN = """r.lease IS NULL AND NOT EXISTS (SELECT 1 FROM worker w WHERE w.id = :worker)
    AND NOT EXISTS (SELECT 1 FROM attempt a
        WHERE a.message_id = r.message_id AND a.n = r.n AND a.uncertain AND a.at >= :since)"""
FORGOTTEN_STATES = Statement(
    f"""
    WITH {{b}}
    SELECT route, state, count(*) FROM (
        SELECT r.route, {STATE_UNLEASED} AS state
        FROM b CROSS JOIN recipient r
        WHERE r.message_id = b.message_id AND r.n = b.n AND {_FORGOTTEN} {{lock}}
    ) AS f
    GROUP BY route, state
    """,
    KEYS,
)
ADOPT = Statement(
    f"""
    WITH {{b}}
    UPDATE recipient AS r SET lease = :worker
    WHERE (r.message_id, r.n) IN (SELECT message_id, n FROM b) AND {_FORGOTTEN}
    """,
    KEYS,
)
RELEASE = Statement(
    """
    WITH {b}
    UPDATE recipient SET lease = NULL, claims = claims - 1, due = {greatest}(due, :due)
    WHERE (message_id, n) IN (SELECT message_id, n FROM b) AND lease = :worker
    """,
    KEYS,
)
# no index on leases: every claim and every settling would pay for what is needed after a crash only
NEXT_LEASED = Statement(
    """
    SELECT message_id, n FROM recipient
    WHERE lease = :worker AND (message_id, n) > (:message_id, :n) ORDER BY message_id, n LIMIT :limit
    """
)
# the death of a worker is one of a recipient's, but where it has more than `most` already
RESCUE_SAFE = Statement(
    """
    WITH {b}
    UPDATE recipient SET lease = NULL, due = :due,
        claims = claims - CASE WHEN claims - attempts > :most THEN 1 ELSE 0 END
    WHERE (message_id, n) IN (SELECT message_id, n FROM b) AND lease = :worker
    """,
    KEYS,
)
# under worker 0: the worker may yet record what it did, and its row must not meet with this one
RECORD_UNCERTAIN = Statement(
    """
    WITH {b}
    INSERT INTO attempt (message_id, n, at, worker, address, route, attempt, outcome, uncertain, late, stage,
        code, enhanced, text, destination, waited, took, run)
    SELECT r.message_id, r.n, :now, 0, r.address, r.route, r.attempts + 1, 'deferred', TRUE, FALSE,
        'final', 0, '', :text, '', 0, 0, :run
    FROM b CROSS JOIN recipient r
    WHERE r.message_id = b.message_id AND r.n = b.n AND r.lease = :worker
    ON CONFLICT DO NOTHING
    """,
    KEYS,
)
# one claim more than there was, so that here too claims that became no attempt count the workers that died
RESCUE_UNCERTAIN = Statement(
    """
    WITH {b}
    UPDATE recipient SET lease = NULL, due = :due, hold = coalesce(hold, nullif(:hold, '')),
        attempts = attempts + 1, claims = claims + 1, may_be_delivered = TRUE,
        stage = 'final', code = 0, enhanced = '', text = :text
    WHERE (message_id, n) IN (SELECT message_id, n FROM b) AND lease = :worker AND route = :route
    """,
    KEYS,
)
