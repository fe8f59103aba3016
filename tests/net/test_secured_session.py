"""Sessions under TLS, and with AUTH, against a scripted peer: levels, certificates, loss and doubt."""

from __future__ import annotations

import base64
import errno
import hashlib
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trio

from spooler.config import Timeouts
from spooler.credentials import Credentials, Secret
from spooler.destination import InetDestination
from spooler.lmtp.client import Client
from spooler.lmtp.trust import Trust
from spooler.net.lost import SessionLostError
from spooler.net.opening import open_session
from spooler.net.poller import Poller
from spooler.net.security import Security
from spooler.net.session import Session
from spooler.net.transport import ConnectError, SocketTransport
from spooler.reply import Stage
from spooler.tls import Tls, TlsLevel
from spooler.trouble import Trouble
from tests.certificates import HOST, server_context
from tests.net.peer import CHUNKING_HELLO, Peer, Script, connected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.certificates import Files

FAR = InetDestination("store.example.org", 24)
NEAR = InetDestination("localhost", 24)
OFFERS = b"250-peer\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"
BODY = b"Subject: x\r\n\r\nbody\r\n"
ENVELOPE = b"MAIL FROM:<a@x>\r\nRCPT TO:<r0@x>\r\nDATA\r\n"
ACCEPT = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"
ME = Credentials(user="me", secret=Secret("s3cret"))


def secured(files: Files, level: TlsLevel = TlsLevel.SECURE, *, implicit: bool = False) -> Security:
    """What a route to localhost with our own authority has."""
    ca = str(files.ca) if level.trusts_authorities else ""
    return Security(NEAR, tls=Tls(level=level, ca=ca, implicit=implicit))


async def agree_to_tls(peer: Peer, answer: bytes = b"220 go\r\n") -> None:
    """Offer STARTTLS, and answer it so."""
    await peer.greet(OFFERS)
    await peer.hear(b"STARTTLS\r\n")
    await peer.say(answer)


async def starttls(peer: Peer, certificate: Path, *, hello: bytes = CHUNKING_HELLO) -> None:
    """Serve the whole way to mail by STARTTLS."""
    await agree_to_tls(peer)
    await peer.secure(server_context(certificate))
    await peer.hear(b"LHLO client\r\n")
    await peer.say(hello)


async def greet(
    session: Session, security: Security, serve: Callable[[Peer], Awaitable[None]], peer: Peer
) -> None:
    """Let the peer serve while the session greets it; a session that fails hangs up."""
    failure: ConnectError | None = None
    async with trio.open_nursery() as nursery:

        async def server() -> None:
            try:
                await serve(peer)
            except trio.BrokenResourceError:
                await peer.hang_up()

        nursery.start_soon(server)
        try:
            await session.greet("client", security)
        except ConnectError as error:
            failure = error
            session.close()
    if failure is not None:
        raise failure


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_mail_under_tls(certificates: Files, version: str) -> None:
    """STARTTLS, then transactions; the session is kept in between, tickets or not, and used again."""
    again = Script(BODY, recipients=2)
    context = server_context(certificates.server)
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version.replace(".", "_"))
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await agree_to_tls(peer)
            await peer.secure(context)
            await peer.hear(b"LHLO client\r\n")
            await peer.say(b"250-peer\r\n250 PIPELINING\r\n")
            for _ in range(9):
                await peer.hear(b"DATA\r\n")
                await peer.say(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
                await peer.hear(b"\r\n.\r\n")
                await peer.say(b"250 a\r\n250 b\r\n")

        nursery.start_soon(server)
        await session.greet("client", secured(certificates))
        assert session.protection is not None
        assert session.protection.version == version
        for _ in range(8):
            one = Script(BODY, recipients=2)
            await session.run(one)
            assert len(one.done) == 1
            assert session.alive()
        await session.run(again)
        assert [r and r.text for r in again.done[0].final] == ["a", "b"]
        assert session.alive()


async def test_all_that_was_offered_before_tls_is_forgotten(certificates: Files) -> None:
    """PIPELINING in plain text and not under TLS: each command waits."""
    script = Script(BODY)
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            await starttls(peer, certificates.server, hello=b"250 peer\r\n")
            assert await peer.hear(b"\r\n") == b"MAIL FROM:<a@x>\r\n"
            await peer.say(b"250 ok\r\n")
            assert await peer.hear(b"\r\n") == b"RCPT TO:<r0@x>\r\n"
            await peer.say(b"250 ok\r\n")
            assert await peer.hear(b"\r\n") == b"DATA\r\n"
            await peer.say(b"354 go\r\n")
            await peer.hear(b"\r\n.\r\n")
            await peer.say(b"250 done\r\n")

        nursery.start_soon(server)
        await session.greet("client", secured(certificates))
        await session.run(script)
    assert len(script.done) == 1


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_implicit_tls(certificates: Files, version: str) -> None:
    """TLS stands before the greeting, which may come with its last words."""
    context = server_context(certificates.server)
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version.replace(".", "_"))
    async with connected() as (session, peer):

        async def serve(peer: Peer) -> None:
            await peer.secure(context)
            await peer.greet(OFFERS)

        await greet(session, secured(certificates, implicit=True), serve, peer)
        assert session.capabilities.starttls
        assert session.protection is not None


@pytest.mark.parametrize(
    ("level", "certificate", "why"),
    [
        (TlsLevel.SECURE, "expired", r"certificate has expired \(the server's owner must renew it\)"),
        (TlsLevel.VERIFY, "expired", "certificate has expired"),
        (TlsLevel.SECURE, "named", rf"it is for {HOST}, not for localhost \(is this the right server"),
    ],
)
async def test_certificates_that_are_not_accepted(
    certificates: Files, level: TlsLevel, certificate: str, why: str
) -> None:
    """The way ends, with what to mend."""
    async with connected() as (session, peer):

        async def serve(peer: Peer) -> None:
            await starttls(peer, getattr(certificates, certificate))

        with pytest.raises(ConnectError, match=why) as caught:
            await greet(session, secured(certificates, level), serve, peer)
    assert (caught.value.trouble, caught.value.stage) == (Trouble.CERTIFICATE, Stage.STARTTLS)


async def test_an_authority_that_is_not_trusted(certificates: Files) -> None:
    """Neither that of the test nor, without one, the system's; `encrypt` and `may` do not ask."""
    for ca in (str(certificates.other_ca), ""):
        for level in (TlsLevel.SECURE, TlsLevel.VERIFY):
            async with connected() as (session, peer):
                with pytest.raises(ConnectError, match=r"name its authority with tls-ca") as caught:
                    await greet(
                        session,
                        Security(NEAR, tls=Tls(level=level, ca=ca)),
                        lambda peer: starttls(peer, certificates.server),
                        peer,
                    )
            assert caught.value.trouble is Trouble.CERTIFICATE
    for level in (TlsLevel.ENCRYPT, TlsLevel.MAY):
        async with connected() as (session, peer):
            await greet(
                session,
                Security(NEAR, tls=Tls(level=level)),
                lambda peer: starttls(peer, certificates.expired),
                peer,
            )
            assert session.protection is not None


@pytest.mark.parametrize(
    ("names", "host", "certificate", "fits"),
    [
        ((HOST,), "localhost", "named", True),
        ((), HOST, "named", True),
        ((), "127.0.0.1", "server", True),
        (("a.test", HOST), "localhost", "named", True),
        (("a.test",), HOST, "named", False),
        ((), "127.0.0.2", "server", False),
    ],
)
async def test_names(
    certificates: Files, names: tuple[str, ...], host: str, certificate: str, *, fits: bool
) -> None:
    """The destination's own, or those that are given instead; `verify` takes any."""
    for level in (TlsLevel.SECURE, TlsLevel.VERIFY):
        tls = Tls(level=level, ca=str(certificates.ca), names=names if level is TlsLevel.SECURE else ())
        async with connected() as (session, peer):
            serve = greet(
                session,
                Security(InetDestination(host), tls=tls),
                lambda peer: starttls(peer, getattr(certificates, certificate)),
                peer,
            )
            if fits or level is TlsLevel.VERIFY:
                await serve
            else:
                with pytest.raises(ConnectError, match="it is for"):
                    await serve


async def test_fingerprints(certificates: Files) -> None:
    """A certificate, or its key, that is known by its digest, whoever signed it. Others are told."""
    der = ssl.PEM_cert_to_DER_cert(_first_certificate(certificates.expired))
    digest = hashlib.sha256(der).hexdigest()

    def known_by(*digests: str) -> Security:
        return Security(FAR, tls=Tls(level=TlsLevel.FINGERPRINT, fingerprints=digests))

    async with connected() as (session, peer):
        await greet(
            session, known_by("00" * 32, digest), lambda peer: starttls(peer, certificates.expired), peer
        )
        assert session.protection is not None
        key = session.protection.certificate.key_fingerprint
    async with connected() as (session, peer):
        await greet(session, known_by(key), lambda peer: starttls(peer, certificates.expired), peer)
    async with connected() as (session, peer):
        with pytest.raises(ConnectError, match=r"its fingerprint is [0-9A-F:]{95}, its key's") as caught:
            await greet(session, known_by(digest), lambda peer: starttls(peer, certificates.server), peer)
    assert caught.value.trouble is Trouble.CERTIFICATE


async def test_a_server_that_wants_a_certificate(certificates: Files) -> None:
    """Ours is shown where there is one; without it the server ends the connection, and says why."""
    context = server_context(certificates.server, clients=certificates.ca)

    async def serve(peer: Peer) -> None:
        await peer.secure(context)
        await peer.greet(OFFERS)

    for cert in (str(certificates.client), ""):
        tls = Tls(level=TlsLevel.SECURE, ca=str(certificates.ca), implicit=True, cert=cert)
        async with connected() as (session, peer):
            if cert:
                await greet(session, Security(NEAR, tls=tls), serve, peer)
            else:
                with pytest.raises(ConnectError, match="the connection broke at connect"):
                    await greet(session, Security(NEAR, tls=tls), serve, peer)


class Gone:
    """The transport of a server that greets, sends its alert and hangs up: it is of no use for sending."""

    def __init__(self, alert: OSError) -> None:
        self._said: list[bytes] = [b"220 peer\r\n"]
        self._alert = alert

    def send(self, data: bytes | memoryview) -> int:
        """See Transport."""
        raise OSError(errno.ECONNRESET, f"Connection reset by peer, {len(data)} octets too late")

    def receive(self) -> bytes | None:
        """See Transport."""
        if not self._said:
            raise self._alert
        return self._said.pop()

    async def wait(self, **_: object) -> bool:
        """See Transport."""
        await trio.lowlevel.checkpoint()
        return True

    def close(self) -> None:
        """See Transport."""


@pytest.mark.parametrize(
    ("alert", "why", "trouble"),
    [
        (OSError(errno.EPROTO, "a fault of TLS: it wants one"), "a fault of TLS", Trouble.NO_HANDSHAKE),
        (OSError(errno.ECONNRESET, "Connection reset by peer"), "8 octets too late$", Trouble.SILENT),
    ],
)
async def test_an_alert_is_read_where_sending_fails(alert: OSError, why: str, trouble: Trouble) -> None:
    """It tells why; what only says again that the connection is broken does not."""
    session = Session(
        transport=Gone(alert), client=Client(trust=Trust()), destination=NEAR, timeouts=Timeouts()
    )
    with pytest.raises(ConnectError, match=f"^the connection broke while sending: .*{why}") as caught:
        await session.greet("x", Security(NEAR))
    assert caught.value.trouble is trouble


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"220 go\r\n250-peer\r\n250 SIZE\r\n", "protocol error at starttls"),
        (b"220 go\r\n2", "protocol error at starttls"),
        (b"220 go\r\n421 bye\r\n", "protocol error at starttls"),
        (b"502 5.5.1 no\r\n", "refused at starttls: 502"),
        (b"454 4.7.0 later\r\n", "refused at starttls: 454"),
    ],
)
async def test_what_follows_starttls(certificates: Files, answer: bytes, why: str) -> None:
    """Octets behind its 220, in the same block, are never heard; nothing follows a refusal."""
    async with connected() as (session, peer):

        async def serve(peer: Peer) -> None:
            await agree_to_tls(peer, answer)
            assert await peer.rest() == b""

        with pytest.raises(ConnectError, match=why):
            await greet(session, secured(certificates), serve, peer)


async def test_plain_text_in_place_of_the_handshake(certificates: Files) -> None:
    """It is no TLS, and is not taken for a reply; nor does `may` fall back then."""
    for level in (TlsLevel.SECURE, TlsLevel.MAY):
        async with connected() as (session, peer):

            async def serve(peer: Peer) -> None:
                await agree_to_tls(peer)
                await peer.stream.receive_some()
                await peer.say(b"250-peer\r\n250 SIZE\r\n")

            with pytest.raises(ConnectError, match="TLS could not be agreed on: wrong version") as caught:
                await greet(session, secured(certificates, level), serve, peer)
        assert caught.value.trouble is Trouble.NO_HANDSHAKE


async def test_a_server_that_is_silent_in_the_handshake(
    certificates: Files, autojump_clock: trio.testing.MockClock
) -> None:
    """It has as long as for a connection."""
    async with connected() as (session, peer):

        async def serve(peer: Peer) -> None:
            await agree_to_tls(peer)

        began = trio.current_time()
        with pytest.raises(ConnectError, match="not done in time"):
            await greet(session, secured(certificates), serve, peer)
        assert trio.current_time() - began == pytest.approx(Timeouts().connect)


async def test_a_server_that_hangs_up_in_the_handshake(certificates: Files) -> None:
    """It says so."""
    async with connected() as (session, peer):

        async def serve(peer: Peer) -> None:
            await agree_to_tls(peer)
            await peer.stream.receive_some()
            await peer.hang_up()

        with pytest.raises(ConnectError, match="TLS could not be agreed on: the server hung up"):
            await greet(session, secured(certificates), serve, peer)


async def test_old_versions_are_not_spoken(certificates: Files) -> None:
    """TLS 1.1 is none."""
    context = server_context(certificates.server)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    async def serve(peer: Peer) -> None:
        await peer.secure(context)

    async with connected() as (session, peer):
        with pytest.raises(ConnectError, match="could not be agreed on"):
            await greet(session, secured(certificates, TlsLevel.ENCRYPT, implicit=True), serve, peer)


@pytest.mark.parametrize(
    ("heard", "uncertain"), [(b"DATA\r\n", False), (b"\r\n.\r\n", True)], ids=["in front of it", "behind it"]
)
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "in order"])
async def test_loss_around_the_end_of_data(
    certificates: Files, heard: bytes, *, uncertain: bool, cut: bool
) -> None:
    """Under TLS as in plain text: safe before the end-of-data, uncertain from it on; a cut is no end."""
    script = Script(BODY)
    async with connected() as (session, peer), trio.open_nursery() as nursery:

        async def server() -> None:
            raw = peer.stream
            await starttls(peer, certificates.server, hello=b"250-peer\r\n250 PIPELINING\r\n")
            await peer.hear(b"DATA\r\n")
            if heard != b"DATA\r\n":
                await peer.say(ACCEPT)
                await peer.hear(heard)
            await (raw if cut else peer.stream).aclose()

        nursery.start_soon(server)
        await session.greet("client", secured(certificates))
        with pytest.raises(SessionLostError, match="cut off" if cut else "closed the connection") as caught:
            await session.run(script)
        (transaction,) = session.unfinished()
    assert caught.value.stage is (Stage.FINAL if uncertain else Stage.MAIL)
    assert transaction.uncertain is uncertain
    assert script.done == []


class Narrow(SocketTransport):
    """A socket whose kernel takes no more behind so many octets."""

    room: int | None = None

    def send(self, data: bytes | memoryview) -> int:
        """See Transport."""
        if self.room is None:
            return super().send(data)
        taken = super().send(data[: self.room]) if self.room else 0
        self.room -= taken
        if taken < len(data):
            self._channel.filled()
        return taken


@pytest.mark.parametrize("missing", [1, 10, 24, 0])
async def test_a_record_that_is_not_whole_keeps_the_end_of_data_from_the_server(
    certificates: Files, missing: int, autojump_clock: trio.testing.MockClock
) -> None:
    """The kernel takes the record of the end-of-data but for its last octets: nobody can read it, so the
    message is safe, and closing does not send the rest. With the last octet it is uncertain."""
    ours, theirs = socket.socketpair()
    poller = Poller()
    wire = Narrow(ours, poller)
    script = Script(BODY)
    peer = Peer(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)))

    async def dial(_destination: object) -> Narrow:
        return wire

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        heard = b""

        async def server() -> None:
            nonlocal heard
            await starttls(peer, certificates.server, hello=b"250-peer\r\n250 PIPELINING\r\n")
            await peer.hear(ENVELOPE)
            # body and end-of-data go in one record: its overhead in TLS 1.3 is 22 octets
            wire.room = len(BODY) + 3 + 22 - missing
            await peer.say(ACCEPT)
            with trio.move_on_after(3600):
                try:
                    heard = bytes(await peer.stream.receive_some())
                    await trio.sleep_forever()
                except trio.BrokenResourceError:
                    return

        nursery.start_soon(server)
        session = await open_session(
            destination=NEAR,
            trust=Trust(),
            lhlo="client",
            timeouts=Timeouts(),
            dial=dial,
            security=secured(certificates),
        )
        with pytest.raises(SessionLostError, match="took no data" if missing else "no reply to final"):
            await session.run(script)
        (transaction,) = session.unfinished()
        wire.room = None
        session.close()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert heard == (b"" if missing else BODY + b".\r\n")
    assert transaction.uncertain is (missing == 0)
    await peer.hang_up()


async def test_auth_under_tls(certificates: Files) -> None:
    """The secret is said under TLS alone, and the session knows how."""
    security = Security(NEAR, tls=Tls(level=TlsLevel.SECURE, ca=str(certificates.ca)), credentials=lambda: ME)
    async with connected() as (session, peer):

        async def serve(peer: Peer) -> None:
            await starttls(peer, certificates.server, hello=b"250-peer\r\n250 AUTH PLAIN LOGIN\r\n")
            said = await peer.hear(b"\r\n")
            assert said == b"AUTH PLAIN " + base64.b64encode(b"\0me\0s3cret") + b"\r\n"
            await peer.say(b"235 2.7.0 welcome\r\n")

        await greet(session, security, serve, peer)
        assert session.mechanism == "PLAIN"


@pytest.mark.parametrize(
    ("challenge", "trouble"),
    [(b"334 !!!\r\n", Trouble.FOREIGN), (b"535 5.7.8 no\r\n", Trouble.AUTHENTICATION)],
)
async def test_auth_that_fails(challenge: bytes, trouble: Trouble) -> None:
    """The error says where; the secret is not in it."""
    security = Security(NEAR, credentials=lambda: ME)
    async with connected() as (session, peer):

        async def serve(peer: Peer) -> None:
            await peer.greet(b"250-peer\r\n250 AUTH CRAM-MD5\r\n")
            await peer.hear(b"AUTH CRAM-MD5\r\n")
            await peer.say(challenge)

        with pytest.raises(ConnectError) as caught:
            await greet(session, security, serve, peer)
    assert (caught.value.trouble, caught.value.stage) == (trouble, Stage.AUTH)
    assert "s3cret" not in str(caught.value)


async def test_files_that_are_not_right(tmp_path: Path) -> None:
    """What is missing on our side is told as ours."""
    async with connected() as (session, peer):
        tls = Tls(level=TlsLevel.VERIFY, ca=str(tmp_path / "none"))

        async def serve(peer: Peer) -> None:
            await agree_to_tls(peer)

        with pytest.raises(ConnectError, match="none cannot be read") as caught:
            await greet(session, Security(NEAR, tls=tls), serve, peer)
    assert caught.value.trouble is Trouble.OURS


async def test_the_dialogue_is_overheard(certificates: Files) -> None:
    """Both sides, in plain text and under TLS, with the secret masked; nothing else changes."""
    lines: list[str] = []
    ours, other = socket.socketpair()
    poller = Poller()
    peer = Peer(trio.SocketStream(trio.socket.from_stdlib_socket(other)))

    async def dial(_destination: object) -> SocketTransport:
        return SocketTransport(ours, poller)

    async def serve() -> None:
        await starttls(peer, certificates.server, hello=b"250-peer\r\n250 AUTH PLAIN\r\n")
        await peer.hear(b"\r\n")
        await peer.say(b"235 welcome\r\n")
        await peer.hear(b"MAIL FROM:<a@x>\r\n")
        await peer.say(b"250 ok\r\n")
        await peer.hear(b"\r\n")
        await peer.say(b"250 ok\r\n")
        await peer.hear(b"\r\n")
        await peer.say(b"354 go\r\n")
        await peer.hear(b"\r\n.\r\n")
        await peer.say(b"250 done\r\n")
        await peer.hear(b"QUIT\r\n")
        await peer.say(b"221 bye\r\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        nursery.start_soon(serve)
        session = await open_session(
            destination=NEAR,
            trust=Trust(),
            lhlo="client",
            timeouts=Timeouts(),
            dial=dial,
            security=Security(
                NEAR, tls=Tls(level=TlsLevel.SECURE, ca=str(certificates.ca)), credentials=lambda: ME
            ),
            overhear=lambda direction, text: lines.append(f"{direction.value} {text}"),
        )
        await session.run(Script(BODY))
        await session.quit()
        nursery.cancel_scope.cancel()
    await peer.hang_up()
    under_tls = [line for line in lines if line.startswith("*")]
    assert under_tls == ["* TLSv1.3, TLS_AES_256_GCM_SHA384"]
    assert lines == [
        "< 220 peer",
        "> LHLO client",
        "< 250-peer",
        "< 250-PIPELINING",
        "< 250-STARTTLS",
        "< 250 AUTH PLAIN",
        "> STARTTLS",
        "< 220 go",
        *under_tls,
        "> LHLO client",
        "< 250-peer",
        "< 250 AUTH PLAIN",
        "> AUTH PLAIN ***",
        "< 235 welcome",
        "> MAIL FROM:<a@x>",
        "< 250 ok",
        "> RCPT TO:<r0@x>",
        "< 250 ok",
        "> DATA",
        "< 354 go",
        f"> ({len(BODY)} octets of content)",
        "> .",
        "< 250 done",
        "> QUIT",
        "< 221 bye",
    ]


def _first_certificate(path: Path) -> str:
    text = path.read_text()
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + text.split(begin)[1].split(end)[0] + end
