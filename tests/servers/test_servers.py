"""The servers that tests start are what the tests take them for."""

from __future__ import annotations

import os
import signal
import smtplib
import threading
from typing import TYPE_CHECKING

import pytest

from tests.servers.cyrus import cyrus
from tests.servers.dovecot import dovecot
from tests.servers.fixtures import require
from tests.servers.own_sink import own_sink
from tests.servers.postfix import postfix
from tests.servers.process import ServerError, children, find, greets_on_socket, program_of, running
from tests.servers.smtp_sink import smtp_sink

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.dovecot import Dovecot
    from tests.servers.smtp_sink import SmtpSink

_HARD = b"Received: from elsewhere\r\nSubject: x\r\n\r\n.\r\n..\r\n.a\r\n\xff\r\nFrom me\r\n\r\n\r\n"


def _send(port: int, recipients: list[str], data: bytes) -> list[int]:
    """Deliver by the standard library; return the codes of RCPTs and final replies in order."""
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.ehlo()  # which is LHLO in its LMTP class
        client.mail("s@origin.test")
        codes = [client.rcpt(recipient)[0] for recipient in recipients]
        client.docmd("DATA")
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        client.send(stuffed + b".\r\n")
        return codes + [client.getreply()[0] for code in codes if code == 250]


@pytest.mark.dovecot
def test_dovecot_keeps_every_byte_and_knows_its_users(dovecot_server: Dovecot) -> None:
    """What a mailbox holds is exactly what was sent; unknown users are refused, full mailboxes deferred."""
    dovecot_server.allow(["a@store.test", "full@store.test"], full=["full@store.test"])
    codes = _send(dovecot_server.port, ["a@store.test", "nobody@store.test", "full@store.test"], _HARD)
    assert codes == [250, 550, 250, 250, 452]
    assert dovecot_server.mails("a@store.test") == [_HARD]
    assert dovecot_server.mails("full@store.test") == []
    assert any(greets_on_socket(dovecot_server.socket) for _ in range(10))  # each waits two seconds


@pytest.mark.postfix_tools
def test_smtp_sink_dumps_what_it_received(dumping_sink: SmtpSink) -> None:
    """A dump has the envelope, and the content but for its CRs."""
    assert _send(dumping_sink.port, ["a@store.test", "b@store.test"], _HARD) == [250, 250, 250, 250]
    (dumped,) = dumping_sink.dumped()
    assert dumped.sender == "s@origin.test"
    assert dumped.recipients == ("a@store.test", "b@store.test")
    assert dumped.data == _HARD.replace(b"\r\n", b"\n")


@pytest.mark.postfix
def test_postfix_keeps_what_is_put_off_and_then_delivers_all(
    postfix_runs: None, smtp_sink_program: str
) -> None:
    """Its queue is filled without a delivery, and drained to the last recipient, into one LMTP server."""
    with smtp_sink(smtp_sink_program, count=True) as sink, postfix(target=sink.port) as queue:
        queue.fill(messages=5, recipients=3, size=2000)
        assert (sink.messages(), queue.sent()) == (0, 0)
        assert queue.drain() > 0
        assert (sink.messages(), queue.sent()) == (5, 15)


@pytest.mark.postfix
def test_what_postfix_sent_is_counted_when_its_log_has_it(postfix_runs: None, smtp_sink_program: str) -> None:
    """Its queue is empty while its log service stands still: what that has yet to write is waited for."""
    with smtp_sink(smtp_sink_program, count=True) as sink, postfix(target=sink.port) as queue:
        assert queue.sent() == 0  # said by its log service
        (service,) = (pid for pid in children(queue.pid) if program_of(pid) == "postlogd")
        goes_on = threading.Timer(0.5, os.kill, (service, signal.SIGCONT))
        os.kill(service, signal.SIGSTOP)
        try:
            queue.send("s@origin.test", "a@store.test")
            assert queue.settle(messages=0) == {}
            assert sink.messages() == 1
            assert b"status=sent" not in (queue.root / "log/mail.log").read_bytes()
        finally:
            goes_on.start()
        assert queue.sent() == 1
        goes_on.join()


@pytest.mark.cyrus
def test_cyrus_makes_mailboxes_and_counts_their_mails(cyrus_runs: None) -> None:
    """A first mail makes its mailbox; each recipient has a copy."""
    with cyrus() as server:
        assert server.count() == 0
        assert _send(server.port, ["a@store.test", "b@store.test"], b"Subject: x\r\n\r\n\r\n") == [250] * 4
        assert server.count() == 2


@pytest.mark.dovecot
def test_dovecot_counts_the_mails_of_a_store_as_in_production(dovecot_program: str) -> None:
    """Mails in mdbox are counted over all mailboxes."""
    users = ["a@store.test", "b@store.test"]
    with dovecot(dovecot_program, users=users, storage="mdbox") as server:
        assert server.count() == 0
        assert _send(server.port, users, _HARD) == [250] * 4
        assert server.count() == 2


def test_our_sink_records_final_replies() -> None:
    """`spooler sink` announces its port, and its record has a line for each final reply."""
    with own_sink("--refuse-final", "b@*", record=True) as sink:
        assert _send(sink.port, ["a@store.test", "b@store.test"], _HARD) == [250, 250, 250, 550]
        assert [(reply.recipient, reply.code) for reply in sink.final_replies()] == [
            ("a@store.test", 250),
            ("b@store.test", 550),
        ]


def test_a_server_that_ends_at_start_is_an_error_with_its_words(tmp_path: Path) -> None:
    """What it printed is in the error, and nobody waits for the time limit."""
    argv = [find("sh") or "sh", "-c", "echo no such thing; exit 3"]
    with (
        pytest.raises(ServerError, match=r"(?s)ended with 3.*no such thing"),
        running(argv, ready=lambda: False, log=tmp_path / "log"),
    ):
        pytest.fail("it never ran")


def test_a_server_is_gone_when_its_block_ends(tmp_path: Path) -> None:
    """It is stopped by its own process id, also when the block raises."""
    argv = [find("sleep") or "sleep", "60"]
    with (
        pytest.raises(ZeroDivisionError),
        running(argv, ready=lambda: True, log=tmp_path / "log") as process,
    ):
        raise ZeroDivisionError
    assert process.returncode is not None


def test_a_missing_server_is_a_skip_here_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person without the server still passes; CI does not pass without having tested."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install some-package"):
        require("no-such-program", "some-package")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="install some-package"):
        require("no-such-program", "some-package")
