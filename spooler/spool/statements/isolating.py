"""Statements for mail that workers die of."""

from __future__ import annotations

from spooler.spool.sql import Statement
from spooler.spool.statements import leasing
from spooler.spool.statements.shared import NOT_PAUSED, STATE

# the worker's row is locked, shared, as for any claim: see `leasing.SOME_DUE`
LIVING = Statement("SELECT 1 FROM worker w WHERE w.id = :worker AND w.fenced IS NULL {share}")

_SUSPECTS = f"""
    SELECT r.message_id, r.n FROM recipient r
    WHERE r.message_id = :message_id AND r.route = :route AND r.hold IS NULL AND r.lease IS NULL
        AND r.due <= :due AND {NOT_PAUSED}
    ORDER BY r.claims - r.attempts DESC, r.n LIMIT :limit
    """
LOOK_ALONE = Statement(leasing.LOOK_AT_DUE.text.replace(leasing.DUE, _SUSPECTS))
TAKE_ALONE = Statement(leasing.TAKE_DUE.text.replace(leasing.DUE, _SUSPECTS))
CLAIM_ALONE = Statement("", postgres=leasing.CLAIM.postgres.replace(leasing.DUE, _SUSPECTS))

_HOLDABLE = "r.message_id = :message_id AND r.route = :route AND r.hold IS NULL AND r.lease IS NULL"
HOLDABLE = Statement(
    f"""
    SELECT state, count(*) FROM (SELECT {STATE} AS state FROM recipient r WHERE {_HOLDABLE} {{lock}}) AS h
    GROUP BY state
    """
)
HOLD = Statement(f"UPDATE recipient AS r SET hold = :why WHERE {_HOLDABLE}")
