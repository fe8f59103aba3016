"""Claims of one job alone: what is taken, in which order, and what is left of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from spooler.claim import Want
from spooler.envelope import NewRecipient
from spooler.errors import TryAgainError
from spooler.records import JobLeft
from spooler.result import Outcome
from spooler.spool.statements import of_job
from tests.spool.making import DUE, MINUTE, act, counts, keys, message, put, results, worker
from tests.spool.test_plans import plan

if TYPE_CHECKING:
    from spooler.spool.store import Store


def _claim(store: Store, by: int, *, limit: int = 100, now: int = DUE) -> list[int]:
    claims = store.claim(by, [Want("default", limit, "june")], now=now)
    return [claim.message_id for claim in claims for _ in claim.recipients]


def test_its_messages_alone_and_in_order(store: Store) -> None:
    """Each recipient of the job once, as they came in; mail of others stays where it is."""
    mixed = put(store, *(message("a@x", "b@x", job=job) for job in ("june", "", "july", "june") * 5))
    june = [ident for n, ident in enumerate(mixed) if n % 4 in (0, 3)]
    me = worker(store)

    taken = [_claim(store, me, limit=3) for _ in range(8)]

    assert [ident for some in taken for ident in some] == [ident for ident in june for _ in "ab"]
    assert counts(store) == {"active": 20, "waiting": 20}
    assert store.job_left(["default"], "june") == {"default": JobLeft(20, None)}


def test_what_comes_back_is_found_again(store: Store) -> None:
    """Behind the end of a job it begins anew: what was deferred is claimed when it is due, and not before."""
    idents = put(store, *(message(job="june") for _ in range(5)))
    me = worker(store)
    claims = store.claim(me, [Want("default", 100, "june")], now=DUE)
    store.settle(me, results(claims[:2], Outcome.DEFERRED, due=DUE + MINUTE), now=DUE)
    store.settle(me, results(claims[2:], Outcome.DELIVERED), now=DUE)

    assert store.job_left(["default"], "june") == {"default": JobLeft(2, DUE + MINUTE)}
    assert _claim(store, me) == []
    assert _claim(store, me, now=DUE + MINUTE) == idents[:2]


def test_what_comes_back_is_not_behind_all_that_comes_in(store: Store) -> None:
    """Where there is always more of a job, it begins anew after a minute: a retry waits no longer."""
    first, *_ = put(store, *(message(job="june") for _ in range(3)))
    me = worker(store)
    claims = store.claim(me, [Want("default", 1, "june")], now=DUE)
    store.settle(me, results(claims, Outcome.DEFERRED, due=DUE + 1), now=DUE)
    claimed = []
    for second in range(0, 130, 10):
        put(store, message(job="june"), message(job="june"))
        now = DUE + second * MINUTE // 60
        claims = store.claim(me, [Want("default", 1, "june")], now=now)
        claimed.append(claims[0].message_id)
        if claimed[-1] == first:
            store.settle(me, results(claims, Outcome.DEFERRED, at=now, due=now + MINUTE // 2), now=now)
    assert [n for n, ident in enumerate(claimed) if ident == first] == [6, 12]


def test_left_of_all_routes(store: Store) -> None:
    """Also of those that nobody asked for by name."""
    far = NewRecipient(address="far@x", route="far")
    put(store, message("a@x", far, job="june"), message(NewRecipient(address="b@x", route="other")))
    left = {route: one.count for route, one in store.job_left(None, "june").items()}
    assert left == {"default": 1, "far": 1, "other": 0}


def test_held_paused_and_other_routes(store: Store) -> None:
    """None of these is claimed; what is held does not count as left."""
    put(
        store,
        message("held@x", "free@x", job="june"),
        message(NewRecipient(address="far@x", route="far"), job="june"),
    )
    act(store, "UPDATE recipient SET hold = 'by hand' WHERE address = 'held@x'")
    act(store, "UPDATE tally SET count = 1 WHERE state = 'waiting' AND route = 'default'")
    act(store, "INSERT INTO tally VALUES (0, 'default', 'held', 1)")
    me = worker(store)
    left = store.job_left(["default", "far"], "june")
    assert {route: one.count for route, one in left.items()} == {"default": 1, "far": 1}
    store.pause("default", who="me", why="", now=DUE)
    assert _claim(store, me) == []
    store.resume("default")
    (claim,) = store.claim(me, [Want("default", 9, "june")], now=DUE)
    assert [recipient.address for recipient in claim.recipients] == ["free@x"]


def test_two_workers_share_a_job(store: Store) -> None:
    """Nothing is claimed twice."""
    put(store, *(message("a@x", "b@x", job="june") for _ in range(30)))
    one, two = worker(store), worker(store)
    taken = []
    for _ in range(10):
        for who in (one, two):
            taken += keys(store.claim(who, [Want("default", 7, "june")], now=DUE))
    assert len(taken) == len(set(taken)) == 60


def test_only_the_job_is_read(store: Store) -> None:
    """Neither the queue nor all messages, however many there are beside the job."""
    put(store, *(message("a@x", "b@x", job="june" if n % 50 == 0 else "") for n in range(3000)))
    act(store, "ANALYZE")
    due: dict[str, Any] = {"job": "june", "route": "default"}
    more = due | {"after": 0, "now": DUE, "limit": 100}
    of_claim = [(of_job.CLAIM_OF_JOB, more | {"worker": 1})]
    if not store.is_postgres:
        of_claim = [(of_job.LOOK_AT_JOB, more), (of_job.TAKE_OF_JOB, more | {"worker": 1})]
    for statement, scalars in [*of_claim, (of_job.OF_JOB, due)]:
        found = plan(store, statement, (), scalars)
        assert "message_job" in found
        assert not re.search(r"Seq Scan on (recipient|message)|SCAN [rm]\b", found), found


def test_a_worker_that_was_declared_dead_claims_nothing(store: Store) -> None:
    """As in any claim."""
    put(store, message(job="june"))
    me = worker(store)
    act(store, "UPDATE worker SET fenced = 1")
    with pytest.raises(TryAgainError, match="declared dead"):
        _claim(store, me)
