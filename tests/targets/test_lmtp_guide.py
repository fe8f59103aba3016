"""Every line that a guide to `lmtp` shows runs as it is written, and ends in a real server."""

from __future__ import annotations

import binascii
import os
import pwd
import re
from typing import TYPE_CHECKING

import pytest

from tests.servers.cyrus import Login, cyrus
from tests.servers.dovecot import dovecot
from tests.servers.fixtures import require
from tests.servers.process import folder
from tests.targets.elsewhere import Elsewhere, require_namespaces

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.certificates import Files
    from tests.servers.dovecot import Dovecot

SIMPLE = 'echo "Subject: Test Email" | lmtp -f user@example.com -t recipient@example.com'
ATTACHED = "uuencode attachment.txt attachment.txt | lmtp -f user@example.com -t recipient@example.com"
AUTHENTICATED = 'echo "Subject: Test Email" | lmtp -a -f user@example.com -t recipient@example.com'
NAMED = 'echo "Subject: Test Email" | lmtp -s mail.example.com -f user@example.com -t recipient@example.com'
DEBUGGED = 'echo "Subject: Test Email" | lmtp -d -f user@example.com -t recipient@example.com'

TEXT = b"An attachment.\n" * 10
RECIPIENT = "recipient@example.com"
SUPPLIED = (
    rb"From: user@example\.com\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} [+-]\d{4}\r\n"
    rb"Message-ID: <[^<>@ ]+@[^<>@ ]+>\r\n\r\n"
)
_LOGIN = Login(user="mailer", secret="pencil and päper")


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    require_namespaces()


def _delivered(done: CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"recipient@example\.com  delivered  250 .*\n", done.stdout)


def _attached(content: bytes) -> None:
    head = re.match(SUPPLIED + rb"begin 6\d\d attachment\.txt\r\n", content)
    assert head is not None, content
    lines = content[head.end() :].split(b"\r\n")
    assert b"".join(binascii.a2b_uu(line) for line in lines[: lines.index(b"end")]) == TEXT


def _verbs(dialogue: str) -> list[str]:
    return re.findall(r"^> ([A-Z]+)\b", dialogue, re.MULTILINE)


@pytest.fixture
def store(dovecot_server: Dovecot) -> Dovecot:
    """A Dovecot that knows the guide's recipient."""
    dovecot_server.allow([RECIPIENT])
    return dovecot_server


@pytest.mark.dovecot
@pytest.mark.parametrize("place", ["/run/dovecot/lmtp", "/var/spool/postfix/private/dovecot-lmtp"])
def test_into_dovecot_by_its_usual_sockets(store: Dovecot, tmp_path: Path, place: str) -> None:
    """No destination is named: the socket is found, and no TLS is missed there."""
    require("uuencode", "sharutils")
    (tmp_path / "attachment.txt").write_bytes(TEXT)
    machine = Elsewhere(folder=tmp_path, sockets={place: store.socket})
    done = machine.run(SIMPLE)
    _delivered(done)
    assert done.stderr == ""
    _delivered(machine.run(ATTACHED))
    simple, attached = store.mails(RECIPIENT)
    if attached.startswith(b"Subject"):
        simple, attached = attached, simple
    assert re.fullmatch(rb"Subject: Test Email\r\n" + SUPPLIED, simple)
    _attached(attached)


@pytest.mark.dovecot
def test_the_dialogue_with_dovecot(store: Dovecot, tmp_path: Path) -> None:
    """-d without a value, in front of another option: the dialogue of RFC 2033 section 4.2."""
    machine = Elsewhere(folder=tmp_path, sockets={"/run/dovecot/lmtp": store.socket})
    done = machine.run(DEBUGGED)
    _delivered(done)
    assert done.stderr.startswith("* connecting to unix:/run/dovecot/lmtp\n< 220 ")
    assert _verbs(done.stderr) == ["LHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    done = machine.run(f"{DEBUGGED} jones@example.com {RECIPIENT}")
    assert _verbs(done.stderr) == ["LHLO", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"]
    assert done.returncode == 67
    assert re.search(
        r"^jones@example\.com +failed +550 5\.1\.1 <jones@example\.com>", done.stdout, re.MULTILINE
    )
    assert len(store.mails(RECIPIENT)) == 2


@pytest.mark.dovecot
def test_to_a_host_that_is_named(dovecot_program: str, certificates: Files, tmp_path: Path) -> None:
    """Off this machine, for all that the command can know: TLS, and a word that nobody checked with whom."""
    with dovecot(dovecot_program, users=[RECIPIENT], certificate=certificates.named) as server:
        hosts = {"mail.example.com": "127.0.0.1", "store.test": "127.0.0.1"}
        machine = Elsewhere(folder=tmp_path, hosts=hosts, port=server.port)
        done = machine.run(NAMED)
        _delivered(done)
        assert done.stderr == (
            f"lmtp: warning: the certificate of inet:mail.example.com:{server.port} is not checked "
            "(--tls-level secure checks it)\n"
        )
        checked = f"{NAMED} --tls --tls-ca {certificates.ca}"
        assert "it is for store.test, not for mail.example.com" in machine.run(checked).stderr
        done = machine.run(checked.replace("mail.example.com", "store.test"))
        _delivered(done)
        assert done.stderr == ""
        assert len(server.mails(RECIPIENT)) == 2


@pytest.mark.cyrus
def test_authenticated_at_cyrus(cyrus_runs: None, certificates: Files, tmp_path: Path) -> None:
    """On this host's port, with a secret from the environment, a file, or nowhere."""
    require("saslpasswd2", "sasl2-bin")
    secret = tmp_path / "credentials"
    secret.write_text(f"{_LOGIN.user}\n{_LOGIN.secret}\n")
    secret.chmod(0o600)
    with cyrus(login=_LOGIN) as server:
        machine = Elsewhere(folder=tmp_path, port=server.port)
        _delivered(machine.run(AUTHENTICATED, LMTP_USER=_LOGIN.user, LMTP_PASSWORD=_LOGIN.secret))
        done = machine.run(f"{AUTHENTICATED} -v", LMTP_CREDENTIALS=str(secret))
        _delivered(done)
        assert _verbs(done.stderr)[:3] == ["LHLO", "AUTH", "MAIL"]
        assert "\n> AUTH SCRAM-SHA-256 ***\n" in done.stderr
        assert _LOGIN.secret not in done.stderr
        assert server.count() == 2
        done = machine.run(AUTHENTICATED, LMTP_USER=_LOGIN.user, LMTP_PASSWORD="a wrong one")
        assert (done.returncode, done.stdout) == (77, "")
        assert re.fullmatch(r"lmtp: inet:localhost:\d+: refused at auth: 5\d\d .*\n", done.stderr)
        done = machine.run(AUTHENTICATED)
        assert done.returncode == 64
        assert "-a needs a user, and there is no terminal to ask on" in done.stderr
        done = machine.run(SIMPLE)
        assert done.returncode == 75
        assert re.match(r"recipient@example\.com  deferred  430 ", done.stdout)
        assert server.count() == 2


@pytest.mark.postfix_tools
def test_to_port_24_of_this_host_and_of_a_named_one(smtp_sink_program: str) -> None:
    """Nothing usual is there, and no services file knows lmtp: smtp-sink, on a network of its own."""
    require("uuencode", "sharutils")
    with folder() as root:
        (root / "attachment.txt").write_bytes(TEXT)
        (root / "dump").mkdir()
        user = ""
        if os.geteuid() == 0:  # it refuses to serve as root
            os.chown(root / "dump", pwd.getpwnam("postfix").pw_uid, -1)
            user = "-u postfix"
        machine = Elsewhere(
            folder=root,
            hosts={"mail.example.com": "127.0.0.1"},
            server=f"{smtp_sink_program} -L {user} -d dump/m. 127.0.0.1:24 100",
        )
        for line in (SIMPLE, ATTACHED):
            done = machine.run(line)
            _delivered(done)
            assert done.stderr == ""
        done = machine.run(DEBUGGED)
        _delivered(done)
        assert "* connecting to inet:localhost:24\n" in done.stderr
        done = machine.run(NAMED)
        _delivered(done)
        assert done.stderr == (
            "lmtp: warning: the connection to inet:mail.example.com:24 is in plain text "
            "(--tls requires TLS)\n"
        )
        dumped = [path.read_bytes() for path in (root / "dump").iterdir()]
    assert len(dumped) == 4
    assert sum(b"\nbegin 644 attachment.txt\n" in content for content in dumped) == 1
    assert sum(b"\nSubject: Test Email\nFrom: user@example.com\n" in content for content in dumped) == 3
