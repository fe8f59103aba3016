"""What the sink keeps: Maildirs, byte for byte, and the record of final replies."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from spooler.errors import CannotCreateError, NotPermittedError, StorageError
from spooler.sink.script import REFUSE, Drop, DropAt, Rule, Script
from spooler.sink.server import serve
from spooler.sink.state import Sink, SinkOptions
from spooler.sink.store import Letter, Maildir, Record, folder_name
from tests.sink.client import CONTENT, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HARD = b"\r\nbare\nlf and \r cr\0nul\xff\r\n.dots\r\n..more\r\n.\n.\r \r\n" + b"x" * 5000 + b"\r\n\r\n"


@asynccontextmanager
async def sinking(options: SinkOptions) -> AsyncIterator[Sink]:
    """Run a sink."""
    async with trio.open_nursery() as nursery:
        sink: Sink = await nursery.start(serve, options)
        yield sink
        nursery.cancel_scope.cancel()


def stuffed(content: bytes) -> bytes:
    """Stuff line by line."""
    lines = content.split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n"


def kept(folder: Path) -> list[bytes]:
    """Return the new mail of a Maildir."""
    assert sorted(path.name for path in folder.iterdir()) == ["cur", "new", "tmp"]
    assert not list((folder / "tmp").iterdir())
    return [path.read_bytes() for path in sorted((folder / "new").iterdir())]


def folders(root: Path) -> list[str]:
    """Name the Maildirs there are."""
    return [path.name for path in root.iterdir()]


@pytest.mark.parametrize("content", [CONTENT, b"", b"\r\n", HARD, HARD * 400], ids=len)
async def test_a_copy_per_recipient_byte_for_byte(tmp_path: Path, content: bytes) -> None:
    """What arrived is what is kept, for each recipient, whether it waited in memory or in a file."""
    async with (
        sinking(SinkOptions(maildir=tmp_path / "mail")) as sink,
        await Client.hello(sink.bound[0]) as client,
    ):
        assert len(await client.transact("a@x", "b@x", "a@x", content=stuffed(content))) == 3
    assert kept(tmp_path / "mail" / "a@x") == [content, content]
    assert kept(tmp_path / "mail" / "b@x") == [content]


async def test_only_delivered_copies_are_kept(tmp_path: Path) -> None:
    """Nothing for who was refused, and nothing where the dot was not seen."""
    script = Script(
        at_rcpt=(Rule("r@*", REFUSE),), at_final=(Rule("f@*", REFUSE),), drops=(Drop(DropAt.BEFORE_DOT, 2),)
    )
    async with (
        sinking(SinkOptions(maildir=tmp_path, script=script)) as sink,
        await Client.hello(sink.bound[0]) as client,
    ):
        await client.transact("a@x", "r@x", "f@x")
        await client.transact("b@x")
    assert folders(tmp_path) == ["a@x"]


async def test_trace_headers_are_added_on_request(tmp_path: Path) -> None:
    """Return-Path and Delivered-To in front of the content, as a mail store adds them."""
    async with (
        sinking(SinkOptions(maildir=tmp_path, trace_headers=True)) as sink,
        await Client.hello(sink.bound[0]) as client,
    ):
        await client.transact("a@x")
    assert kept(tmp_path / "a@x") == [b"Return-Path: <s@example.org>\r\nDelivered-To: a@x\r\n" + CONTENT]


async def test_a_copy_is_durable_before_its_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and folder are synchronised, in this order, and a failure there is a temporary refusal."""
    synced: list[str] = []
    sync = os.fsync

    def fsync(file: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{file}").readlink()))
        if "full@x/tmp" in synced[-1]:
            raise OSError(28, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    async with sinking(SinkOptions(maildir=tmp_path)) as sink, await Client.hello(sink.bound[0]) as client:
        await client.transact("a@x")
        synced.clear()
        replies = await client.transact("a@x", "full@x")
    assert [reply[:9] for reply in replies] == ["250 2.0.0", "452 4.3.1"]
    assert "/a@x/tmp/" in synced[0]
    assert synced[1].endswith("/a@x/new")
    assert kept(tmp_path / "full@x") == []
    assert sink.counters.deferred == 1


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("user+tag=x@example.org", "user+tag=x@example.org"),
        ("..", "%2E."),
        (".hidden@x", "%2Ehidden@x"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ('"a b"@x', "%22a%20b%22@x"),
        ("é@x", "%C3%A9@x"),
        ("50%@x", "50%25@x"),
    ],
)
def test_folder_names_are_safe(address: str, name: str) -> None:
    """No address leaves the folder, hides or needs quoting."""
    assert folder_name(address) == name


def test_long_addresses_have_names_of_their_own() -> None:
    """A name fits any file system, and two addresses never share one."""
    names = {folder_name("é" * 120 + f"{n}@x") for n in range(50)}
    assert len(names) == 50
    assert max(map(len, names)) <= 255


async def test_every_final_reply_is_recorded(tmp_path: Path) -> None:
    """One line per final reply, with what identifies the message; refusals at RCPT are none."""
    record = tmp_path / "record"
    record.write_text('{"kept": true}\n')
    script = Script(
        at_rcpt=(Rule("r@*", REFUSE),), at_final=(Rule("f@*", REFUSE),), drops=(Drop(DropAt.AFTER_DOT, 2),)
    )
    async with (
        sinking(SinkOptions(record=record, script=script)) as sink,
        await Client.hello(sink.bound[0]) as client,
    ):
        await client.transact("a@x", "r@x", "f@x")
        await client.transact("b@x", content=b"Subject: none\r\n\r\nX-Spooler-Test: body\r\n.\r\n")
    kept_line, *lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert kept_line == {"kept": True}
    assert all(line.pop("time") > 1_700_000_000_000_000 for line in lines)
    message = {
        "connection": 1,
        "transaction": 1,
        "sender": "s@example.org",
        "answered": True,
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "test": "t-1",
    }
    assert lines[:2] == [
        {**message, "recipient": "a@x", "code": 250},
        {**message, "recipient": "f@x", "code": 550},
    ]
    assert (lines[2]["transaction"], lines[2]["recipient"], lines[2]["code"]) == (2, "b@x", 250)
    assert (lines[2]["answered"], lines[2]["test"]) == (False, None)
    assert len(lines) == 3


async def test_a_line_is_recorded_before_its_reply_is_sent(tmp_path: Path) -> None:
    """Who has a final reply finds it in the record at once."""
    record = tmp_path / "record"
    async with sinking(SinkOptions(record=record)) as sink, await Client.hello(sink.bound[0]) as client:
        for count in range(1, 4):
            await client.transact("a@x")
            assert len(record.read_text().splitlines()) == count


async def test_a_record_that_cannot_be_written_ends_the_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An oracle with holes is worse than none: no reply is sent, and the error names the file."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Record, "write", full)
    group = pytest.RaisesGroup(
        pytest.RaisesExc(StorageError, match="no space left on device"), flatten_subgroups=True
    )
    with group:
        options = SinkOptions(record=tmp_path / "record")
        async with sinking(options) as sink, await Client.hello(sink.bound[0]) as client:
            assert await client.transact("a@x") == [""]
            await trio.sleep_forever()


async def test_places_that_cannot_be_written_are_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Maildir under a file, a record in no folder, a denied one: an error each, before anything listens."""
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateError, match=r"cannot write Maildirs to .*not a directory"):
        await serve(SinkOptions(maildir=tmp_path / "file" / "mail"))
    with pytest.raises(CannotCreateError, match=r"cannot append to .*no such file"):
        await serve(SinkOptions(record=tmp_path / "none" / "record"))

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(NotPermittedError, match=r"cannot append to .*permission denied"):
        await serve(SinkOptions(record=tmp_path / "record"))


def test_a_letter_that_is_not_kept_has_no_content() -> None:
    """Counting and digesting keep nothing; asking for a copy is a mistake of ours."""
    letter = Letter(keep=False, digest=False)
    letter.write(b"abc")
    letter.close()
    assert (letter.size, letter.sha256, letter.test_header) == (3, "", None)
    with pytest.raises(ValueError, match="not kept"):
        letter.copy_to(1)


def test_the_test_header_is_found_across_blocks() -> None:
    """However the header was cut, and only in the header."""
    letter = Letter(keep=False, digest=True)
    for byte in CONTENT:
        letter.write(bytes([byte]))
    assert letter.test_header == "t-1"


def test_maildirs_are_made_when_first_needed(tmp_path: Path) -> None:
    """The root is made with its parents; a Maildir only with its first mail."""
    Maildir(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
