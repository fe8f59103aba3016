"""Putting messages into the spool: contents first, then messages with their recipients, in one transaction.

When `enqueue` returns, everything is on disk. A key or an import identity that is there already gives back
the message that has it, also if another process is enqueueing it at this moment: the unique index refuses
the second, which starts again and then finds the first.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sqlalchemy.exc import IntegrityError

from spooler.address import split
from spooler.envelope import CHUNK_SIZE, DEFAULT_LIFETIME, Enqueued, ImportIdentity, NewMessage
from spooler.errors import DataError, StorageError
from spooler.records import State
from spooler.spool import sql
from spooler.spool.connect import TRIES
from spooler.spool.faults import is_taken
from spooler.spool.statements import intake as st
from spooler.spool.tallies import Deltas, slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from spooler.ident import IdMaker
    from spooler.spool.connect import Database

T = TypeVar("T")

BLOB = 4 << 20  # bytes of contents in one statement
CHUNKS_PER_COMMIT = 8  # 2 MiB


def enqueue(db: Database, ids: IdMaker, messages: Sequence[NewMessage], *, now: int) -> list[Enqueued]:
    """Put messages in, all or none; answers in the same order.

    Raises DataError for what cannot be stored as it is.
    """
    for message in messages:
        _check(message)
    if not messages:
        return []

    def work(conn: Connection) -> list[Enqueued]:
        answers, new = _assign(conn, ids, messages, now)
        _add_contents(conn, new)
        _add_messages(conn, new, now)
        _add_recipients(conn, new, now)
        return answers

    return _insist(ids, lambda: db.write(work))


def store_chunks(db: Database, ids: IdMaker, chunks: Iterable[bytes], *, now: int) -> int:
    """Stream a large content in; returns its id. It is swept if no message needs it within a day."""
    batches = _batches(chunks)
    first = next(batches)
    content = 0

    def begin() -> None:
        nonlocal content
        content = ids.make(now)
        db.write(lambda conn: _add_chunks(conn, content, 0, first))

    _insist(ids, begin)
    sequence = len(first)
    for batch in batches:
        db.write(partial(_add_chunks, content=content, sequence=sequence, chunks=batch))
        sequence += len(batch)
    return content


def imported(db: Database, identities: Sequence[ImportIdentity]) -> set[ImportIdentity]:
    """Which of these were imported before."""
    if not identities:
        return set()
    found = db.read(lambda conn: _find_origins(conn, identities))
    return {identity for identity in identities if _cleaned(identity) in found}


class _New(NamedTuple):
    """A message that is not there yet, under its id."""

    id: int
    message: NewMessage

    @property
    def content(self) -> int:
        """A content that belongs to one message has that message's id."""
        return self.id if self.message.content.stored is None else self.message.content.stored


def _check(message: NewMessage) -> None:
    content = message.content
    if not message.recipients:
        raise DataError("a message has no recipients", hint="give at least one")
    if content.stored is None and not len(content.data) == content.size <= CHUNK_SIZE:
        raise DataError(
            f"a content of {content.size} bytes came with {len(content.data)}",
            hint=f"stream contents of more than {CHUNK_SIZE} bytes in first",
        )


def _insist(ids: IdMaker, attempt: Callable[[], T]) -> T:
    """Do it again, with other ids, if an id or a key was there already."""
    for _ in range(TRIES):
        try:
            return attempt()
        except IntegrityError as error:
            if not is_taken(error):
                raise
            ids.redraw()
    raise StorageError("the spool refuses every new id", hint="is the clock of this machine right?")


def _assign(
    conn: Connection, ids: IdMaker, messages: Sequence[NewMessage], now: int
) -> tuple[list[Enqueued], list[_New]]:
    """Give ids to the messages that are not there yet, and not twice among these."""
    keys = [_key(message) for message in messages]
    origins = [_cleaned(message.origin) if message.origin else None for message in messages]
    by_key = _find_keys(conn, [key for key in keys if key])
    by_origin = _find_origins(conn, [origin for origin in origins if origin])
    answers: list[Enqueued] = []
    new: list[_New] = []
    for message, key, origin in zip(messages, keys, origins, strict=True):
        there = by_key.get(key) if key else None
        if there is None and origin:
            there = by_origin.get(origin)
        if there is not None:
            answers.append(Enqueued(there, duplicate=True))
            continue
        ident = ids.make(now)
        if key:
            by_key[key] = ident
        if origin:
            by_origin[origin] = ident
        new.append(_New(ident, message))
        answers.append(Enqueued(ident, duplicate=False))
    return answers, new


def _key(message: NewMessage) -> tuple[str, str] | None:
    if message.idempotency_key is None:
        return None
    return sql.clean(message.tenant), sql.clean(message.idempotency_key)


def _cleaned(origin: ImportIdentity) -> ImportIdentity:
    """As it is stored: a file name can be any bytes, and Python tells by lone surrogates."""
    return ImportIdentity(sql.clean(origin.source), origin.offset, origin.digest)


def _find_keys(conn: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    return {
        (tenant, key): ident
        for page in sql.pages(st.FIND_KEYS, keys)
        for tenant, key, ident in sql.run(conn, st.FIND_KEYS, page)
    }


def _find_origins(conn: Connection, origins: Sequence[ImportIdentity]) -> dict[ImportIdentity, int]:
    rows = [(sql.clean(o.source), o.offset, o.digest) for o in origins]
    return {
        ImportIdentity(source, offset, digest): ident
        for page in sql.pages(st.FIND_ORIGINS, rows)
        for source, offset, digest, ident in sql.run(conn, st.FIND_ORIGINS, page)
    }


def _add_contents(conn: Connection, new: Sequence[_New]) -> None:
    rows: list[tuple[int, int, int]] = []
    parts: list[bytes] = []
    start = 1  # both databases count bytes from 1

    def flush() -> None:
        if rows:
            sql.run(conn, st.ADD_CONTENTS, rows, blob=b"".join(parts))

    for ident, message in new:
        content = message.content
        if content.stored is not None:
            _check_stored(conn, content.stored, content.size)
            continue
        rows.append((ident, start, content.size))
        parts.append(content.data)
        start += content.size
        if start > BLOB or len(rows) == st.ADD_CONTENTS.most_rows:
            flush()
            rows, parts, start = [], [], 1
    flush()


def _check_stored(conn: Connection, content: int, size: int) -> None:
    sql.run(conn, st.LOCK_CONTENT, content=content)
    if sql.run(conn, st.CONTENT_SIZE, content=content).scalar_one() != size:
        raise StorageError(
            "a content that was streamed in is not there in full",
            hint="it is kept for a day: stream it again",
        )


def _add_chunks(conn: Connection, content: int, sequence: int, chunks: Sequence[bytes]) -> None:
    for i, chunk in enumerate(chunks, sequence):
        sql.run(conn, st.ADD_CHUNK, content=content, sequence=i, data=chunk)


def _batches(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut into commits, at least one; an empty content is one empty chunk."""
    batch: list[bytes] = []
    any_yet = False
    for chunk in chunks:
        if len(chunk) > CHUNK_SIZE:
            raise ValueError(f"a chunk of {len(chunk)} bytes")
        batch.append(chunk)
        if len(batch) == CHUNKS_PER_COMMIT:
            yield batch
            any_yet = True
            batch = []
    if batch or not any_yet:
        yield batch or [b""]


def _expiry(message: NewMessage, now: int) -> int:
    if message.expires is not None:
        return message.expires
    return max(now, message.not_before or now) + DEFAULT_LIFETIME


def _clean(text: str | None) -> str | None:
    return None if text is None else sql.clean(text)


def _add_messages(conn: Connection, new: Sequence[_New], now: int) -> None:
    for page in sql.pages(st.ADD_MESSAGES, new):
        rows = []
        for item in page:
            m, c = item.message, item.message.content
            origin = m.origin and _cleaned(m.origin)
            rows.append(
                (
                    item.id,
                    m.sender,
                    len(m.recipients),
                    c.size,
                    c.sha256,
                    c.body.value,
                    1 if m.smtputf8 else 0,
                    _clean(m.envid),
                    m.ret,
                    _clean(m.job),
                    _clean(m.tenant),
                    int(m.priority),
                    now,
                    m.not_before,
                    _expiry(m, now),
                    item.content,
                    c.bare_lf,
                    c.bare_cr,
                    c.long_lines,
                    _clean(m.idempotency_key),
                    origin and origin.source,
                    origin and origin.offset,
                    origin and origin.digest,
                )
            )
        sql.run(conn, st.ADD_MESSAGES, rows)


def _add_recipients(conn: Connection, new: Sequence[_New], now: int) -> None:
    deltas = Deltas()
    rows: list[tuple[object, ...]] = []
    for ident, message in new:
        due = max(now, message.not_before or now)
        priority = int(message.priority)
        for n, r in enumerate(message.recipients):
            rows.append(
                (
                    ident,
                    n,
                    r.address,
                    split(r.address)[1].lower(),
                    r.route,
                    priority,
                    due,
                    int(r.notify),
                    _clean(r.orcpt),
                )
            )
            deltas[r.route, State.WAITING.value] += 1
            if len(rows) == st.ADD_RECIPIENTS.most_rows:  # a page at a time, however many there are
                sql.run(conn, st.ADD_RECIPIENTS, rows)
                rows = []
    if rows:
        sql.run(conn, st.ADD_RECIPIENTS, rows)
    deltas.apply(conn, slot())
