"""The transport of TLS, in memory: what counts as handed over, what can be read, and how it ends."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trio

from spooler.net.tls import RECORD
from tests.net.memory import Pair

if TYPE_CHECKING:
    from tests.certificates import Files

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


async def agreed(certificates: Files, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Pair:
    """A pair that has agreed on TLS."""
    pair = Pair(certificates.server, version=version)
    await pair.agree()
    return pair


@versions
async def test_both_sides_hear_each_other(certificates: Files, version: ssl.TLSVersion) -> None:
    """Octets arrive as they were, in both directions and of any number."""
    pair = await agreed(certificates, version)
    for size in (1, 100, RECORD, RECORD + 1, 5 * RECORD):
        data = bytes(i % 251 for i in range(size))
        assert pair.client.send(data) == size
        assert pair.said() == data
        pair.say(data[: 4 * RECORD])
        assert pair.client.receive() == data[: 4 * RECORD]
    assert pair.client.receive() is None


@versions
@pytest.mark.parametrize("size", [1, 3, 100, RECORD, RECORD + 1, 3 * RECORD + 7])
async def test_what_is_not_readable_is_not_handed_over(
    certificates: Files, version: ssl.TLSVersion, size: int
) -> None:
    """Wherever the kernel takes no more: what was reported is exactly what the server can read, and what was
    not is sent once there is room, and once only."""
    data = bytes(i % 251 for i in range(size))
    whole = await agreed(certificates, version)
    assert whole.client.send(data) == size
    length = len(whole.wire.taken)
    for room in {0, 1, 5, 22, length // 3, length // 2, length - 1}:
        if room >= length:
            continue
        pair = await agreed(certificates, version)
        pair.wire.room = room
        taken = pair.client.send(data)
        assert taken < size
        assert pair.said() == data[:taken]
        assert pair.client.send(data[taken:]) == 0
        assert pair.said() == b""
        pair.wire.room = None
        assert pair.client.send(data[taken:]) == size - taken
        assert pair.said() == data[taken:]


async def test_one_octet_of_room_at_a_time(certificates: Files) -> None:
    """A kernel that takes single octets gets every record whole in the end, with nothing twice."""
    pair = await agreed(certificates)
    data = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\n"
    reported = 0
    for _ in range(500):
        pair.wire.room = 1
        reported += pair.client.send(data[reported:])
        if reported == len(data):
            break
    assert pair.said() == data


async def test_a_record_that_was_begun_is_never_completed_by_closing(certificates: Files) -> None:
    """Who gives up in between may say that nothing was delivered: the server never can read it."""
    pair = await agreed(certificates)
    pair.wire.room = 20
    assert pair.client.send(b".\r\n") == 0
    pair.wire.room = None
    pair.client.close()
    assert pair.wire.closed
    assert pair.said() == b""


async def test_closing_in_order_says_so(certificates: Files) -> None:
    """The server can tell it from a cut (close_notify)."""
    pair = await agreed(certificates)
    pair.client.send(b"QUIT\r\n")
    pair.client.close()
    pair.client.close()
    pair._in.write(pair.wire.taken)
    assert pair.server.read(100) == b"QUIT\r\n"
    assert pair.server.read(100) == b""  # an end that was cut would raise


async def test_tickets_are_nothing_to_read(certificates: Files) -> None:
    """TLS 1.3 servers send them behind the handshake, late: an idle connection can be used all the same."""
    pair = await agreed(certificates)
    pair.client.send(b"x")
    pair.said()
    pair.say(b"")
    assert pair.client.receive() is None
    pair.say(b"250 ok\r\n")
    assert pair.client.receive() == b"250 ok\r\n"


async def test_many_records_in_one_block(certificates: Files) -> None:
    """All that was read is decrypted at once: nothing is left where the poller cannot see it."""
    pair = await agreed(certificates)
    for i in range(50):
        pair.say(b"250 %d\r\n" % i)
    assert pair.client.receive() == b"".join(b"250 %d\r\n" % i for i in range(50))
    assert pair.client.receive() is None


async def test_half_a_record_is_waited_for(certificates: Files) -> None:
    """It tells nothing until the rest is there."""
    pair = await agreed(certificates)
    pair.server.write(b"250 ok\r\n")
    record = pair._out.read()
    for at in range(len(record)):
        assert pair.client.receive() is None
        pair.wire.given += record[at : at + 1]
    assert pair.client.receive() == b"250 ok\r\n"


async def test_a_greeting_right_behind_the_handshake(certificates: Files) -> None:
    """It was read with the handshake, and nothing else comes: who waits is not left waiting."""
    pair = Pair(certificates.server, version=ssl.TLSVersion.TLSv1_2)
    await pair.agree(then=b"220 host\r\n")
    assert pair.wire.given == b""
    assert await pair.client.wait(write=False, deadline=trio.current_time())
    assert pair.client.receive() == b"220 host\r\n"
    assert not await pair.client.wait(write=False, deadline=trio.current_time())


@versions
async def test_an_end_in_order(certificates: Files, version: ssl.TLSVersion) -> None:
    """With close_notify: what came before it is given first, then the end, again and again."""
    pair = await agreed(certificates, version)
    pair.say(b"221 bye\r\n", then_close=True)
    assert pair.client.receive() == b"221 bye\r\n"
    assert await pair.client.wait(write=False, deadline=trio.current_time())
    assert pair.client.receive() == b""
    assert pair.client.receive() == b""


@versions
async def test_a_cut_is_no_end(certificates: Files, version: ssl.TLSVersion) -> None:
    """Without close_notify anybody may have cut the connection: that is an error, behind what came before."""
    pair = await agreed(certificates, version)
    pair.say(b"250 ok\r\n")
    pair.wire.ended = True
    assert pair.client.receive() == b"250 ok\r\n"
    for _ in range(2):
        with pytest.raises(OSError, match="cut off"):
            pair.client.receive()


async def test_a_forged_octet_is_no_reply(certificates: Files) -> None:
    """What was changed on the way is an error, and what came before it stands."""
    pair = await agreed(certificates)
    pair.say(b"250 ok\r\n")
    before = pair.wire.given
    pair.wire.given = b""
    pair.say(b"250 done\r\n")
    forged = bytearray(pair.wire.given)
    forged[-1] ^= 1
    pair.wire.given = before + bytes(forged)
    assert pair.client.receive() == b"250 ok\r\n"
    with pytest.raises(OSError, match="a fault of TLS: decryption failed or bad record mac"):
        pair.client.receive()


async def test_the_end_is_told_to_who_attends(certificates: Files) -> None:
    """It came with the last data, and the transport below has no more to tell: it is told at once."""
    pair = await agreed(certificates)
    pair.say(b"421 bye\r\n", then_close=True)
    heard: list[bytes | None] = []

    def attend() -> float | None:
        heard.append(pair.client.receive())
        return None if heard[-1] == b"" else trio.current_time()

    async def wait(*, attend: object, **_: object) -> bool:
        assert callable(attend)
        attend()
        return True

    pair.wire.wait = wait  # type: ignore[assignment, method-assign]  # the transport below attends once
    await pair.client.wait(write=False, deadline=trio.current_time(), attend=attend)
    assert heard == [b"421 bye\r\n", b""]
