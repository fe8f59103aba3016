"""Destinations are asked who they are: real servers, wrong servers, and none."""

from __future__ import annotations

import os
import re
import socket
import socketserver
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from spooler.config import parse_config
from spooler.credentials import Account
from spooler.destination import InetDestination, UnixDestination
from spooler.doctor.destinations import Way, check_destinations, judge
from spooler.doctor.finding import Finding, Level
from spooler.doctor.probe import Answer, probe
from spooler.lmtp.capabilities import Capabilities
from spooler.net.tls import Protection
from spooler.policy.certificate import Certificate
from spooler.tls import Tls, TlsLevel
from spooler.trouble import Trouble
from tests.servers.own_sink import own_sink
from tests.servers.process import free_port
from tests.servers.smtp_sink import smtp_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.certificates import Files
    from tests.servers.dovecot import Dovecot

HERE = Way(destination=InetDestination("127.0.0.1", 24))
NOW = 1_800_000_000.0


def ask(destination: str, *, patience: float = 5.0) -> Answer:
    """Ask one destination by its notation."""
    config = parse_config(f'[routes.a]\ndestinations = ["{destination}"]'.encode(), name="test")
    (parsed,) = config.routes["a"].parsed()

    async def main() -> Answer:
        return await probe(parsed, lhlo="doctor.example.org", patience=patience)

    return trio.run(main)


def judged(offers: Capabilities, modes: set[str] | None = None) -> list[Finding]:
    """Judge a server that offers these."""
    return list(judge(HERE, Answer(capabilities=offers), modes=modes or {"chunked"}, now=NOW))


@contextmanager
def says(*lines: bytes, close: bool = False) -> Iterator[str]:
    """A server that says these, one at once and one for each line that it reads, then nothing."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in lines:
                self.wfile.write(line)
                if not self.rfile.readline():
                    return
            if not close:
                self.rfile.read()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"inet:127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_dovecot(dovecot_server: Dovecot) -> None:
    """Dovecot offers everything that speed needs, by TCP and by its socket."""
    for destination in (dovecot_server.tcp, dovecot_server.unix):
        offers = ask(destination).capabilities
        assert offers is not None
        assert offers.pipelining
        assert offers.chunking
        assert offers.enhanced
        assert any("back to back" in finding.what for finding in judged(offers))


def test_smtp_sink(smtp_sink_program: str) -> None:
    """smtp-sink offers PIPELINING and no CHUNKING: that is told, and is no problem."""
    with smtp_sink(smtp_sink_program) as server:
        offers = ask(server.tcp).capabilities
    assert offers is not None
    assert offers.pipelining
    assert not offers.chunking
    assert any("without CHUNKING" in finding.what for finding in judged(offers))
    assert all(finding.level is not Level.PROBLEM for finding in judged(offers))


def test_a_server_of_smtp() -> None:
    """A server of SMTP alone, which knows no LHLO, is named as what it is."""
    with own_sink("--smtp") as sink:
        answer = ask(sink.tcp)
    assert answer.trouble is Trouble.NO_LMTP
    (found,) = judge(HERE, answer, modes={"chunked"}, now=NOW)
    assert (found.level, found.exit_code) == (Level.PROBLEM, os.EX_PROTOCOL)
    assert found.what.startswith("it speaks SMTP and no LMTP: refused at lhlo: 50")


def test_dead_port() -> None:
    """Nothing listens."""
    answer = ask(f"inet:127.0.0.1:{free_port()}")
    assert answer == Answer(trouble=Trouble.REFUSED, detail="connection refused")
    (found,) = judge(HERE, answer, modes={"chunked"}, now=NOW)
    assert found.exit_code == os.EX_UNAVAILABLE
    assert found.mend


def test_no_such_socket(tmp_path: Path) -> None:
    """A UNIX socket that is not there."""
    assert ask(f"unix:{tmp_path}/none").trouble is Trouble.REFUSED


def test_a_socket_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that this user may not connect to is a problem of permissions."""

    async def refuse(self: object, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("trio._socket._SocketType.connect", refuse)
    answer = ask(f"unix:{tmp_path}/x")
    assert answer.trouble is Trouble.NOT_PERMITTED
    (found,) = judge(Way(destination=UnixDestination(f"{tmp_path}/x")), answer, modes={"chunked"}, now=NOW)
    assert found.exit_code == os.EX_NOPERM


def test_unknown_name() -> None:
    """A name without an address."""
    answer = ask('inet:no-such-host.invalid:24"]\ntls = "none"\n#["', patience=60)
    assert answer.trouble is Trouble.NO_HOST
    (found,) = judge(HERE, answer, modes={"chunked"}, now=NOW)
    assert found.exit_code == os.EX_NOHOST


def test_no_greeting() -> None:
    """One that says nothing is not waited for as delivery waits."""
    with own_sink("--mute") as sink:
        answer = ask(sink.tcp, patience=0.2)
    assert answer == Answer(trouble=Trouble.SILENT, detail="no greeting within 0.2 s")


@pytest.mark.parametrize(
    ("lines", "trouble", "detail"),
    [
        ([b"421 4.3.2 busy\r\n"], Trouble.BUSY, "the server closes at once: 421 4.3.2 busy"),
        ([b"220 hi\r\n", b"421 4.3.2 busy\r\n"], Trouble.BUSY, "the server closes at once: 421 4.3.2 busy"),
        ([b"220 hi\r\n", b"502 5.5.1 what\r\n"], Trouble.NO_LMTP, "refused at lhlo: 502 5.5.1 what"),
        ([b"220 hi\r\n"], Trouble.SILENT, "the server closed the connection at lhlo"),
        (
            [b"SSH-2.0-OpenSSH_9\r\n"],
            Trouble.FOREIGN,
            "protocol error at connect: the server sent not a reply: b'SSH-2.0-OpenSSH_9'",
        ),
    ],
)
def test_what_servers_may_say(lines: list[bytes], trouble: Trouble, detail: str) -> None:
    """Each answer that is no welcome has its name."""
    with says(*lines, close=True) as destination:
        answer = ask(destination)
    assert (answer.trouble, answer.detail) == (trouble, detail)


def test_a_server_that_never_says_goodbye() -> None:
    """Its answers count all the same."""
    with says(b"220 hi\r\n", b"250-x\r\n250 SIZE 1000\r\n") as destination:
        answer = ask(destination, patience=2)
    assert answer.capabilities == Capabilities(size=1000)


def test_what_capabilities_mean() -> None:
    """What slows delivery, or lets mail fail, is told; what is only good to know is no warning."""
    best = Capabilities(pipelining=True, chunking=True, enhanced=True, eightbitmime=True, smtputf8=True)
    assert {finding.level for finding in judged(best)} == {Level.OK}
    worst = [finding.what for finding in judged(Capabilities(size=10)) if finding.level is Level.WARNING]
    assert [what.partition(" mail")[0][:18] for what in worst] == ["without PIPELINING", "without 8BITMIME"]
    assert any("10 bytes" in finding.what for finding in judged(Capabilities(size=10)))
    careful = [f.what for f in judged(best, {"chunked", "lockstep"}) if f.level is Level.WARNING]
    assert careful == ["a route's mode keeps it at lockstep, whatever it offers"]
    unproved = Capabilities(pipelining=True, chunking=True, eightbitmime=True, smtputf8=True)
    assert any("CHUNKING without ENHANCEDSTATUSCODES" in finding.what for finding in judged(unproved))


def test_a_socket_open_to_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever may connect may put mail into any mailbox: that is told."""
    path = Path(f"/tmp/doctor-{os.getpid()}.sock")
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
            path.chmod(0o666)
            found = list(
                judge(
                    Way(destination=UnixDestination(str(path))),
                    Answer(trouble=Trouble.SILENT),
                    modes=set(),
                    now=NOW,
                )
            )
            assert [finding.level for finding in found] == [Level.PROBLEM, Level.WARNING]
            assert "everybody on this host" in found[1].what
    finally:
        path.unlink()


async def test_each_is_asked_once() -> None:
    """Destinations are asked together, each once, and told in the order of the routes."""
    first, second = free_port(), free_port()
    config = parse_config(
        f'[routes.a]\ndestinations = ["inet:127.0.0.1:{first}", "inet:127.0.0.1:{second}"]\n'
        f'[routes.b]\ndestinations = ["inet:127.0.0.1:{second}"]\n'.encode(),
        name="test",
    )
    found = await check_destinations(config, now=NOW)
    assert [finding.where for finding in found] == [f"inet:127.0.0.1:{port}" for port in (first, second)]


DAY = 86400
FAR = InetDestination("store.example.org", 24)


def protected(level: TlsLevel, *, days: int = 90, at: InetDestination = FAR, **more: object) -> list[Finding]:
    """What is found of TLS at this level; the certificate lasts for so many days."""
    certificate = Certificate(fingerprint="", key_fingerprint="", not_after=int(NOW) + days * DAY)
    has = Protection(version="TLSv1.3", cipher="AES", certificate=certificate)
    answer = msgspec.structs.replace(Answer(capabilities=Capabilities(), protection=has), **more)
    way = Way(destination=at, tls=Tls(level=level), account=ACCOUNT if answer.mechanism else None)
    return [one for one in judge(way, answer, modes=set(), now=NOW) if TELLS.search(one.what)]


TELLS = re.compile("TLS|level|takes")
ACCOUNT = Account(user="me", secret_file="/s")


@pytest.mark.parametrize(
    ("days", "level", "says"),
    [
        (90, Level.OK, "its certificate lasts for 90 days"),
        (13, Level.WARNING, "its certificate expires in 13 days"),
        (-1, Level.WARNING, "its certificate has expired, which this level does not look at"),
    ],
)
def test_how_long_a_certificate_lasts(days: int, level: Level, says: str) -> None:
    """Version, cipher and level are told; who renews a month ahead is warned in time."""
    (found,) = protected(TlsLevel.FINGERPRINT, days=days)
    assert (found.level, found.what) == (level, f"TLSv1.3, AES, at level 'fingerprint'; {says}")


def test_levels_that_anybody_in_between_can_read() -> None:
    """It is told where mail travels to whoever answers, or in plain text, off this machine."""
    for level in (TlsLevel.MAY, TlsLevel.ENCRYPT):
        warned = [one.what for one in protected(level) if one.level is Level.WARNING]
        assert warned == [
            f"level '{level}' does not look at who the server is: whoever is between can read all"
        ]
        here = protected(level, at=InetDestination("127.0.0.1"))
        assert [one.level for one in here] == [Level.OK]
    (plain,) = protected(TlsLevel.MAY, protection=None)
    assert "does no TLS" in plain.what
    *_, left = protected(TlsLevel.NONE, protection=None, capabilities=Capabilities(starttls=True))
    assert "it offers STARTTLS, and level 'none'" in left.what
    assert protected(TlsLevel.NONE, protection=None) == []


def test_who_is_told_the_secret() -> None:
    """By PLAIN and LOGIN it is whoever answers there, unless that was looked at."""
    for mechanism, level, expected in (
        ("PLAIN", TlsLevel.ENCRYPT, Level.WARNING),
        ("LOGIN", TlsLevel.MAY, Level.WARNING),
        ("SCRAM-SHA-256", TlsLevel.ENCRYPT, Level.OK),
        ("PLAIN", TlsLevel.SECURE, Level.OK),
        ("PLAIN", TlsLevel.FINGERPRINT, Level.OK),
    ):
        found = protected(level, mechanism=mechanism)[-1]
        assert found.what.startswith(f"it takes 'me' by {mechanism}")
        assert found.level is expected


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (Trouble.NO_TLS, os.EX_UNAVAILABLE),
        (Trouble.NO_HANDSHAKE, os.EX_PROTOCOL),
        (Trouble.CERTIFICATE, os.EX_UNAVAILABLE),
        (Trouble.NO_MECHANISM, os.EX_UNAVAILABLE),
        (Trouble.AUTHENTICATION, os.EX_NOPERM),
        (Trouble.OURS, os.EX_CONFIG),
    ],
)
def test_trouble_with_security_is_a_problem_with_a_mend(trouble: Trouble, code: int) -> None:
    """Each kind has its exit code, and says what to do."""
    (found,) = judge(HERE, Answer(trouble=trouble, detail="why"), modes=set(), now=NOW)
    assert (found.level, found.exit_code) == (Level.PROBLEM, code)
    assert found.what == f"{trouble.value}: why"
    assert found.mend


def test_a_sink_by_tls(certificates: Files) -> None:
    """It is asked as delivery asks, by STARTTLS or from the start; a certificate for another is a problem."""
    for implicit in (False, True):
        with own_sink("--tls-cert", str(certificates.server), *["--tls-implicit"] * implicit) as sink:
            for ca, fits in ((certificates.ca, True), (certificates.other_ca, False)):
                config = parse_config(
                    f'[routes.a]\ndestinations = ["{sink.tcp}"]\ntls = "secure"\ntls-ca = "{ca}"\n'
                    f"tls-implicit = {str(implicit).lower()}\n".encode(),
                    name="test",
                )
                found = trio.run(partial(check_destinations, config, now=NOW))
                assert any("at level 'secure'; its certificate lasts" in one.what for one in found) is fits
                assert any("its certificate is not accepted" in one.what for one in found) is not fits
