"""Asking a destination who it is: connect, greeting, LHLO, QUIT. No transaction is begun.

It waits for seconds where delivery waits for minutes: somebody looks on.
"""

from __future__ import annotations

import errno
import os
import socket
from enum import Enum
from typing import TYPE_CHECKING

import msgspec
import trio

from spooler.destination import Destination, InetDestination, UnixDestination
from spooler.lmtp import commands
from spooler.lmtp.capabilities import Capabilities
from spooler.lmtp.errors import RemoteProtocolError
from spooler.lmtp.replies import ReplyReader

if TYPE_CHECKING:
    from spooler.reply import Reply

PATIENCE = 5.0  # seconds for the connection, and for each reply
BLOCK = 4096  # bytes asked for in one read
UNKNOWN_COMMAND = frozenset({500, 502})  # RFC 5321 section 4.2.4: what a server without LHLO says to it


class Trouble(Enum):
    """Why a destination is of no use; its value is for people."""

    NO_HOST = "the host's name has no address"
    REFUSED = "nothing listens there"
    NOT_PERMITTED = "this user may not connect to it"
    UNREACHABLE = "it cannot be reached"
    SILENT = "it does not answer"
    BUSY = "it takes no connection now"
    NO_LMTP = "it speaks SMTP and no LMTP"
    FOREIGN = "it does not speak LMTP"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a destination said; `trouble` is None and `capabilities` is there, or the other way round.

    `detail` is what the server or the system said; `took` in seconds, from connecting to capabilities.
    """

    trouble: Trouble | None = None
    detail: str = ""
    capabilities: Capabilities | None = None
    took: float = 0.0


class _Failed(Exception):  # noqa: N818  # an answer, too
    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(trouble)
        self.answer = Answer(trouble=trouble, detail=detail)


async def probe(destination: Destination, *, lhlo: str, patience: float = PATIENCE) -> Answer:
    """Ask; never raises for what the destination does."""
    began = trio.current_time()
    try:
        stream = await _connect(destination, patience)
        async with stream:
            talk = _Talk(stream, patience)
            _check(await talk.hear("no greeting"), Trouble.BUSY)
            reply = await talk.ask(commands.lhlo(lhlo))
            if reply.code in UNKNOWN_COMMAND:
                raise _Failed(Trouble.NO_LMTP, str(reply))
            _check(reply, Trouble.BUSY)
            took = trio.current_time() - began
            with trio.move_on_after(patience):
                await stream.send_all(b"QUIT\r\n")
                await stream.receive_some(BLOCK)
    except _Failed as failed:
        return failed.answer
    except (OSError, trio.BrokenResourceError):
        return Answer(trouble=Trouble.SILENT, detail="the connection broke")
    return Answer(capabilities=Capabilities.from_reply(reply), detail=reply.lines[0], took=took)


class _Talk:
    """A dialogue of one reply at a time."""

    def __init__(self, stream: trio.SocketStream, patience: float) -> None:
        self._stream = stream
        self._patience = patience
        self._reader = ReplyReader()

    async def ask(self, command: bytes) -> Reply:
        with trio.move_on_after(self._patience) as scope:
            await self._stream.send_all(command)
        if scope.cancelled_caught:
            raise _Failed(Trouble.SILENT, "it does not read")
        return await self.hear("no reply to LHLO")

    async def hear(self, missing: str) -> Reply:
        with trio.move_on_after(self._patience):
            while True:
                block = await self._stream.receive_some(BLOCK)
                if not block:
                    raise _Failed(Trouble.SILENT, f"{missing}: it hangs up")
                try:
                    replies = self._reader.feed(block)
                except RemoteProtocolError as error:
                    raise _Failed(Trouble.FOREIGN, str(error)) from None
                if replies:
                    return replies[0]
        raise _Failed(Trouble.SILENT, f"{missing} within {self._patience:g} s")


def _check(reply: Reply, otherwise: Trouble) -> None:
    if not reply.positive:
        raise _Failed(otherwise, str(reply))


async def _connect(destination: Destination, patience: float) -> trio.SocketStream:
    try:
        with trio.fail_after(patience):
            match destination:
                case UnixDestination(path=path):
                    return await _connect_unix(path)
                case InetDestination(host=host, port=port):
                    return await trio.open_tcp_stream(host, port)
    except trio.TooSlowError:
        raise _Failed(Trouble.UNREACHABLE, f"no connection within {patience:g} s") from None
    except socket.gaierror as error:
        raise _Failed(Trouble.NO_HOST, error.strerror or "") from None
    except OSError as error:
        number = _number(error)
        trouble = {
            errno.ECONNREFUSED: Trouble.REFUSED,
            errno.ENOENT: Trouble.REFUSED,
            errno.EACCES: Trouble.NOT_PERMITTED,
            errno.EPERM: Trouble.NOT_PERMITTED,
        }.get(number, Trouble.UNREACHABLE)
        raise _Failed(trouble, os.strerror(number).lower() if number else str(error)) from None


async def _connect_unix(path: str) -> trio.SocketStream:
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    try:
        await sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


def _number(error: OSError) -> int:
    """Return the errno of what kept us from connecting: trio wraps several attempts in a group."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return (cause.errno if isinstance(cause, OSError) else error.errno) or 0
