"""Targets that tell how many copies each recipient got, by what they wrote down and nobody else.

Spooler's own sink has a record, smtp-sink a dump for each transaction, Dovecot a file for each mail, whose
first lines it writes itself.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.dovecot import dovecot
from tests.servers.own_sink import own_sink
from tests.servers.process import ServerError, find
from tests.servers.smtp_sink import smtp_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KINDS = ("sink", "smtp-sink", "dovecot")
_MAILBOXES = 100
_TO = re.compile(rb"^Delivered-To: <?([^\s>]+)>?\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Target:
    """A running server: where it is, recipient number n of it, and the copies that it holds by address."""

    destination: str
    address: Callable[[int], str]
    copies: Callable[[], Counter[str]]


@contextmanager
def counting_target(kind: str) -> Iterator[Target]:
    """Run one of KINDS for the block; raises ServerError where it is not installed."""
    if kind == "sink":
        with own_sink(record=True) as sink:
            yield Target(
                sink.tcp,
                lambda n: f"user{n}@example.org",
                lambda: Counter(reply.recipient for reply in sink.final_replies() if reply.code == 250),
            )
        return
    program = find(kind)
    if program is None:
        raise ServerError(f"{kind} is not installed")
    if kind == "smtp-sink":
        with smtp_sink(program, dump=True) as server:
            yield Target(
                server.tcp,
                lambda n: f"user{n}@example.org",
                lambda: Counter(to for one in server.dumped() for to in one.recipients),
            )
        return
    users = [f"user{n}@store.test" for n in range(_MAILBOXES)]
    with dovecot(program, users=users, storage="sdbox") as store:
        yield Target(
            store.tcp,
            # mail to user+detail goes to user, and the store notes the whole address
            lambda n: f"user{n % _MAILBOXES}+{n}@store.test",
            lambda: in_dboxes(store.root / "mail"),
        )


def in_dboxes(root: Path) -> Counter[str]:
    """Count the mails of a Dovecot by the address that each was for."""
    found: Counter[str] = Counter()
    for path in root.glob("*/mailboxes/INBOX/dbox-Mails/u.*"):
        to = _TO.search(path.read_bytes())
        assert to is not None, f"no Delivered-To in {path}"
        found[to[1].decode()] += 1
    return found
