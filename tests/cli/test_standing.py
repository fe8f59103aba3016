"""Where recipients stand, by queue and ledger together."""

from __future__ import annotations

import msgspec

from spooler.envelope import Notify, Priority
from spooler.records import LedgerEntry, QueuedRecipient, State
from spooler.standing import standings

ENTRY = LedgerEntry(
    message_id=1,
    n=0,
    at=10,
    worker=7,
    address="a@x",
    route="default",
    attempt=1,
    outcome="deferred",
    uncertain=False,
    late=False,
    stage="final",
    code=451,
    enhanced="4.3.0",
    text="later",
    destination="unix:/s",
    waited=0,
    took=0,
    who=None,
    why=None,
)
ROW = QueuedRecipient(
    message_id=1,
    n=0,
    address="a@x",
    route="default",
    priority=Priority.NORMAL,
    state=State.DEFERRED,
    due=99,
    attempts=1,
    claims=1,
    hold=None,
    lease=None,
    uncertain=False,
    notify=Notify.DEFAULT,
    orcpt=None,
    stage="final",
    code=451,
    enhanced="4.3.0",
    text="later",
    sender="",
    size=1,
    job="",
    tenant="",
    created=1,
    expires=1000,
)


def entry(at: int, outcome: str, **fields: object) -> LedgerEntry:
    return msgspec.structs.replace(ENTRY, at=at, outcome=outcome, **fields)


def test_queued_recipient() -> None:
    """What is queued stands as the queue says, and tells when and where the last attempt was."""
    (one,) = standings([ROW], [ENTRY])
    assert (one.state, one.due, one.ended, one.attempts) == ("deferred", 99, False, 1)
    assert (one.at, one.destination, one.code) == (10, "unix:/s", 451)
    (untried,) = standings([ROW], [])
    assert (untried.at, untried.destination) == (None, "")


def test_ended_recipient() -> None:
    """What is not queued any more stands as its ending says, whatever order the ledger comes in."""
    ledger = [
        entry(30, "delivered", attempt=3, code=250),
        entry(10, "deferred"),
        entry(20, "deferred", attempt=2),
    ]
    (one,) = standings([], ledger)
    assert (one.state, one.due, one.ended, one.attempts, one.code, one.at) == (
        "delivered",
        None,
        True,
        3,
        250,
        30,
    )


def test_late_results_do_not_count() -> None:
    """A result that came too late is no ending, and no last word."""
    (one,) = standings([], [entry(10, "delivered", code=250), entry(20, "failed", code=550, late=True)])
    assert (one.state, one.code) == ("delivered", 250)
    (waiting,) = standings([ROW], [ENTRY, entry(20, "failed", late=True)])
    assert (waiting.state, waiting.at) == ("deferred", 10)


def test_doubt_stays() -> None:
    """A recipient that was delivered after an attempt without an answer may have it twice."""
    (one,) = standings([], [entry(10, "deferred", uncertain=True), entry(20, "delivered")])
    assert (one.state, one.uncertain) == ("delivered", True)


def test_removed_by_a_person() -> None:
    """A command that took a recipient out of the queue is its ending."""
    (one,) = standings([], [entry(10, "deferred"), entry(20, "removed", who="root", attempt=0)])
    assert (one.state, one.attempts) == ("removed", 1)


def test_order_and_every_recipient_once() -> None:
    """All recipients, in the order of their numbers, queued or not."""
    rows = [msgspec.structs.replace(ROW, n=2), ROW]
    ledger = [entry(10, "failed", n=1), entry(11, "deferred", n=2)]
    assert [(one.n, one.state) for one in standings(rows, ledger)] == [
        (0, "deferred"),
        (1, "failed"),
        (2, "deferred"),
    ]
