"""Statements for a drain of one job: they go from the job's messages to their recipients, by `message_job`.

`m.job <> ''` is said besides, for SQLite to see that the index, which leaves out what has no job, will do.
"""

from __future__ import annotations

from spooler.spool.sql import Statement
from spooler.spool.statements import leasing
from spooler.spool.statements.shared import NOT_PAUSED

_FREE = f"r.route = :route AND r.hold IS NULL AND r.lease IS NULL AND r.due <= :now AND {NOT_PAUSED}"
_DUE = f"""
    SELECT r.message_id, r.n FROM message m CROSS JOIN recipient r
    WHERE m.job = :job AND m.job <> '' AND m.id >= :after AND r.message_id = m.id AND {_FREE}
    ORDER BY m.id, r.n LIMIT :limit
    """
# Postgres is not left to choose: one message after the other, and none locked beyond the limit
_LOCKED = f"""
    SELECT r.message_id, r.n FROM (
        SELECT m.id FROM message m WHERE m.job = :job AND m.job <> '' AND m.id >= :after ORDER BY m.id) AS m
    CROSS JOIN LATERAL (
        SELECT r.message_id, r.n FROM recipient r WHERE r.message_id = m.id AND {_FREE}
        ORDER BY r.n FOR UPDATE SKIP LOCKED) AS r
    LIMIT :limit
    """
LOOK_AT_JOB = Statement(leasing.LOOK_AT_DUE.text.replace(leasing.DUE, _DUE))
TAKE_OF_JOB = Statement(leasing.TAKE_DUE.text.replace(leasing.DUE, _DUE))
CLAIM_OF_JOB = Statement(
    "", postgres=leasing.CLAIM.postgres.replace(f"{leasing.DUE} FOR UPDATE SKIP LOCKED", _LOCKED)
)
# of a route, what is not held: how many, and when the first that nobody has in hand is due
_LEFT = "SELECT count(*), min(CASE WHEN r.lease IS NULL THEN r.due END) FROM message m CROSS JOIN "
_OF_JOB = "WHERE m.job = :job AND m.job <> ''"
_OF_MESSAGE = "r.message_id = m.id AND r.route = :route AND r.hold IS NULL"
OF_JOB = Statement(
    f"{_LEFT} recipient r {_OF_JOB} AND {_OF_MESSAGE}",
    postgres=f"{_LEFT} LATERAL (SELECT * FROM recipient r WHERE {_OF_MESSAGE} OFFSET 0) AS r {_OF_JOB}",
)
