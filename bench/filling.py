"""Fill a spool quickly: through the store's own interface, a thousand messages in a transaction."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING

from spooler.envelope import BodyType, Content, NewMessage, NewRecipient
from spooler.ident import now_us
from spooler.spool.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BATCH_RECIPIENTS = 2_000  # in a transaction
_BATCH_BYTES = 32 << 20  # of contents
_MAINTAIN_EVERY = 50  # transactions: SQLite's log does not grow without end
_LINE = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"


def fill(url: str, *, messages: int, recipients: int, size: int, to: Sequence[str]) -> None:
    """Put `messages` of `size` bytes with `recipients` each into the spool at `url`.

    The first goes to the first addresses of `to`, the second to the next ones, and so on, round and round.
    """
    with Store.open(url) as store:
        every = sample(messages=messages, recipients=recipients, size=size, to=to)
        for turn, batch in enumerate(_batches(every, recipients, size), 1):
            store.enqueue(batch, now=now_us())
            if turn % _MAINTAIN_EVERY == 0:
                store.maintain(now=now_us())


def _batches(messages: Iterator[NewMessage], recipients: int, size: int) -> Iterator[list[NewMessage]]:
    number = max(1, min(_BATCH_RECIPIENTS // recipients, _BATCH_BYTES // size))
    while batch := list(islice(messages, number)):
        yield batch


def sample(*, messages: int, recipients: int, size: int, to: Sequence[str]) -> Iterator[NewMessage]:
    """Make the messages that `fill` puts in: every content differs."""
    filler = _LINE * (size // len(_LINE) + 1)
    every = tuple(NewRecipient(address=address) for address in to)
    for number in range(messages):
        head = b"From: <bench@origin.test>\r\nTo: somebody\r\nSubject: message %d of a bench\r\n\r\n" % number
        data = (head + filler)[: max(size, len(head)) - 2] + b"\r\n"
        yield NewMessage(
            sender="bench@origin.test",
            recipients=tuple(every[(number * recipients + n) % len(every)] for n in range(recipients)),
            content=Content(
                size=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                body=BodyType.SEVEN_BIT,
                data=data,
            ),
            job="bench",
        )
