"""The status page in a real browser, while mail is going out and a target is down."""

from __future__ import annotations

import html
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from spooler.envelope import NewRecipient
from spooler.ident import now_us
from spooler.spool.store import Store
from tests.ops.served import address_of, get, get_json
from tests.servers.chromium import picture_of, text_of
from tests.servers.own_sink import own_sink
from tests.servers.process import free_port
from tests.spool.making import message
from tests.supervise.command import running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.chromium
WAITING = 20


def prepare(url: str, folder: Path, living: str, *, messages: int = 5000) -> Path:
    """Queue mail for a store that lives and for one that does not; return the configuration."""
    dead = f"inet:127.0.0.1:{free_port()}"
    config = folder / "spooler.toml"
    config.write_text(
        f'spool = "{url}"\n[routes.default]\ndestinations = ["{living}"]\nsessions = 4\n'
        f'[routes.archive]\ndestinations = ["{dead}"]\n'
    )
    with Store.open(url) as store:
        far = [NewRecipient(address=f"bob{i}@archive.example", route="archive") for i in range(WAITING)]
        store.enqueue([message(one) for one in far], now=now_us())
        store.enqueue([message("mallory@example.org")], now=now_us())
        for i in range(messages // 500):
            near = [f"user{i}-{n}@example.org" for n in range(500)]
            store.enqueue([message(address) for address in near], now=now_us())
    return config


def words(document: str) -> str:
    """Return what stands in it, as a person reads it."""
    body = re.sub(r"<(script|style)>.*?</\1>", "", document, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_a_stranger_finds_out_what_is_down(sqlite_url: str, tmp_path: Path, chromium: str) -> None:
    """From the page alone: which target takes no mail, since when, what it says, and what waits for it; how
    fast the rest goes, and what became of one message. What a server says is never markup."""
    evil = "550 5.1.1 <img src=x onerror=document.title='broken'>"
    with own_sink("--delay", "final=0.02", "--refuse", f"mallory@*={evil}") as sink:
        config = prepare(sqlite_url, tmp_path, sink.tcp)
        with running(tmp_path / "log", "worker", "--config", str(config), http="127.0.0.1:0") as worker:
            address = address_of(worker)
            worker.until(lambda: len(worker.lines("route down")) >= 1 and bool(worker.lines("failed")))
            worker.until(lambda: len(get_json(f"{address}/api/v1/history")["near"]["at"]) > 2)
            document = text_of(chromium, f"{address}/#trace=bob0@archive.example")
            picture = tmp_path / "page.png"
            picture_of(chromium, f"{address}/", picture, width=1280, height=1500)
            narrow = tmp_path / "narrow.png"
            picture_of(chromium, f"{address}/", narrow, width=390, height=800, dark=True)
            status = get_json(f"{address}/api/v1/status")
    (dead,) = [place for place in status["destinations"] if place["outage"]]
    text = words(document)
    assert re.search(
        rf"{re.escape(dead['name'])} takes no mail since \d\d:\d\d:\d\d \(\d+ s\) connection refused "
        rf"{WAITING} recipients wait for this\. It is tried again ",
        text,
    )
    assert "down" in text
    assert re.search(r"Delivered a second [\d,]+", text)
    assert "What became of bob0@archive.example" in text
    assert f"{dead['name']}: connection refused" in text
    assert "<img src=x onerror=" in text, "in the server's words"
    assert "<img" not in document.split("<script>")[0]
    assert "<title>✗ spooler</title>" in document
    assert document.count("<svg") == 2
    for file in (picture, narrow):
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size > 20_000, "there is something to see"


def test_it_works_behind_a_token_and_says_when_it_is_alone(
    sqlite_url: str, tmp_path: Path, chromium: str
) -> None:
    """The browser sends what it was asked for along with everything; without it nothing is shown."""
    token = tmp_path / "token"
    token.write_text("s3cret")
    config = tmp_path / "spooler.toml"
    config.write_text(
        f'spool = "{sqlite_url}"\n[routes.default]\ndestinations = ["inet:127.0.0.1:9"]\n'
        f'[http]\ntoken-file = "{token}"\n'
    )
    with running(tmp_path / "log", "worker", "--config", str(config), http="127.0.0.1:0") as worker:
        address = address_of(worker)
        inside = address.replace("http://", "http://anybody:s3cret@")
        worker.until(lambda: get(f"{address}/readyz", Authorization="Bearer s3cret")[0] == 200)
        shown = words(text_of(chromium, f"{inside}/"))
        assert "All is well" in shown
        assert "inet:127.0.0.1:9 not tried yet" in shown
        with pytest.raises((AssertionError, subprocess.CalledProcessError)):
            assert "All is well" in words(text_of(chromium, f"{address}/"))
