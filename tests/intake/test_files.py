"""Finding messages in files, Maildirs and trees of folders."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from spooler.errors import NoInputError
from spooler.intake.files import FoundMessage, Passed, find_messages

if TYPE_CHECKING:
    from pathlib import Path

MAIL = b"Subject: hi\n\nhello\n"


def write(path: Path, data: bytes = MAIL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def found(path: Path) -> list[str]:
    return [os.path.relpath(one.path, path) for one in find_messages(path) if isinstance(one, FoundMessage)]


def passed(path: Path) -> list[tuple[str, str, bool]]:
    return [
        (os.path.relpath(one.path, path), one.why, one.refused)
        for one in find_messages(path)
        if isinstance(one, Passed)
    ]


def test_single_file(tmp_path: Path) -> None:
    """A file is one message, known by its real path, with all its bytes, as often as they are asked for."""
    path = write(tmp_path / "a.eml")
    messages = list(find_messages(tmp_path / "." / "a.eml"))
    assert len(messages) == 1
    for message in find_messages(path):
        assert isinstance(message, FoundMessage)
        assert (message.source, message.offset, message.sender) == (str(path.resolve()), 0, None)
        assert b"".join(message.blocks()) == b"".join(message.blocks()) == MAIL
        assert message.raw_size == len(MAIL)


def test_folders_in_order(tmp_path: Path) -> None:
    """A folder is walked whole, in the order of names."""
    for name in ("b", "a/2", "a/1", "c.eml"):
        write(tmp_path / name)
    assert found(tmp_path) == ["a/1", "a/2", "b", "c.eml"]


def test_maildir(tmp_path: Path) -> None:
    """Of a Maildir cur, new and sub-folders are read; tmp is not, nor what lies beside, which is reported."""
    for name in (
        "cur/1:2,S",
        "new/2",
        "tmp/3",
        "dovecot-uidlist",
        "cur/.hidden",
        ".Sent/cur/4:2,",
        ".Sent/new/5",
        ".Sent/tmp/6",
    ):
        write(tmp_path / name)
    assert sorted(found(tmp_path)) == [".Sent/cur/4:2,", ".Sent/new/5", "cur/1:2,S", "new/2"]
    assert passed(tmp_path) == [("dovecot-uidlist", "lies beside the parts of a Maildir", False)]


def test_folder_without_tmp_is_no_maildir(tmp_path: Path) -> None:
    """Files beside cur and new are messages where the folder is no whole Maildir."""
    for name in ("cur/1:2,S", "new/2", "3"):
        write(tmp_path / name)
    assert found(tmp_path) == ["3", "cur/1:2,S", "new/2"]


def test_maildir_flags_do_not_change_the_source(tmp_path: Path) -> None:
    """A message that was read meanwhile, in cur with flags, is still the one that was in new."""
    write(tmp_path / "new/1.host")
    (tmp_path / "cur").mkdir()
    (tmp_path / "tmp").mkdir()
    before = [one.source for one in find_messages(tmp_path) if isinstance(one, FoundMessage)]
    (tmp_path / "new/1.host").rename(tmp_path / "cur/1.host:2,RS")
    after = [one.source for one in find_messages(tmp_path) if isinstance(one, FoundMessage)]
    assert before == after == [str(tmp_path.resolve() / "1.host")]


def test_from_line_in_a_maildir_is_text(tmp_path: Path) -> None:
    """A file in a Maildir is one message, whatever it begins with."""
    data = b"From a Mon Jan  5 10:00:00 2026\nA: 1\n\nx\n\nFrom b Mon Jan  5 10:00:00 2026\nB: 2\n\ny\n"
    write(tmp_path / "cur/1", data)
    (tmp_path / "new").mkdir()
    (tmp_path / "tmp").mkdir()
    (message,) = [b"".join(one.blocks()) for one in find_messages(tmp_path) if isinstance(one, FoundMessage)]
    assert message == data


def test_links(tmp_path: Path) -> None:
    """Folders are entered once, links that lead round in a circle included; linked files are read."""
    write(tmp_path / "a/1")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "a/1")
    assert found(tmp_path) == ["a/1", "c"]


def test_what_is_no_message_is_reported(tmp_path: Path) -> None:
    """FIFOs and hidden files are passed over; a dangling link may be missing mail, so it is refused."""
    os.mkfifo(tmp_path / "fifo")
    write(tmp_path / ".hidden")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    assert passed(tmp_path) == [
        (".hidden", "is hidden", False),
        ("fifo", "is neither a file nor a folder", False),
        ("lost", "cannot be read: No such file or directory", True),
    ]


def test_missing_path(tmp_path: Path) -> None:
    """A path that is not there is an error at once."""
    with pytest.raises(NoInputError, match="No such file"):
        list(find_messages(tmp_path / "nothing"))


def test_file_that_shrinks(tmp_path: Path) -> None:
    """A file that becomes shorter while it is read is an error, never a shorter message."""
    path = write(tmp_path / "a", MAIL)
    for message in find_messages(path):
        assert isinstance(message, FoundMessage)
        path.write_bytes(b"S")
        with pytest.raises(NoInputError, match="shorter"):
            b"".join(message.blocks())


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Such a name becomes text that any database stores."""
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    (message,) = find_messages(tmp_path)
    assert message.path.endswith("/\\xff")
    assert isinstance(message, FoundMessage)
    message.source.encode("utf-8")
