"""A plain LMTP client for the tests of the sink: shares no code with the product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from spooler.destination import Destination, InetDestination, UnixDestination

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTENT = b"Subject: test\r\nX-Spooler-Test: t-1\r\n\r\n.dotted\r\nbody\r\n"
STUFFED = CONTENT.replace(b"\r\n.", b"\r\n..") + b".\r\n"
_PATIENCE = 40  # seconds for a block: a sink that owes a reply fails the test instead of hanging it


class Client:
    """Sends bytes, reads replies."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.blocks: list[bytes] = []
        self._buffer = b""

    @classmethod
    async def open(cls, destination: Destination) -> Client:
        """Connect."""
        match destination:
            case UnixDestination(path=path):
                return cls(await trio.open_unix_socket(path))
            case InetDestination(host=host, port=port):
                return cls(await trio.open_tcp_stream(host, port))

    @classmethod
    async def hello(cls, destination: Destination) -> Client:
        """Connect, read the greeting, say LHLO."""
        client = await cls.open(destination)
        await client.reply()
        await client.say("LHLO client.example")
        return client

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.aclose()

    async def line(self) -> str:
        """Read one line; "" where the connection ended."""
        while b"\n" not in self._buffer:
            try:
                with trio.fail_after(_PATIENCE):
                    block = bytes(await self.stream.receive_some(65536))
            except trio.BrokenResourceError:
                block = b""
            if not block:
                return ""
            self.blocks.append(block)
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().removesuffix("\r")

    async def reply(self) -> list[str]:
        """Read one reply, all its lines; [] where the connection ended."""
        lines = []
        while line := await self.line():
            lines.append(line)
            if line[3:4] != "-":
                break
        return lines

    async def replies(self, count: int) -> list[str]:
        """Read so many replies and return the last line of each, "" for what did not come."""
        return [(await self.reply() or [""])[-1] for _ in range(count)]

    async def send(self, data: bytes) -> None:
        """Send; a connection that is closed already is seen when reading."""
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError:
            return

    async def say(self, command: str) -> list[str]:
        """Send a command, read its reply."""
        await self.send(f"{command}\r\n".encode())
        return await self.reply()

    async def mail(self, *recipients: str, sender: str = "s@example.org") -> list[str]:
        """Send a whole envelope in one block and return the last line of each reply."""
        await self.send(envelope(recipients, sender=sender))
        return await self.replies(len(recipients) + 2)

    async def transact(self, *recipients: str, content: bytes = STUFFED) -> list[str]:
        """Send a message lock-step; return the final replies of recipients that were accepted."""
        replies = await self.mail(*recipients)
        accepted = sum(reply.startswith("250") for reply in replies[1:-1])
        if not replies[-1].startswith("354"):
            return []
        await self.send(content)
        return await self.replies(accepted)

    async def rest(self) -> str:
        """Read to the end of the connection."""
        lines = []
        while line := await self.line():
            lines.append(line)
        return "\n".join(lines)


def envelope(recipients: Sequence[str], sender: str = "s@example.org") -> bytes:
    """Return MAIL, RCPTs and DATA in one block."""
    commands = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{address}>" for address in recipients), "DATA"]
    return "".join(f"{command}\r\n" for command in commands).encode()
