"""Putting messages in."""

from __future__ import annotations

import pytest

from spooler.envelope import (
    CHUNK_SIZE,
    DEFAULT_LIFETIME,
    BodyType,
    Content,
    ImportIdentity,
    NewMessage,
    NewRecipient,
    Notify,
    Priority,
)
from spooler.errors import DataError, StorageError
from spooler.ident import IdMaker
from spooler.spool.store import Store
from tests.spool.making import (
    DATA,
    DAY,
    DUE,
    NOW,
    SECOND,
    ask,
    claim,
    content,
    counts,
    keys,
    message,
    put,
    worker,
)


def test_everything_comes_back(store: Store) -> None:
    """What was enqueued is what a worker claims and what a person sees."""
    given = message(
        NewRecipient(
            address="User@example.org", notify=Notify.SUCCESS | Notify.FAILURE, orcpt="rfc822;x@example.org"
        ),
        NewRecipient(address="postmaster"),
        sender="",
        smtputf8=True,
        envid="envelope",
        ret="FULL",
        job="job",
        tenant="tenant",
        priority=Priority.BULK,
        idempotency_key="key",
        origin=ImportIdentity("source", 7, "digest"),
    )

    (ident,) = put(store, given)
    (claimed,) = claim(store, worker(store))

    assert claimed.message_id == ident
    assert (claimed.sender, claimed.size, claimed.body) == ("", len(DATA), BodyType.EIGHT_BIT)
    assert (claimed.smtputf8, claimed.envid, claimed.ret) == (True, "envelope", "FULL")
    assert (claimed.created, claimed.expires) == (NOW, NOW + DEFAULT_LIFETIME)
    first, second = sorted(claimed.recipients, key=lambda r: r.n)
    assert (first.n, first.address, first.orcpt) == (0, "User@example.org", "rfc822;x@example.org")
    assert first.notify == Notify.SUCCESS | Notify.FAILURE
    assert (second.n, second.address, second.attempts, second.claims, second.due) == (
        1,
        "postmaster",
        0,
        1,
        NOW,
    )
    assert store.contents([claimed.content]) == {claimed.content: DATA}
    info = store.message(ident)
    assert info is not None
    assert (info.recipients, info.job, info.tenant, info.priority) == (2, "job", "tenant", Priority.BULK)
    assert (info.idempotency_key, info.source, info.source_offset) == ("key", "source", 7)
    assert info.sha256 == given.content.sha256
    assert store.message(1) is None


def test_not_before(store: Store) -> None:
    """A message is due at `not_before`, and its lifetime runs from there."""
    (ident,) = put(store, message(not_before=NOW + DAY))
    me = worker(store)

    assert claim(store, me, now=NOW + DAY - 1) == []
    (claimed,) = claim(store, me, now=NOW + DAY)

    assert (claimed.message_id, claimed.expires) == (ident, NOW + DAY + DEFAULT_LIFETIME)


def test_expiry_given(store: Store) -> None:
    """A lifetime that was asked for is taken."""
    put(store, message(expires=NOW + SECOND))

    (claimed,) = claim(store, worker(store))

    assert claimed.expires == NOW + SECOND


def test_all_or_none(store: Store) -> None:
    """One message that cannot be stored keeps out all that came with it."""
    empty = NewMessage(sender="", recipients=(), content=content())

    with pytest.raises(DataError, match="no recipients"):
        store.enqueue([message(), empty], now=NOW)

    assert ask(store, "SELECT count(*) FROM message") == [(0,)]
    assert counts(store) == {}


def test_nothing(store: Store) -> None:
    """No messages are no trouble."""
    assert store.enqueue([], now=NOW) == []


def test_size_must_be_true(store: Store) -> None:
    """A content whose size is not that of its bytes is refused."""
    wrong = Content(size=5, sha256="", body=BodyType.SEVEN_BIT, data=b"1234")

    with pytest.raises(DataError, match="5 bytes came with 4"):
        store.enqueue([message(content=wrong)], now=NOW)


def test_idempotency_key(store: Store, other: Store) -> None:
    """The same key of the same tenant is the same message, in a batch, later, and from another process."""
    keyed = message(tenant="t", idempotency_key="k")

    first, again, elsewhere = store.enqueue([keyed, keyed, message(tenant="u", idempotency_key="k")], now=NOW)
    (later,) = other.enqueue([keyed], now=NOW + DAY)

    assert (first.duplicate, again.duplicate, elsewhere.duplicate, later.duplicate) == (
        False,
        True,
        False,
        True,
    )
    assert first.id == again.id == later.id != elsewhere.id
    assert counts(store) == {"waiting": 2}


def test_import_identity(store: Store) -> None:
    """What was imported once is known, whatever else is asked for."""
    one, two = ImportIdentity("mbox", 0, "d"), ImportIdentity("mbox", 10, "d")
    first, again = store.enqueue([message(origin=one), message(origin=one)], now=NOW)

    assert (first.duplicate, again.duplicate, first.id) == (False, True, again.id)
    assert store.imported([one, two]) == {one}
    assert store.imported([]) == set()


def test_awkward_names(store: Store) -> None:
    """A source whose name is not text, and texts with NUL, are stored all the same, and recognised."""
    origin = ImportIdentity("mail/\udcff\0", 0, "d")
    odd = message(origin=origin, job="job\0\udc80", tenant="\udc80", idempotency_key="\0k")

    (first,) = store.enqueue([odd], now=NOW)
    (again,) = store.enqueue([odd], now=NOW)

    assert store.imported([origin]) == {origin}
    assert (again.id, again.duplicate) == (first.id, True)


def test_large_content(store: Store) -> None:
    """A content of several chunks is streamed in and read chunk by chunk, and shared by messages."""
    chunks = [bytes([i]) * CHUNK_SIZE for i in range(1, 20)] + [b"end"]
    size = sum(map(len, chunks))
    stored = store.store_chunks(iter(chunks), now=NOW)
    large = Content(size=size, sha256="", body=BodyType.SEVEN_BIT, stored=stored)

    put(store, message(content=large), message(content=large))

    claims = claim(store, worker(store))
    assert [(c.content, c.size) for c in claims] == [(stored, size)] * 2
    assert store.contents([stored]) == {}
    assert [store.chunk(stored, i) for i in range(len(chunks))] == chunks
    assert store.chunk(stored, len(chunks)) is None


def test_one_full_chunk(store: Store) -> None:
    """A content that fills exactly one chunk is whole."""
    data = b"x" * CHUNK_SIZE
    (ident,) = put(store, message(content=content(data)))

    assert store.contents([ident, 12345]) == {ident: data}


def test_streamed_content_must_be_there(store: Store) -> None:
    """A message whose streamed content is not complete is refused."""
    stored = store.store_chunks([b"part"], now=NOW)
    short = Content(size=5, sha256="", body=BodyType.SEVEN_BIT, stored=stored)

    with pytest.raises(StorageError, match="not there in full"):
        store.enqueue([message(content=short)], now=NOW)


def test_empty_stream(store: Store) -> None:
    """An empty stream is an empty content."""
    stored = store.store_chunks([], now=NOW)

    assert store.contents([stored]) == {stored: b""}


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_contents_together(store: Store, count: int) -> None:
    """Many contents are read at once, each exactly as it was: any bytes, any length."""
    given = [bytes(range(i % 256)) + b"\xff\xfe" * i + b"\0" * (i % 3) for i in range(count)]
    idents = put(store, *(message(content=content(data)) for data in given))

    assert store.contents(idents) == dict(zip(idents, given, strict=True))


def test_many_recipients(store: Store) -> None:
    """Recipients are written page by page, and none is lost between the pages."""
    addresses = [f"user{i}@example.org" for i in range(3000)]
    (ident,) = put(store, message(*addresses))

    assert [r.address for r in store.queued_of(ident)] == addresses
    assert counts(store) == {"waiting": 3000}


class _Stubborn(IdMaker):
    """Makes the same id until it is told to take another tag."""

    def __init__(self, ident: int) -> None:
        super().__init__()
        self.ident = ident
        self.redraws = 0

    def make(self, now: int) -> int:
        """The same again."""
        return self.ident

    def redraw(self) -> None:
        """Take the next."""
        self.redraws += 1
        self.ident += 1


def test_id_taken(spool_url: str) -> None:
    """An id that another process has made too is drawn again; both messages are kept."""
    with Store.open(spool_url) as store:
        (taken,) = put(store)
    maker = _Stubborn(taken)

    with Store.open(spool_url, id_maker=maker) as store:
        (ident,) = put(store)
        maker.ident = taken
        stored = store.store_chunks([b"x"], now=NOW)

        assert taken != ident
        assert stored not in (taken, ident)
        assert maker.redraws == 3
        assert len(keys(claim(store, worker_of(store, maker), now=DUE))) == 2


def worker_of(store: Store, maker: _Stubborn) -> int:
    """Register under an id of its own."""
    maker.ident += 100
    return worker(store)


def test_id_always_taken(spool_url: str) -> None:
    """A maker whose every id is taken ends in an error, not in a loop."""
    with Store.open(spool_url) as store:
        (taken,) = put(store)
    maker = _Stubborn(taken)
    maker.redraw = lambda: None  # type: ignore[method-assign]  # it never changes its mind

    with (
        Store.open(spool_url, id_maker=maker) as store,
        pytest.raises(StorageError, match="refuses every new id"),
    ):
        put(store)
