"""`spooler enqueue`: from standard input into the spool, with all that may be said of a message."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spooler.cli.render import clock_time
from spooler.envelope import CHUNK_SIZE, Notify, Priority
from spooler.ident import format_id, now_us, parse_id
from spooler.records import QueuedRecipient, QueueFilter
from tests.cli.running import forbid

if TYPE_CHECKING:
    from spooler.spool.store import Store
    from tests.cli.running import Runner

FULL = Path("/dev/full")
HOUR = 3_600_000_000  # µs


def rows(store: Store) -> list[QueuedRecipient]:
    return store.queue(filter=QueueFilter(), limit=200_000, after=None)


def test_prints_the_id_of_a_message_in_the_spool(spooler: Runner, store: Store) -> None:
    """The id on standard output is that of a message that is there, with its recipients and its bytes."""
    done = spooler("enqueue", "-f", "s@example.org", "a@example.org", "b@Example.ORG")
    assert done.err == ""
    ident = parse_id(done.out.removesuffix("\n"))
    assert ident is not None
    assert [(row.message_id, row.sender, row.address) for row in rows(store)] == [
        (ident, "s@example.org", "a@example.org"),
        (ident, "s@example.org", "b@example.org"),
    ]
    message = store.message(ident)
    assert message is not None
    assert store.contents([message.content]) == {message.content: b"Subject: hi\r\n\r\nhello\r\n"}


def test_json(spooler: Runner) -> None:
    """Programs get the same with more."""
    done = spooler("enqueue", "-f", "<>", "a@example.org", "a@example.org", "--json")
    report = done.json
    assert parse_id(report.pop("id")) is not None
    assert report == {"duplicate": False, "recipients": 1, "repeated": 1, "size": 22}


def test_repeated_recipients_are_told(spooler: Runner, store: Store) -> None:
    """The same address twice is queued once, and a note says so."""
    done = spooler("enqueue", "-f", "<>", "a@example.org", "a@example.org")
    assert done.err == "spooler: recipients named more than once: 1 left out\n"
    assert [(row.sender, row.address) for row in rows(store)] == [("", "a@example.org")]


def test_all_options(spooler: Runner, store: Store) -> None:
    """What is said of a message stands in the spool."""
    before = now_us()
    spooler(
        *("enqueue", "-f", "s@example.org", "a@example.org", "--job", "june", "--tenant", "acme"),
        *("--priority", "urgent", "--not-before", "2h", "--expires", "3h", "--envid", "E1", "--ret", "hdrs"),
        *("--notify", "failure,delay", "--idempotency-key", "k1"),
    )
    (row,) = rows(store)
    message = store.message(row.message_id)
    assert message is not None
    assert (message.job, message.tenant, message.priority) == ("june", "acme", Priority.URGENT)
    assert (message.envid, message.ret, message.idempotency_key) == ("E1", "hdrs", "k1")
    assert row.notify == Notify.FAILURE | Notify.DELAY
    assert message.not_before is not None
    assert 0 <= message.not_before - before - 2 * HOUR < HOUR // 60
    assert row.due == message.not_before
    assert message.expires == message.not_before + 3 * HOUR


def test_timestamps(spooler: Runner, store: Store) -> None:
    """Times may be stated with their zone."""
    day = (now_us() // (24 * HOUR) + 30) * 24 * HOUR
    noon, midnight = (clock_time(day + hours * HOUR)[:-1] for hours in (12, 24))
    spooler("enqueue", "-f", "<>", "a@x", "--not-before", f"{noon}Z", "--expires", f"{midnight}+02:00")
    message = store.message(rows(store)[0].message_id)
    assert message is not None
    assert message.not_before == day + 12 * HOUR
    assert message.expires == day + 22 * HOUR


def test_idempotency_key(spooler: Runner, store: Store) -> None:
    """The same key again queues nothing, prints the first id, and says so."""
    first = spooler("enqueue", "-f", "<>", "a@x", "--idempotency-key", "k")
    second = spooler("enqueue", "-f", "<>", "b@x", "--idempotency-key", "k")
    other = spooler("enqueue", "-f", "<>", "b@x", "--idempotency-key", "k", "--tenant", "t")
    assert (first.out, first.err) == (second.out, "")
    assert "nothing was queued" in second.err
    assert other.out != first.out
    assert [row.address for row in rows(store)] == ["a@x", "b@x"]


def test_recipients_file(spooler: Runner, store: Store, tmp_path: Path) -> None:
    """One a line; comments, empty lines, blanks and a byte order mark do not count."""
    file = tmp_path / "recipients"
    file.write_bytes("\ufeffa@x\n\n# nobody@x\n  b@x  \r\nc#d@x\n".encode())
    spooler("enqueue", "-f", "<>", "--recipients-file", file, "e@x")
    assert [row.address for row in rows(store)] == ["e@x", "a@x", "b@x", "c#d@x"]


def test_recipients_file_with_bad_lines(spooler: Runner, store: Store, tmp_path: Path) -> None:
    """The first bad line is named and the others are counted; nothing is queued."""
    file = tmp_path / "recipients"
    file.write_text("a@x\nb x@y\n@z\n")
    done = spooler("enqueue", "-f", "<>", "--recipients-file", file, expect=65)
    assert "line 2: recipient address 'b x@y' has" in done.err
    assert "; so are 1 more lines" in done.err
    assert rows(store) == []


def test_very_many_recipients(spooler: Runner, store: Store, tmp_path: Path) -> None:
    """100,000 recipients of one message."""
    file = tmp_path / "recipients"
    file.write_text("".join(f"r{n}@example.org\n" for n in range(100_000)))
    done = spooler("enqueue", "-f", "<>", "--recipients-file", file, "--json")
    assert done.json["recipients"] == 100_000
    assert store.left() == 100_000


def test_large_message(spooler: Runner, store: Store) -> None:
    """A message of several chunks is stored whole."""
    body = b"Subject: 1\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000
    spooler("enqueue", "-f", "<>", "a@x", stdin=body)
    message = store.message(rows(store)[0].message_id)
    assert message is not None
    assert message.size == len(body) > 4 * CHUNK_SIZE
    chunks = [store.chunk(message.content, n) for n in range(5)]
    assert b"".join(chunk for chunk in chunks if chunk) == body


def test_routes_by_domain_and_by_name(spooler: Runner, store: Store, tmp_path: Path) -> None:
    """The configuration gives a domain its route; --route gives all the same."""
    config = tmp_path / "spooler.toml"
    config.write_text('[routes.far]\ndestinations = ["unix:/s"]\n[domains]\n"far.example" = "far"\n')
    spooler("enqueue", "--config", config, "-f", "<>", "a@far.example", "b@near.example")
    spooler("enqueue", "--config", config, "-f", "<>", "--route", "far", "c@near.example")
    assert [row.route for row in rows(store)] == ["far", "default", "far"]
    done = spooler("enqueue", "--config", config, "-f", "<>", "--route", "fra", "c@near.example", expect=64)
    assert "route 'fra' is unknown (known: default, far;" in done.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--expires", "soon"], "--expires 'soon' is neither a duration nor a time"),
        (["--expires", "2100-01-01T00:00:00"], "names no time zone"),
        (["--not-before", "2001-01-01T00:00:00Z"], "--not-before '2001-01-01T00:00:00Z' is in the past"),
        (["--not-before", "3h", "--expires", "2100-01-01"], "names no time zone"),
        (["--not-before", "9999-12-31T23:59:59Z"], "earliest delivery is too far ahead (give"),
        (["--expires", "99999999d"], "time to expire is too far ahead (give"),
        (["--expires", "9" * 400 + "d"], "is neither a duration nor a time"),
        (["--notify", "always"], "--notify 'always' is not understood"),
        (["--notify", "never,success"], "is not understood"),
        (["--priority", "high"], "--priority"),
        (["--idempotency-key", ""], "idempotency key is empty"),
        (["--job", "a\x1bb"], "job 'a\\x1bb' has control characters (choose a simpler"),
        (["--job", "\udcff"], "'\\udcff' is not UTF-8"),
        (["--tenant", "a" * 201], "…' is longer than 200 characters (choose a shorter"),
    ],
)
def test_wrong_options(spooler: Runner, store: Store, arguments: list[str], why: str) -> None:
    """Each is a usage error that says what is wrong, before anything is read or queued."""
    done = spooler("enqueue", "-f", "<>", "a@x", *arguments, expect=64)
    assert why in done.err
    assert done.err.count("\n") == 1
    assert rows(store) == []


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_output_that_fails_after_the_commit(
    spooler: Runner, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is queued, and the error says so, with its id."""
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        done = spooler("enqueue", "-f", "<>", "a@x", expect=74)
    (row,) = rows(store)
    assert done.err.startswith(f"spooler: message {format_id(row.message_id)} is queued, but")
    assert done.err.count("\n") == 1


def test_recipients_file_that_may_not_be_read(
    spooler: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an input that is missing, not a wrong command line."""
    path = tmp_path / "recipients"
    path.touch()
    forbid(monkeypatch, path)
    done = spooler("enqueue", "-f", "<>", "--recipients-file", path, expect=66)
    assert "Permission denied" in done.err
    done = spooler("queue", "list", "--config", path, expect=66)
    assert "Permission denied" in done.err
