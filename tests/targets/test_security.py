"""Real stores by TLS and AUTH: all arrives once, and what they do not accept is deferred, loudly."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.cyrus import Login, cyrus
from tests.servers.dovecot import dovecot
from tests.servers.fixtures import require

if TYPE_CHECKING:
    from pathlib import Path

    from tests.certificates import Files
    from tests.targets.commands import Commands

_MESSAGES = 200
_MBOX = "".join(
    f"From a@origin.test Thu Jan  1 00:00:00 2026\nSubject: {n}\n\nbody {n}\n.dot\n\n"
    for n in range(_MESSAGES)
)
_EXPECTED = Counter(f"Subject: {n}\r\n\r\nbody {n}\r\n.dot\r\n".encode() for n in range(_MESSAGES))
_USERS = ["a@store.test", "b@store.test"]
_LOGIN = Login(user="mailer", secret="pencil and päper")


def _configure(spooler: Commands, destination: str, *more: str) -> None:
    spooler.configure("\n".join([f"[routes.default]\ndestinations = ['{destination}']", *more]) + "\n")


def _secure(files: Files) -> list[str]:
    return ["tls = 'secure'", f"tls-ca = '{files.ca}'"]


def _auth(folder: Path, secret: str = _LOGIN.secret) -> list[str]:
    path = folder / "secret"
    path.unlink(missing_ok=True)
    path.write_text(f"{secret}\n", encoding="utf-8")
    path.chmod(0o400)
    return [f"auth-user = '{_LOGIN.user}'", f"auth-secret-file = '{path}'"]


def _deliver(spooler: Commands) -> list[dict[str, Any]]:
    """Import the messages and drain; return the lines of the log."""
    (spooler.folder / "mail").write_text(_MBOX)
    spooler.run("import", "-f", "a@origin.test", "-t", _USERS[0], "-t", _USERS[1], "mail")
    return _lines(spooler.run("drain", "--until-empty").stderr)


def _lines(log: bytes) -> list[dict[str, Any]]:
    """Return the lines that are for machines."""
    return [json.loads(line) for line in log.splitlines() if line.startswith(b"{")]


def _modes(lines: list[dict[str, Any]]) -> set[str]:
    return {line["mode"] for line in lines if line["event"] == "transaction"}


@pytest.mark.dovecot
@pytest.mark.parametrize("mode", ["lockstep", "pipelined", "chunked"])
@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
def test_dovecot_by_tls(
    spooler: Commands, dovecot_program: str, certificates: Files, mode: str, *, implicit: bool
) -> None:
    """Hundreds of messages in each mode: each mailbox holds each of them once, byte for byte."""
    with dovecot(dovecot_program, users=_USERS, certificate=certificates.server) as server:
        _configure(
            spooler,
            server.tls if implicit else server.tcp,
            *_secure(certificates),
            f"tls-implicit = {str(implicit).lower()}",
            f"mode = '{mode}'",
        )
        lines = _deliver(spooler)
        for user in _USERS:
            assert Counter(server.mails(user)) == _EXPECTED
    assert mode in _modes(lines)
    assert not [
        line
        for line in lines
        if line["level"] in ("warning", "error") and line["event"] not in ("worker", "risk")
    ]


@pytest.mark.dovecot
def test_dovecot_without_tls(spooler: Commands, dovecot_program: str, certificates: Files) -> None:
    """A level that requires it defers (4.7.4) and sends nothing; at `may` mail goes in plain text."""
    with dovecot(dovecot_program, users=_USERS) as server:
        soon = "retry = { first = '1s', maximum = '1s' }"
        _configure(spooler, server.tcp, *_secure(certificates), soon)
        message_id = (
            spooler.run("enqueue", "-f", "a@origin.test", *_USERS, stdin=b"Subject: x\n\nx\n")
            .stdout.decode()
            .strip()
        )
        log = spooler.run("drain", expect=75).stderr
        assert b'"security trouble"' in log
        assert b"the server does not offer STARTTLS, which level 'secure' requires" in log
        (story,) = spooler.json("trace", message_id)["messages"]
        assert {(entry["stage"], entry["enhanced"]) for entry in story["events"]} == {("starttls", "4.7.4")}
        assert [server.mails(user) for user in _USERS] == [[], []]
        _configure(spooler, server.tcp, "tls = 'may'", soon)
        spooler.run("drain", "--until-empty")
        assert [len(server.mails(user)) for user in _USERS] == [1, 1]


@pytest.mark.dovecot
@pytest.mark.parametrize(
    ("certificate", "more", "why"),
    [
        ("expired", (), "certificate has expired"),
        ("named", (), "it is for store.test, not for 127.0.0.1"),
        ("server", ("other",), "self-signed certificate in certificate chain|unable to get local issuer"),
    ],
)
def test_dovecot_with_a_certificate_that_is_not_accepted(
    spooler: Commands, dovecot_program: str, certificates: Files, certificate: str, more: str, why: str
) -> None:
    """Nothing is sent; doctor and the log say why, and what to mend."""
    with dovecot(dovecot_program, users=_USERS, certificate=getattr(certificates, certificate)) as server:
        ca = certificates.other_ca if more else certificates.ca
        _configure(spooler, server.tcp, "tls = 'secure'", f"tls-ca = '{ca}'")
        spooler.run("enqueue", "-f", "a@origin.test", *_USERS, stdin=b"Subject: x\n\nx\n")
        lines = _lines(spooler.run("drain", expect=75).stderr)
        (told, *_) = [line for line in lines if line["event"] == "security trouble"]
        assert any(words in told["why"] for words in why.split("|"))
        deferred = [line for line in lines if line["event"] == "deferred"]
        assert {line["enhanced"] for line in deferred} == {"4.7.5"}
        done = spooler.run("doctor", expect=69).stdout.decode()
        assert "its certificate is not accepted" in done
        assert [server.mails(user) for user in _USERS] == [[], []]


@pytest.mark.cyrus
@pytest.mark.parametrize("mode", ["lockstep", "pipelined"])
def test_cyrus_by_tls_and_auth(
    spooler: Commands, cyrus_runs: None, certificates: Files, tmp_path: Path, mode: str
) -> None:
    """Hundreds of messages after STARTTLS and SCRAM-SHA-256: each mailbox holds each of them once."""
    require("saslpasswd2", "sasl2-bin")
    with cyrus(certificate=certificates.server, login=_LOGIN) as server:
        _configure(
            spooler, server.tcp, *_secure(certificates), *_auth(tmp_path), f"mode = '{mode}'", "sessions = 4"
        )
        lines = _deliver(spooler)
        assert server.count() == 2 * _MESSAGES
    assert mode in _modes(lines)
    assert _LOGIN.secret not in json.dumps(lines)


@pytest.mark.cyrus
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"])
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_cyrus_by_each_mechanism(
    spooler: Commands, cyrus_runs: None, certificates: Files, tmp_path: Path, mechanism: str, *, tls: bool
) -> None:
    """Under TLS and, on this machine alone, in plain text; doctor names the mechanism."""
    require("saslpasswd2", "sasl2-bin")
    login = Login(user="mailer", secret=_LOGIN.secret, plain=not tls)
    with cyrus(certificate=certificates.server, login=login) as server:
        protected = _secure(certificates) if tls else []
        only = f"auth-mechanisms = ['{mechanism}']"
        _configure(spooler, server.tcp, *protected, *_auth(tmp_path), only)
        spooler.run("enqueue", "-f", "a@origin.test", *_USERS, stdin=b"Subject: x\n\nx\n")
        spooler.run("drain", "--until-empty")
        assert server.count() == 2
        found = [finding["what"] for finding in spooler.json("doctor")["findings"]]
        assert f"it takes 'mailer' by {mechanism}" in found
        assert any("TLSv1." in what for what in found) is tls


@pytest.mark.cyrus
def test_cyrus_does_not_accept_the_secret(
    spooler: Commands, cyrus_runs: None, certificates: Files, tmp_path: Path
) -> None:
    """It is offered once, the mail is deferred (4.7.8), and doctor says what to look at; mended, it goes."""
    require("saslpasswd2", "sasl2-bin")
    with cyrus(certificate=certificates.server, login=_LOGIN) as server:
        keys = [*_secure(certificates), "retry = { first = '1s', maximum = '1s' }"]
        _configure(spooler, server.tcp, *keys, *_auth(tmp_path, "a wrong one"))
        spooler.run("enqueue", "-f", "a@origin.test", *_USERS, stdin=b"Subject: x\n\nx\n")
        lines = _lines(spooler.run("drain", expect=75).stderr)
        (told,) = [line for line in lines if line["event"] == "security trouble"]
        assert "refused at auth: 5" in told["why"]  # 501 of Cyrus 3.6 for a wrong proof (SCRAM)
        deferred = [line for line in lines if line["event"] == "deferred"]
        assert {(line["stage"], line["enhanced"]) for line in deferred} == {("auth", "4.7.8")}
        assert b"a wrong one" not in json.dumps(lines).encode()
        asked = spooler.run("doctor", expect=77).stdout.decode()
        assert "it does not accept the user and secret" in asked
        assert "auth-secret-file" in asked
        _configure(spooler, server.tcp, *keys, *_auth(tmp_path))
        spooler.run("drain", "--until-empty")
        assert server.count() == 2
