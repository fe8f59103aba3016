"""TLS over any transport: the same contract as in plain text, and what is needed to keep it.

What is handed over? A record can be read by nobody before its last octet is there, for it is decrypted as
a whole. So plain text counts as handed over when the kernel may have all of its record's ciphertext, and
not before. One record is encrypted at a time, and nothing more while any of it waits for room: what is
encrypted cannot be taken back. A session that is given up in between never completes the record: nothing
is flushed on the way out.

What can be read? All that is read from the transport is decrypted at once, so nothing hides from the
poller. What carries no plain text (session tickets, which TLS 1.3 servers send late, and key updates) is
nothing to the session: an idle connection stays usable. Limit: of a record that is not there as a whole
nothing is seen, as of what is still on its way.

An end without close_notify may be an attacker's (RFC 8446 section 6.1): the connection is broken then.
"""

from __future__ import annotations

import errno
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import trio

from spooler.net.transport import BLOCK, ConnectError
from spooler.policy.certificate import (
    Certificate,
    MalformedError,
    colons,
    matching,
    read_certificate,
    shown,
)
from spooler.reply import Stage
from spooler.tls import TlsLevel
from spooler.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spooler.net.security import Security
    from spooler.net.transport import Transport

RECORD = 16384  # octets of plain text in one record at most (RFC 8446 section 5.1)
_EXPIRED, _NOT_YET = 10, 9  # verify(1ssl)
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
_OWN_CERTIFICATE = "it may want a certificate of ours, or another one: tls-cert"
_OLD = "nothing older than TLS 1.2 is spoken"
_HINTS = {  # by OpenSSL's reason
    "tlsv13 alert certificate required": _OWN_CERTIFICATE,
    "sslv3 alert handshake failure": _OWN_CERTIFICATE,
    "sslv3 alert bad certificate": _OWN_CERTIFICATE,
    "sslv3 alert certificate expired": _OWN_CERTIFICATE,
    "sslv3 alert certificate unknown": _OWN_CERTIFICATE,
    "tlsv1 alert unknown ca": _OWN_CERTIFICATE,
    "tlsv1 alert protocol version": _OLD,
    "unsupported protocol": _OLD,
    "wrong version number": "it speaks no TLS there: check the port, or whether it wants STARTTLS",
}


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection has: protocol and cipher as OpenSSL calls them, and the server's certificate."""

    version: str
    cipher: str
    certificate: Certificate


class TlsTransport:
    """A transport over another one; it is of use once `handshake` has come back."""

    def __init__(self, inner: Transport, context: ssl.SSLContext, *, host: str | None) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = memoryview(b"")  # ciphertext that the transport did not take
        self._begun = 0  # octets of plain text in it: the first of what the caller gives next
        self._end: OSError | None = None
        self._ended = False  # by `_end` or, without one, in order
        self._ahead = False  # more than the handshake was read

    @property
    def peer(self) -> ssl.SSLObject:
        """What is known of the other side."""
        return self._tls

    async def handshake(self, deadline: float) -> bool:
        """Agree on keys; whether that was done before `deadline` (of trio's clock). Raises OSError."""
        while True:
            done = self._step()
            sent = self._flush()
            if done and sent:
                self._ahead = self._incoming.pending > 0
                return True
            data = self._inner.receive()
            if data is not None:
                self._feed(data)
            elif not await self._inner.wait(write=not sent, deadline=deadline):
                return False

    def _step(self) -> bool:
        """Go on as far as what was read allows; whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except OSError:
            with suppress(OSError):
                self._flush()  # the alert that tells the server why
            raise
        return True

    def send(self, data: bytes | memoryview) -> int:
        """See `Transport.send`; what was not taken must be given again, as it was."""
        if not self._flush():
            return 0
        taken, self._begun = self._begun, 0
        whole = memoryview(data)
        while taken < len(whole):
            piece = whole[taken : taken + RECORD]
            self._tls.write(piece)
            if not self._flush():
                self._begun = len(piece)
                return taken
            taken += len(piece)
        return taken

    def receive(self) -> bytes | None:
        """See `Transport.receive`."""
        if not self._ended:
            data = None if self._ahead else self._inner.receive()
            if data is not None:
                self._feed(data)
            elif not self._ahead:
                return None
            self._ahead = False
            plain = self._decrypt()
            with suppress(OSError):  # the next one to send is told
                self._flush()  # what answers a key update
            if plain:
                return plain
        if self._end is not None:
            raise self._end
        return b"" if self._ended else None

    async def wait(
        self,
        *,
        write: bool,
        deadline: float,
        attend: Callable[[], float | None] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> bool:
        """See `Transport.wait`."""
        if self._ended or self._ahead:
            await trio.lowlevel.checkpoint()
            return True
        if attend is None:
            return await self._inner.wait(write=write, deadline=deadline)

        def attend_to_the_end() -> float | None:
            again = attend()
            # the end came with the last data: the transport below has no more to tell
            return attend() if again is not None and self._ended else again

        return await self._inner.wait(
            write=write, deadline=deadline, attend=attend_to_the_end, prepare=prepare
        )

    def close(self) -> None:
        """See `Transport.close`; says so under TLS only where no record is under way."""
        if not self._unsent and not self._ended:
            with suppress(OSError, ValueError):
                self._tls.unwrap()
            with suppress(OSError):
                self._flush()
        self._inner.close()

    def _flush(self) -> bool:
        """Hand ciphertext over; whether all of it was taken."""
        while True:
            if not self._unsent:
                if not self._outgoing.pending:
                    return True
                self._unsent = memoryview(self._outgoing.read())
            self._unsent = self._unsent[self._inner.send(self._unsent) :]
            if self._unsent:
                return False

    def _feed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _decrypt(self) -> bytes:
        """Return all plain text that is there, and note the end if it is."""
        parts: list[bytes] = []
        try:
            while part := self._tls.read(BLOCK):
                parts.append(part)
            self._ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as error:
            self._ended = True
            if _is_cut(error):
                self._end = OSError(errno.ECONNABORTED, "it was cut off, without the end that TLS has")
            else:
                self._end = OSError(errno.EPROTO, f"a fault of TLS: {reason(error)}")
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def encrypt(transport: Transport, security: Security, *, deadline: float) -> TlsTransport:
    """Put TLS over a connection, and look at the certificate by the level.

    Raises ConnectError, or SpoolerError where it is files of ours that are to blame.
    """
    names = security.names
    secured = TlsTransport(transport, security.context(), host=names[0] if names else None)
    try:
        in_time = await secured.handshake(deadline)
    except ssl.SSLCertVerificationError as error:
        raise _unaccepted(f"{error.verify_message}{_mend(error.verify_code)}") from None
    except OSError as error:
        raise _failed(reason(error)) from None
    if not in_time:
        raise _failed("it was not done in time")
    _check(secured.peer, security)
    return secured


def protection(transport: TlsTransport) -> Protection:
    """Say what a connection has."""
    peer = transport.peer
    cipher = peer.cipher()
    return Protection(
        version=peer.version() or "", cipher=cipher[0] if cipher else "", certificate=_certificate(peer)
    )


def reason(error: OSError) -> str:
    """Name the reason alone, without OpenSSL's file and line."""
    if _is_cut(error):
        return "the server hung up"
    if isinstance(error, ssl.SSLError) and error.reason:
        said = error.reason.replace("_", " ").lower()
        return f"{said} ({_HINTS[said]})" if said in _HINTS else said
    return (error.strerror or str(error)).lower()


def _is_cut(error: OSError) -> bool:
    """Whether a connection ended without the end that TLS has; Python before 3.11.4 has no type for that."""
    eof = "UNEXPECTED_EOF_WHILE_READING"
    return isinstance(error, ssl.SSLEOFError) or (isinstance(error, ssl.SSLError) and error.reason == eof)


def _certificate(peer: ssl.SSLObject) -> Certificate:
    der = peer.getpeercert(binary_form=True)
    if not der:
        raise _unaccepted("it has none")
    try:
        return read_certificate(der)
    except MalformedError as error:
        raise _unaccepted(str(error)) from None


def _check(peer: ssl.SSLObject, security: Security) -> None:
    """Hold the certificate against what the level asks for beyond an authority's signature."""
    tls = security.tls
    if tls.level is TlsLevel.SECURE:
        found = _alternatives(peer)
        if not matching(security.names, found):
            raise _unaccepted(
                f"it is for {shown(found)}, not for {', '.join(security.names)} "
                "(is this the right server? if so, name what it is for with tls-names)"
            )
    elif tls.level is TlsLevel.FINGERPRINT:
        certificate = _certificate(peer)
        if not {certificate.fingerprint, certificate.key_fingerprint} & set(tls.fingerprints):
            raise _unaccepted(
                f"its fingerprint is {colons(certificate.fingerprint)}, "
                f"its key's {colons(certificate.key_fingerprint)} "
                "(if it was renewed by its owner, name that with tls-fingerprints)"
            )


def _alternatives(peer: ssl.SSLObject) -> Sequence[tuple[str, str]]:
    found = (peer.getpeercert() or {}).get("subjectAltName", ())
    return [
        (pair[0], pair[1])
        for pair in found
        if isinstance(pair, tuple) and isinstance(pair[0], str) and isinstance(pair[1], str)
    ]


def _mend(code: int) -> str:
    if code == _EXPIRED:
        return " (the server's owner must renew it)"
    if code == _NOT_YET:
        return " (look at the clocks of both machines)"
    if code in _UNKNOWN_ISSUER:
        return " (name its authority with tls-ca, or pin its fingerprint)"
    return ""


def _unaccepted(why: str) -> ConnectError:
    return ConnectError(
        f"the server's certificate is not accepted: {why}",
        trouble=Trouble.CERTIFICATE,
        stage=Stage.STARTTLS,
    )


def _failed(why: str) -> ConnectError:
    return ConnectError(
        f"TLS could not be agreed on: {why}", trouble=Trouble.NO_HANDSHAKE, stage=Stage.STARTTLS
    )
