"""Who may ask."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from spooler.errors import ConfigError, NoInputError, UsageError
from spooler.listen import Listen, parse_listen
from spooler.ops.guard import Token, read_token
from tests.ops.asking import ask, asked

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.spool.store import Store

PATHS = ("/", "/readyz", "/metrics", "/api/v1/status", "/api/v1/trace/a@x", "/nothing")


@pytest.mark.parametrize("path", PATHS)
async def test_with_a_token_only_who_has_it(store: Store, path: str) -> None:
    """As Bearer, or as the password of whatever user; /livez is open; who has it is asked for no host."""
    async with asked(store, token=Token("s3cret")) as (app, _):
        assert (await ask(app, "/livez")).status == 200
        without = await ask(app, path)
        assert without.status == 401
        assert without.headers["www-authenticate"].startswith("Basic ")
        basic = base64.b64encode(b"anybody:s3cret").decode()
        for offered in ("Bearer s3cret", f"Basic {basic}", "bearer  s3cret "):
            answer = await ask(app, path, headers={"authorization": offered, "host": "example.org"})
            assert answer.status not in (401, 421), offered
        wrong = base64.b64encode(b"s3cret:other").decode()
        for offered in ("Bearer other", "Bearer", "s3cret", f"Basic {wrong}", "Basic ***", ""):
            assert (await ask(app, path, headers={"authorization": offered})).status == 401, offered


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("127.0.0.1:9024", True),
        ("127.0.0.1", True),
        ("[::1]:9024", True),
        ("[::1]", True),
        ("localhost:9024", True),
        ("LOCALHOST", True),
        ("evil.example:9024", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
async def test_without_one_no_stranger_s_page_reads_along(store: Store, host: str, *, passes: bool) -> None:
    """A name that was made to point here (DNS rebinding) is refused."""
    async with asked(store) as (app, _):
        answer = await ask(app, "/api/v1/status", headers={"host": host})
        assert answer.status == (200 if passes else 421)


def test_a_token_is_not_shown(tmp_path: Path) -> None:
    """Neither by accident in a log; and a file without one is refused."""
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    token = read_token(str(file))
    assert token is not None
    assert "s3cret" not in repr(token) + str(token)
    assert token.matches(b"s3cret")
    file.write_text(" \n")
    with pytest.raises(ConfigError, match="is empty"):
        read_token(str(file))
    with pytest.raises(NoInputError, match="No such file"):
        read_token(str(tmp_path / "none"))
    assert read_token("") is None


@pytest.mark.parametrize(
    ("text", "listen", "local"),
    [
        ("127.0.0.1:9024", Listen("127.0.0.1", 9024), True),
        ("localhost:1", Listen("127.0.0.1", 1), True),
        ("[::1]:9024", Listen("::1", 9024), True),
        ("0.0.0.0:80", Listen("0.0.0.0", 80), False),
        ("[::]:80", Listen("::", 80), False),
    ],
)
def test_where_to_listen(text: str, listen: Listen, *, local: bool) -> None:
    """The notation, and whether others can connect."""
    assert parse_listen(text) == listen
    assert listen.local is local


@pytest.mark.parametrize("text", ["", "9024", ":9024", "127.0.0.1", "127.0.0.1:70000", "host:1", "1.2.3:4"])
def test_nowhere_to_listen(text: str) -> None:
    """What is no address is said to be none, with one that is."""
    with pytest.raises(UsageError) as caught:
        parse_listen(text)
    assert "127.0.0.1:9024" in caught.value.hint
