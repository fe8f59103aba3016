"""One connection to the sink: the dialogue by `spooler.lmtp.server`, the faults by `spooler.sink.script`.

All answers to one received block go out in one write, unless a script asks for delays or for a drip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from spooler.ident import now_us
from spooler.lmtp.server import Server
from spooler.lmtp.serving import (
    ChunkStarted,
    Content,
    DataStarted,
    EndOfContent,
    Event,
    Lhlo,
    MailFrom,
    RcptTo,
    Reset,
    ServerLimits,
    State,
)
from spooler.reply import Reply, Stage
from spooler.sink.script import DropAt
from spooler.sink.store import Letter, Line

if TYPE_CHECKING:
    import ssl

    from spooler.sink.state import Sink

_BLOCK = 65536  # bytes asked for in one read
_TOO_MANY_CONNECTIONS = Reply(421, "4.3.2", ("too many connections",))
_TOO_BIG = Reply(552, "5.3.4", ("message is over the size limit",))
_NOT_STORED = Reply(452, "4.3.1", ("cannot store the message",))


class _Dropped(Exception):  # noqa: N818 - the script's wish, not an error
    """The script closes the connection here."""


class Session:
    """Serves one stream until either side ends it."""

    def __init__(self, sink: Sink, stream: trio.abc.Stream, number: int) -> None:
        self._sink = sink
        self._script = sink.play.script
        self._stream = stream
        self._number = number
        starttls = sink.context is not None and not sink.options.tls_implicit
        self._server = Server(
            name=sink.options.name,
            capabilities=(*self._script.capabilities, *(["STARTTLS"] if starttls else [])),
            limits=ServerLimits(size=self._script.size_limit),
            smtp=self._script.smtp,
            silent_for_nobody=self._script.silent_for_nobody,
        )
        self._transactions = 0  # on this connection
        self._transaction = 0  # number of the open one, counted over the whole sink
        self._sender = ""
        self._recipients: list[str] = []
        self._letter: Letter | None = None
        self._out: list[bytes] = []
        self._lines: list[Line] = []

    async def run(self) -> None:
        """Talk until the end; a broken connection is an end like another."""
        server = self._server
        try:
            if self._sink.context is not None and self._sink.options.tls_implicit:
                await self._secure(self._sink.context)
            if not await self._greet():
                return
            await self._flush()
            while not server.closing:
                data = await self._stream.receive_some(_BLOCK)
                if not data:
                    return
                server.receive(bytes(data))
                while (event := server.next_event()) is not None:
                    await self._handle(event)
                await self._flush()
                if server.state is State.SECURING and self._sink.context is not None:
                    await self._secure(self._sink.context)
                    server.secured()
            await self._stream.aclose()  # under TLS it says so
        except _Dropped:
            await self._flush()
        finally:
            if self._letter is not None:
                self._letter.close()

    async def _secure(self, context: ssl.SSLContext) -> None:
        """Put TLS over the stream."""
        stream = trio.SSLStream(self._stream, context, server_side=True)
        await stream.do_handshake()
        self._stream = stream

    async def _greet(self) -> bool:
        """Greet as the script says; whether to go on."""
        script, sink = self._script, self._sink
        self._drop(DropAt.GREETING, self._number)
        if script.mute:
            sink.fault("mute")
            while await self._stream.receive_some(_BLOCK):
                pass
            return False
        await self._delay(Stage.CONNECT)
        if script.max_connections is not None and sink.open_connections > script.max_connections:
            self._say(_TOO_MANY_CONNECTIONS)
        elif script.greeting is not None:
            sink.fault("greeting")
            self._server.accept()
            self._server.data_to_send()
            self._out.append(script.greeting.encode() + b"\r\n")
            if script.greeting[:1] in ("4", "5"):
                raise _Dropped
        else:
            self._server.accept()
        return True

    async def _handle(self, event: Event) -> None:
        match event:
            case Content(data=data):
                letter = self._letter
                if letter is None:
                    self._drop(DropAt.BODY, self._transaction)
                    letter = self._letter = Letter(keep=self._sink.store.keeps, digest=self._sink.records)
                letter.write(data)
            case EndOfContent():
                await self._final(event)
            case RcptTo(address=address):
                self._drop(DropAt.RCPT, self._transaction)
                await self._delay(Stage.RCPT)
                refusal = self._sink.play.at_rcpt(address, len(self._recipients))
                if refusal is None:
                    self._recipients.append(address)
                    self._sink.counters.accepted += 1
                    self._server.accept()
                else:
                    self._sink.counters.refuse(refusal.code)
                    self._say(refusal)
            case MailFrom(sender=sender):
                await self._mail(sender)
            case DataStarted():
                self._drop(DropAt.DATA, self._transaction)
                await self._delay(Stage.DATA)
                self._server.accept()
            case ChunkStarted():
                self._drop(DropAt.DATA, self._transaction)
                await self._delay(Stage.DATA)
            case Lhlo():
                self._drop(DropAt.LHLO, self._number)
                await self._delay(Stage.LHLO)
                self._forget()
                self._server.accept()
            case Reset():
                self._forget()

    async def _mail(self, sender: str) -> None:
        limit = self._script.max_transactions
        if limit is not None and self._transactions >= limit:
            self._say(self._script.too_many)
            return
        self._forget()
        self._sender = sender
        self._transactions += 1
        self._sink.counters.transactions += 1
        self._transaction = self._sink.counters.transactions
        self._drop(DropAt.MAIL, self._transaction)
        await self._delay(Stage.MAIL)
        self._server.accept()

    def _forget(self) -> None:
        """Drop what is left of a transaction."""
        self._recipients.clear()
        if self._letter is not None:
            self._letter.close()
            self._letter = None

    async def _final(self, event: EndOfContent) -> None:
        """Deliver, record, answer: in this order, so that no copy is without its line."""
        sink, server = self._sink, self._server
        letter = self._letter or Letter(keep=sink.store.keeps, digest=sink.records)
        if not event.size:  # an empty content has no first piece
            self._drop(DropAt.BODY, self._transaction)
        self._drop(DropAt.BEFORE_DOT, self._transaction)
        answers = await self._deliver(letter, too_big=event.too_big)
        dropped = sink.play.drops(DropAt.AFTER_DOT, self._transaction)
        if sink.records:
            self._note(letter, answers, answered=not dropped)
        letter.close()
        self._letter = None
        self._drop(DropAt.AFTER_DOT, self._transaction)
        if server.smtp:  # one reply for all: the worst
            answers = [max(answers, key=lambda answer: answer.code if answer else 0)]
        if self._script.miscounts:
            await self._answer_wrongly(answers)
        else:
            for answer in answers:
                await self._delay(Stage.FINAL)
                self._say(answer)

    async def _deliver(self, letter: Letter, *, too_big: bool) -> list[Reply | None]:
        """Deliver to those whom neither script nor size refuse; None stands for delivered."""
        sink, recipients = self._sink, self._recipients
        if too_big:
            answers: list[Reply | None] = [_TOO_BIG] * len(recipients)
        else:
            answers = [sink.play.at_final(recipient) for recipient in recipients]
            taken = [at for at, answer in enumerate(answers) if answer is None]
            stored = await sink.store.deliver(letter, self._sender, [recipients[at] for at in taken])
            for at, done in zip(taken, stored, strict=True):
                if not done:
                    answers[at] = _NOT_STORED
        counters = sink.counters
        for answer in answers:
            if answer is None:
                counters.delivered += 1
                counters.bytes += letter.size
            else:
                counters.refuse(answer.code)
        return answers

    def _note(self, letter: Letter, answers: list[Reply | None], *, answered: bool) -> None:
        sha256, test = letter.sha256, letter.test_header
        now = now_us()
        self._lines += [
            Line(
                time=now,
                connection=self._number,
                transaction=self._transaction,
                sender=self._sender,
                recipient=recipient,
                code=answer.code if answer else 250,
                answered=answered,
                size=letter.size,
                sha256=sha256,
                test=test,
            )
            for recipient, answer in zip(self._recipients, answers, strict=True)
        ]

    async def _answer_wrongly(self, answers: list[Reply | None]) -> None:
        """Give the server role every reply that is due, and the client what the script wants."""
        self._out.append(self._server.data_to_send())
        due: list[bytes] = []
        for answer in answers:
            self._say(answer)
            due.append(self._server.data_to_send())
        sent = self._sink.play.sent_replies(due)
        if len(sent) != len(due):
            self._sink.fault("replies")
        for reply in sent:
            await self._delay(Stage.FINAL)
            self._out.append(reply)

    def _say(self, reply: Reply | None) -> None:
        if reply is None:
            self._server.accept()
        else:
            self._server.reply(reply.code, reply.enhanced, reply.lines)

    def _drop(self, at: DropAt, number: int) -> None:
        if self._script.drops and self._sink.play.drops(at, number):
            self._sink.fault(f"drop {at}")
            raise _Dropped

    async def _delay(self, stage: Stage) -> None:
        if seconds := self._script.delays.get(stage, 0) if self._script.delays else 0:
            await self._flush()
            await trio.sleep(seconds)

    async def _flush(self) -> None:
        """Send what was answered so far; the record first."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._sink.note(lines)
        self._out.append(self._server.data_to_send())
        out = b"".join(self._out)
        self._out.clear()
        if self._script.drip:
            for at in range(len(out)):
                await self._stream.send_all(out[at : at + 1])
        elif out:
            await self._stream.send_all(out)
