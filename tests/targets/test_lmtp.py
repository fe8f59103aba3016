"""`lmtp` at real servers: every way in, TLS, AUTH, and the truth for each recipient."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.lmtp_command import environment, install
from tests.servers.cyrus import Login, cyrus
from tests.servers.dovecot import dovecot
from tests.servers.fixtures import require

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.certificates import Files
    from tests.servers.dovecot import Dovecot
    from tests.servers.smtp_sink import SmtpSink

MESSAGE = b"From: a\r\nDate: b\r\nMessage-ID: c\r\nSubject: \xc3\xa4\r\n\r\n.dot\r\n.\r\n\xff\r\n"
LARGE = b"From: a\r\nDate: b\r\nMessage-ID: c\r\n\r\n" + b".a line of a large attachment\r\n" * 50_000
USER = "a@store.test"
_LOGIN = Login(user="mailer", secret="pencil and päper")


class Lmtp:
    """The installed program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = install(folder / "bin")

    def __call__(
        self, *arguments: object, to: str = USER, stdin: bytes = MESSAGE, **env: str
    ) -> CompletedProcess[str]:
        """Run it."""
        done = subprocess.run(
            [self._program, "-f", "s@origin.test", "-t", to, *map(str, arguments)],
            cwd=self._folder,
            env=environment(**env),
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )


@pytest.fixture
def lmtp(tmp_path: Path) -> Lmtp:
    """Run the command."""
    return Lmtp(tmp_path)


def _ended(done: CompletedProcess[str], code: int = 0) -> CompletedProcess[str]:
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.dovecot
@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["small", "large"])
def test_dovecot_keeps_every_byte(lmtp: Lmtp, dovecot_server: Dovecot, message: bytes) -> None:
    """By the socket, and by TCP in each notation."""
    dovecot_server.allow([USER])
    ways = (
        ("-d", dovecot_server.unix),
        ("-d", dovecot_server.tcp),
        ("-d", f"inet:[127.0.0.1]:{dovecot_server.port}"),
        ("-s", "127.0.0.1", "-p", dovecot_server.port),
    )
    for way in ways:
        assert _ended(lmtp(*way, stdin=message)).stderr == ""
    assert dovecot_server.mails(USER) == [message] * len(ways)


@pytest.mark.dovecot
def test_dovecot_tells_the_truth_of_each_recipient(lmtp: Lmtp, dovecot_server: Dovecot) -> None:
    """One has it, one does not exist, one is full: each in the server's words."""
    dovecot_server.allow([USER, "full@store.test"], full=["full@store.test"])
    to = f"{USER},nobody@store.test,full@store.test"
    done = _ended(lmtp("-d", dovecot_server.unix, to=to), 75)
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"a@store\.test +delivered +250 2\.0\.0 <a@store\.test> \S+ Saved", lines[0])
    assert re.fullmatch(
        r"nobody@store\.test +failed +550 5\.1\.1 <nobody@store\.test> User doesn't .*", lines[1]
    )
    assert re.fullmatch(r"full@store\.test +deferred +452 4\.2\.2 <full@store\.test> Quota .*", lines[2])
    assert "repeat it for full@store.test alone" in done.stderr
    _ended(lmtp("-d", dovecot_server.unix, to=f"{USER},nobody@store.test"), 67)
    assert dovecot_server.mails(USER) == [MESSAGE] * 2


@pytest.mark.dovecot
def test_dovecot_by_tls(lmtp: Lmtp, dovecot_program: str, certificates: Files) -> None:
    """STARTTLS and TLS from the start, with the certificate checked or without."""
    with dovecot(dovecot_program, users=[USER], certificate=certificates.server) as server:
        ca = ("--tls-ca", certificates.ca)
        for way in (
            ("-d", server.tcp, "--tls"),
            ("-d", server.tcp, "--tls-level", "secure", *ca),
            ("-d", server.tls, "--tls-implicit", *ca),
            ("-d", server.tcp, "-t", certificates.client),
        ):
            done = _ended(lmtp(*way, "-v"))
            assert re.search(r"^\* TLSv1\.[23], ", done.stderr, re.MULTILINE)
            assert ("> STARTTLS" in done.stderr) == ("--tls-implicit" not in way)
        assert server.mails(USER) == [MESSAGE] * 4
        done = _ended(lmtp("-d", server.tcp, "--tls", "--tls-ca", certificates.other_ca), 76)
        assert len(done.stderr.splitlines()) == 1
    with dovecot(dovecot_program, users=[USER], certificate=certificates.expired) as server:
        done = _ended(lmtp("-d", server.tcp, "--tls", *ca), 76)
        assert "certificate has expired (the server's owner must renew it)" in done.stderr
        assert done.stdout == ""
        assert server.mails(USER) == []


@pytest.mark.cyrus
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"])
def test_cyrus_by_tls_and_auth(
    lmtp: Lmtp, cyrus_runs: None, certificates: Files, tmp_path: Path, mechanism: str
) -> None:
    """Each mechanism that it may offer, under TLS; secrets are not in the dialogue."""
    require("saslpasswd2", "sasl2-bin")
    login = Login(user=_LOGIN.user, secret=_LOGIN.secret, mechanisms=mechanism)
    secret = tmp_path / "secret"
    secret.write_text(f"{_LOGIN.secret}\n", encoding="utf-8")
    secret.chmod(0o400)
    with cyrus(certificate=certificates.server, login=login) as server:
        to = ("-d", server.tcp, "--tls", "--tls-ca", certificates.ca, "-v", "-a", "--user", _LOGIN.user)
        done = _ended(lmtp(*to, "--credentials", secret, to=f"{USER},b@store.test"))
        assert f"> AUTH {mechanism}" in done.stderr
        assert _LOGIN.secret not in done.stderr
        assert [line.split()[1] for line in done.stdout.splitlines()] == ["delivered"] * 2
        assert server.count() == 2
        done = _ended(lmtp(*to, LMTP_PASSWORD="a wrong one"), 77)
        assert "refused at auth: 5" in done.stderr.splitlines()[-1]
        done = _ended(lmtp("-d", server.tcp, "--tls", "-a", LMTP_USER="mailer", LMTP_PASSWORD="no"), 77)
        assert len(done.stderr.splitlines()) == 1
        assert server.count() == 2


@pytest.mark.dovecot
def test_a_server_without_auth(lmtp: Lmtp, dovecot_server: Dovecot) -> None:
    """To be authenticated was asked for: nothing is sent without."""
    dovecot_server.allow([USER])
    done = _ended(lmtp("-d", dovecot_server.unix, "-a", LMTP_USER="u", LMTP_PASSWORD="p"), 77)
    assert "the server offers no AUTH" in done.stderr
    assert dovecot_server.mails(USER) == []


@pytest.mark.postfix_tools
def test_smtp_sink(lmtp: Lmtp, dumping_sink: SmtpSink) -> None:
    """Several recipients share a transaction, with the null sender too."""
    _ended(lmtp("-d", dumping_sink.tcp, "-f", "", to="a@x,b@x"))
    (dumped,) = dumping_sink.dumped()
    assert (dumped.sender, dumped.recipients) == ("", ("a@x", "b@x"))
    assert dumped.data == MESSAGE.replace(b"\r\n", b"\n")
