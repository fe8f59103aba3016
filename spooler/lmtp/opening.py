"""What is said before mail, and when the way there ends: TLS by its level, then AUTH.

No I/O: the caller hands in the client's events, and does what the steps say. The rules:

- A level that requires TLS never falls back. `may` goes on in plain text where STARTTLS is not offered, or
  is refused; when it was begun and fails, the connection is lost as at any other level.
- AUTH is said over TLS, or where nothing leaves this machine, or where the credentials allow it. It is
  not said again, nor another way, when it was refused.
- A server that wants no AUTH is not mail's place if we were told to authenticate.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from spooler.lmtp.errors import OpeningError, RemoteProtocolError
from spooler.lmtp.events import (
    Authenticated,
    Challenge,
    Event,
    Greeting,
    Ready,
    Refused,
    ServerClosing,
    TlsDue,
)
from spooler.reply import Stage
from spooler.tls import TlsLevel
from spooler.trouble import Trouble

if TYPE_CHECKING:
    from spooler.credentials import Credentials
    from spooler.lmtp.capabilities import Capabilities
    from spooler.lmtp.client import Client
    from spooler.lmtp.sasl import Exchange

NO_LMTP = " (this is no LMTP server: it speaks SMTP or something else; check the port)"
_UNKNOWN_COMMAND = frozenset({500, 502})  # RFC 5321 section 4.2.4: what a server without LHLO says to it


class Step(Enum):
    """What the caller does next."""

    HEAR = "hear"
    """Send what is queued, and wait for the reply."""
    ENCRYPT = "encrypt"
    """Agree on TLS, then call `encrypted`."""
    DONE = "done"
    """Mail may be sent."""


class Opening:
    """One connection's way to mail. `mechanism` is that of AUTH, "" where there was none.

    `secured`: TLS stands already (implicit). `local`: nothing leaves this machine. `nonce`: chance of
    the caller's, printable ASCII without a comma.
    """

    def __init__(
        self,
        client: Client,
        *,
        lhlo: str,
        level: TlsLevel,
        secured: bool,
        credentials: Credentials | None,
        local: bool,
        nonce: str,
    ) -> None:
        self.mechanism = ""
        self._client = client
        self._lhlo = lhlo
        self._level = level
        self._secured = secured
        self._credentials = credentials
        self._local = local
        self._nonce = nonce
        self._exchange: Exchange | None = None

    def take(self, event: Event) -> Step:
        """Do what follows from an event; raises OpeningError, or RemoteProtocolError."""
        client = self._client
        if client.closed and not isinstance(event, Refused | ServerClosing):
            return Step.HEAR  # 421 came right behind it: that is told next, and nothing can be said
        match event:
            case Greeting():
                client.lhlo(self._lhlo)
            case Ready(capabilities=capabilities):
                return self._ready(capabilities)
            case TlsDue():
                return Step.ENCRYPT
            case Challenge(reply=reply):
                exchange = self._exchange
                assert exchange is not None, "a challenge in front of AUTH"
                client.authenticate(exchange.answer(reply))
            case Authenticated():
                return self._authenticated()
            case Refused(stage=Stage.STARTTLS) if not self._level.required:
                return Step.HEAR if client.closed else self._authenticate(client.capabilities)
            case Refused(stage=stage, reply=reply):
                raise _refused(stage, reply.code, self._masked(str(reply)))
            case ServerClosing(stage=stage, reply=reply):
                raise OpeningError(
                    f"the server closes at once: {self._masked(str(reply))}",
                    trouble=Trouble.BUSY,
                    stage=stage or Stage.CONNECT,
                )
        return Step.HEAR

    def encrypted(self) -> None:
        """Go on under TLS."""
        self._secured = True
        self._client.lhlo(self._lhlo)

    def _ready(self, capabilities: Capabilities) -> Step:
        if self._secured or self._level is TlsLevel.NONE:
            return self._authenticate(capabilities)
        if capabilities.starttls:
            self._client.starttls()
            return Step.HEAR
        if self._level.required:
            raise OpeningError(
                f"the server does not offer STARTTLS, which level '{self._level}' requires",
                trouble=Trouble.NO_TLS,
                stage=Stage.STARTTLS,
            )
        return self._authenticate(capabilities)

    def _authenticate(self, capabilities: Capabilities) -> Step:
        credentials = self._credentials
        if credentials is None:
            return Step.DONE
        if not (self._secured or self._local or credentials.plain):
            raise OpeningError(
                "AUTH is not said over a line in plain text: require TLS, or allow it with auth-plain",
                trouble=Trouble.NO_MECHANISM,
                stage=Stage.AUTH,
            )
        from spooler.lmtp.sasl import Exchange, choose  # most servers want no AUTH

        name = choose(credentials, capabilities.auth)
        if name is None:
            offered = f"only {' '.join(capabilities.auth)}" if capabilities.auth else "no AUTH"
            raise OpeningError(
                f"the server offers {offered}, of {' '.join(credentials.mechanisms)}",
                trouble=Trouble.NO_MECHANISM,
                stage=Stage.AUTH,
            )
        self._exchange = Exchange(credentials, name, nonce=self._nonce)
        self._client.authenticate(self._exchange.begin())
        return Step.HEAR

    def _masked(self, text: str) -> str:
        return text if self._exchange is None else self._exchange.mask(text)

    def _authenticated(self) -> Step:
        exchange = self._exchange
        assert exchange is not None, "success in front of AUTH"
        try:
            exchange.accepted()
        except RemoteProtocolError as error:
            raise OpeningError(str(error), trouble=Trouble.AUTHENTICATION, stage=Stage.AUTH) from None
        self.mechanism = exchange.name
        return Step.DONE


def _refused(stage: Stage, code: int, said: str) -> OpeningError:
    if stage is Stage.LHLO and code in _UNKNOWN_COMMAND:
        return OpeningError(f"refused at {stage}: {said}{NO_LMTP}", trouble=Trouble.NO_LMTP, stage=stage)
    trouble = Trouble.BUSY
    if stage is Stage.STARTTLS:
        trouble = Trouble.NO_TLS
    elif stage is Stage.AUTH and code >= 500:
        trouble = Trouble.AUTHENTICATION
    return OpeningError(f"refused at {stage}: {said}", trouble=trouble, stage=stage)
