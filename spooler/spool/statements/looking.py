"""Statements that only look: counts, one message, the ledger."""

from __future__ import annotations

from spooler.envelope import Priority
from spooler.records import LedgerEntry, MessageInfo
from spooler.spool.sql import Statement
from spooler.spool.statements.shared import NOT_PAUSED, STATE

STATS = Statement(
    """
    SELECT route, state, CAST(sum(count) AS bigint) FROM tally GROUP BY route, state
    HAVING sum(count) <> 0 ORDER BY route, state
    """
)
_FIRST = f"""
    (SELECT r.due FROM recipient r WHERE r.route = :route AND r.priority = %d
        AND r.hold IS NULL AND r.lease IS NULL AND {NOT_PAUSED} ORDER BY r.due LIMIT 1)
    """
# the first entry of the index for each class; none of a paused route
NEXT_DUE = Statement("SELECT " + ", ".join(_FIRST % priority.value for priority in Priority))
# how many of its class are due before a recipient, up to a limit
AHEAD = Statement(
    """
    SELECT count(*) FROM (
        SELECT 1 FROM recipient r WHERE r.route = :route AND r.priority = :priority
            AND r.hold IS NULL AND r.lease IS NULL AND r.due <= :due
            AND (r.due, r.message_id, r.n) < (:due, :message_id, :n)
        ORDER BY r.due, r.message_id, r.n LIMIT :limit) AS before
    """
)
_FIRST_ROW = """
    SELECT * FROM (SELECT r.due, r.message_id, r.attempts FROM recipient r
        WHERE r.route = :route AND r.priority = %d AND r.hold IS NULL AND r.lease IS NULL
        ORDER BY r.due LIMIT 1) AS first%d
    """
# the same rows, with whose they are
FIRST_DUE = Statement(
    " UNION ALL ".join(_FIRST_ROW % (priority.value, priority.value) for priority in Priority)
)
# among those at the head of the queue, which is in the order of age: never more than that are read
OLDEST = Statement(
    f"""
    SELECT h.route, h.state, min(h.message_id) FROM (
        SELECT r.route, {STATE} AS state, r.message_id FROM recipient r
        ORDER BY r.message_id, r.n LIMIT :head) AS h
    GROUP BY h.route, h.state
    """
)
MESSAGE = Statement(f"SELECT {', '.join(MessageInfo.__struct_fields__)} FROM message WHERE id = :id")
_LEDGER = f"SELECT {', '.join(LedgerEntry.__struct_fields__)} FROM attempt"
LEDGER_OF = Statement(f"{_LEDGER} WHERE message_id = :message_id ORDER BY at, n")
_NEWEST = "ORDER BY at DESC, message_id DESC, n DESC LIMIT :limit"
# on SQLite run by run, see `spooler.spool.runs`
LEDGER_FOR = Statement(
    f"""
    WITH RECURSIVE runs(run) AS (
        SELECT max(run) FROM attempt
        UNION ALL
        SELECT (SELECT max(a.run) FROM attempt a WHERE a.run < runs.run) FROM runs WHERE run IS NOT NULL)
    {_LEDGER.replace("FROM attempt", "FROM runs CROSS JOIN attempt a ON a.run = runs.run")}
    WHERE lower(address) = lower(:address) {_NEWEST}
    """,
    postgres=f"{_LEDGER} WHERE lower(address) = lower(:address) {_NEWEST}",
)
