"""What a worker makes of what targets do: every recipient ends once, and nothing is made up."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
import trio

from spooler.config import Duration, Timeouts
from spooler.errors import TryAgainError
from spooler.events import Doubt, RouteDown, TransactionEnded
from spooler.reply import Reply, Stage
from spooler.sink.script import Drop, DropAt, Rule
from tests.delivery.house import EPOCH, House, clock, route_to, sink

if TYPE_CHECKING:
    from trio.testing import MockClock

    from spooler.claim import Claim

NO_USER = Reply(550, "5.1.1", ("no such user",))
LATER = Reply(451, "4.3.0", ("try later",))


async def test_two_refused_one_deferred_at_the_end_the_rest_delivered(
    house: House, autojump_clock: MockClock
) -> None:
    """Of 50 recipients 2 are refused at RCPT and 1 is deferred at its final reply: 47 + 2 + 1."""
    people = [f"r{i}@x" for i in range(50)]
    people[7], people[30], people[49] = "bad1@x", "bad2@x", "slow@x"
    message = house.enqueue(*people)
    async with sink(at_rcpt=(Rule("bad*", NO_USER),), at_final=(Rule("slow*", LATER),), times=1) as (
        running,
        inbox,
    ):
        await house.drain(running)
    assert inbox.copies == dict.fromkeys([p for p in people if not p.startswith("bad")], 1)
    assert house.outcomes() == {"delivered": 48, "failed": 2, "deferrals": 1}
    story = house.story(message)
    assert len(story) == 51
    assert [line for line in story if line[0] == "slow@x"] == [
        ("slow@x", 1, "deferred", False),
        ("slow@x", 2, "delivered", False),
    ]
    assert ("bad1@x", 1, "failed", False) in story
    assert running.counters.transactions == 2


async def test_lost_before_the_dot_is_repeated_at_once_and_costs_no_attempt(
    house: House, autojump_clock: MockClock
) -> None:
    """Nothing of the end-of-data was sent: the same claim goes out again on a fresh connection."""
    message = house.enqueue("a@x", "b@x")
    async with sink(drops=(Drop(DropAt.DATA, 2),)) as (running, inbox):
        house.enqueue("first@x")
        await house.drain(running, sessions=1)
    assert inbox.copies == {"a@x": 1, "b@x": 1, "first@x": 1}
    assert {line[1:] for line in house.story(message)} == {(1, "delivered", False)}


async def test_a_spool_that_refuses_a_chunk_is_asked_again(house: House, autojump_clock: MockClock) -> None:
    """A content that comes in pieces goes on where it was when the spool is back; the worker lives."""
    octets = (b"x" * 98 + b"\r\n") * 6000
    house.enqueue("a@x", content=octets)
    chunk, refusals = house.spool.chunk, [TryAgainError("the database is locked")] * 2

    async def refusing(content: int, sequence: int) -> bytes | None:
        if sequence == 1 and refusals:
            raise refusals.pop()
        return await chunk(content, sequence)

    house.spool.chunk = refusing  # type: ignore[method-assign]  # of this house alone
    async with sink() as (running, inbox):
        await house.drain(running)
    assert (inbox.copies, refusals) == ({"a@x": 1}, [])
    assert inbox.digests == {hashlib.sha256(octets).hexdigest()}


async def test_lost_again_and_again_is_repeated_once_a_claim(house: House, autojump_clock: MockClock) -> None:
    """The second loss in a row is an attempt that failed: what always breaks a session does not go round."""
    message = house.enqueue("a@x")
    async with sink(drops=(Drop(DropAt.RCPT),)) as (running, _):
        await house.drain(running, until_empty=False)
        assert running.counters.connections == 2
    assert house.story(message) == [("a@x", 1, "deferred", False)]


async def test_lost_after_the_dot_is_uncertain_and_recorded(house: House, autojump_clock: MockClock) -> None:
    """The copy arrived, its answer did not: the second copy has its uncertain attempt in the ledger."""
    message = house.enqueue("a@x")
    async with sink(drops=(Drop(DropAt.AFTER_DOT, 2),)) as (running, inbox):
        house.enqueue("zero@x")
        await house.drain(running, sessions=1)
    story = house.story(message)
    assert story in (
        [("a@x", 1, "deferred", True), ("a@x", 2, "delivered", False)],
        [("a@x", 1, "delivered", False)],
    )
    uncertain = sum(e.uncertain for m in (message,) for e in house.store.ledger_of(m))
    total = sum(inbox.copies.values())
    others = [e for e in house.store.ledger_for("zero@x", limit=9) if e.uncertain]
    assert total == 2 + uncertain + len(others)
    assert uncertain + len(others) == 1


@pytest.mark.parametrize(
    "without", [frozenset(), frozenset({"ENHANCEDSTATUSCODES"}), frozenset({"PIPELINING"})]
)
@pytest.mark.parametrize("fault", [{"one_reply": True}, {"replies": -1}, {"replies": 1}])
async def test_a_server_that_miscounts_its_replies_makes_no_false_success(
    house: House, autojump_clock: MockClock, fault: dict[str, Any], without: set[str]
) -> None:
    """One reply for all, one too few, one too many: whatever is called delivered was delivered."""
    soon = EPOCH + 300_000_000
    messages = [house.enqueue(*[f"m{m}r{i}@x" for i in range(4)], expires=soon) for m in range(6)]
    async with sink(without=frozenset(without), **fault) as (running, inbox):
        await house.drain(running, sessions=2, timeouts=Timeouts(final=Duration(30)))
    for message in messages:
        for address, _, outcome, _ in house.story(message):
            assert outcome != "failed"
            assert outcome != "delivered" or inbox.copies[address] >= 1
    for address, copies in inbox.copies.items():
        uncertain = [e for e in house.store.ledger_for(address, limit=99) if e.uncertain]
        assert copies <= 1 + len(uncertain)


async def test_too_many_recipients_is_learnt_in_the_same_attempt(
    house: House, autojump_clock: MockClock
) -> None:
    """452 4.5.3 after some were accepted sends the rest in the next transaction, at once."""
    message = house.enqueue(*[f"r{i}@x" for i in range(25)])
    async with sink(max_recipients=10) as (running, inbox):
        await house.drain(running)
    assert len(inbox.copies) == 25
    assert set(inbox.copies.values()) == {1}
    assert {line[1:] for line in house.story(message)} == {(1, "delivered", False)}


@pytest.mark.parametrize(
    ("script", "content", "says"),
    [
        ({"without": frozenset({"8BITMIME"})}, "Subject: ü\r\n\r\n".encode(), "5.6.3"),
        ({"size_limit": 1000}, b"x" * 998 + b"\r\n" + b"y" * 10 + b"\r\n", "5.3.4"),
    ],
)
async def test_what_the_server_cannot_take_fails_with_its_reason(
    house: House, autojump_clock: MockClock, script: dict[str, Any], content: bytes, says: str
) -> None:
    """8-bit without 8BITMIME and a message over SIZE fail by a local rule; nothing is rewritten or sent."""
    message = house.enqueue("a@x", content=content)
    async with sink(**script) as (running, inbox):
        await house.drain(running)
    (entry,) = house.store.ledger_of(message)
    assert (entry.outcome, entry.enhanced, entry.stage) == ("failed", says, "local")
    assert inbox.copies == {}


async def test_smtputf8_addresses_need_smtputf8(house: House, autojump_clock: MockClock) -> None:
    """An address outside ASCII travels only where SMTPUTF8 is announced."""
    message = house.enqueue("jörg@x", smtputf8=True)
    async with sink(without=frozenset({"SMTPUTF8"})) as (running, _):
        await house.drain(running)
    assert house.store.ledger_of(message)[0].enhanced == "5.6.7"
    house.enqueue("jörg@x", smtputf8=True)
    async with sink() as (running, inbox):
        await house.drain(running)
    assert inbox.copies == {"jörg@x": 1}


async def test_plain_addresses_do_not_suffer_from_an_internationalised_one(
    house: House, autojump_clock: MockClock
) -> None:
    """Only the recipient that needs SMTPUTF8 fails where it is not to be had; the event tells of it."""
    message = house.enqueue("bob@x", "jörg@x", "carol@x", smtputf8=True)
    async with sink(without=frozenset({"SMTPUTF8"})) as (running, inbox):
        await house.drain(running)
    assert inbox.copies == {"bob@x": 1, "carol@x": 1}
    assert {line[0]: line[2] for line in house.story(message)} == {
        "bob@x": "delivered",
        "jörg@x": "failed",
        "carol@x": "delivered",
    }
    told = [event for event in house.events if isinstance(event, TransactionEnded)]
    assert {(event.mode, len(event.results)) for event in told} == {("none", 1), ("pipelined", 2)}


async def test_large_message_is_streamed_whole(house: House, autojump_clock: MockClock) -> None:
    """A content of several chunks arrives as it was stored, to each of its transactions."""
    content = b"Subject: big\r\n\r\n" + b"".join(b".%06d %s\r\n" % (i, b"x" * 60) for i in range(10_000))
    house.enqueue("a@x", "b@x", content=content)
    async with sink() as (running, inbox):
        await house.drain(running, recipients=1)
    assert inbox.copies == {"a@x": 1, "b@x": 1}
    assert inbox.digests == {hashlib.sha256(content).hexdigest()}


async def test_time_over_expires(house: House, autojump_clock: MockClock) -> None:
    """A recipient that is deferred for its whole lifetime ends as expired, on time."""
    message = house.enqueue("slow@x", expires=EPOCH + 100_000_000)
    async with sink(at_rcpt=(Rule("slow*", LATER),)) as (running, _):
        await house.drain(running)
    story = house.story(message)
    assert story[-1][2] == "expired"
    assert len(story) >= 3
    assert all(line[2] == "deferred" for line in story[:-1])
    told = [event for event in house.events if isinstance(event, TransactionEnded)]
    assert (told[-1].mode, told[-1].results[0].outcome) == ("none", "expired")
    last = max(e.at for e in house.store.ledger_of(message))
    assert 100_000_000 <= last - EPOCH < 101_000_000


async def test_time_is_over_by_the_clock_of_the_result(house: House, autojump_clock: MockClock) -> None:
    """A clock that is set back while it is claimed: what has time left after all is delivered."""
    message = house.enqueue("late@x", expires=EPOCH + 100_000_000)
    ahead = 200_000_000
    claim = house.spool.claim

    async def claim_and_set_back(*args: Any, **kwargs: Any) -> list[Claim]:  # noqa: ANN401  # as they are
        nonlocal ahead
        claims = await claim(*args, **kwargs)
        ahead = 0
        return claims

    house.spool.claim = claim_and_set_back  # type: ignore[method-assign]  # it stands for a slow database
    async with sink() as (running, inbox):
        await house.worker({"default": route_to(running)}, clock=lambda: clock() + ahead).run()
    assert inbox.copies == {"late@x": 1}
    assert [line[2] for line in house.story(message)] == ["delivered"]


async def test_dead_route_costs_one_attempt_a_probe_and_does_not_hold_up_another(
    house: House, autojump_clock: MockClock
) -> None:
    """1,000 messages to a dead route: the living one is served, the rest stays untouched in the queue."""
    for i in range(200):
        house.enqueue(f"d{i}@x", route="dead")
        house.enqueue(f"a{i}@x", route="alive")
    async with sink() as (running, inbox):
        routes = {
            "dead": route_to(running),
            "alive": route_to(running),
        }
        routes["dead"] = type(routes["dead"])(
            destinations=["unix:/nonexistent/lmtp"], retry=routes["dead"].retry
        )
        await house.worker(routes, until_empty=False).run()
    assert len(inbox.copies) == 200
    outcomes = house.outcomes()
    assert outcomes["delivered"] == 200
    assert outcomes["deferrals"] <= 3
    assert outcomes["waiting"] >= 197
    assert "active" not in outcomes
    downs = [event for event in house.events if isinstance(event, RouteDown)]
    assert 1 <= len(downs) <= 3
    assert "no such file or directory" in downs[0].why


async def test_failover_takes_the_next_destination(house: House, autojump_clock: MockClock) -> None:
    """When the first destination does not answer, the second gets everything and nothing is deferred."""
    for i in range(30):
        house.enqueue(f"r{i}@x")
    async with sink(max_connections=0) as (refusing, none), sink() as (running, inbox):
        await house.drain(refusing, running)
    assert len(inbox.copies) == 30
    assert none.copies == {}
    assert house.outcomes() == {"delivered": 30}


async def test_round_robin_uses_all(house: House, autojump_clock: MockClock) -> None:
    """Connections go to each destination in turn."""
    for i in range(400):
        house.enqueue(f"r{i}@x")
    async with sink() as (one, inbox1), sink() as (two, inbox2):
        await house.drain(one, two, balance="round-robin", sessions=4)
    assert sum(inbox1.copies.values()) + sum(inbox2.copies.values()) == 400
    assert min(len(inbox1.copies), len(inbox2.copies)) > 50


async def test_smtp_server_is_not_taken_for_lmtp(house: House, autojump_clock: MockClock) -> None:
    """A target that refuses LHLO defers the recipient with the server's words; nobody fails."""
    message = house.enqueue("a@x")
    async with sink(smtp=True) as (running, _):
        await house.drain(running, until_empty=False)
    (*_, entry) = house.store.ledger_of(message)
    assert entry.outcome == "deferred"
    assert "refused at lhlo" in entry.text


@pytest.mark.parametrize(
    "at", [DropAt.GREETING, DropAt.LHLO, DropAt.MAIL, DropAt.RCPT, DropAt.DATA, DropAt.BODY]
)
async def test_drops_before_the_end_never_lose_nor_double(
    house: House, autojump_clock: MockClock, at: DropAt
) -> None:
    """A server that hangs up at any stage before the end every third time: each mail arrives once."""
    for i in range(40):
        house.enqueue(f"r{i}@x", content=b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n")
    async with sink(drops=(Drop(at, 3),)) as (running, inbox):
        await house.drain(running, sessions=3)
    assert inbox.copies == {f"r{i}@x": 1 for i in range(40)}


async def test_421_after_some_transactions_is_no_failure(house: House, autojump_clock: MockClock) -> None:
    """A server that closes each session after three transactions gets the rest in new sessions."""
    for i in range(20):
        house.enqueue(f"r{i}@x")
    async with sink(max_transactions=3) as (running, inbox):
        await house.drain(running, sessions=2)
    assert inbox.copies == {f"r{i}@x": 1 for i in range(20)}
    assert house.outcomes()["delivered"] == 20


async def test_slow_final_replies_do_not_stop_other_sessions(house: House, autojump_clock: MockClock) -> None:
    """With a final reply every 5 s and 10 sessions, 40 messages take about 20 s, not 200."""
    for i in range(40):
        house.enqueue(f"r{i}@x")
    async with sink(delays={Stage.FINAL: 5.0}) as (running, inbox):
        began = trio.current_time()
        await house.drain(running, sessions=10)
        took = trio.current_time() - began
    assert len(inbox.copies) == 40
    assert 15 < took < 45


async def test_transactions_are_told_with_their_mode(house: House, autojump_clock: MockClock) -> None:
    """Every transaction is one event that holds the result of each of its recipients; no doubt arose."""
    house.enqueue("a@x", "b@x")
    house.enqueue("c@x")
    async with sink(without=frozenset({"CHUNKING"})) as (running, _):
        await house.drain(running, sessions=1)
    told = [event for event in house.events if isinstance(event, TransactionEnded)]
    assert sorted(r.address for event in told for r in event.results) == ["a@x", "b@x", "c@x"]
    assert {event.mode for event in told} == {"pipelined"}
    assert not [event for event in house.events if isinstance(event, Doubt)]
