"""Sessions against a scripted peer: bursts, deadlines, loss at every stage, and what it means."""

from __future__ import annotations

import pytest
import trio

from spooler.net.lost import SessionLostError
from spooler.net.transport import ConnectError
from spooler.reply import Stage
from tests.net.peer import HELLO, Peer, Script, connected

BODY = b"Subject: x\r\n\r\n.dot\r\n"
STUFFED = b"Subject: x\r\n\r\n..dot\r\n.\r\n"
ENVELOPE = b"MAIL FROM:<a@x>\r\nRCPT TO:<r0@x>\r\nDATA\r\n"
ACCEPT = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"


async def test_first_transaction_alone_then_envelopes_share_the_write_of_a_body() -> None:
    """Probation is one transaction; from then on the next envelope follows the body at once."""
    script = Script(BODY, BODY, BODY)
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(_greeted_run, session, script)
        await peer.greet()
        assert await peer.hear(b"DATA\r\n") == ENVELOPE
        await peer.say(ACCEPT)
        assert await peer.hear(b"\r\n.\r\n") == STUFFED
        await peer.say(b"250 2.0.0 first\r\n")
        assert await peer.hear(b"DATA\r\n") == ENVELOPE
        await peer.say(ACCEPT)
        assert await peer.hear(b"DATA\r\n") == STUFFED + ENVELOPE
        await peer.say(b"250 2.0.0 second\r\n" + ACCEPT)
        assert await peer.hear(b"\r\n.\r\n") == STUFFED
        await peer.say(b"250 2.0.0 third\r\n")
    finals = [t.final[0].text for t in script.done if t.final[0]]
    assert finals == ["first", "second", "third"]
    assert session.alive() is False  # it was closed


async def test_large_content_goes_in_chunks_and_is_stuffed_across_them() -> None:
    """A content that comes in pieces is sent as it comes; dots are stuffed at the seams."""
    script = Script([b"a\r\n", b".b\r", b"\n.", b"\r\n"])
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(_greeted_run, session, script)
        await peer.greet()
        await peer.hear(b"DATA\r\n")
        await peer.say(ACCEPT)
        assert await peer.hear(b"\r\n.\r\n") == b"a\r\n..b\r\n..\r\n.\r\n"
        await peer.say(b"250 2.0.0 ok\r\n")
    assert len(script.done) == 1


@pytest.mark.parametrize(
    ("says", "stage", "uncertain"),
    [
        ([], Stage.MAIL, False),
        ([b"250 2.1.0 ok\r\n"], Stage.RCPT, False),
        ([b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n"], Stage.DATA, False),
        ([ACCEPT], Stage.FINAL, True),
        ([ACCEPT, b"250"], Stage.FINAL, True),
    ],
)
async def test_loss_at_each_stage(says: list[bytes], stage: Stage, *, uncertain: bool) -> None:
    """A hang-up is told with its stage; only after the end-of-data is the transaction uncertain."""
    script = Script(BODY)
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            for part in says:
                await peer.say(part)
                if part == ACCEPT:
                    await peer.hear(b"\r\n.\r\n")
            await peer.hang_up()

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError) as caught:
            await session.run(script)
        (transaction,) = session.unfinished()
    assert caught.value.stage is stage
    assert transaction.uncertain is uncertain
    assert script.done == []


async def test_what_was_answered_before_the_loss_counts() -> None:
    """Final replies that came, followed by nothing we sent, stand; the missing one is uncertain."""
    script = Script(BODY, recipients=3)
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(b"250 2.1.0 ok\r\n" + b"250 2.1.5 ok\r\n" * 3 + b"354 go\r\n")
            await peer.hear(b"\r\n.\r\n")
            await peer.say(b"250 2.0.0 a\r\n550 5.0.0 b\r\n")
            await peer.hang_up()

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError):
            await session.run(script)
        (transaction,) = session.unfinished()
    assert [reply and reply.code for reply in transaction.final] == [250, 550, None]
    assert not transaction.final_provisional


async def test_a_reply_too_many_is_seen_before_the_result_counts() -> None:
    """More final replies than due: nothing of the transaction is finished, all of it is uncertain."""
    script = Script(BODY)
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(ACCEPT)
            await peer.hear(b"\r\n.\r\n")
            await peer.say(b"250 2.0.0 a\r\n250 2.0.0 b\r\n")

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError):
            await session.run(script)
        (transaction,) = session.unfinished()
    assert transaction.uncertain
    assert script.done == []


@pytest.mark.parametrize("drip", [b"", b"2", b"250-2.1.0 x\r\n"])
async def test_deadline_runs_per_reply_even_if_bytes_drip(
    drip: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """Silence, or a reply that never ends, is over at the deadline of the reply that is due."""
    script = Script(BODY)
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            for _ in range(5):
                await peer.say(drip)
                await trio.sleep(290)

        nursery.start_soon(server)
        await session.greet("client")
        began = trio.current_time()
        with pytest.raises(SessionLostError, match="no reply to mail within 300 s") as caught:
            await session.run(script)
        assert trio.current_time() - began == pytest.approx(300)
        assert caught.value.stage is Stage.MAIL
        nursery.cancel_scope.cancel()


async def test_final_reply_has_its_own_longer_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """Ten minutes for a final reply, counted from when it is the one that is due."""
    script = Script(BODY)
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(ACCEPT)
            await peer.hear(b"\r\n.\r\n")
            await trio.sleep(599)
            await peer.say(b"250 2.0.0 ok\r\n")

        nursery.start_soon(server)
        await session.greet("client")
        await session.run(script)
    assert len(script.done) == 1


async def test_a_peer_that_stops_reading_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """When the kernel takes no more bytes for three minutes the transaction is lost, and safe."""
    script = Script([b"x" * 70 + b"\r\n"] * 20_000)
    async with connected(buffer=4096) as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(ACCEPT)

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError, match="took no data for 180 s"):
            await session.run(script)
        (transaction,) = session.unfinished()
        assert not transaction.uncertain


async def test_an_early_refusal_in_the_body_is_heard_while_writing() -> None:
    """A server that answers before the end and reads no more does not make two sides wait forever."""
    script = Script([b"x" * 70 + b"\r\n"] * 20_000)
    async with connected(buffer=4096) as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(ACCEPT)
            await peer.say(b"552 5.3.4 too much\r\n")

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError):
            await session.run(script)
        (transaction,) = session.unfinished()
        assert not transaction.uncertain


async def test_no_end_of_data_without_leave() -> None:
    """When the source forbids it, the end-of-data is never sent and the transaction is safe."""
    script = Script(BODY, may_end=False)
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        heard: list[bytes] = []

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(ACCEPT)
            heard.append(await peer.rest())

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError, match="may not send end-of-data"):
            await session.run(script)
        (transaction,) = session.unfinished()
        assert not transaction.uncertain
        session.close()
    assert b".\r\n" not in heard[0].replace(b"..", b"")


@pytest.mark.parametrize(
    ("greeting", "says"),
    [
        (b"421 4.3.2 busy\r\n", "421 4.3.2 busy"),
        (b"554 5.7.1 go away\r\n", "554 5.7.1 go away"),
        (b"SSH-2.0-OpenSSH_9\r\n", r"protocol error.*no LMTP server.*check the port"),
        (b"", "closed the connection"),
    ],
)
async def test_refusing_or_foreign_greeting(greeting: bytes, says: str) -> None:
    """What is not a welcome is an error of the connection, in the server's words."""
    async with connected() as (session, peer):
        await peer.say(greeting)
        await peer.hang_up()
        with pytest.raises(ConnectError, match=says):
            await session.greet("client")


@pytest.mark.parametrize("behind", [b"421 4.3.2 shutting down\r\n", b"250 what\r\n", b"what?\r\n", b""])
@pytest.mark.parametrize("greeted", [False, True])
async def test_what_comes_right_behind_a_reply_before_mail(behind: bytes, *, greeted: bool) -> None:
    """Whatever it is, and if it is the end of the stream: there is no connection, and nothing worse."""
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            if greeted:
                await peer.say(b"220 host\r\n")
                await peer.hear(b"\r\n")
            await peer.say((b"250 host\r\n" if greeted else b"220 host\r\n") + behind)
            await peer.hang_up()

        nursery.start_soon(server)
        if greeted and not behind:
            await session.greet("client")  # mail finds that it has gone
            assert not session.alive()
        else:
            with pytest.raises(ConnectError):
                await session.greet("client")


async def test_server_without_lhlo_is_no_lmtp_server() -> None:
    """An SMTP server refuses LHLO; the error carries its words, and says what to check."""
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.greet, b"502 5.5.2 what?\r\n")
        with pytest.raises(ConnectError, match=r"lhlo.*502 5\.5\.2 what\? \(this is no LMTP server"):
            await session.greet("client")


async def test_refusal_of_lhlo_for_another_reason_is_left_as_it_is() -> None:
    """A server that knows LHLO and does not like us is an LMTP server."""
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.greet, b"550 5.7.1 not you\r\n")
        with pytest.raises(ConnectError, match=r"lhlo.*not you$"):
            await session.greet("client")


async def test_silence_instead_of_a_greeting(autojump_clock: trio.testing.MockClock) -> None:
    """A server that accepts and says nothing is told by what is missing."""
    async with connected() as (session, _):
        with pytest.raises(ConnectError, match=r"^no greeting within 300 s$"):
            await session.greet("client")


async def test_idle_session_is_good_until_something_arrives() -> None:
    """Before reuse a read must find nothing: neither a stale 421 nor an end of file."""
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(session.greet, "client")
        await peer.greet()
        await trio.testing.wait_all_tasks_blocked()
        assert session.alive()
        await peer.say(b"421 4.4.2 idle too long\r\n")
        assert not session.alive()
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(session.greet, "client")
        await peer.greet()
        await trio.testing.wait_all_tasks_blocked()
        await peer.hang_up()
        assert not session.alive()


async def test_quit_is_said_where_it_can_be() -> None:
    """An idle session ends with QUIT and does not wait long for the answer."""
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.greet)
        await session.greet("client")
        await session.quit()
        assert await peer.rest() == b"QUIT\r\n"


async def test_server_that_closes_in_the_middle_says_so() -> None:
    """A 421 in a slot is that slot's reply; the rest of the dialogue is over."""
    script = Script(BODY)
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await peer.greet()
            await peer.hear(b"DATA\r\n")
            await peer.say(b"250 2.1.0 ok\r\n421 4.3.2 shutting down\r\n")

        nursery.start_soon(server)
        await session.greet("client")
        with pytest.raises(SessionLostError, match="shutting down"):
            await session.run(script)
        (transaction,) = session.unfinished()
        assert transaction.rcpt[0] is not None
        assert transaction.rcpt[0].code == 421


async def _greeted_run(session: object, script: Script) -> None:
    from spooler.net.session import Session

    assert isinstance(session, Session)
    await session.greet("client")
    await session.run(script)
    session.close()


__all__ = ["HELLO", "Peer"]
