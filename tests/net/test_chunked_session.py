"""Sessions that send whole transactions back to back: bursts, streams, backpressure, leave to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from spooler.lmtp.outgoing import BURST
from spooler.net.lost import SessionLostError
from spooler.reply import Stage
from tests.lmtp.peer import chunked
from tests.net.peer import CHUNKING_HELLO, Script, connected

if TYPE_CHECKING:
    from spooler.net.session import Session

BODY = b"Subject: x\r\n\r\n.dot\r\n"
MAIL_RCPT = b"MAIL FROM:<a@x>\r\nRCPT TO:<r0@x>\r\n"
ONE = MAIL_RCPT + b"BDAT %d LAST\r\n%b" % (len(BODY), BODY) + b"RSET\r\n"
ACCEPT = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n"
DONE = b"250 2.0.0 saved\r\n250 2.0.0 reset\r\n"


async def run(session: Session, script: Script) -> None:
    """Greet, work the script off, close."""
    await session.greet("client")
    await session.run(script)
    session.close()


def sends(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the size of every block that is handed to the kernel from now on."""
    sizes: list[int] = []
    send = session._transport.send

    def noted(data: memoryview) -> int:
        sizes.append(len(data))
        return send(data)

    monkeypatch.setattr(session._transport, "send", noted)
    return sizes


async def test_from_probation_to_bursts() -> None:
    """DATA, then BDAT by itself, then as many as are there in one burst that ends with RSET."""
    script = Script(*[BODY] * 6)
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(run, session, script)
        await peer.greet(CHUNKING_HELLO)
        assert await peer.hear(b"DATA\r\n") == MAIL_RCPT + b"DATA\r\n"
        await peer.say(ACCEPT + b"354 go\r\n")
        await peer.hear(b"\r\n.\r\n")
        await peer.say(b"250 2.0.0 saved\r\n")
        assert await peer.hear(BODY) == b"RSET\r\n" + ONE[: -len(b"RSET\r\n")]
        await peer.say(b"250 2.0.0 reset\r\n" + ACCEPT + b"250 2.0.0 saved\r\n")
        assert await peer.hear(ONE * 4) == ONE * 4
        await peer.say((ACCEPT + DONE) * 4)
    assert [t.proven for t in script.done] == [True] * 6


async def test_a_burst_is_one_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole transactions are joined for one system call, up to a bound."""
    small, large = Script(*[BODY] * 16), Script(*[b"x" * 9998 + b"\r\n"] * 16)
    for script in (small, large):
        async with connected(trust=chunked()) as (session, peer), trio.open_nursery() as nursery:
            nursery.start_soon(session.greet, "client")
            await peer.greet(CHUNKING_HELLO)
            await trio.testing.wait_all_tasks_blocked()
            sizes = sends(session, monkeypatch)
            nursery.start_soon(session.run, script)
            heard = 0
            while heard < 16:
                heard += (await peer.hear(b"RSET\r\n")).count(b"MAIL")
            await peer.say((ACCEPT + DONE) * 16)
        assert len(script.done) == 16
        assert len(sizes) == (1 if script is small else 2)
        assert max(sizes) <= BURST


async def test_depth_is_the_callers() -> None:
    """No more than so many are out at a time."""
    script = Script(*[BODY] * 5)
    async with connected(trust=chunked()) as (session, peer), trio.open_nursery() as nursery:
        session.depth = 2
        assert (session.depth, session.open) == (2, 0)
        nursery.start_soon(run, session, script)
        await peer.greet(CHUNKING_HELLO)
        assert await peer.hear(ONE * 2) == ONE * 2
        assert session.open == 2
        await peer.say((ACCEPT + DONE) * 2)
        # the second was answered, but what proves it comes with the third
        for _ in range(3):
            assert await peer.hear(ONE) == ONE
            assert session.open == 2
            await peer.say(ACCEPT + DONE)
    assert len(script.done) == 5


async def test_large_content_goes_in_chunks_and_the_last_waits_for_the_others() -> None:
    """Each piece is a chunk; nothing is stuffed; the next transaction follows the last at once."""
    script = Script([b"a\r\n", b".\r\n", b"end\r\n"], BODY)
    async with connected(trust=chunked()) as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(run, session, script)
        await peer.greet(CHUNKING_HELLO)
        await peer.hear(b"BDAT 3\r\na\r\nBDAT 3\r\n.\r\n")
        await peer.say(ACCEPT + b"250 2.0.0 taken\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await peer.say(b"250 2.0.0 taken\r\n")
        assert await peer.hear(ONE) == b"BDAT 5 LAST\r\nend\r\nRSET\r\n" + ONE
        await peer.say(DONE + ACCEPT + DONE)
    assert len(script.done) == 2


@pytest.mark.parametrize(
    "answers", [ACCEPT + b"452 4.3.1 full\r\n", b"250 2.1.0 ok\r\n550 5.1.1 no\r\n503 5.5.0 nobody\r\n"]
)
async def test_the_rest_of_a_large_content_is_not_sent_to_a_server_that_refused(answers: bytes) -> None:
    """What was not wanted ends with RSET, and the session goes on."""
    script = Script([b"a\r\n", b"b\r\n", b"end\r\n"], BODY)
    async with connected(trust=chunked()) as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(run, session, script)
        await peer.greet(CHUNKING_HELLO)
        await peer.hear(b"BDAT 3\r\nb\r\n")
        await peer.say(answers + b"503 5.5.0 failed\r\n")
        assert await peer.hear(ONE) == b"RSET\r\n" + ONE
        await peer.say(b"250 2.0.0 reset\r\n" + ACCEPT + DONE)
    refused, good = script.done
    assert (refused.uncertain, refused.final) == (False, [None])
    assert good.final[0] is not None


async def test_refused_in_the_middle_of_a_stream() -> None:
    """A refusal that comes while the content is read stops the reading."""
    script = Script([b"x" * 70_000] * 100, BODY)
    async with connected(buffer=4096, trust=chunked()) as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(run, session, script)
        await peer.greet(CHUNKING_HELLO)
        heard = bytes(await peer.stream.receive_some())
        await peer.say(ACCEPT + b"452 4.3.1 full\r\n")
        heard += await peer.hear(b"RSET\r\n" + ONE)
        refused = heard.count(b"BDAT 70000\r\n")
        assert 1 <= refused < 10
        await peer.say(b"503 5.5.0 failed\r\n" * (refused - 1) + b"250 2.0.0 reset\r\n" + ACCEPT + DONE)
    assert [t.uncertain for t in script.done] == [False, True]


async def test_two_full_sides_do_not_wait_for_each_other() -> None:
    """A server that reads no more before it could write is read from while we write."""
    content = b"x" * 998 + b"\r\n"
    script = Script(*[content] * 400)
    async with connected(buffer=4096, trust=chunked()) as (session, peer), trio.open_nursery() as nursery:
        session.depth = 400
        nursery.start_soon(run, session, script)
        await peer.greet(CHUNKING_HELLO)
        unit = len(MAIL_RCPT + b"BDAT 1000 LAST\r\n" + content + b"RSET\r\n")
        read = answered = 0
        with trio.fail_after(30):
            while answered < 400:
                read += len(await peer.stream.receive_some(4096))
                due = read // unit
                await peer.say(
                    (ACCEPT + b"250 2.0.0 " + b"y" * 300 + b"\r\n250 2.0.0 reset\r\n") * (due - answered)
                )
                answered = due
    assert len(script.done) == 400


async def test_leave_that_runs_out_while_the_server_takes_nothing() -> None:
    """An end-of-data that is queued is not sent when the worker lost the right to meanwhile."""
    content = b"x" * 70_000 + b"\r\n"
    leave = True
    script = Script(*[content] * 3, may_end=lambda: leave)
    async with connected(buffer=4096, trust=chunked()) as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            nonlocal leave
            await peer.greet(CHUNKING_HELLO)
            await trio.testing.wait_all_tasks_blocked()
            leave = False
            await peer.rest()

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError, match="may not send end-of-data"):
            await session.run(script)
        assert [t.uncertain for t in session.unfinished()] == [False] * 3
        session.close()


async def test_lost_in_a_burst_each_is_judged_by_what_was_taken() -> None:
    """Proven, begun to be answered, handed over, not handed over: one session's end means four things."""
    contents = [BODY, BODY, BODY, b"x" * 900_000 + b"\r\n"]
    script = Script(*contents)
    async with connected(buffer=4096, trust=chunked()) as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet(CHUNKING_HELLO)
            heard = b""
            while heard.count(b"RSET\r\n") < 3:
                heard += await peer.stream.receive_some(64)
            await peer.say(ACCEPT + DONE + ACCEPT)
            await peer.hang_up()

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError):
            await session.run(script)
        done, begun, handed_over, safe = [*script.done, *session.unfinished()]
    assert (done.proven, done.tag) == (True, 0)
    assert (begun.uncertain, begun.envelope_provisional, begun.accepted) == (True, False, [0])
    assert (handed_over.uncertain, handed_over.envelope_provisional) == (True, True)
    assert (safe.uncertain, safe.tag) == (False, 3)


async def test_the_last_of_a_burst_has_a_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """A reply too few leaves the RSET behind it unanswered, and that does not last for ever."""
    script = Script(BODY, recipients=2)
    async with connected(trust=chunked()) as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet(CHUNKING_HELLO)
            await peer.hear(b"RSET\r\n")
            await peer.say(b"250 2.1.0 ok\r\n" + b"250 2.1.5 ok\r\n" * 2 + DONE)

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError, match="no reply to rset within 300 s") as caught:
            await session.run(script)
        (transaction,) = session.unfinished()
    assert caught.value.stage is Stage.RSET
    assert (transaction.uncertain, transaction.final_provisional) == (True, True)


@pytest.mark.parametrize("large", [b"x" * 900_000 + b"\r\n", [b"x" * 200_000 + b"\r\n"] * 5])
async def test_what_was_answered_is_told_while_more_goes_out(large: bytes | list[bytes]) -> None:
    """A server that answers the first and stops reading in the next: who cancels the session then finds the
    first one finished, and nothing of it among the unfinished."""
    script = Script(BODY, BODY, large)
    async with connected(buffer=4096, trust=chunked()) as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet(CHUNKING_HELLO)
            heard = b""
            while heard.count(b"RSET\r\n") < 2:
                heard += await peer.stream.receive_some(64)
            await peer.say(ACCEPT + DONE + ACCEPT + DONE + ACCEPT)

        nursery.start_soon(server)
        await session.greet("client")
        told: list[int] = []
        with trio.move_on_after(20) as scope:
            async with trio.open_nursery() as running:
                running.start_soon(session.run, script)
                while len(script.done) < 2:
                    await trio.lowlevel.checkpoint()
                told.append(len(script.done))  # before anything ends the session
                await trio.testing.wait_all_tasks_blocked(0.01)
                scope.cancel()
        assert scope.cancelled_caught
        assert told == [2]
        assert [t.tag for t in script.done] == [0, 1]
        assert [t.tag for t in session.unfinished()] == [2]
        session.close()
