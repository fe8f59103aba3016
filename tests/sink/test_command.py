"""`spooler sink` as a program."""

from __future__ import annotations

import json
import signal
import smtplib
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pytest
from click.testing import CliRunner

from spooler.cli.sink import command
from spooler.errors import CannotCreateError, SpoolerError, UsageError
from spooler.reply import Reply, Stage
from spooler.sink.script import DEFER, REFUSE, Drop, DropAt, Rule, Script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spooler.sink.state import SinkOptions

PROGRAM = [sys.executable, "-c", "import sys; from spooler.cli.main import main; sys.exit(main())", "sink"]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run the sink; it is killed if the test does not end it."""
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as sink:
        assert sink.stdout is not None
        try:
            yield sink, sink.stdout
        finally:
            sink.kill()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_announces_listeners_and_ends_with_totals(end: signal.Signals, tmp_path: Path) -> None:
    """A line per listener, mail is taken, and a signal gives the totals as JSON and exit code 0."""
    listen = ["--listen=inet:127.0.0.1:0", f"--listen=unix:{tmp_path}/sock"]
    with running(*listen, "--json", "--refuse=bad*", "--replies=-1") as (sink, output):
        port = output.readline().removeprefix("listening on inet:127.0.0.1:")
        assert output.readline() == f"listening on unix:{tmp_path}/sock\n"
        with smtplib.LMTP("127.0.0.1", int(port)) as client:
            client.ehlo_or_helo_if_needed()
            client.mail("s@x")
            assert [client.rcpt(address)[0] for address in ("bad@x", "a@x", "b@x")] == [550, 250, 250]
            client.putcmd("data")
            assert client.getreply()[0] == 354
            client.send(b"abc\r\n.\r\n")
            assert client.getreply()[0] == 250
        sink.send_signal(end)
        assert json.loads(output.read()) == {
            "connections": 1,
            "transactions": 1,
            "accepted": 2,
            "refused": 1,
            "deferred": 0,
            "delivered": 2,
            "bytes": 10,
            "faults": {"replies": 1},
        }
        assert sink.wait() == 0


def test_totals_are_a_sentence_for_people() -> None:
    """Without --json the totals come as one line."""
    with running("--listen", "inet:127.0.0.1:0") as (sink, output):
        output.readline()
        sink.send_signal(signal.SIGTERM)
        assert output.read() == (
            "0 connections, 0 transactions; recipients: 0 accepted, 0 refused, 0 deferred, "
            "0 delivered (0 bytes); faults: none\n"
        )


def test_an_address_in_use_is_one_line_on_standard_error(tmp_path: Path) -> None:
    """No traceback: what, where, how to mend it, and the exit code of sysexits.h."""
    (tmp_path / "taken").touch()
    with running(f"--listen=unix:{tmp_path}/taken") as (sink, output):
        assert output.read() == ""
        assert sink.stderr is not None
        assert sink.stderr.read() == (
            f"spooler: cannot listen on unix:{tmp_path}/taken: address already in use "
            "(stop the program that listens there, or choose another one)\n"
        )
        assert sink.wait() == CannotCreateError.exit_code


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen=24"],
        ["--refuse="],
        ["--defer=a@x=550 5.0.0 wrong class"],
        ["--drop=lunch"],
        ["--replies=2"],
        ["--delay=final"],
        ["--without=TELEPATHY"],
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    """Each with an error of usage, before anything is opened."""
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, UsageError)


def test_a_maildir_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The error of the sink itself comes out, not a group of errors."""
    (tmp_path / "file").touch()
    result = CliRunner().invoke(command, ["--listen=inet:127.0.0.1:0", f"--maildir={tmp_path}/file/x"])
    assert isinstance(result.exception, SpoolerError)
    assert result.exception.exit_code == CannotCreateError.exit_code


def test_every_option_reaches_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """All options at once, and the script that they make."""
    seen: list[SinkOptions] = []

    def run(_: object, options: SinkOptions) -> None:
        seen.append(options)
        raise UsageError("enough")

    monkeypatch.setattr("trio.run", run)
    arguments = {
        "--listen": ["inet:127.0.0.1:2525"],
        "--refuse": ["r*"],
        "--defer": ["d*"],
        "--refuse-final": ["rf*"],
        "--defer-final": ["df*=452 4.2.2 full"],
        "--times": ["2"],
        "--drop": ["body:3", "mail"],
        "--replies": ["+2"],
        "--delay": ["final=0.5", "rcpt=1"],
        "--greeting": ["hi"],
        "--without": ["dsn", "SIZE"],
        "--size-limit": ["9"],
        "--max-recipients": ["3"],
        "--max-transactions": ["4"],
        "--max-connections": ["5"],
    }
    given = [word for option, values in arguments.items() for value in values for word in (option, value)]
    CliRunner().invoke(command, [*given, "--one-reply", "--drip", "--mute", "--smtp"])
    assert [options.script for options in seen] == [
        Script(
            at_rcpt=(Rule("r*", REFUSE), Rule("d*", DEFER)),
            at_final=(Rule("rf*", REFUSE), Rule("df*", Reply(452, "4.2.2", ("full",)))),
            times=2,
            drops=(Drop(DropAt.BODY, 3), Drop(DropAt.MAIL)),
            replies=2,
            one_reply=True,
            delays={Stage.FINAL: 0.5, Stage.RCPT: 1.0},
            drip=True,
            greeting="hi",
            mute=True,
            without=frozenset({"DSN", "SIZE"}),
            size_limit=9,
            smtp=True,
            max_recipients=3,
            max_transactions=4,
            max_connections=5,
        )
    ]
