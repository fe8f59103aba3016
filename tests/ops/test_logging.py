"""Log lines: one per transaction, one per recipient that was not delivered, safe and machine-readable."""

from __future__ import annotations

import io
import json
import os
import select
import socket
from typing import TYPE_CHECKING, Any

import pytest

from spooler.events import (
    Claimed,
    Connected,
    Doubt,
    Held,
    NotConnected,
    ProcessEnded,
    Risk,
    RouteDown,
    RouteUp,
    SecurityTrouble,
    Serving,
    SessionEnded,
    Settled,
    SpoolTrouble,
    TransactionEnded,
    WindowMoved,
    WorkerState,
)
from spooler.ident import format_id
from spooler.ops.logging import EventLog, GatheringFile
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult

if TYPE_CHECKING:
    from spooler.events import Event


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    def isatty(self) -> bool:
        """See TextIO."""
        return True


def result(n: int, outcome: Outcome, *, uncertain: bool = False, text: str = "words") -> RecipientResult:
    return RecipientResult(
        message_id=7,
        n=n,
        address=f"r{n}@x",
        route="default",
        attempt=1,
        at=1_000_000,
        outcome=outcome,
        stage=Stage.FINAL,
        code=450,
        text=text,
        uncertain=uncertain,
        due=1_700_000_000_000_000 if outcome is Outcome.DEFERRED else 0,
    )


def transaction(*results: RecipientResult, sender: str = "a@x") -> TransactionEnded:
    return TransactionEnded(
        message_id=7, sender=sender, size=10, route="default", destination="unix:/x", mode="pipelined",
        took=5_000, answer=4_000, results=results,
    )  # fmt: skip


def lines_of(*events: Event, level: str = "info") -> list[dict[str, Any]]:
    file = io.StringIO()
    log = EventLog(file=file, level=level)
    for event in events:
        log(event)
    assert file.getvalue() == ""
    log.flush()
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_one_line_per_transaction_and_per_recipient_not_delivered() -> None:
    """Delivered recipients cost no line of their own; the others tell all that is known."""
    lines = lines_of(
        transaction(
            result(0, Outcome.DELIVERED),
            result(1, Outcome.DEFERRED),
            result(2, Outcome.FAILED),
            result(3, Outcome.DEFERRED, uncertain=True),
        )
    )
    assert [line["event"] for line in lines] == ["deferred", "failed", "uncertain", "transaction"]
    assert {line["id"] for line in lines} == {format_id(7)}
    assert lines[0]["recipient"] == "r1@x"
    assert lines[0]["retry_at"] == "2023-11-14T22:13:20+00:00"
    assert lines[1]["retry_at"] is None
    assert (lines[3]["recipients"], lines[3]["delivered"], lines[3]["ms"]) == (4, 1, 5)
    assert [line["level"] for line in lines] == ["warning", "warning", "warning", "info"]
    assert lines[3]["timestamp"] == "1970-01-01T00:00:01.000000Z"
    assert set(lines[0]) >= {"event", "level", "timestamp", "id", "route", "destination"} <= set(lines[3])


def test_trouble_with_tls_or_auth_is_loud() -> None:
    """An error of its own, with the destination and what to mend."""
    event = SecurityTrouble(
        route="default",
        destination="inet:a:24",
        kind="CERTIFICATE",
        why="its certificate has expired\n{}",
        retry_in=3.21,
    )
    (line,) = lines_of(event, level="error")
    del line["timestamp"]
    assert line == {
        "event": "security trouble",
        "level": "error",
        "route": "default",
        "destination": "inet:a:24",
        "why": "its certificate has expired\\n{}",
        "retry_in": 3.2,
    }


def test_a_strangers_text_cannot_forge_lines() -> None:
    """Control characters of senders and servers are escaped, on terminals too."""
    event = transaction(result(0, Outcome.FAILED, text="no\n{forged}\x1b[2J"), sender="a\nb@x")
    assert lines_of(event)[0]["text"] == "no\\n{forged}\\x1b[2J"
    file = Terminal()
    log = EventLog(file=file)
    log(event)
    log.flush()
    assert len(file.getvalue().splitlines()) == 2
    assert "\x1b[2J" not in file.getvalue()


@pytest.mark.parametrize(
    ("event", "line", "level"),
    [
        (SessionEnded("r", "unix:/x", "gone"), "session lost", "warning"),
        (Doubt("unix:/x", "one 552 for all", "lockstep"), "replies out of step", "error"),
        (WindowMoved("r", 4, 10, 8, "growing"), "sessions", "info"),
        (RouteDown("r", "refused", 1.25), "route down", "error"),
        (RouteUp("r"), "route up", "info"),
        (Settled((), 0, 1000), "settled", "debug"),
        (Claimed("r", 5), "claimed", "debug"),
        (Connected("unix:/x", 1000), "connected", "debug"),
        (NotConnected("unix:/x", "refused"), "not connected", "info"),
        (SpoolTrouble("claiming", "locked", 0.2), "spool trouble", "error"),
        (WorkerState(9, "started"), "worker", "info"),
        (WorkerState(9, "stopping", "30 s at most"), "worker", "warning"),
        (WorkerState(9, "fenced"), "worker", "warning"),
        (WorkerState(9, "rescued"), "worker", "warning"),
        (ProcessEnded(9, "killed", 0.5), "process ended", "error"),
        (Held(7, "default", 3, "why"), "held", "error"),
        (Risk("what", "mend"), "risk", "warning"),
        (Serving("http://127.0.0.1:9024/"), "serving", "info"),
    ],
)
def test_every_event_has_its_line(event: Event, line: str, level: str) -> None:
    """Each event is logged at its level; a higher threshold drops it."""
    (entry,) = lines_of(event, level="debug")
    assert (entry["event"], entry["level"]) == (line, level)
    assert lines_of(event, level="critical") == []


def test_transactions_are_left_out_above_info() -> None:
    """With a higher threshold only what went wrong is written."""
    (line,) = lines_of(transaction(result(0, Outcome.FAILED)), level="warning")
    assert line["event"] == "failed"


def test_a_terminal_is_told_of_the_stop_and_not_of_every_recipient() -> None:
    """Where a drain shows its bar a signal is answered; what was not delivered does not flood it."""
    file = Terminal()
    log = EventLog(file=file, level="error")
    log(WorkerState(9, "started"))
    log(transaction(result(0, Outcome.DEFERRED), result(1, Outcome.FAILED)))
    log(WorkerState(9, "stopping", "30 s at most"))
    log.flush()
    (line,) = file.getvalue().splitlines()
    assert "stopping" in line
    assert "30 s at most" in line


@pytest.mark.parametrize(("value", "coloured"), [("1", False), ("", True), (None, True)])
def test_colours_only_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, value: str | None, *, coloured: bool
) -> None:
    """A terminal gets colours unless NO_COLOR is set and not empty (no-color.org)."""
    if value is None:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", value)
    file = Terminal()
    log = EventLog(file=file)
    log(RouteUp("r"))
    log.flush()
    assert ("\x1b[" in file.getvalue()) is coloured


def test_a_closed_reader_does_not_stop_delivery() -> None:
    """Writing into a closed pipe is not the worker's problem."""
    file = io.StringIO()
    log = EventLog(file=file)
    log(RouteUp("r"))
    file.close()
    log.flush()


class Pipe(io.StringIO):
    """A file that is a pipe, and remembers what each flush would write."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.writes: list[str] = []

    def fileno(self) -> int:
        """The pipe's."""
        return self._descriptor

    def flush(self) -> None:
        """Take what was written since."""
        self.writes.append(self.getvalue())
        self.seek(0)
        self.truncate()


def test_lines_of_several_processes_do_not_mix_in_a_pipe() -> None:
    """A pipe gets whole lines in writes that it takes whole, however many lines were gathered."""
    lines = [f"{i} {'é' * (i % 90)}\n" for i in range(500)] + ["x" * 10_000 + "\n", "last\n"]
    reader, writer = os.pipe()
    try:
        pipe = Pipe(writer)
        gathering = GatheringFile(pipe)
        for line in lines:
            gathering.write(line)
        gathering.drain()
    finally:
        os.close(reader)
        os.close(writer)
    assert "".join(pipe.writes) == "".join(lines)
    assert all(write.endswith("\n") for write in pipe.writes)
    assert [len(write) for write in pipe.writes if len(write.encode()) > select.PIPE_BUF] == [10_001]
    assert len(pipe.writes) < len(lines) / 10


@pytest.mark.parametrize("connected", [True, False])
def test_in_the_journal_each_line_has_its_level(monkeypatch: pytest.MonkeyPatch, connected: bool) -> None:
    """By syslog's numbers, where $JOURNAL_STREAM names the very stream that is written to."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w") as file:
        place = os.fstat(file.fileno())
        number = place.st_ino if connected else place.st_ino + 1
        monkeypatch.setenv("JOURNAL_STREAM", f"{place.st_dev}:{number}")
        log = EventLog(file=file, level="debug")
        for event in (
            Claimed("default", 3),
            transaction(result(0, Outcome.DELIVERED)),
            Risk("a risk", "mend it"),
            SpoolTrouble("settling", "gone", 1.0),
        ):
            log(event)
        log.flush()
        lines = theirs.recv(10_000).decode().splitlines()
    leads = [line.partition("{")[0] for line in lines]
    assert leads == (["<7>", "<6>", "<4>", "<3>"] if connected else [""] * 4)
    assert [json.loads(line[len(lead) :])["level"] for line, lead in zip(lines, leads, strict=True)] == [
        "debug",
        "info",
        "warning",
        "error",
    ]
