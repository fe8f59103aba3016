"""A transport that somebody listens to: for people who look on, not for delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spooler.lmtp.overhearing import Overhearing
    from spooler.net.transport import Transport


class Overheard:
    """Passes everything on, and tells of it."""

    def __init__(self, inner: Transport, overhearing: Overhearing) -> None:
        self._inner = inner
        self._overhearing = overhearing
        self.wait = inner.wait
        self.close = inner.close

    def send(self, data: bytes | memoryview) -> int:
        """See `Transport.send`."""
        taken = self._inner.send(data)
        self._overhearing.sent(bytes(data[:taken]))
        return taken

    def receive(self) -> bytes | None:
        """See `Transport.receive`."""
        data = self._inner.receive()
        if data:
            self._overhearing.received(data)
        return data
