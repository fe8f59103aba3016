"""AUTH without I/O: which mechanism, and what is said in it (RFC 4422, RFC 4954).

PLAIN (RFC 4616), LOGIN (never an RFC, but spoken by old servers), CRAM-MD5 (RFC 2195) and SCRAM-SHA-256
(`spooler.lmtp.scram`). The strongest that both sides know is taken, and where it fails no weaker one is
tried: who can make the strong one fail would else be told the secret. An initial response goes with the
command where the mechanism has one and the line stays short. No mechanism with a security layer is spoken.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Protocol

from spooler.credentials import MECHANISMS
from spooler.lmtp.errors import RemoteProtocolError
from spooler.lmtp.masking import Said
from spooler.lmtp.scram import ScramSha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spooler.credentials import Credentials
    from spooler.reply import Reply

MAX_INITIAL = (
    510  # octets of a line without its end, RFC 4954 section 4: else the response follows a challenge
)


class Mechanism(Protocol):
    """One side of an exchange; each method raises RemoteProtocolError for what the server must not say."""

    def initial(self) -> bytes | None:
        """Return what is said first, None where the server begins."""

    def respond(self, challenge: bytes) -> bytes:
        """Return what is said to a challenge."""

    def accepted(self) -> None:
        """Take note that the server says it was successful."""


class Exchange:
    """One AUTH; `name` is the mechanism's."""

    def __init__(self, credentials: Credentials, name: str, *, nonce: str) -> None:
        self.name = name
        self._mechanism = _MECHANISMS[name](credentials, nonce)
        self._held: bytes | None = None  # an initial response that waits for an empty challenge
        self._said = Said()

    def begin(self) -> bytes:
        """Return the command's line, without its end."""
        line = b"AUTH %b" % self.name.encode()
        initial = self._mechanism.initial()
        if initial is None:
            return line
        response = base64.b64encode(initial) or b"="
        self._said.add(response)
        whole = line + b" " + response
        if len(whole) <= MAX_INITIAL:
            return whole
        self._held = initial
        return line

    def answer(self, reply: Reply) -> bytes:
        """Return the line that answers a challenge, without its end; raises RemoteProtocolError."""
        text = "".join(reply.lines)
        try:
            challenge = base64.b64decode(text.encode(), validate=True)
        except binascii.Error:
            raise RemoteProtocolError("the server's challenge is not base64") from None
        if self._held is not None:
            if challenge:
                raise RemoteProtocolError(f"the server has a challenge where {self.name} has none")
            response, self._held = self._held, None
        else:
            response = self._mechanism.respond(challenge)
        line = base64.b64encode(response)
        self._said.add(line)
        return line

    def mask(self, text: str) -> str:
        """Return a server's words without what was said to it."""
        return self._said.mask(text)

    def accepted(self) -> None:
        """Take note of success; raises RemoteProtocolError where the server has not proved who it is."""
        self._mechanism.accepted()


def choose(credentials: Credentials, offered: Sequence[str]) -> str | None:
    """Return the strongest mechanism that is offered and may be used, None if there is none."""
    return next((name for name in MECHANISMS if name in credentials.mechanisms and name in offered), None)


class _Plain:
    def __init__(self, credentials: Credentials, _nonce: str) -> None:
        self._credentials = credentials

    def initial(self) -> bytes:
        return f"\0{self._credentials.user}\0{self._credentials.secret.reveal()}".encode()

    def respond(self, challenge: bytes) -> bytes:
        raise RemoteProtocolError(
            f"the server has a challenge of {len(challenge)} octets, and PLAIN has none"
        )

    def accepted(self) -> None:
        """Nothing tells who the server is."""


class _Login:
    def __init__(self, credentials: Credentials, _nonce: str) -> None:
        self._answers = [credentials.secret.reveal(), credentials.user]

    def initial(self) -> None:
        return None

    def respond(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise RemoteProtocolError(f"the server asks '{challenge[:40]!a}' after user and secret")
        return self._answers.pop().encode()

    def accepted(self) -> None:
        """Nothing tells who the server is."""


class _CramMd5:
    def __init__(self, credentials: Credentials, _nonce: str) -> None:
        self._credentials = credentials
        self._answered = False

    def initial(self) -> None:
        return None

    def respond(self, challenge: bytes) -> bytes:
        if self._answered or not challenge:
            raise RemoteProtocolError("the server has not one challenge, as CRAM-MD5 wants it")
        self._answered = True
        digest = hmac.new(self._credentials.secret.reveal().encode(), challenge, "md5").hexdigest()
        return f"{self._credentials.user} {digest}".encode()

    def accepted(self) -> None:
        if not self._answered:
            raise RemoteProtocolError("the server accepts without a challenge")


_MECHANISMS: dict[str, Callable[[Credentials, str], Mechanism]] = {
    "SCRAM-SHA-256": ScramSha256,
    "CRAM-MD5": _CramMd5,
    "PLAIN": _Plain,
    "LOGIN": _Login,
}
