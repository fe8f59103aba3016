"""What a mailbox holds is what was handed in, whatever the content, target and number of recipients."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.targets.messages import differences, expected_of, files_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.dovecot import Dovecot
    from tests.servers.smtp_sink import SmtpSink
    from tests.targets.commands import Commands

_SENDER = "sender@origin.test"
_mails = pytest.mark.parametrize("mail", ["hard", "corpus"], indirect=True)
_counts = pytest.mark.parametrize("count", [1, 50], ids=["1-recipient", "50-recipients"])


def _users(count: int) -> list[str]:
    return [f"user{i:02}@store.test" for i in range(count)]


def _deliver(spooler: Commands, mail: Path, users: list[str], target: str) -> None:
    to = [option for user in users for option in ("-t", user)]
    # each file is named, for the corpus has messages beside the folders of a Maildir, where none belong
    spooler.run("import", "-f", _SENDER, *to, *files_of(mail))
    spooler.run("drain", "--until-empty", "--target", target)


@pytest.mark.long
@pytest.mark.dovecot
@_mails
@_counts
@pytest.mark.parametrize("by", ["tcp", "unix"])
def test_dovecot_holds_what_was_imported(
    spooler: Commands, dovecot_server: Dovecot, mail: Path, count: int, by: str
) -> None:
    """Every message arrives once in every mailbox of a real store, byte for byte after CRLF normalisation."""
    users = _users(count)
    dovecot_server.allow(users)
    _deliver(spooler, mail, users, dovecot_server.tcp if by == "tcp" else dovecot_server.unix)
    wanted = expected_of(mail)
    for user in users:
        wrong = differences(wanted, Counter(dovecot_server.mails(user)))
        assert not wrong, f"{user} {wrong}"


@pytest.mark.postfix_tools
@_mails
@_counts
def test_smtp_sink_received_what_was_imported(
    spooler: Commands, dumping_sink: SmtpSink, mail: Path, count: int
) -> None:
    """Every message reaches smtp-sink once for all its recipients, byte for byte but for its line ends."""
    users = _users(count)
    _deliver(spooler, mail, users, dumping_sink.tcp)
    received: Counter[tuple[str, bytes]] = Counter()
    for transaction in dumping_sink.dumped():
        assert transaction.sender == _SENDER
        for recipient in transaction.recipients:
            received[recipient, transaction.data.replace(b"\n", b"\r\n")] += 1
    for user in users:
        mails = Counter({data: times for (who, data), times in received.items() if who == user})
        wrong = differences(expected_of(mail), mails)
        assert not wrong, f"{user} {wrong}"
