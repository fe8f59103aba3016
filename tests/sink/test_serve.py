"""The sink as its clients see it: plain service and every fault of the script."""

from __future__ import annotations

import smtplib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from spooler.destination import InetDestination, UnixDestination
from spooler.errors import CannotCreateError, HostError, NotPermittedError, UsageError
from spooler.reply import Stage
from spooler.sink.script import DEFER, REFUSE, Drop, DropAt, Rule, Script
from spooler.sink.server import converse, parse_listen, serve
from spooler.sink.state import Sink, SinkOptions
from tests.sink.client import CONTENT, STUFFED, Client, envelope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from spooler.sink.store import Letter

DOTS = [DropAt.BODY, DropAt.BEFORE_DOT, DropAt.AFTER_DOT]


@asynccontextmanager
async def sinking(
    *,
    options: SinkOptions | None = None,
    **script: Any,  # noqa: ANN401 - the fields of Script
) -> AsyncIterator[Sink]:
    """Run a sink by a script on a free port."""
    async with trio.open_nursery() as nursery:
        sink: Sink = await nursery.start(serve, options or SinkOptions(script=Script(**script)))
        yield sink
        nursery.cancel_scope.cancel()


async def test_a_message_is_taken_and_counted() -> None:
    """Plain service: every recipient gets its reply, and the totals tell."""
    async with sinking() as sink, await Client.open(sink.bound[0]) as client:
        assert await client.reply() == ["220 sink.localhost LMTP"]
        assert (await client.say("LHLO c"))[0] == "250-sink.localhost"
        assert await client.transact("a@x", "b@x", "a@x") == ["250 2.0.0 delivered"] * 3
        assert await client.say("QUIT") == ["221 2.0.0 bye"]
        assert await client.rest() == ""
    counters = sink.counters
    assert (counters.connections, counters.transactions, counters.accepted) == (1, 1, 3)
    assert (counters.delivered, counters.bytes, counters.refused, counters.deferred) == (
        3,
        3 * len(CONTENT),
        0,
        0,
    )
    assert sink.open_connections == 0


async def test_a_burst_is_answered_by_one_write() -> None:
    """The finals of a message and the answers to the next envelope, sent in one block, come in one block."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with sinking() as sink, trio.open_nursery() as nursery:
        nursery.start_soon(converse, sink, theirs)
        client = Client(ours)
        await client.reply()
        await client.say("LHLO c")
        await client.mail("a@x", "b@x")
        client.blocks.clear()
        await client.send(STUFFED + envelope(["c@x"]))
        assert await client.replies(5) == [
            *["250 2.0.0 delivered"] * 2,
            "250 2.1.0 sender ok",
            "250 2.1.5 recipient ok",
            "354 end with a line that holds a dot alone",
        ]
        assert len(client.blocks) == 1
        await ours.aclose()


async def test_the_standard_library_gets_along_with_it() -> None:
    """smtplib.LMTP delivers, and sees the refusals of single recipients."""
    async with sinking(at_rcpt=(Rule("bad@*", REFUSE),)) as sink:
        destination = sink.bound[0]
        assert isinstance(destination, InetDestination)

        def talk() -> dict[str, tuple[int, bytes]]:
            with smtplib.LMTP(destination.host, destination.port) as client:
                return client.sendmail("s@x", ["a@x", "bad@x"], CONTENT, mail_options=["BODY=8BITMIME"])

        assert await trio.to_thread.run_sync(talk) == {"bad@x": (550, b"5.1.1 no such user")}
        assert sink.counters.delivered == 1


async def test_recipients_are_refused_and_deferred_at_rcpt() -> None:
    """By pattern; the others of the message are delivered."""
    async with (
        sinking(at_rcpt=(Rule("r*", REFUSE), Rule("d*", DEFER)), times=1) as sink,
        await Client.hello(sink.bound[0]) as client,
    ):
        replies = await client.mail("a@x", "r@x", "d@x")
        assert [reply[:9] for reply in replies] == [
            "250 2.1.0",
            "250 2.1.5",
            "550 5.1.1",
            "451 4.3.0",
            "354 end w",
        ]
        await client.send(STUFFED)
        assert await client.replies(1) == ["250 2.0.0 delivered"]
        assert len(await client.transact("d@x")) == 1
    assert (sink.counters.refused, sink.counters.deferred, sink.counters.delivered) == (1, 1, 2)


async def test_recipients_are_refused_and_deferred_in_the_final_reply() -> None:
    """Each in its own slot."""
    async with (
        sinking(at_final=(Rule("r*", REFUSE), Rule("d*", DEFER))) as sink,
        await Client.hello(sink.bound[0]) as client,
    ):
        replies = await client.transact("a@x", "r@x", "d@x", "b@x")
        assert [reply[:3] for reply in replies] == ["250", "550", "451", "250"]
    assert (sink.counters.accepted, sink.counters.delivered) == (4, 2)


@pytest.mark.parametrize("at", list(DropAt))
async def test_the_connection_is_dropped_at_any_stage(at: DropAt) -> None:
    """What came before is answered, then the connection ends; only after the dot mail was delivered."""
    async with sinking(drops=(Drop(at),)) as sink, await Client.open(sink.bound[0]) as client:
        got = [await client.reply() != []]
        got.append(await client.say("LHLO c") != [])
        got += [await client.say(command) != [] for command in ("MAIL FROM:<s@x>", "RCPT TO:<a@x>", "DATA")]
        await client.send(STUFFED)
        assert await client.rest() == ""
    stages = [DropAt.GREETING, DropAt.LHLO, DropAt.MAIL, DropAt.RCPT, DropAt.DATA]
    answered = stages.index(at) if at in stages else 5
    assert got == [True] * answered + [False] * (5 - answered)
    assert sink.counters.faults == {f"drop {at}": 1}
    assert sink.counters.delivered == (at is DropAt.AFTER_DOT)


async def test_earlier_replies_of_a_burst_precede_a_drop() -> None:
    """MAIL and RCPT of the same block are answered before the connection goes at DATA."""
    async with sinking(drops=(Drop(DropAt.DATA),)) as sink, await Client.hello(sink.bound[0]) as client:
        assert [reply[:3] for reply in await client.mail("a@x", "b@x")] == ["250", "250", "250", ""]


@pytest.mark.parametrize("at", DOTS)
async def test_an_empty_content_is_dropped_too(at: DropAt) -> None:
    """A lone dot passes through the same stages."""
    async with sinking(drops=(Drop(at),)) as sink, await Client.hello(sink.bound[0]) as client:
        assert await client.transact("a@x", content=b".\r\n") == [""]
    assert sink.counters.delivered == (at is DropAt.AFTER_DOT)


async def test_every_second_transaction_is_dropped() -> None:
    """Transactions are counted over all connections."""
    finals = []
    async with sinking(drops=(Drop(DropAt.AFTER_DOT, 2),)) as sink:
        for _ in range(2):
            async with await Client.hello(sink.bound[0]) as client:
                finals += await client.transact("a@x")
                finals += await client.transact("a@x")
    assert finals == ["250 2.0.0 delivered", "", "250 2.0.0 delivered", ""]
    assert sink.counters.delivered == 4


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({"replies": 1}, ["250", "550", "550"]),
        ({"replies": -1}, ["250"]),
        ({"replies": -2}, []),
        ({"one_reply": True}, ["250"]),
    ],
)
async def test_final_replies_are_too_many_or_too_few(script: dict[str, Any], expected: list[str]) -> None:
    """The wrong number of finals, and after them the dialogue goes on as if nothing were."""
    async with (
        sinking(at_final=(Rule("r*", REFUSE),), **script) as sink,
        await Client.hello(sink.bound[0]) as client,
    ):
        await client.mail("a@x", "r@x")
        await client.send(STUFFED + b"NOOP\r\n")
        replies = await client.replies(len(expected) + 1)
        assert [reply[:3] for reply in replies] == [*expected, "250"]
        assert replies[-1] == "250 2.0.0 ok"
    assert sink.counters.faults == {"replies": 1}
    assert sink.counters.delivered == 1


async def test_replies_are_delayed(autojump_clock: trio.testing.MockClock) -> None:
    """Each reply of a stage waits; what was answered before it is sent before the wait."""
    delays = {
        Stage.CONNECT: 1.0,
        Stage.LHLO: 2.0,
        Stage.MAIL: 4.0,
        Stage.RCPT: 8.0,
        Stage.DATA: 16.0,
        Stage.FINAL: 32.0,
    }
    ours, theirs = trio.testing.memory_stream_pair()
    async with sinking(delays=delays) as sink, trio.open_nursery() as nursery:
        nursery.start_soon(converse, sink, theirs)
        client = Client(ours)
        began = trio.current_time()
        times = []
        await client.reply()
        times.append(trio.current_time() - began)
        await client.send(b"LHLO c\r\n" + envelope(["a@x", "b@x"]) + STUFFED)
        for _ in range(7):
            await client.reply()
            times.append(trio.current_time() - began)
        await ours.aclose()
    assert times == [1, 3, 7, 15, 23, 39, 71, 103]


async def test_replies_are_dripped() -> None:
    """One byte a write, and the same bytes."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with sinking(drip=True) as sink, trio.open_nursery() as nursery:
        nursery.start_soon(converse, sink, theirs)
        client = Client(ours)
        assert await client.reply() == ["220 sink.localhost LMTP"]
        assert len(client.blocks) > 1
        await client.say("LHLO c")
        assert await client.transact("a@x") == ["250 2.0.0 delivered"]
        await ours.aclose()


@pytest.mark.parametrize(
    ("text", "goes_on"),
    [("220 x ESMTP", True), ("SSH-2.0-OpenSSH", True), ("", True), ("421 busy", False), ("554 no", False)],
)
async def test_the_greeting_is_odd(text: str, goes_on: bool) -> None:
    """Any line stands for the greeting; a refusing one ends the connection."""
    async with sinking(greeting=text) as sink, await Client.open(sink.bound[0]) as client:
        assert await client.line() == text
        reply = await client.say("LHLO c")
        assert bool(reply) == goes_on


async def test_a_mute_sink_never_speaks() -> None:
    """It listens until the client gives up."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with sinking(mute=True) as sink, trio.open_nursery() as nursery:
        nursery.start_soon(converse, sink, theirs)
        await ours.send_all(b"LHLO c\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await ours.send_eof()
        assert await Client(ours).rest() == ""
    assert sink.counters.faults == {"mute": 1}


async def test_capabilities_and_size_are_as_asked() -> None:
    """What is left out is not announced; the size limit holds, declared or not."""
    script: dict[str, Any] = {"without": frozenset({"PIPELINING", "ENHANCEDSTATUSCODES"}), "size_limit": 20}
    async with sinking(**script) as sink, await Client.open(sink.bound[0]) as client:
        await client.reply()
        offered = (await client.say("LHLO c"))[1:]
        assert offered == ["250-CHUNKING", "250-8BITMIME", "250-SMTPUTF8", "250-DSN", "250 SIZE 20"]
        assert await client.say("MAIL FROM:<s@x> SIZE=21") == ["552 message is over the size limit"]
        assert await client.transact("a@x", "b@x") == ["552 message is over the size limit"] * 2
        assert await client.transact("a@x", content=b"short\r\n.\r\n") == ["250 delivered"]
    assert (sink.counters.refused, sink.counters.delivered, sink.counters.bytes) == (2, 1, 7)


async def test_an_smtp_server_knows_no_lhlo() -> None:
    """LHLO gets 500, EHLO is served, and one reply, the worst, answers for all recipients."""
    async with (
        sinking(smtp=True, at_final=(Rule("d*", DEFER),)) as sink,
        await Client.open(sink.bound[0]) as client,
    ):
        assert await client.reply() == ["220 sink.localhost ESMTP"]
        assert (await client.say("LHLO c"))[0][:3] == "500"
        assert (await client.say("EHLO c"))[-1] == "250 SIZE 0"
        await client.mail("a@x", "d@x")
        await client.send(STUFFED + b"NOOP\r\n")
        assert await client.replies(2) == ["451 4.3.0 try later", "250 2.0.0 ok"]


async def test_recipients_of_a_transaction_are_limited() -> None:
    """452 beyond the limit, for those only, and afresh in the next transaction."""
    async with sinking(max_recipients=2) as sink, await Client.hello(sink.bound[0]) as client:
        for _ in range(2):
            replies = await client.mail("a@x", "b@x", "c@x")
            assert replies[3] == "452 4.5.3 too many recipients"
            await client.send(STUFFED)
            assert len(await client.replies(2)) == 2
    assert (sink.counters.deferred, sink.counters.delivered) == (2, 4)


async def test_transactions_of_a_connection_are_limited() -> None:
    """421 to the MAIL beyond, and the end; the next connection begins anew."""
    async with sinking(max_transactions=1) as sink:
        for _ in range(2):
            async with await Client.hello(sink.bound[0]) as client:
                assert len(await client.transact("a@x")) == 1
                assert (await client.say("MAIL FROM:<s@x>"))[0][:9] == "421 4.3.2"
                assert await client.rest() == ""


async def test_connections_are_limited() -> None:
    """421 instead of a greeting, while as many as allowed are open."""
    async with (
        sinking(max_connections=1) as sink,
        await Client.hello(sink.bound[0]),
        await Client.open(sink.bound[0]) as second,
    ):
        assert (await second.reply())[0][:3] == "421"
        assert await second.rest() == ""


async def test_a_reset_forgets_the_recipients() -> None:
    """What was accepted before RSET or LHLO gets neither mail nor reply."""
    async with sinking() as sink, await Client.hello(sink.bound[0]) as client:
        for command in ("RSET", "LHLO c"):
            await client.say("MAIL FROM:<s@x>")
            await client.say("RCPT TO:<gone@x>")
            await client.say(command)
            assert await client.transact("a@x") == ["250 2.0.0 delivered"]
    assert sink.counters.delivered == 2


async def test_a_client_that_goes_away_harms_nobody() -> None:
    """A connection that breaks inside the body counts no delivery, and the next one is served."""
    async with sinking() as sink:
        async with await Client.hello(sink.bound[0]) as client:
            await client.mail("a@x")
            await client.send(b"Subject: half")
        async with await Client.hello(sink.bound[0]) as client:
            assert len(await client.transact("a@x")) == 1
    assert sink.counters.delivered == 1


class Failing:
    """A store whose disk is full for some."""

    keeps = True

    async def deliver(self, letter: Letter, sender: str, recipients: Sequence[str]) -> list[bool]:
        """Take the mail of those only whose address begins with "a"."""
        return [recipient.startswith("a") for recipient in recipients]


async def test_a_store_of_ones_own_decides_by_recipient() -> None:
    """What it does not store is deferred, in its slot; who was refused is not offered to it."""
    async with trio.open_nursery() as nursery:
        options = SinkOptions(script=Script(at_final=(Rule("ar*", REFUSE),)))

        async def start(*, task_status: trio.TaskStatus[Sink]) -> None:
            await serve(options, store=Failing(), task_status=task_status)

        sink: Sink = await nursery.start(start)
        async with await Client.hello(sink.bound[0]) as client:
            replies = await client.transact("ar@x", "b@x", "a@x")
            assert [reply[:9] for reply in replies] == ["550 5.1.1", "452 4.3.1", "250 2.0.0"]
        nursery.cancel_scope.cancel()


async def test_a_unix_socket_is_private_and_goes_with_the_sink(tmp_path: Path) -> None:
    """Mode 0600; a stale one gives way; it is removed at the end."""
    path = tmp_path / "sock"
    options = SinkOptions(listen=(UnixDestination(str(path)), InetDestination("127.0.0.1", 0)))
    for _ in range(2):
        async with sinking(options=options) as sink:
            assert path.stat().st_mode & 0o777 == 0o600
            assert sink.bound[0] == options.listen[0]
            for destination in sink.bound:
                async with await Client.hello(destination) as client:
                    assert len(await client.transact("a@x")) == 1
        assert not path.exists()
        with trio.socket.socket(trio.socket.AF_UNIX) as stale:
            await stale.bind(str(path))


async def test_listening_fails_with_a_reason(tmp_path: Path) -> None:
    """Address in use, foreign address, unknown host, missing folder: each in one line that helps."""
    path = UnixDestination(str(tmp_path / "sock"))
    async with sinking(options=SinkOptions(listen=(path, InetDestination("127.0.0.1", 0)))) as sink:
        for taken in sink.bound:
            with pytest.raises(CannotCreateError, match=r"address already in use \(stop the program"):
                await serve(SinkOptions(listen=(taken,)))
    with pytest.raises(CannotCreateError, match="address of this machine"):
        await serve(SinkOptions(listen=(InetDestination("192.0.2.1", 0),)))
    with pytest.raises(HostError, match="no address found"):
        await serve(SinkOptions(listen=(InetDestination("nowhere.invalid", 0),)))
    with pytest.raises(CannotCreateError, match="no such file"):
        await serve(SinkOptions(listen=(UnixDestination(str(tmp_path / "none" / "sock")),)))
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CannotCreateError, match="in use"):
        await serve(SinkOptions(listen=(UnixDestination(str(tmp_path / "file")),)))
    assert (tmp_path / "file").read_text() == "kept"


async def test_a_reserved_port_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """EACCES at a port tells that low ports are reserved."""

    async def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(trio, "open_tcp_listeners", denied)
    with pytest.raises(NotPermittedError, match=r"inet:127.0.0.1:24: permission denied \(ports under 1024"):
        await serve(SinkOptions(listen=(InetDestination("127.0.0.1", 24),)))


def test_port_0_is_for_listening_only() -> None:
    """Any free port; everything else is read as everywhere."""
    assert parse_listen("inet:127.0.0.1:0") == InetDestination("127.0.0.1", 0)
    assert parse_listen("inet:[ipv6:::1]:0") == InetDestination("::1", 0)
    assert parse_listen("inet:127.0.0.1:10") == InetDestination("127.0.0.1", 10)
    assert parse_listen("unix:/run/x:0") == UnixDestination("/run/x:0")
    for text in ("inet:127.0.0.1:00", "inet:a:b:0", "inet::0", "0"):
        with pytest.raises(UsageError):
            parse_listen(text)


@pytest.mark.parametrize("silent", [True, False])
async def test_whole_transactions_in_chunks_are_answered_by_one_write(*, silent: bool) -> None:
    """BDAT back to back in one block: each is delivered as it is; a last chunk for nobody as asked."""
    ours, theirs = trio.testing.memory_stream_pair()
    one = b"MAIL FROM:<s@x>\r\nRCPT TO:<%b>\r\nBDAT 3\r\n.\r\nBDAT 5 LAST\r\n.\r\n.\nRSET\r\n"
    async with (
        sinking(at_rcpt=(Rule("bad*", REFUSE),), silent_for_nobody=silent) as sink,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(converse, sink, theirs)
        client = Client(ours)
        await client.reply()
        await client.say("LHLO c")
        client.blocks.clear()
        await client.send(one % b"a@x" + one % b"bad@x" + one % b"b@x")
        taken = ["250 2.0.0 3 octets taken", "250 2.0.0 delivered", "250 2.0.0 reset"]
        refused = ["503 5.5.1 no valid recipients"] * (1 if silent else 2)
        accepted = ["250 2.1.0 sender ok", "250 2.1.5 recipient ok"]
        assert await client.replies(13 + len(refused)) == [
            *(*accepted, *taken),
            *(accepted[0], "550 5.1.1 no such user", *refused, taken[2]),
            *(*accepted, *taken),
        ]
        assert len(client.blocks) == 1
        await ours.aclose()
    assert (sink.counters.delivered, sink.counters.bytes, sink.counters.refused) == (2, 16, 1)


async def test_chunks_that_are_given_up_leave_nothing(tmp_path: Path) -> None:
    """RSET, a new hello or the end of the connection between chunks: what came is dropped."""
    options = SinkOptions(maildir=tmp_path)
    chunk = b"MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3\r\nabc"
    async with sinking(options=options) as sink, await Client.hello(sink.bound[0]) as client:
        await client.send(chunk + b"RSET\r\n" + chunk + b"LHLO c\r\n" + chunk + b"BDAT 3 LAST\r\ndef")
        await client.replies(3 + 1 + 3 + 1 + 3)
        assert await client.replies(1) == ["250 2.0.0 delivered"]
        await client.send(chunk)
        await client.replies(3)
    assert _mails(tmp_path) == [b"abcdef"]


def _mails(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("new/*")]


@pytest.mark.parametrize("at", [DropAt.DATA, DropAt.BODY, DropAt.BEFORE_DOT, DropAt.AFTER_DOT])
async def test_the_connection_is_dropped_in_chunks(at: DropAt) -> None:
    """As behind DATA: at the first chunk, in its octets, before the end or behind it."""
    async with sinking(drops=(Drop(at),)) as sink, await Client.hello(sink.bound[0]) as client:
        await client.send(b"MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n")
        answered = 3 if at in (DropAt.BEFORE_DOT, DropAt.AFTER_DOT) else 2
        assert [bool(reply) for reply in await client.replies(4)] == [i < answered for i in range(4)]
    assert sink.counters.delivered == (at is DropAt.AFTER_DOT)
