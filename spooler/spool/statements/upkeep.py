"""Statements of contents, sweeping and retention, and of Postgres' partitions of the ledger."""

from __future__ import annotations

from spooler.spool.sql import Statement

CONTENTS = Statement(
    """
    WITH {b}
    SELECT content, data FROM content_chunk WHERE content IN (SELECT content FROM b) AND sequence = 0
    """,
    ("content bigint",),
    postgres="SELECT content, data FROM content_chunk WHERE content = ANY(:contents) AND sequence = 0",
)
CHUNK = Statement("SELECT data FROM content_chunk WHERE content = :content AND sequence = :sequence")

# Whether there is a row is asked by (SELECT 1 ... ORDER BY ... LIMIT 1) IS NULL, not by EXISTS, which
# Postgres may turn into a join with the whole queue. The order keeps it to the index, whatever it believes.
#
# needed: something of a message that has it is queued, or a sender who asked for it back (RET=FULL, RFC 3461
# section 4.3) is still to be told. A message's own content has its id; shared ones have an index.
_WANTED = """
    ((SELECT 1 FROM recipient r WHERE r.message_id = m.id ORDER BY r.n LIMIT 1) IS NOT NULL
        OR (m.ret = 'FULL'
            AND (SELECT 1 FROM notice o WHERE o.message_id = m.id ORDER BY o.n LIMIT 1) IS NOT NULL))
    """
_OWN = "SELECT 1 FROM message m WHERE m.id = content_chunk.content AND m.content = m.id"
_SHARED = "SELECT 1 FROM message m WHERE m.content = content_chunk.content AND m.content <> m.id"
_UNNEEDED = f"""
    ({_OWN} AND {_WANTED} LIMIT 1) IS NULL AND ({_SHARED} AND {_WANTED} LIMIT 1) IS NULL
    AND (content_chunk.content < :orphan OR ({_OWN} LIMIT 1) IS NOT NULL OR ({_SHARED} LIMIT 1) IS NOT NULL)
    """
NEXT_CONTENTS = Statement(
    """
    SELECT max(content), count(*) FROM (
        SELECT content FROM content_chunk WHERE content > :after AND sequence = 0
        ORDER BY content LIMIT :limit
    ) AS page
    """
)
SWEEP_RANGE = Statement(
    f"DELETE FROM content_chunk WHERE content > :after AND content <= :upto AND {_UNNEEDED}"
)
SWEEP_OF = Statement(
    f"""
    WITH {{b}}
    DELETE FROM content_chunk WHERE content IN
        (SELECT m.content FROM b CROSS JOIN message m WHERE m.id = b.message_id) AND {_UNNEEDED}
    """,
    ("message_id bigint",),
)

# old messages of which nothing is queued and nothing younger is in the ledger
RETIRABLE = Statement(
    """
    SELECT m.id FROM message m WHERE m.id < :floor
        AND (SELECT 1 FROM recipient r WHERE r.message_id = m.id ORDER BY r.n LIMIT 1) IS NULL
        AND (SELECT 1 FROM attempt a WHERE a.message_id = m.id AND a.at >= :before
            ORDER BY a.n LIMIT 1) IS NULL
    ORDER BY m.id LIMIT :limit
    """
)
_OF = "message_id IN (SELECT message_id FROM b)"
RETIRE_NOTICES = Statement(f"WITH {{b}} DELETE FROM notice WHERE {_OF}", ("message_id bigint",))
RETIRE_LEDGER = Statement(f"WITH {{b}} DELETE FROM attempt WHERE {_OF}", ("message_id bigint",))
RETIRE_MESSAGES = Statement(
    "WITH {b} DELETE FROM message WHERE id IN (SELECT message_id FROM b)", ("message_id bigint",)
)

PARTITIONS = Statement(
    """
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST('attempt' AS regclass) ORDER BY 1
    """
)
STRAYED = Statement("SELECT 1 FROM attempt_default WHERE at >= :first AND at < :last LIMIT 1")
PATIENCE = Statement("SET LOCAL lock_timeout = '2s'")
# of those who make and drop partitions
ONE_AT_A_TIME = Statement("SELECT pg_advisory_xact_lock(hashtext('spooler.partitions'))")
