"""What the words of the command line name."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from spooler.errors import DataError, NoInputError, SpoolerError, UsageError
from spooler.oneshot.naming import Named, read_names, split_list

PEM = "text in front\n-----BEGIN PRIVATE KEY-----\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a@x", ["a@x"]),
        ("a@x,b@x , c@x,", ["a@x", "b@x", "c@x"]),
        ('"a,b"@x,c@x', ['"a,b"@x', "c@x"]),
        (r'"a\",b"@x,c', [r'"a\",b"@x', "c"]),
        ('a"@x,b@x', ['a"@x', "b@x"]),
    ],
)
def test_lists_are_split_at_commas_outside_of_quotes(text: str, items: list[str]) -> None:
    """White space around an item, and an empty one, do not matter."""
    assert split_list(text) == items


def test_recipients_come_from_both_places_each_once_and_in_order() -> None:
    """A domain's case does not make another recipient."""
    named = read_names(["a@x,b@X", "c@x"], ["b@x", "d@x"])
    assert named == Named(("a@x", "b@x", "c@x", "d@x"), 1, "", "")


def test_a_pem_file_is_a_key_and_anything_else_a_recipient(tmp_path: Path) -> None:
    """A mailbox that is called like a file that holds no PEM is still a mailbox."""
    (tmp_path / "key.pem").write_text(PEM)
    (tmp_path / "bob").write_text("no PEM")
    assert read_names(["key.pem", "bob", "a@x"], []) == Named(("bob", "a@x"), 0, "key.pem", "")
    assert read_names([str(tmp_path / "key.pem"), "a@x"], []).key == str(tmp_path / "key.pem")


@pytest.mark.parametrize("argument", ["message.eml", "./message.eml", "sub/message", "/abs/message"])
def test_what_cannot_be_a_recipient_is_the_message(tmp_path: Path, argument: str) -> None:
    """A path is one, be it there or not; so is a name with a dot, without an @."""
    (tmp_path / "message.eml").write_text("x")
    assert read_names(["a@x"], ["none.eml"]).message == "none.eml"
    assert read_names(["a@x"], [argument]) == Named(("a@x",), 0, "", argument)


def test_an_address_is_a_recipient_even_if_a_file_is_called_so(tmp_path: Path) -> None:
    """Recipients without a domain are taken, where no file is meant; -t means none."""
    (tmp_path / "a@x").write_text("x")
    assert read_names(["b.c"], ["a@x", "postmaster"]).recipients == ("b.c", "a@x", "postmaster")


def test_a_key_that_cannot_be_read_is_no_recipient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail would go to nobody, and without the TLS that was asked for."""
    (tmp_path / "mine").write_text(PEM)

    def refused(*_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refused)
        with pytest.raises(NoInputError, match="key file mine cannot be read: permission denied"):
            read_names(["mine"], [])
    os.mkfifo(tmp_path / "pipe.pem")
    with pytest.raises(NoInputError, match=r"key file pipe\.pem cannot be read: is a pipe"):
        read_names(["pipe.pem"], [])


@pytest.mark.parametrize(
    ("told", "arguments", "kind", "says"),
    [
        (["one.pem", "two.pem"], [], UsageError, "2 key files: one.pem, two.pem"),
        (["a@x"], ["./m", "./n"], UsageError, "2 messages"),
        (["a@x"], ["both"], UsageError, "'both' is a file, and may be a recipient"),
        (["none/key.pem"], [], NoInputError, "key file none/key.pem cannot be read: no such file"),
        (["none.pem"], [], NoInputError, "key file none.pem cannot be read: no such file"),
        (["./both"], [], DataError, "./both is not a PEM file"),
        ([""], [], DataError, "names nobody"),
        ([" , "], [], DataError, "names nobody"),
        (["a b@x"], [], DataError, "recipient address 'a b@x'"),
        (['"a>b"@x'], [], DataError, "contains a '>'"),
        ([], ["a@x\r\nRCPT TO:<b@x>"], DataError, "line break"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, told: list[str], arguments: list[str], kind: type[SpoolerError], says: str
) -> None:
    """One line that names the word."""
    for name in ("one.pem", "two.pem"):
        (tmp_path / name).write_text(PEM)
    (tmp_path / "both").write_text("x")
    with pytest.raises(kind) as caught:
        read_names(told, arguments)
    assert says in str(caught.value)
