"""Fill a spool quickly: through the store's own interface, a thousand messages in a transaction."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from spooler.envelope import BodyType, Content, NewMessage, NewRecipient
from spooler.ident import now_us
from spooler.spool.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH_RECIPIENTS = 2_000  # in a transaction
_MAILBOXES = 100  # addresses that one-recipient messages go to, in turn
_LINE = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"


def fill(url: str, *, messages: int, recipients: int, size: int) -> None:
    """Put `messages` of `size` bytes with `recipients` each into the spool at `url`."""
    with Store.open(url) as store:
        batch: list[NewMessage] = []
        for message in _messages(messages, recipients, size):
            batch.append(message)
            if len(batch) * recipients >= _BATCH_RECIPIENTS:
                store.enqueue(batch, now=now_us())
                batch = []
        if batch:
            store.enqueue(batch, now=now_us())


def _messages(messages: int, recipients: int, size: int) -> Iterator[NewMessage]:
    filler = _LINE * (size // len(_LINE) + 1)
    for number in range(messages):
        head = b"From: <bench@origin.test>\r\nTo: somebody\r\nSubject: message %d of a bench\r\n\r\n" % number
        data = (head + filler)[: size - 2] + b"\r\n"
        first = number % _MAILBOXES if recipients == 1 else 0
        yield NewMessage(
            sender="bench@origin.test",
            recipients=tuple(NewRecipient(address=f"user{first + n}@store.test") for n in range(recipients)),
            content=Content(
                size=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                body=BodyType.SEVEN_BIT,
                data=data,
            ),
            job="bench",
        )
