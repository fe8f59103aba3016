"""`lmtp`: one message, delivered at once, into a server of our own whose answers are scripted."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spooler.records import QueueFilter
from spooler.spool.store import Store
from tests.certificates import server_context
from tests.cli.lmtp_command import ENVELOPE, MESSAGE, Lmtp, environment, install
from tests.servers.own_sink import own_sink
from tests.servers.process import SPOOLER, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.certificates import Files
    from tests.servers.own_sink import OwnSink

TO = ("-f", "user@example.com", "-t")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "SPOOLER_SPOOL",
        "SPOOLER_CONFIG",
        "SPOOLER_TARGET",
        "LMTP_USER",
        "LMTP_PASSWORD",
        "LMTP_CREDENTIALS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def lmtp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lmtp:
    """Run the command."""
    return Lmtp(monkeypatch, capsys)


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSink]:
    """A server that refuses b@, defers d@, and does either late for B@ and D@."""
    with own_sink(
        "--maildir", str(tmp_path_factory.mktemp("kept")), "--refuse", "b@*=550 5.1.1 no such user",
        "--defer", "d@*=451 4.3.0 not now", "--refuse-final", "B@*=552 5.2.2 it is full",
        "--defer-final", "D@*=452 4.2.2 full",
    ) as running:  # fmt: skip
        yield running


def _kept(folder: Path, address: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / address / "new").glob("*"))]


def _commands(dialogue: str) -> list[str]:
    """The verbs that were sent."""
    return re.findall(r"^> ([A-Z]+)\b", dialogue, re.MULTILINE)


@pytest.mark.parametrize(
    "recipients",
    [
        ("-t", "a1@x,a2@x"),
        ("-t", "a1@x", "-t", "a2@x"),
        ("-t", "a1@x", "a2@x"),
        ("a1@x", "a2@x"),
        ("-t", "a2@x,a1@x,a2@X"),
    ],
)
def test_recipients_are_named_in_several_ways(lmtp: Lmtp, sink: OwnSink, recipients: tuple[str, ...]) -> None:
    """Each has one line, with the server's words."""
    done = lmtp("-d", sink.tcp, "-f", "user@example.com", *recipients)
    assert sorted(done.out.splitlines()) == [
        "a1@x  delivered  250 2.0.0 delivered",
        "a2@x  delivered  250 2.0.0 delivered",
    ]
    assert done.err == (
        "lmtp: recipients named more than once: 1 left out\n" if "X" in recipients[-1] else ""
    )


@pytest.mark.parametrize(
    ("recipients", "code", "lines"),
    [
        ("a@x,b@x", 67, ["a@x  delivered  250 2.0.0 delivered", "b@x  failed     550 5.1.1 no such user"]),
        ("b@x", 67, ["b@x  failed  550 5.1.1 no such user"]),
        ("a@x,B@x", 69, ["a@x  delivered  250 2.0.0 delivered", "B@x  failed     552 5.2.2 it is full"]),
        (
            "a@x,d@x,b@x",
            75,
            [
                "a@x  delivered  250 2.0.0 delivered",
                "d@x  deferred   451 4.3.0 not now",
                "b@x  failed     550 5.1.1 no such user",
            ],
        ),
        ("D@x", 75, ["D@x  deferred  452 4.2.2 full"]),
    ],
)  # fmt: skip
def test_every_recipient_has_its_own_truth(
    lmtp: Lmtp, sink: OwnSink, recipients: str, code: int, lines: list[str]
) -> None:
    """Some delivered, some refused, in front of the content or behind it: the server's words, and a code."""
    done = lmtp("-d", sink.tcp, *TO, recipients, expect=code)
    assert done.out.splitlines() == lines
    warned = "warning: 1 of 3 deferred: repeating the whole command would deliver twice" in done.err
    assert warned == (recipients == "a@x,d@x,b@x")


def test_json_is_a_line_for_each_recipient(lmtp: Lmtp, sink: OwnSink) -> None:
    """Of the same shape always, also where nobody was reached."""
    done = lmtp("-d", sink.tcp, *TO, "a@x,b@x", "--json", expect=67)
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"address": "a@x", "outcome": "delivered", "uncertain": False, "stage": "final", "code": 250,
         "enhanced": "2.0.0", "text": "delivered", "destination": sink.tcp},
        {"address": "b@x", "outcome": "failed", "uncertain": False, "stage": "rcpt", "code": 550,
         "enhanced": "5.1.1", "text": "no such user", "destination": sink.tcp},
    ]  # fmt: skip
    done = lmtp("-d", f"inet:127.0.0.1:{free_port()}", *TO, "a@x", "--json", expect=69)
    assert done.json["outcome"] == "deferred"
    assert done.json["destination"] == ""
    assert "connection refused" in done.json["text"]


def test_the_dialogue_of_a_basic_session(lmtp: Lmtp, sink: OwnSink) -> None:
    """`-d` without a value shows it on standard error; its commands come as in RFC 2033 section 4.2."""
    done = lmtp("-p", sink.port, "-d", *ENVELOPE)
    assert _commands(done.err) == ["LHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert "> MAIL FROM:<user@example.com> SIZE=" in done.err
    assert "> RCPT TO:<recipient@example.com>\n" in done.err
    assert "\n< 354 " in done.err
    assert re.search(
        r"\n> \(\d+ octets of content\)\n> \.\n< 250 2\.0\.0 delivered\n> QUIT\n< 221 ", done.err
    )
    assert done.out == "recipient@example.com  delivered  250 2.0.0 delivered\n"


def test_the_dialogue_with_an_accepted_and_a_refused_recipient(lmtp: Lmtp, sink: OwnSink) -> None:
    """As in RFC 2033 section 4.2: the refused one has no reply behind the content."""
    for asked in (("-v",), ("--debug",), ("-d",)):
        done = lmtp("-s", "127.0.0.1", "-p", sink.port, *TO, "pat@x,b@x", "green@x", *asked, expect=67)
        assert _commands(done.err) == ["LHLO", "MAIL", "RCPT", "RCPT", "RCPT", "DATA", "QUIT"]
        replies = re.findall(r"^< (\d{3}) ", done.err.partition("> MAIL")[2], re.MULTILINE)
        assert replies == ["250", "250", "550", "250", "354", "250", "250", "221"]


def test_a_destination_and_debugging_by_the_same_letter(lmtp: Lmtp, sink: OwnSink) -> None:
    """-d DEST and -d may both be there; two destinations may not."""
    done = lmtp("-d", "-d", sink.tcp, *ENVELOPE)
    assert _commands(done.err)[0] == "LHLO"
    assert "several destinations" in lmtp("-d", sink.tcp, "-d", sink.tcp, *ENVELOPE, expect=64).err


@pytest.mark.parametrize(
    "place",
    ["inet:127.0.0.1:{port}", "inet:[127.0.0.1]:{port}", "inet:localhost:{port}", "unix:{socket}"],
)
def test_destinations_in_every_notation(lmtp: Lmtp, place: str, tmp_path: Path) -> None:
    """Postfix's."""
    with own_sink("--listen", f"unix:{tmp_path}/s") as server:
        lmtp("-d", place.format(port=server.port, socket=tmp_path / "s"), *ENVELOPE)


def test_ipv6(lmtp: Lmtp) -> None:
    """In brackets with its prefix."""
    port = free_port()
    with own_sink("--listen", f"inet:[ipv6:::1]:{port}"):
        lmtp("-d", f"inet:[ipv6:::1]:{port}", *ENVELOPE)
        lmtp("-s", "::1", "-p", port, *ENVELOPE)


def test_headers_are_supplied_and_line_ends_mended(lmtp: Lmtp, tmp_path: Path) -> None:
    """Into a message without them, and nothing else; --raw leaves it alone."""
    with own_sink("--maildir", str(tmp_path / "kept")) as server:
        to = ("-d", server.tcp, "-l", "host.example", *TO)
        lmtp(*to, "a@x", stdin=b"begin 644 a.txt\n#86)C\n`\nend\n")
        (kept,) = _kept(tmp_path / "kept", "a@x")
        assert re.fullmatch(
            rb"From: user@example\.com\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n"
            rb"Message-ID: <\w{13}\.\d+@host\.example>\r\n\r\nbegin 644 a\.txt\r\n#86\)C\r\n`\r\nend\r\n",
            kept,
        )
        whole = b"From: a\r\nDate: b\r\nMessage-ID: c\r\n\r\n\xc3\xa4 attachment\r\n.\r\n"
        lmtp(*to, "b@x", stdin=whole)
        lmtp(*to, "c@x", "--raw", stdin=b"no header at all\r\n")
        assert _kept(tmp_path / "kept", "b@x") == [whole]
        assert _kept(tmp_path / "kept", "c@x") == [b"no header at all\r\n"]
        done = lmtp(*to, "d@x", "--raw", stdin=b"lines\nof text\r\n", expect=65)
        assert "cannot be sent as it is" in done.err
        assert _kept(tmp_path / "kept", "d@x") == []


@pytest.mark.parametrize("how", [("-i", "m.eml"), ("m.eml",), ("./m.eml",), ("--message", "m.eml")])
def test_the_message_may_be_a_file(lmtp: Lmtp, tmp_path: Path, how: tuple[str, ...]) -> None:
    """A large one goes in pieces, byte for byte."""
    whole = b"From: a\r\nDate: b\r\nMessage-ID: c\r\n\r\n" + b".long line\r\n" * 60_000
    (tmp_path / "m.eml").write_bytes(whole)
    with own_sink("--maildir", str(tmp_path / "kept")) as server:
        lmtp("-d", server.tcp, *TO, "a@x", *how, stdin=b"not this")
    assert _kept(tmp_path / "kept", "a@x") == [whole]


def test_the_null_sender_is_written_in_two_ways(lmtp: Lmtp, sink: OwnSink) -> None:
    """Nothing, or the brackets."""
    for sender in ("", "<>"):
        assert "> MAIL FROM:<> " in lmtp("-d", sink.tcp, "-v", "-f", sender, "-t", "a@x").err


@pytest.mark.parametrize(
    ("option", "arguments", "stdin", "code", "says"),
    [
        ("8BITMIME", ("a@x",), b"Subject: \xc3\xa4\n", 65, "5.6.3 the server does not take 8BITMIME"),
        ("SMTPUTF8", ("ä@x",), MESSAGE, 65, "5.6.7 the server does not take SMTPUTF8"),
    ],
)
def test_nothing_is_rewritten_to_fit(
    lmtp: Lmtp, option: str, arguments: tuple[str, ...], stdin: bytes, code: int, says: str
) -> None:
    """What the server does not offer fails what needs it."""
    with own_sink("--without", option) as server:
        assert says in lmtp("-d", server.tcp, *TO, *arguments, stdin=stdin, expect=code).out
        assert "delivered" in lmtp("-d", server.tcp, *TO, "b@x").out
    with own_sink() as server:
        assert "delivered" in lmtp("-d", server.tcp, *TO, *arguments, stdin=stdin).out


def test_recipients_that_need_smtputf8_cost_the_others_nothing(lmtp: Lmtp) -> None:
    """They go by themselves."""
    with own_sink("--without", "SMTPUTF8") as server:
        done = lmtp("-d", server.tcp, *TO, "a@x,ä@x,b@x", expect=65)
    assert [line.split()[1] for line in done.out.splitlines()] == ["delivered", "failed", "delivered"]


def test_what_does_not_fit_into_a_transaction_has_the_next_one(lmtp: Lmtp) -> None:
    """A server that takes two recipients at a time gets all five."""
    with own_sink("--max-recipients", "2", record=True) as server:
        done = lmtp("-d", server.tcp, *TO, "a@x,b@x,c@x,d@x,e@x")
        assert [line.split()[:2] for line in done.out.splitlines()] == [
            [f"{one}@x", "delivered"] for one in "abcde"
        ]
        assert len(server.final_replies()) == 5


@pytest.mark.parametrize(
    ("drop", "code", "outcome", "says"),
    [
        ("rcpt", 75, "deferred", "the server closed the connection at"),
        ("body", 75, "deferred", "the connection broke|the server closed the connection"),
        ("after-dot", 75, "uncertain", "end of data was sent, so it may be delivered already"),
    ],
)
def test_a_lost_connection(lmtp: Lmtp, drop: str, code: int, outcome: str, says: str) -> None:
    """In front of the end of data it is tried once more and then deferred; behind it nobody knows."""
    with own_sink("--drop", drop) as server:
        done = lmtp("-d", server.tcp, "-v", *ENVELOPE, stdin=b"Subject: x\n\n" + b"x" * 400_000, expect=code)
    assert done.out.split()[:2] == ["recipient@example.com", outcome]
    assert re.search(says, done.out)
    assert _commands(done.err).count("LHLO") == (1 if outcome == "uncertain" else 2)
    assert ("may have the message already: repeating the command" in done.err) == (outcome == "uncertain")


def test_once_more_on_a_fresh_connection(lmtp: Lmtp) -> None:
    """Where only the first one is lost, all is delivered and nothing is said of it."""
    with own_sink("--drop", "rcpt:2", "--max-recipients", "1") as server:
        done = lmtp("-d", server.tcp, *TO, "a@x,b@x")
    assert [line.split()[1] for line in done.out.splitlines()] == ["delivered"] * 2
    assert done.err == ""


def test_the_configuration_says_where_to_go(
    lmtp: Lmtp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Routes by domain, the first destination that answers; SPOOLER_TARGET leads the default one."""
    with own_sink(record=True) as first, own_sink(record=True) as second:
        (tmp_path / "c.toml").write_text(
            f'lhlo = "configured.example"\n[routes.default]\n'
            f'destinations = ["inet:127.0.0.1:{free_port()}", "{first.tcp}"]\n'
            f'[routes.other]\ndestinations = ["{second.tcp}"]\n[domains]\n"other.test" = "other"\n'
        )
        done = lmtp("-C", "c.toml", "-v", *TO, "a@x,b@other.test,c@x")
        assert [line.split()[1] for line in done.out.splitlines()] == ["delivered"] * 3
        assert "> LHLO configured.example\n" in done.err
        assert sorted(reply.recipient for reply in first.final_replies()) == ["a@x", "c@x"]
        assert [reply.recipient for reply in second.final_replies()] == ["b@other.test"]
        monkeypatch.setenv("SPOOLER_CONFIG", "c.toml")
        lmtp("-d", first.tcp, *TO, "d@other.test")
        assert first.final_replies()[-1].recipient == "d@other.test"
        monkeypatch.setenv("SPOOLER_TARGET", second.tcp)
        lmtp(*TO, "e@x")
        assert second.final_replies()[-1].recipient == "e@x"


def test_one_leg_that_leads_nowhere_does_not_hide_the_other(lmtp: Lmtp, tmp_path: Path) -> None:
    """Its recipients are deferred, with the reason."""
    with own_sink() as server:
        (tmp_path / "c.toml").write_text(
            f'[routes.default]\ndestinations = ["{server.tcp}"]\n[routes.dead]\n'
            f'destinations = ["inet:127.0.0.1:{free_port()}"]\n[domains]\n"dead.test" = "dead"\n'
        )
        done = lmtp("-C", "c.toml", *TO, "a@x,b@dead.test", expect=75)
    assert re.fullmatch(
        r"a@x +delivered +250 .*\nb@dead\.test +deferred +inet:127\.0\.0\.1:\d+: connection refused.*\n",
        done.out,
    )
    assert "repeat it for b@dead.test alone" in done.err


@pytest.mark.parametrize("implicit", [False, True])
def test_tls_by_every_option(lmtp: Lmtp, certificates: Files, *, implicit: bool) -> None:
    """What is asked for is what there is; with a certificate that is not accepted nothing is sent."""
    more = ("--tls-implicit",) if implicit else ()
    with own_sink("--tls-cert", str(certificates.server), *more, record=True) as server:
        to = ("-v", "-d", server.tcp, *more, *ENVELOPE)
        ca = ("--tls-ca", certificates.ca)
        for asked in (
            ("--tls",),
            ("-t", certificates.client),
            ("--tls-cert", certificates.client),
            ("--tls", *ca),
            ("--tls-level", "secure", *ca),
            ("--tls-level", "encrypt"),
        ):
            done = lmtp(*asked, *to)
            assert re.search(r"^\* TLSv1\.[23], ", done.err, re.MULTILINE), asked
            assert _commands(done.err).count("MAIL") == 1
            assert "warning" not in done.err
        taken = len(server.final_replies())
        for asked, says in (
            (("--tls", "--tls-ca", certificates.other_ca), "the server's certificate is not accepted"),
            (("--tls-name", "store.test", *ca), "it is for localhost, 127.0.0.1, not for store.test"),
            (("--tls-fingerprint", "ab" * 32), "its fingerprint is"),
        ):
            assert says in lmtp(*asked, *to, expect=76).err
        assert len(server.final_replies()) == taken


def test_an_expired_certificate_is_one_line(lmtp: Lmtp, certificates: Files) -> None:
    """The server's owner must mend it."""
    with own_sink("--tls-cert", str(certificates.expired)) as server:
        done = lmtp("-d", server.tcp, "--tls", "--tls-ca", certificates.ca, *ENVELOPE, expect=76)
    assert done.out == ""
    assert done.err == (
        f"lmtp: {server.tcp}: the server's certificate is not accepted: certificate has expired "
        "(the server's owner must renew it)\n"
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("ours", [False, True])
def test_a_server_that_does_not_want_our_certificate(
    lmtp: Lmtp, certificates: Files, version: ssl.TLSVersion, *, ours: bool
) -> None:
    """By TLS 1.3 it says so when we are done, and hangs up: the alert is read, and what to mend is said."""
    context = server_context(certificates.server, clients=certificates.other_ca)
    context.minimum_version = context.maximum_version = version

    def serve(listener: socket.socket) -> None:
        with suppress(OSError), listener.accept()[0] as connection:
            context.wrap_socket(connection, server_side=True)

    options = ("--tls-implicit", *(("-t", str(certificates.client)) if ours else ()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        done = lmtp("-d", f"inet:127.0.0.1:{listener.getsockname()[1]}", *options, *ENVELOPE, expect=76)
        thread.join()
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert done.err.endswith(" (it may want a certificate of ours, or another one: tls-cert)\n")


def test_tls_that_is_not_offered(lmtp: Lmtp) -> None:
    """Required, it is an error; nothing goes in plain text."""
    with own_sink(record=True) as server:
        done = lmtp("-d", server.tcp, "--tls", *ENVELOPE, expect=76)
        assert "does not offer STARTTLS, which level 'encrypt' requires" in done.err
        assert server.final_replies() == []
        lmtp("-d", server.tcp, "--tls-level", "may", *ENVELOPE)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("-f", "a@x"), 64, "no recipient is named (name one with -t, or as an argument)"),
        (("-t", "b@x"), 64, "no sender is named (name one with -f"),
        (("-f", "a b", "-t", "b@x"), 65, "sender address 'a b'"),
        ((*TO, "b c@x"), 65, "recipient address 'b c@x'"),
        ((*TO, "b@x", "--no-such"), 64, "No such option"),
        ((*TO, "b@x", "-d", "host"), 64, "destination 'host' is not understood"),
        ((*TO, "b@x", "-d", "inet:h", "-s", "h"), 64, "-d and -s both name a destination"),
        ((*TO, "b@x", "-s", "bad host"), 64, "server 'bad host' is no host's name"),
        ((*TO, "b@x", "-s", ""), 64, "server '' is no host's name"),
        ((*TO, "b@x", "-d", ""), 64, "destination '' is not understood"),
        ((*TO, "b@x", "-p", "70000"), 64, "70000"),
        ((*TO, "b@x", "-d", "unix:/x", "-p", "24"), 64, "unix:/x is a socket and has no port"),
        ((*TO, "b\udcff@x"), 65, "is not UTF-8"),
        ((*TO, "b@x", "-l", "bad name"), 64, "lhlo 'bad name' is no name"),
        ((*TO, "b@x", "-C", "none.toml"), 66, "configuration none.toml cannot be read"),
        ((*TO, "b@x", "-i", "none.eml"), 66, "message none.eml cannot be read: no such file"),
        ((*TO, "b@x", "./none.eml"), 66, "message none.eml cannot be read: no such file"),
        ((*TO, "b@x", "none.eml"), 66, "message none.eml cannot be read: no such file"),
        ((*TO, "b@x", "none.eml"), 66, "-t names a recipient that has no @"),
        ((*TO, "b@x", "-i", "m", "./n"), 64, "./n is a second message"),
        ((*TO, "b@x", "-t", "none/key.pem"), 66, "key file none/key.pem cannot be read"),
        ((*TO, "b@x", "--tls-ca", "none.pem", "-d", "inet:h"), 66, "none.pem cannot be read"),
        ((*TO, "b@x", "--tls-fingerprint", "x"), 64, "is no SHA-256 digest"),
        ((*TO, "b@x", "--user", "u"), 64, "there is no -a to authenticate"),
        ((*TO, "b@x", "--credentials", "c"), 64, "there is no -a to authenticate"),
        ((*TO, "b@x", "-a", "--user", "u\udcff"), 65, "the user's name is not UTF-8"),
        ((*TO, "b@x", "-a", "--user", "u", "--credentials", "none"), 66, "secret none cannot be read"),
        ((*TO, "b@x", "--spool", "-d", "inet:h"), 64, "-d DEST does not go with --spool"),
        ((*TO, "b@x", "--spool", "--tls-ca", "x"), 64, "TLS does not go with --spool"),
        ((*TO, "b@x", "--spool", "--auth-plain"), 64, "-a does not go with --spool"),
        ((*TO, "b@x", "--spool", "-d"), 64, "--debug does not go with --spool"),
        ((*TO, "b@x", "--spool"), 64, "no spool is named"),
        ((*TO, "b@x", "-s", "no-such-host.invalid"), 68, "no address found for the host"),
        ((*TO, "b@x", "-d", "unix:/none/lmtp"), 69, "no such file or directory"),
    ],
)
def test_bad_input_is_one_line_and_a_code(
    lmtp: Lmtp, arguments: tuple[str, ...], code: int, says: str
) -> None:
    """What, where, and how to mend it; nothing is printed of recipients."""
    done = lmtp(*arguments, expect=code)
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("lmtp: ")
    assert says in line


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--smtp",), 76, "this is no LMTP server: it speaks SMTP"),
        (("--greeting", "421 4.3.2 closing"), 75, "421 4.3.2 closing (try again later)"),
        (("--greeting", "554 5.3.2 no"), 75, "554 5.3.2 no"),
    ],
)
def test_a_server_of_no_use_is_one_line_and_a_code(
    lmtp: Lmtp, options: tuple[str, ...], code: int, says: str
) -> None:
    """Nothing was said of any recipient."""
    with own_sink(*options) as server:
        done = lmtp("-d", server.tcp, *ENVELOPE, expect=code)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert says in done.err


def test_an_empty_message_is_refused(lmtp: Lmtp, sink: OwnSink) -> None:
    """So is one with a NUL; nobody is connected to."""
    assert "the message is empty" in lmtp("-d", sink.tcp, *ENVELOPE, stdin=b"", expect=65).err
    assert "NUL" in lmtp("-d", sink.tcp, *ENVELOPE, stdin=b"a: \0\n", expect=65).err


def test_a_signal_stops_it_in_order(tmp_path: Path) -> None:
    """What is known is printed: here the end of data was sent, and nobody answered it yet."""
    program = install(tmp_path / "bin")
    with own_sink("--delay", "final=30", record=True) as server:
        process = subprocess.Popen(
            [program, "-d", server.tcp, "-v", *ENVELOPE],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("Subject: x\n")
        process.stdin.close()
        for line in process.stderr:
            if line == "> .\n":
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait(20) == 128 + signal.SIGINT
        process.stdout.close()
        process.stderr.close()
    assert out.split()[:2] == ["recipient@example.com", "uncertain"]
    assert "may have the message already" in rest


def test_output_that_cannot_be_written_says_not_to_repeat(sink: OwnSink, tmp_path: Path) -> None:
    """A full disk behind standard output is no failed delivery."""
    program = install(tmp_path / "bin")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [program, "-d", sink.tcp, *ENVELOPE],
            env=environment(),
            input=MESSAGE,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 74
    assert b"the message was sent" in done.stderr
    assert b"do not repeat it" in done.stderr


@pytest.mark.parametrize("reader", ["full", "gone"])
def test_a_dialogue_that_nobody_reads_keeps_no_mail_from_being_delivered(
    sink: OwnSink, tmp_path: Path, reader: str
) -> None:
    """`lmtp -d … 2>&1 >results | head -1`: the delivery goes on, and its result is told. So are errors."""
    program = install(tmp_path / "bin")
    if reader == "full":
        unread = os.open("/dev/full", os.O_WRONLY)
    else:
        end, unread = os.pipe()
        os.close(end)
    for options, code, says in (
        (["-v", "-d", sink.tcp], 0, r"recipient@example\.com  delivered  250 .*\n"),
        (["-d", "inet:bad host"], 64, ""),
    ):
        done = subprocess.run(
            [program, *options, *ENVELOPE],
            env=environment(),
            input=MESSAGE,
            stdout=subprocess.PIPE,
            stderr=unread,
            check=False,
        )
        assert done.returncode == code
        assert re.fullmatch(says, done.stdout.decode())
    os.close(unread)


def test_help_and_version(lmtp: Lmtp) -> None:
    """In the GNU forms; the examples of the guide are in the help."""
    short, long = lmtp("-h").out, lmtp("--help").out
    assert short == long
    assert 'echo "Subject: Test Email" | lmtp -f user@example.com -t recipient@example.com\n' in short
    assert re.fullmatch(r"lmtp \d+\.\d+\.\d+\S*\n", lmtp("--version").out)


def test_the_shell_completes_options(tmp_path: Path) -> None:
    """By the line of the manual."""
    program = install(tmp_path / "bin")
    done = subprocess.run(
        [program],
        env=environment(_LMTP_COMPLETE="bash_complete", COMP_WORDS="lmtp --tls-l", COMP_CWORD="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "plain,--tls-level\n"


def test_into_the_spool(lmtp: Lmtp, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id is printed once it is safe; headers are supplied as ever, and large messages stream in."""
    monkeypatch.setenv("SPOOLER_SPOOL", sqlite_url)
    large = b"Subject: x\n\n" + b"line\n" * 100_000
    done = lmtp("--spool", "-f", "user@example.com", "-t", "a@x,b@x", stdin=large)
    assert done.err == ""
    assert re.fullmatch(r"\w{13}\n", done.out)
    answer = lmtp(f"--spool={sqlite_url}", "-l", "host.example", *TO, "c@x", "--json").json
    assert answer["recipients"] == 1
    with Store.open(sqlite_url) as store:
        rows = store.queue(filter=QueueFilter(), limit=10, after=None)
        assert sorted(row.address for row in rows) == ["a@x", "b@x", "c@x"]
    with own_sink("--maildir", str(tmp_path / "kept")) as server:
        drained = subprocess.run(
            [*SPOOLER, "drain", "--target", server.tcp],
            env=environment(SPOOLER_SPOOL=sqlite_url),
            capture_output=True,
            check=False,
        )
        assert drained.returncode == 0, drained.stderr
    (kept,) = _kept(tmp_path / "kept", "c@x")
    assert kept.startswith(b"Subject: Test Email\r\nFrom: user@example.com\r\nDate: ")
    assert kept.endswith(b"@host.example>\r\n\r\n")
    (kept,) = _kept(tmp_path / "kept", "a@x")
    assert kept.endswith(b"line\r\n" * 100_000)


def test_no_database_is_loaded() -> None:
    """Not by an import, and not by a delivery."""
    program = (
        "import sys\n"
        "from spooler.cli.lmtp import main\n"
        f"code = main(['-d', sys.argv[1], *{ENVELOPE!r}])\n"
        "loaded = {'sqlalchemy', 'psycopg', 'alembic', 'sqlite3', 'rich', 'structlog'} & set(sys.modules)\n"
        "sys.exit(code or f'{loaded} loaded' if loaded else code)\n"
    )
    with own_sink() as server:
        done = subprocess.run(
            [sys.executable, "-c", program, server.tcp],
            env=environment(),
            input=MESSAGE,
            capture_output=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_colours_are_for_terminals_alone(sink: OwnSink, tmp_path: Path) -> None:
    """And not where NO_COLOR forbids them."""
    program = install(tmp_path / "bin")
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        master, slave = pty.openpty()
        done = subprocess.run(
            [program, "-d", sink.tcp, "-f", "u@x", "-t", "a@x"],
            env=environment(**env),
            input=MESSAGE,
            stdout=slave,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(slave)
        shown = os.read(master, 1000)
        os.close(master)
        assert (done.returncode, done.stderr) == (0, b"")
        assert (b"\x1b[32mdelivered" in shown) is coloured
        assert b"a@x  " in shown


def test_a_terminal_is_told_that_the_message_is_read_from_it(sink: OwnSink, tmp_path: Path) -> None:
    """Whoever forgot to redirect it sees why nothing happens."""
    program = install(tmp_path / "bin")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [program, "-d", sink.tcp, *ENVELOPE],
        env=environment(),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(slave)
    assert process.stderr is not None
    assert process.stdout is not None
    assert process.stderr.readline() == "lmtp: type the message, then Ctrl-D\n"
    os.write(master, b"Subject: typed\n\x04")
    assert "delivered" in process.stdout.read()
    assert process.wait(20) == 0
    for end in (process.stdout, process.stderr):
        end.close()
    os.close(master)
