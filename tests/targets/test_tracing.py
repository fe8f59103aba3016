"""One mail is followed from intake to the store's own log by what each step writes down."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers.dovecot import Dovecot
    from tests.targets.commands import Commands

_MESSAGE = b"From: a@origin.test\nMessage-ID: <%s@origin.test>\nSubject: followed\n\nbody\n"


@pytest.mark.dovecot
def test_one_mail_is_followed_into_dovecots_log(spooler: Commands, dovecot_server: Dovecot) -> None:
    """The queue id that intake printed is in every log line about the mail and in the ledger; there stands
    what Dovecot said, with the id of its session; and that id leads to its log's line on this mail."""
    dovecot_server.allow(["known@store.test"])
    ids = {}
    for name in ("first", "second"):
        recipients = ["known@store.test", "gone@store.test"]
        message = _MESSAGE % name.encode()
        done = spooler.run("enqueue", "-f", "a@origin.test", *recipients, stdin=message)
        ids[name] = done.stdout.decode().strip()

    done = spooler.run("drain", "--target", dovecot_server.tcp, "--log-level", "info")
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b"{")]

    about = [line for line in lines if {"recipient", "recipients", "sender"} & set(line)]
    assert {(line["event"], line["id"]) for line in about} == {
        (event, ident) for event in ("transaction", "failed") for ident in ids.values()
    }
    log = dovecot_server.log(saved=len(ids))
    sessions = set()
    for name, ident in ids.items():
        (story,) = spooler.json("trace", ident)["messages"]
        assert story["id"] == ident
        said = {event["address"]: event["text"] for event in story["events"]}
        found = re.fullmatch(r"<known@store\.test> (\S+) Saved", said["known@store.test"])
        assert found, said
        session = found[1]
        sessions.add(session)
        kept = [line for line in log.splitlines() if f"<{session}>" in line]
        assert any(f"msgid=<{name}@origin.test>" in line and "saved mail" in line for line in kept), log
        assert "gone@store.test" in said["gone@store.test"]
    assert len(sessions) == 2, "each mail has an id of its own there"
