"""A session: one connection that runs a pipeline of transactions for a source.

One task owns it, and the poller drives it while it waits for replies. The sans-IO client decides what may
be sent and what a reply belongs to; this module moves the bytes, keeps the deadlines, and never waits to
write without also reading, so that two full sides cannot wait for each other. All that may be sent is
queued before anything is, so a burst of whole transactions is one system call. A deadline runs per reply,
from when it is the next one due (RFC 5321 section 4.5.3.2), so a peer that drips bytes gains nothing.
"""

from __future__ import annotations

import errno
import secrets
from collections import deque
from contextlib import aclosing
from enum import Enum
from typing import TYPE_CHECKING

import trio

from spooler.destination import is_local
from spooler.errors import SpoolerError
from spooler.lmtp.capabilities import Capabilities
from spooler.lmtp.errors import OpeningError, RemoteProtocolError
from spooler.lmtp.events import Event, Finished, ServerClosing
from spooler.lmtp.opening import NO_LMTP, Opening, Step
from spooler.net.lost import SessionLostError, reason_of, trouble_of
from spooler.net.overheard import Overheard
from spooler.net.security import Security
from spooler.net.transport import ConnectError, Transport
from spooler.reply import Stage
from spooler.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from spooler.config import Timeouts
    from spooler.destination import Destination
    from spooler.lmtp.client import Client
    from spooler.lmtp.overhearing import Overhearing
    from spooler.lmtp.transaction import Transaction
    from spooler.net.source import Source
    from spooler.net.tls import Protection


_NOTHING = memoryview(b"")
_NO_LEAVE = "this worker may not send end-of-data now"
_NO_JOURNAL = "the journal cannot be written, so end-of-data may not be sent"


class _Need(Enum):
    """What a session that has done all it could waits for."""

    REPLY = "reply"
    ROOM = "room"
    """The kernel took not all."""
    CONTENT = "content"
    """A content that comes in pieces."""
    NOTHING = "nothing"
    """The source has no more, and all is finished."""


class Session:
    """One open connection on which mail can be sent; make it with `spooler.net.opening.open_session`."""

    def __init__(
        self,
        *,
        transport: Transport,
        client: Client,
        destination: Destination,
        timeouts: Timeouts,
        overhearing: Overhearing | None = None,
    ) -> None:
        self.destination = destination
        self.idle_since = 0.0
        self.capabilities = Capabilities()
        self.protection: Protection | None = None
        """What TLS gives, None in plain text."""
        self.mechanism = ""
        """Of AUTH, "" where there was none."""
        self._overhearing = overhearing
        self._wire = transport  # what nobody listens to
        self._transport = self._listened_to(transport)
        self._client = client
        self._timeouts = timeouts
        self._source: Source | None = None
        self._limits = _limits(timeouts)
        self._events: deque[Event] = deque()
        self._deadline = 0.0
        self._deadline_for = -1
        self._rest = _NOTHING  # of a burst, what the kernel did not take
        self._streamed: tuple[Transaction, AsyncGenerator[bytes, None]] | None = None

    def __repr__(self) -> str:
        return f"<Session {self.destination} {'idle' if self._client.idle else 'busy'}>"

    @property
    def depth(self) -> int:
        """Most transactions in flight, where the server lets whole ones follow each other."""
        return self._client.depth

    @depth.setter
    def depth(self, depth: int) -> None:
        self._client.depth = depth

    @property
    def open(self) -> int:
        """How many transactions are begun and not finished."""
        return self._client.open

    @property
    def worn(self) -> bool:
        """Whether the server allows no more transactions on it: `quit` it instead of keeping it."""
        return self._client.worn

    def unfinished(self) -> list[Transaction]:
        """Return what was begun and not finished, in order, after the session was lost."""
        return self._client.unfinished()

    def alive(self) -> bool:
        """Whether a connection that was idle can be used again: nothing may have arrived."""
        try:
            return self._client.idle and not self.worn and self._transport.receive() is None
        except OSError:
            return False

    async def greet(self, lhlo: str, security: Security | None = None) -> None:
        """Do all that comes before mail; raises ConnectError."""
        security = security or Security(self.destination)
        try:
            await self._open(lhlo, security)
        except (OpeningError, SessionLostError) as error:
            raise ConnectError(str(error), trouble=error.trouble, stage=error.stage) from None
        except RemoteProtocolError as error:
            raise ConnectError(str(error), trouble=Trouble.FOREIGN, stage=Stage.AUTH) from None
        except SpoolerError as error:
            raise ConnectError(str(error), trouble=Trouble.OURS) from None

    async def _open(self, lhlo: str, security: Security) -> None:
        tls = security.tls
        opening = Opening(
            self._client,
            lhlo=lhlo,
            level=tls.level,
            secured=tls.implicit,
            credentials=security.credentials(),
            local=is_local(self.destination),
            nonce=secrets.token_urlsafe(),
        )
        if tls.implicit:
            await self._encrypt(security)
        step = Step.HEAR
        while step is not Step.DONE:
            await self._flush()
            if not self._events:
                await self._listen()
            elif (step := opening.take(self._events.popleft())) is Step.ENCRYPT:
                await self._encrypt(security)
                opening.encrypted()
        self.capabilities = self._client.capabilities
        self.mechanism = opening.mechanism

    async def _encrypt(self, security: Security) -> None:
        from spooler.net.tls import encrypt, protection  # much of it, for those who need it

        deadline = trio.current_time() + self._timeouts.connect
        secured = self._wire = await encrypt(self._wire, security, deadline=deadline)
        self._transport = self._listened_to(secured)
        self.protection = protection(secured)
        if self._overhearing is not None:
            self._overhearing.note(f"{self.protection.version}, {self.protection.cipher}")

    def _listened_to(self, transport: Transport) -> Transport:
        return transport if self._overhearing is None else Overheard(transport, self._overhearing)

    async def run(self, source: Source) -> None:
        """Run transactions until the source has none; raises SessionLostError."""
        self._source = source
        try:
            await self._run(source)
        finally:
            self._report(source)  # lost, cancelled or a bug: the client tells no more of it
            self._source = None

    async def _run(self, source: Source) -> None:
        need = self._advance(source)
        while need is not _Need.NOTHING:
            if need is _Need.REPLY:
                need = await self._hear(source)
                continue
            if need is _Need.CONTENT:
                await self._stream(source)
            else:
                await self._make_room()
            need = self._advance(source)

    def _report(self, source: Source) -> None:
        """Hand over the transactions that are finished; the other events stay."""
        if self._events:
            finished = [event for event in self._events if isinstance(event, Finished)]
            self._events = deque(event for event in self._events if not isinstance(event, Finished))
            for event in finished:
                source.finished(event.transaction)

    def _take_in(self, source: Source) -> None:
        """Deal with what came, and queue all that may follow."""
        events = self._events
        while events:
            match events.popleft():
                case Finished(transaction=transaction):
                    source.finished(transaction)
                case ServerClosing(reply=reply):
                    raise SessionLostError(f"the server closes the connection: {reply}", Stage.CONNECT)
        self._fill(source)

    def _advance(self, source: Source, *, taken_in: bool = False) -> _Need:
        """Do all that can be done without waiting; return what has to be waited for."""
        client = self._client
        while True:
            if not taken_in:
                self._take_in(source)
            taken_in = False
            if self._streamed is not None:
                return _Need.CONTENT
            while burst := client.data_to_send():
                taken = self._hand_over(burst)
                if taken < len(burst):
                    self._rest = memoryview(burst)[taken:]
                    return _Need.ROOM
            if self._events:
                continue
            source.commit()
            if client.next_stage is not None:
                return _Need.REPLY
            if client.idle:
                return _Need.NOTHING
            self._confirm_silence()

    async def _hear(self, source: Source) -> _Need:
        """Wait for replies, and do what follows from them, until something else has to be waited for."""
        answer: _Need | BaseException | None = None
        prepared = False

        def prepare() -> None:
            nonlocal answer, prepared
            prepared = True
            try:
                self._read()
                self._take_in(source)
            except BaseException as error:  # noqa: BLE001  # it is the session's, and raised there
                answer = error

        def attend() -> float | None:
            nonlocal answer, prepared
            if not prepared:
                prepare()
            prepared = False
            if isinstance(answer, BaseException):
                return None
            try:
                answer = self._advance(source, taken_in=True)
            except BaseException as error:  # noqa: BLE001  # as above
                answer = error
            return self._due() if answer is _Need.REPLY else None

        wait = self._transport.wait
        if not await wait(write=False, deadline=self._due(), attend=attend, prepare=prepare):
            raise self._overdue()
        if isinstance(answer, BaseException):
            raise answer
        if answer is None:
            self._read()
            answer = self._advance(source)
        return answer

    def _fill(self, source: Source) -> None:
        """Queue all bodies that are due and all transactions that may begin.

        Stops at a content that comes in pieces, which is then in `_streamed`.
        """
        client = self._client
        while True:
            due = client.body_due
            if due is not None:
                content = source.content(due)
                if not isinstance(content, bytes):
                    self._streamed = due, content
                    return
                client.body(content)
                self._end_body(source)
                continue
            transaction = source.next(self) if client.can_begin else None
            if transaction is None:
                return
            client.begin(transaction)

    async def quit(self) -> None:
        """Say QUIT where that is still possible, and close; never raises but when cancelled."""
        try:
            if self._client.idle:
                with trio.move_on_after(self._timeouts.quit) as scope:
                    self._client.quit()
                    await self._flush()
                    await self._transport.wait(write=False, deadline=scope.deadline)
                    if self._overhearing is not None:
                        self._transport.receive()  # nothing depends on it, but somebody looks on
                    self._last_words()
        except (OSError, SessionLostError):
            pass  # it is closed either way
        finally:
            self._transport.close()

    def close(self) -> None:
        """Close without a word."""
        self._transport.close()

    async def _stream(self, source: Source) -> None:
        """Send a content as it comes, and the end-of-data."""
        client = self._client
        assert self._streamed is not None
        (transaction, content), self._streamed = self._streamed, None
        async with aclosing(content):
            async for chunk in content:
                client.body(chunk)
                await self._flush()
                self._report(source)
                if client.body_due is not transaction:
                    return  # refused, or the server is closing: the rest is not wanted
        while client.chunks_unanswered:
            await self._listen()
            self._report(source)
        if client.body_due is transaction:
            self._end_body(source)

    def _end_body(self, source: Source) -> None:
        transaction = self._client.body_due
        if transaction is None or not source.ending(transaction):
            raise SessionLostError(_NO_LEAVE, Stage.BODY)
        self._client.end_body()

    async def _flush(self) -> None:
        """Hand everything queued to the kernel, reading whatever arrives meanwhile."""
        while burst := self._client.data_to_send():
            self._keep_rest(burst, self._hand_over(burst))
            if self._rest:
                await self._make_room()

    def _hand_over(self, data: bytes | memoryview) -> int:
        """Give to the kernel what it takes at once; return how much."""
        source = self._source
        if source is not None and not source.commit() and self._client.ends_unsent:
            raise SessionLostError(_NO_JOURNAL, Stage.BODY)
        try:
            taken = self._transport.send(data)
        except OSError as error:
            cause = self._last_words() or error
            why = f"the connection broke while sending: {reason_of(cause)}"
            raise SessionLostError(why, self._stage(), trouble=trouble_of(cause)) from None
        if taken:
            self._client.sent(taken)
        return taken

    def _keep_rest(self, burst: bytes | memoryview, taken: int) -> None:
        """Keep what was not taken, and nothing at all where all was: an empty view holds the whole burst."""
        self._rest = memoryview(burst)[taken:] if taken < len(burst) else _NOTHING

    async def _make_room(self) -> None:
        """Hand over what the kernel did not take at once."""
        while True:
            deadline = trio.current_time() + self._timeouts.block
            if not await self._transport.wait(write=True, deadline=deadline):
                raise SessionLostError(f"the server took no data for {self._timeouts.block:g} s", Stage.BODY)
            self._read()
            if self._source is not None:
                self._report(self._source)
                self._source.commit()
            if self._client.closed:
                return  # it said 421: not one byte more, least of all an end-of-data
            if self._client.ends_unsent and self._source is not None and not self._source.may_end():
                raise SessionLostError(_NO_LEAVE, Stage.BODY)  # while we waited the leave ran out
            self._keep_rest(self._rest, self._hand_over(self._rest))
            if not self._rest:
                return

    async def _listen(self) -> None:
        """Wait for the reply that is due, at most until its deadline, and read what has come."""
        if not await self._transport.wait(write=False, deadline=self._due()):
            raise self._overdue()
        self._read()

    def _due(self) -> float:
        """Until when the next reply is due, by trio's clock."""
        client = self._client
        if self._deadline_for != client.replies_read:
            self._deadline_for = client.replies_read
            self._deadline = trio.current_time() + self._limits[client.next_stage or Stage.BODY]
        return self._deadline

    def _overdue(self) -> SessionLostError:
        stage = self._stage()
        self._events.extend(self._client.deadline_passed())
        what = "greeting" if stage is Stage.CONNECT else f"reply to {stage}"
        return SessionLostError(f"no {what} within {self._limits[stage]:g} s", stage)

    def _read(self) -> None:
        stage = self._client.next_stage or Stage.BODY
        try:
            data = self._transport.receive()
            if data:
                self._events.extend(self._client.receive(data))
                return
        except RemoteProtocolError as error:
            mend = NO_LMTP if stage is Stage.CONNECT else ""
            why = f"protocol error at {stage}: {error}{mend}"
            raise SessionLostError(why, stage, trouble=Trouble.FOREIGN) from None
        except OSError as error:
            why = f"the connection broke at {stage}: {reason_of(error)}"
            raise SessionLostError(why, stage, trouble=trouble_of(error)) from None
        if data is not None:
            self._events.extend(self._client.eof())
            raise SessionLostError(f"the server closed the connection at {stage}", stage)

    def _confirm_silence(self) -> None:
        """Prove the last transaction: all replies are counted, and nothing more has come."""
        try:
            data = self._transport.receive()
        except OSError:
            data = b""
        if data:
            try:
                self._events.extend(self._client.receive(data))
            except RemoteProtocolError as error:
                raise SessionLostError(f"a reply too many: {error}", Stage.FINAL) from None
        else:
            self._events.extend(self._client.silence_confirmed())

    def _last_words(self) -> OSError | None:
        """Read what the server said before it hung up: it may explain why. Return what TLS said of it."""
        try:
            data = self._transport.receive()
            if data:
                self._events.extend(self._client.receive(data))
        except RemoteProtocolError:
            return None
        except OSError as error:
            return error if error.errno == errno.EPROTO else None
        return None

    def _stage(self) -> Stage:
        return self._client.next_stage or Stage.BODY


def _limits(timeouts: Timeouts) -> dict[Stage, float]:
    """Seconds for the reply at each stage."""
    limits: dict[Stage, float] = dict.fromkeys(Stage, timeouts.command)
    limits[Stage.CONNECT] = timeouts.greeting
    limits[Stage.DATA] = timeouts.data
    limits[Stage.FINAL] = limits[Stage.BODY] = timeouts.final
    limits[Stage.QUIT] = timeouts.quit
    return limits
