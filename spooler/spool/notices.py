"""What is owed to senders: written in the transaction that decides it, to be sent later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.spool import sql
from spooler.spool.statements import shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


def tell(conn: Connection, keys: Sequence[tuple[int, int]], *, now: int) -> None:
    """Note that these recipients, which are still queued, are about to end in failure.

    The header section is kept once a message, with the first of its notices.
    """
    seen: set[int] = set()
    rows = []
    for message_id, n in keys:
        rows.append((message_id, n, 0 if message_id in seen else 1))
        seen.add(message_id)
    for page in sql.pages(shared.ADD_NOTICES, rows):
        sql.run(conn, shared.ADD_NOTICES, page, now=now)
