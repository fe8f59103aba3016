"""Each recipient of one message has a result of its own, by the words of a real store."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.servers.dovecot import Dovecot
    from tests.targets.commands import Commands

_MESSAGE = b"From: a@origin.test\nSubject: to fifty\n\nbody\n"
_USERS = [f"user{i:02}@store.test" for i in range(50)]
_GONE = {_USERS[7], _USERS[31]}
_FULL = _USERS[20]


Ledger = dict[str, list[dict[str, Any]]]


def _ledger(spooler: Commands, message_id: str) -> Ledger:
    """Return each recipient's attempts in order, as `spooler trace` tells them."""
    (story,) = spooler.json("trace", message_id)["messages"]
    ledger: Ledger = {}
    for entry in story["events"]:
        ledger.setdefault(entry["address"], []).append(entry)
    return ledger


@pytest.mark.dovecot
def test_of_fifty_two_are_refused_and_one_is_deferred(spooler: Commands, dovecot_server: Dovecot) -> None:
    """2 of 50 unknown to the store at RCPT, 1 over quota at the final reply: 47 are delivered once, 2 fail,
    1 is tried again and delivered, and the ledger has every attempt with the store's own words."""
    known = [user for user in _USERS if user not in _GONE]
    dovecot_server.allow(known, full=[_FULL])
    spooler.configure(
        f"[routes.default]\ndestinations = ['{dovecot_server.tcp}']\n"
        "retry = { first = '1h', maximum = '1h' }\n"
    )
    message_id = (
        spooler.run("enqueue", "-f", "a@origin.test", *_USERS, stdin=_MESSAGE).stdout.decode().strip()
    )

    spooler.run("drain", expect=75)
    first = _ledger(spooler, message_id)
    assert Counter(entries[-1]["outcome"] for entries in first.values()) == {
        "delivered": 47,
        "failed": 2,
        "deferred": 1,
    }
    (deferred,) = first[_FULL]
    assert (deferred["stage"], deferred["code"], deferred["enhanced"]) == ("final", 452, "4.2.2")
    assert "Quota exceeded" in deferred["text"]
    for user in _GONE:
        (failed,) = first[user]
        assert (failed["outcome"], failed["stage"]) == ("failed", "rcpt")
        assert (failed["code"], failed["enhanced"]) == (550, "5.1.1")
        assert "User doesn't exist" in failed["text"]

    dovecot_server.allow(known)
    time.sleep(2)  # Dovecot reads its list of users once a second at most
    spooler.run("queue", "retry", message_id)
    spooler.run("drain", "--until-empty")
    last = _ledger(spooler, message_id)
    assert [entry["outcome"] for entry in last.pop(_FULL)] == ["deferred", "retried", "delivered"]
    first.pop(_FULL)
    assert last == first, "the others were not tried again"
    assert {user: len(dovecot_server.mails(user)) for user in _USERS} == {
        user: 0 if user in _GONE else 1 for user in _USERS
    }
