"""A scripted peer for the client role: what it must say and hear, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.lmtp.client import Client
from spooler.lmtp.events import Event, Finished, GoAhead, Greeting, Ready
from spooler.lmtp.mode import Mode
from spooler.lmtp.transaction import Recipient, Transaction
from spooler.lmtp.trust import Trust

if TYPE_CHECKING:
    from spooler.reply import Reply, Stage

HELLO = ("250-host", "250-PIPELINING", "250-ENHANCEDSTATUSCODES", "250-8BITMIME", "250-DSN", "250 SIZE")
CHUNKING_HELLO = ("250-host", "250-PIPELINING", "250-ENHANCEDSTATUSCODES", "250 CHUNKING")
LOCKSTEP_HELLO = ("250-host", "250 8BITMIME")
BODY = b"Subject: x\r\n\r\n.dot\r\n"


def envelope(*addresses: str, sender: str = "a@x") -> Transaction:
    """A transaction for these recipients."""
    return Transaction(sender=sender, recipients=[Recipient(address) for address in addresses])


def codes(replies: list[Reply | None]) -> str:
    """Their codes, "-" for each that was not read."""
    return " ".join("-" if reply is None else str(reply.code) for reply in replies)


def told(transaction: Transaction) -> str:
    """What a transaction holds, in one line: MAIL / RCPT / DATA / FINAL and what each is worth."""
    parts = [
        codes([transaction.mail]),
        codes(transaction.rcpt),
        codes([transaction.data]),
        codes(transaction.final),
    ]
    if transaction.proven:
        worth = "proven"
    else:
        worth = "uncertain" if transaction.uncertain else "safe"
        worth += " envelope?" * transaction.envelope_provisional
        any_final = any(transaction.final) or transaction.mode is not Mode.CHUNKED
        worth += " final?" * (transaction.final_provisional and transaction.uncertain and any_final)
    return " / ".join(parts) + f": {worth}"


class Peer:
    """A client with its transactions to do, and the server's side of the dialogue."""

    def __init__(
        self, *transactions: Transaction, trust: Trust | None = None, hello: tuple[str, ...] = HELLO
    ) -> None:
        self.trust = trust or Trust()
        self.client = Client(trust=self.trust)
        self.todo = list(transactions)
        self.finished: list[Transaction] = []
        self.events: list[Event] = []
        self.chop = 0
        self._hello = hello

    def greet(self) -> Peer:
        """Past LHLO."""
        self.say("220 host")
        assert self.hear() == b"LHLO me\r\n"
        self.say(*self._hello)
        return self

    def hear(self) -> bytes:
        """All that the client sends now."""
        self.go_on()
        heard = b""
        while data := self.client.data_to_send():
            self.client.sent(len(data))
            heard += data
        return heard

    def say(self, *lines: str) -> list[Event]:
        """Say lines in one block, or `chop` octets at a time; the client's caller reacts."""
        octets = "".join(f"{line}\r\n" for line in lines).encode()
        size = self.chop or len(octets) or 1
        events: list[Event] = []
        for i in range(0, len(octets), size):
            events += self.react(self.client.receive(octets[i : i + size]))
        return events

    def due(self) -> Stage | None:
        """The stage whose deadline runs."""
        return self.client.next_stage

    def idle(self) -> bool:
        """Whether the session could be kept."""
        return self.client.idle

    def silence(self) -> list[Event]:
        """Say nothing more for now."""
        assert self.client.awaiting_silence
        return self.react(self.client.silence_confirmed())

    def react(self, events: list[Event]) -> list[Event]:
        """Do what a caller does: greet, give bodies, keep what is finished."""
        for event in events:
            match event:
                case Greeting():
                    self.client.lhlo("me")
                case GoAhead(transaction=transaction):
                    self.client.body(BODY)
                    self.client.end_body()
                case Finished(transaction=transaction):
                    self.finished.append(transaction)
                case Ready():
                    assert self.client.idle
                case _:
                    pass
        self.events += events
        return events

    def go_on(self) -> None:
        """Begin what may begin, with its body where that is due at once."""
        while self.todo and self.client.can_begin:
            self.client.begin(self.todo.pop(0))
            if self.client.body_due is not None:
                self.client.body(BODY)
                self.client.end_body()

    def told(self) -> list[str]:
        """What became of the finished, then of the unfinished."""
        return [told(one) for one in (*self.finished, *self.client.unfinished())]


def trusted(*, several: bool = True, marker: str | None = "2.1.0") -> Trust:
    """A destination past its probation, with or without enhanced codes."""
    trust = Trust()
    hello = HELLO if marker else LOCKSTEP_HELLO
    addresses = ["b@x", "c@x"] if several else ["b@x"]
    peer = Peer(envelope(*addresses), trust=trust, hello=hello).greet()
    mail, rcpt, final = (f"250 {marker}", "250 2.1.5", "250 2.0.0") if marker else ("250",) * 3
    peer.hear()
    if marker:
        peer.say(mail, *[rcpt] * len(addresses), "354 go")
    else:
        for line in (mail, *[rcpt] * len(addresses), "354 go"):
            peer.say(line)
            peer.hear()
    peer.hear()
    peer.say(*[final] * len(addresses))
    peer.silence()
    assert trust.may_overlap(len(addresses))
    assert trust.marker == marker
    return trust


def chunked(*, several: bool = True, rset: str = "250 2.0.0 reset") -> Trust:
    """A destination whose BDAT is past its probation too."""
    trust = trusted(several=several)
    addresses = ["b@x", "c@x"] if several else ["b@x"]
    peer = Peer(envelope(*addresses), trust=trust, hello=CHUNKING_HELLO).greet()
    assert peer.hear().startswith(b"RSET\r\nMAIL FROM:<a@x>\r\n")
    peer.say(rset, "250 2.1.0", *["250 2.1.5"] * len(addresses), *["250 2.0.0 saved"] * len(addresses))
    peer.silence()
    assert trust.may_overlap(len(addresses), Mode.CHUNKED)
    return trust
