"""What people do with the queue, on both databases; the tallies are held against the rows after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from spooler.command import Command, Group, Order, Passed, Steered
from spooler.envelope import NewRecipient
from spooler.records import QueueFilter, State
from spooler.result import Outcome
from spooler.spool import steering
from spooler.standing import standings
from tests.spool.making import (
    DAY,
    DUE,
    MINUTE,
    NOW,
    SECOND,
    act,
    ask,
    claim,
    counts,
    keys,
    message,
    put,
    recount,
    results,
    worker,
)

if TYPE_CHECKING:
    from spooler.spool.store import Store

Key = tuple[int, int]


def order(command: Command, **more: Any) -> Order:  # noqa: ANN401
    """What alice wants, and why."""
    return Order(**({"command": command, "who": "alice", "why": "a test"} | more))


def steer(store: Store, command: Command, which: QueueFilter | None = None, **more: Any) -> Steered:  # noqa: ANN401
    """Do it with all that is selected."""
    return store.steer(order(command, **more), selected(store, which or QueueFilter()), now=DUE)


def selected(store: Store, which: QueueFilter) -> list[Key]:
    """All that is selected, page by page; the counts by pages say the same."""
    found: list[Key] = []
    counted = 0
    after: Key | None = (0, -1)
    while after is not None:
        page = store.select(which, after=after)
        groups, upto = store.count(which, after=after)
        found += page.keys
        counted += sum(group.count for group in groups)
        assert upto == page.upto
        after = upto
    assert counted == len(found)
    return found


def ledger(store: Store) -> list[tuple[Any, ...]]:
    """What people did, by the ledger."""
    return ask(
        store,
        "SELECT n, address, route, outcome, attempt, enhanced, text, who, why FROM attempt"
        " WHERE who IS NOT NULL ORDER BY at, n",
    )


def test_hold_and_release(store: Store) -> None:
    """What is held is not claimed until it is released; both are in the ledger, with who and why."""
    put(store, message("a@x", "b@x"))
    me = worker(store)

    assert steer(store, Command.HOLD).done == [Group("default", "waiting", 2)]
    assert claim(store, me) == []
    assert counts(store) == {"held": 2}
    (row, _) = store.queue(filter=QueueFilter(), limit=9)
    assert row.hold == "by alice: a test"
    assert steer(store, Command.HOLD).passed == {Passed.ALREADY: 2}

    assert steer(store, Command.RELEASE).done == [Group("default", "held", 2)]
    assert len(keys(claim(store, me))) == 2
    assert ledger(store)[0] == (0, "a@x", "default", "held", 0, "", "", "alice", "a test")
    assert [row[3] for row in ledger(store)] == ["held", "held", "released", "released"]


def test_hold_of_what_is_being_delivered(store: Store) -> None:
    """It takes effect when the worker gives it back; what is delivered meanwhile is delivered."""
    put(store, message("a@x", "b@x", "c@x"))
    me = worker(store)
    claims = claim(store, me)

    steered = steer(store, Command.HOLD)

    assert (steered.done, steered.active) == ([Group("default", "active", 3)], 3)
    delivered, deferred, given_back = results(claims)
    store.settle(me, [delivered], now=DUE)
    store.settle(
        me, [one for one in results(claims, Outcome.DEFERRED, code=450) if one.n == deferred.n], now=DUE
    )
    store.release(me, [(given_back.message_id, given_back.n)], due=0)
    assert counts(store) == {"held": 2, "delivered": 1, "deferrals": 1}
    assert claim(store, me, now=DUE + DAY) == []


def test_release_of_what_workers_died_of(store: Store) -> None:
    """Whoever releases it has looked at it: it starts without suspicion, also if a worker has it in hand."""
    (ident,) = put(store, message("a@x", "b@x"))
    me = worker(store)
    act(store, "UPDATE recipient SET claims = 6, attempts = 1, hold = 'poison'")
    act(store, "UPDATE tally SET state = 'held'")
    steer(store, Command.RELEASE)
    assert [(r.claims, r.attempts) for r in store.queued_of(ident)] == [(1, 1)] * 2
    assert counts(store) == {"deferred": 2}

    claim(store, me, now=DUE)
    act(store, "UPDATE recipient SET hold = 'poison', claims = 7")
    steered = steer(store, Command.RELEASE)
    assert steered.active == 2
    assert [(r.claims, r.attempts) for r in store.queued_of(ident)] == [(2, 1)] * 2


def test_retry(store: Store) -> None:
    """What waits for its next attempt is due now; what is scheduled, held or under way is left alone."""
    put(store, message("scheduled@x", not_before=DUE + DAY), message("held@x"), message("due@x"))
    deferred, active = put(store, message("deferred@x"), message("active@x"), now=NOW)
    me = worker(store)
    steer(store, Command.HOLD, QueueFilter(address="held@x"))
    claims = claim(store, me)
    late = [c for c in claims if c.message_id == deferred]
    store.settle(me, results(late, Outcome.DEFERRED, due=DUE + DAY), now=DUE)
    others = [key for key in keys(claims) if key[0] not in (deferred, active)]
    store.release(me, others, due=0)

    steered = steer(store, Command.RETRY)

    assert steered.done == [Group("default", "deferred", 1)]
    assert steered.passed == {Passed.EARLY: 1, Passed.HELD: 1, Passed.ALREADY: 1, Passed.ACTIVE: 1}
    assert [c.message_id for c in claim(store, me)][-1] == deferred
    assert [row[1:4] for row in ledger(store)][-1] == ("deferred@x", "default", "retried")


def test_remove(store: Store) -> None:
    """It is gone, and the ledger and the tallies say who took it; what a worker has in hand is told apart."""
    (ident,) = put(store, message("a@x", "b@x", "c@x"))
    me = worker(store)
    claims = claim(store, me, limit=1)
    mine = keys(claims)

    steered = steer(store, Command.REMOVE)

    assert (steered.done, steered.again) == ([Group("default", "waiting", 2)], mine)
    assert counts(store) == {"active": 1, "removed": 2}
    store.release(me, mine, due=0)
    assert steer(store, Command.REMOVE).done == [Group("default", "waiting", 1)]
    assert counts(store) == {"removed": 3}
    assert [one.state for one in standings([], store.ledger_of(ident))] == ["removed"] * 3
    assert ask(store, "SELECT count(*) FROM notice") == [(0,)]
    assert store.steer(order(Command.REMOVE), [(ident, 0)], now=DUE).passed == {Passed.GONE: 1}


def test_bounce(store: Store) -> None:
    """It fails like any other mail: with a status, words, and a notice to its sender."""
    put(store, message("a@x"), message("b@x", sender=""))

    steered = steer(store, Command.BOUNCE, enhanced="5.7.1", text="we do not want it")

    assert steered.done == [Group("default", "waiting", 2)]
    assert counts(store) == {"failed": 2}
    assert ledger(store)[0] == (
        0, "a@x", "default", "failed", 0, "5.7.1", "we do not want it", "alice", "a test",
    )  # fmt: skip
    assert ask(store, "SELECT count(*) FROM notice") == [(1,)]  # nothing is told about the null sender's mail


def test_reroute(store: Store) -> None:
    """It waits on another route, in the state that it was in."""
    put(store, message("a@x", NewRecipient(address="b@x", route="other")))
    me = worker(store)

    steered = steer(store, Command.REROUTE, route="other")

    assert (steered.done, steered.passed) == ([Group("default", "waiting", 1)], {Passed.ALREADY: 1})
    assert claim(store, me) == []
    assert len(keys(claim(store, me, route="other"))) == 2
    assert recount(store) == {("other", "active"): 2}
    assert ledger(store) == [
        (0, "a@x", "default", "rerouted", 0, "", "to route other", "alice", "a test"),
    ]


def test_time_that_is_over(store: Store) -> None:
    """Who releases what is over its time is told, or gives it time: else it would end at once."""
    put(store, message("a@x", expires=NOW + SECOND))
    steer(store, Command.HOLD)
    steered = steer(store, Command.RELEASE)
    assert steered.over_time == 1
    assert store.expire(routes=None, now=DUE + SECOND, limit=9) == 1

    (ident,) = put(store, message("b@x", expires=NOW + SECOND))
    steer(store, Command.HOLD)
    assert steer(store, Command.RELEASE, lifetime=DAY).over_time == 0
    assert store.expire(routes=None, now=DUE + MINUTE, limit=9) == 0
    found = store.message(ident)
    assert found is not None
    assert DUE + DAY <= found.expires <= DUE + DAY + SECOND


@pytest.mark.parametrize(
    ("which", "addresses"),
    [
        (QueueFilter(), "abcd"),
        (QueueFilter(address="A@x"), "a"),
        (QueueFilter(domain="y"), "c"),
        (QueueFilter(route="other"), "b"),
        (QueueFilter(job="june"), "ab"),
        (QueueFilter(job="june", route="default"), "a"),
        (QueueFilter(sender=""), "d"),
        (QueueFilter(tenant="acme"), "c"),
        (QueueFilter(state=State.HELD), "d"),
        (QueueFilter(uncertain=True), "c"),
        (QueueFilter(before=NOW + SECOND), "ab"),
        (QueueFilter(since=NOW + SECOND), "cd"),
        (QueueFilter(state=State.DELIVERED), ""),
    ],
)
def test_selections(
    store: Store, monkeypatch: pytest.MonkeyPatch, which: QueueFilter, addresses: str
) -> None:
    """Each narrows what is selected, across pages; lists show the same."""
    monkeypatch.setattr(steering, "PAGE", 3)
    put(store, message("a@x", NewRecipient(address="b@x", route="other"), job="june"))
    put(store, message("c@y", tenant="acme"), message("d@x", sender=""), now=NOW + SECOND)
    act(store, "UPDATE recipient SET may_be_delivered = TRUE WHERE address = 'c@y'")
    held = selected(store, QueueFilter(address="d@x"))
    store.steer(order(Command.HOLD), held, now=NOW)

    found = selected(store, which)

    listed = store.queue(filter=which, limit=9)
    assert [(row.message_id, row.n) for row in listed] == found
    assert "".join(row.address[0] for row in listed) == addresses


def test_a_paused_route(store: Store, other: Store) -> None:
    """Nothing is claimed from it, nor due on it, until it is resumed; others go on."""
    put(store, message("a@x", NewRecipient(address="b@x", route="other")))
    me = worker(store)
    assert other.pause("default", who="alice", why="disk full", now=NOW)
    assert not other.pause("default", who="bob", why="", now=NOW)

    (pause,) = store.pauses()
    assert (pause.route, pause.at, pause.who, pause.why) == ("default", NOW, "alice", "disk full")
    assert claim(store, me) == []
    assert store.claim_alone(me, selected(store, QueueFilter())[0][0], "default", limit=9, due=DUE) == []
    assert store.next_due(["default"], now=DUE) is None
    assert store.next_due(["other"], now=DUE) == NOW
    assert len(keys(claim(store, me, route="other"))) == 1

    assert other.resume("default")
    assert not other.resume("default")
    assert store.pauses() == []
    assert len(keys(claim(store, me))) == 1


def test_what_others_are_changing_is_come_back_to(store: Store, other: Store) -> None:
    """On Postgres a recipient that another transaction has locked is not waited for, nor taken for gone."""
    if not store.is_postgres:
        pytest.skip("SQLite has one writer at a time")
    put(store, message("a@x", "b@x"))
    everything = selected(store, QueueFilter())
    import sqlalchemy as sa

    def hold_a_lock(conn: sa.Connection) -> Steered:
        conn.execute(sa.text("SELECT 1 FROM recipient WHERE n = 0 FOR UPDATE"))
        return store.steer(order(Command.REMOVE), everything, now=DUE)

    steered = other._db.write(hold_a_lock)
    assert (steered.done, steered.again) == ([Group("default", "waiting", 1)], everything[:1])


def test_a_record_for_each(store: Store) -> None:
    """As many as one transaction takes are changed in one, each with its ledger row."""
    put(store, message(*(f"u{i}@x" for i in range(steering.BATCH))))

    steered = steer(store, Command.REMOVE)

    assert steered.done == [Group("default", "waiting", steering.BATCH)]
    assert ask(store, "SELECT count(*), count(DISTINCT n) FROM attempt WHERE outcome = 'removed'") == [
        (steering.BATCH, steering.BATCH)
    ]
