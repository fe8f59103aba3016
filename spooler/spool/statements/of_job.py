"""Statements for a drain of one job: they go from the job's messages to their recipients, by `message_job`.

`m.job <> ''` is said besides, for SQLite to see that the index, which leaves out what has no job, will do.
"""

from __future__ import annotations

from spooler.spool.sql import Statement
from spooler.spool.statements import leasing
from spooler.spool.statements.shared import NOT_PAUSED

_OF_JOB = "FROM message m CROSS JOIN recipient r WHERE m.job = :job AND m.job <> '' AND r.message_id = m.id"
_DUE = f"""
    SELECT r.message_id, r.n {_OF_JOB} AND m.id >= :after
        AND r.route = :route AND r.hold IS NULL AND r.lease IS NULL AND r.due <= :now AND {NOT_PAUSED}
    ORDER BY m.id, r.n LIMIT :limit
    """
LOOK_AT_JOB = Statement(leasing.LOOK_AT_DUE.text.replace(leasing.DUE, _DUE))
TAKE_OF_JOB = Statement(leasing.TAKE_DUE.text.replace(leasing.DUE, _DUE))
CLAIM_OF_JOB = Statement(
    "",
    postgres=leasing.CLAIM.postgres.replace(
        f"{leasing.DUE} FOR UPDATE SKIP LOCKED", f"{_DUE} FOR UPDATE OF r SKIP LOCKED"
    ),
)
# of a route, what is not held: how many, and when the first that nobody has in hand is due
OF_JOB = Statement(
    f"""
    SELECT count(*), min(CASE WHEN r.lease IS NULL THEN r.due END)
    {_OF_JOB} AND r.route = :route AND r.hold IS NULL
    """
)
