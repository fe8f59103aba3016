"""`spooler queue hold/release/retry/reroute/remove/bounce`: what people see of it."""

from __future__ import annotations

import getpass
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from spooler.cli import walking
from spooler.ident import now_us
from spooler.result import Outcome
from spooler.spool import steering
from tests.cli.running import claim_all, result_of

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.command import Key, Order, Steered
    from spooler.spool.store import Store
    from tests.cli.running import Runner

ME = f"{getpass.getuser()}@{socket.gethostname()}"


@pytest.fixture(autouse=True)
def _nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sudo, and nothing that is waited for long."""
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(walking, "LOOK_AGAIN", 0.01)


def put(spooler: Runner, *recipients: str, **options: str) -> str:
    """Queue a message; returns its id."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    return spooler("enqueue", "-f", "s@example.org", *words, *recipients).out.strip()


def addresses(spooler: Runner, *arguments: str) -> list[str]:
    """Whom a list names."""
    return [row["address"] for row in spooler("queue", "list", "--json", *arguments).json["recipients"]]


def test_nothing_is_selected(spooler: Runner) -> None:
    """Without a selection nothing is done: all must be asked for."""
    put(spooler, "a@x.example")
    for command in ("hold", "release", "retry", "remove", "bounce"):
        ended = spooler("queue", command, expect=64)
        assert ended.err.startswith("spooler: nothing is selected (")
        assert "--all" in ended.err
    assert addresses(spooler) == ["a@x.example"]
    assert spooler("queue", "remove", "--all").out == "1 recipient removed: 1 waiting on default\n"
    assert addresses(spooler) == []


def test_remove(spooler: Runner) -> None:
    """What is selected goes; a dry run tells before, the trace tells after, with who and why."""
    put(spooler, "a@x.example", job="june")
    ident = put(spooler, "b@x.example", "c@y.example", job="june")
    put(spooler, "d@x.example")
    dry = spooler("queue", "remove", "--job", "june", "--to", "@x.example", "--dry-run").out.splitlines()
    assert dry[0].split() == ["route", "waiting", "deferred", "active", "held"]
    assert dry[1].split() == ["default", "2", "0", "0", "0"]
    assert dry[2] == "2 recipients would be removed; nothing was changed"
    assert len(addresses(spooler)) == 4

    done = spooler("queue", "remove", "--job", "june", "--to", "@x.example", "--reason", "wrong list")

    assert done.out == "2 recipients removed: 2 waiting on default\n"
    assert addresses(spooler) == ["c@y.example", "d@x.example"]
    assert f"by {ME}: wrong list" in spooler("trace", "b@x.example").out
    shown = spooler("queue", "show", ident, "--json").json
    assert [(one["address"], one["state"]) for one in shown["recipients"]] == [
        ("b@x.example", "removed"),
        ("c@y.example", "waiting"),
    ]
    assert spooler("queue", "stats", "--json").json["routes"]["default"]["removed"] == 2


def test_by_id(spooler: Runner) -> None:
    """Ids name messages; one that is none, or is not there, changes nothing."""
    first, second, _ = (put(spooler, f"{name}@x.example") for name in "abc")
    assert "is no message id" in spooler("queue", "hold", first, "nonsense", expect=64).err
    unknown = first[:-3] + "zzz"
    assert "is not in this spool" in spooler("queue", "hold", second, unknown, expect=66).err
    assert addresses(spooler, "--state", "held") == []
    assert spooler("queue", "hold", first, second).out == "2 recipients held: 2 waiting on default\n"
    assert addresses(spooler, "--state", "held") == ["a@x.example", "b@x.example"]


def test_hold_and_release(spooler: Runner) -> None:
    """The reason is shown while it is held; doing it twice is said, and harmless."""
    put(spooler, "a@x.example")
    spooler("queue", "hold", "--to", "A@x.example", "--reason", "their disk is full")
    assert f"held: by {ME}: their disk is full" in spooler("queue", "list").out
    again = spooler("queue", "hold", "--all").out.splitlines()
    assert again == ["0 recipients held", "left as they are: 1 held already"]
    assert spooler("queue", "release", "--all").out == "1 recipient released: 1 held on default\n"
    (row,) = spooler("queue", "list", "--json").json["recipients"]
    assert (row["state"], row["hold"]) == ("waiting", None)
    story = spooler("trace", "a@x.example").out
    assert "held" in story
    assert "released" in story


def test_sudo(spooler: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person behind sudo is named."""
    monkeypatch.setenv("SUDO_USER", "alice")
    put(spooler, "a@x.example")
    spooler("queue", "hold", "--all")
    assert f"held: by alice@{socket.gethostname()}" in spooler("queue", "list").out


def test_retry(spooler: Runner, store: Store) -> None:
    """A deferred one is due now; what is scheduled for later stays so."""
    put(spooler, "a@x.example")
    worker, (claim,) = claim_all(store)
    store.settle(worker, [result_of(claim, 0, Outcome.DEFERRED, text="later")], now=now_us())
    put(spooler, "b@x.example", not_before="1h")

    ended = spooler("queue", "retry", "--all")

    assert ended.out.splitlines() == [
        "1 recipient retried: 1 deferred on default",
        "left as they are: 1 not to be sent before its time",
    ]
    due = store.next_due(["default"], now=0)
    assert due is not None
    assert due <= now_us()


def test_what_is_there_already_is_not_rerouted(spooler: Runner, store: Store) -> None:
    """Nor counted by a dry run; an id that is said twice is one."""
    put(spooler, "a@x.example")
    planned = spooler("queue", "reroute", "--all", "--new-route", "default", "--dry-run", "--json").json
    assert planned["recipients"] == 0
    ident = spooler("queue", "list", "--json").json["recipients"][0]["message_id"]
    assert spooler("queue", "hold", ident, ident).out.startswith("1 recipient held")


def test_what_nobody_has_heard_of(spooler: Runner, store: Store) -> None:
    """A route that is mistyped is no place for mail, nor is a variable that was not set a selection."""
    put(spooler, "a@x.example")
    ended = spooler("queue", "reroute", "--all", "--new-route", "nwe", expect=64)
    assert "route nwe has no mail and no worker, and no configuration was named" in ended.err
    for option in ("--job", "--tenant", "--route", "--to", "--sender"):
        assert "nothing is named" in spooler("queue", "remove", option, "", expect=64).err
    assert "nothing is named" in spooler("route", "pause", "", expect=64).err
    assert "longer than ten years" in spooler("queue", "release", "--all", "--extend", "9999d", expect=64).err
    assert "no status" in spooler("queue", "bounce", "--all", "--status", "5.1000.1", expect=64).err
    assert store.left() == 1


def test_what_is_being_delivered(spooler: Runner, store: Store) -> None:
    """It is waited for, then left alone, which the exit code says too; a hold is noted at once."""
    put(spooler, "a@x.example")
    worker, (claim,) = claim_all(store)
    put(spooler, "b@x.example")

    ended = spooler("queue", "remove", "--all", "--wait", "50ms", expect=75)

    assert ended.out.splitlines() == [
        "1 recipient removed: 1 waiting on default",
        (
            "1 are with a worker now: say it again for what comes back of them, "
            "or first 'spooler route pause', which gives back what is not on the wire"
        ),
    ]
    held = spooler("queue", "hold", "--all").out.splitlines()
    assert held == [
        "1 recipient held: 1 active on default",
        "1 of them are with a worker now: held if they come back, unless they are delivered",
    ]
    store.release(worker, [(claim.message_id, 0)], due=0)
    assert spooler("queue", "remove", "--all").out == "1 recipient removed: 1 held on default\n"


def test_what_comes_back_in_time(spooler: Runner, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker gives back while the command waits is taken too."""
    put(spooler, "a@x.example")
    worker, (claim,) = claim_all(store)
    real = steering.steer
    calls = 0

    def steer(*arguments: object, **more: object) -> Steered:
        nonlocal calls
        calls += 1
        if calls == 3:
            store.release(worker, [(claim.message_id, 0)], due=0)
        return real(*arguments, **more)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(steering, "steer", steer)

    ended = spooler("queue", "bounce", "--all", "--text", "no", "--status", "5.1.1", "--json")

    assert ended.json["recipients"] == 1
    assert ended.json["left"] == 0
    (entry,) = [one for one in store.ledger_of(claim.message_id) if one.who]
    assert (entry.outcome, entry.enhanced, entry.text, entry.who) == ("failed", "5.1.1", "no", ME)


@pytest.mark.parametrize("status", ["4.0.0", "5", "5.x.1", "5.1.1.1"])
def test_no_status_of_a_failure(spooler: Runner, status: str) -> None:
    """What is no failure's status is refused."""
    assert "is no status" in spooler("queue", "bounce", "--all", "--status", status, expect=64).err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--text", ""], "--text says nothing"),
        (["--text", " "], "--text says nothing"),
        (["--text", "a\r\nb"], "'--text': 'a\\r\\nb' has control characters"),
        (["--text", "\x1b[2J"], "'--text': '\\x1b[2J' has control characters"),
        (["--reason", "\x1b[2J"], "'--reason': '\\x1b[2J' has control characters"),
    ],
)
def test_no_text_for_a_line(spooler: Runner, options: list[str], said: str) -> None:
    """What senders are told, and what the ledger keeps, is a line that can be read."""
    put(spooler, "a@x.example")
    assert said in spooler("queue", "bounce", "--all", *options, expect=64).err
    assert addresses(spooler) == ["a@x.example"]


def test_reroute(spooler: Runner, tmp_path: Path) -> None:
    """Recipients take another route; with a configuration it must be a known one."""
    put(spooler, "a@x.example")
    path = tmp_path / "c.toml"
    path.write_text('[routes.new]\ndestinations = ["unix:/x"]\n')
    for name in ("now", "default"):  # which nobody would serve
        wrong = spooler("queue", "reroute", "--all", "--new-route", name, "--config", path, expect=64)
        assert "known: new; routes are made in the configuration" in wrong.err
    ended = spooler("queue", "reroute", "--route", "default", "--new-route", "new", "--config", path)
    assert ended.out == "1 recipient rerouted: 1 waiting on default\n"
    assert addresses(spooler, "--route", "new") == ["a@x.example"]
    assert "to route new" in spooler("trace", "a@x.example").out


def test_over_time(spooler: Runner) -> None:
    """What ends at once when it is released is told, with what helps."""
    put(spooler, "a@x.example", expires="1ms")
    spooler("queue", "hold", "--all")
    ended = spooler("queue", "release", "--all").out.splitlines()
    assert ended[1] == "1 of them are over their time and will end as expired: --extend 1d gives them a day"
    spooler("queue", "hold", "--all")
    assert len(spooler("queue", "release", "--all", "--extend", "1d").out.splitlines()) == 1


def test_age(spooler: Runner) -> None:
    """Messages are older, or newer, than a duration; lists and commands agree."""
    put(spooler, "a@x.example")
    assert addresses(spooler, "--older-than", "1h") == []
    assert addresses(spooler, "--newer-than", "1h") == ["a@x.example"]
    assert "Nothing in the queue" in spooler("queue", "remove", "--older-than", "1h").out
    assert "Nothing in the queue" in spooler("queue", "remove", "--older-than", "1h", "--dry-run").out
    assert "no duration" in spooler("queue", "list", "--older-than", "yesterday", expect=64).err
    assert spooler("queue", "remove", "--newer-than", "1h").out.startswith("1 recipient removed")


@pytest.fixture
def in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 40 and batches of 10, so that little mail needs many."""
    monkeypatch.setattr(steering, "PAGE", 40)
    monkeypatch.setattr(walking, "BATCH", 10)


@pytest.mark.usefixtures("in_small_batches")
def test_many(spooler: Runner, store: Store) -> None:
    """Each is taken once, and no transaction is longer than a batch."""
    for _ in range(5):
        put(spooler, *(f"u{i}@x.example" for i in range(50)), job="june")
        put(spooler, "other@x.example")
    dry = spooler("queue", "remove", "--job", "june", "--dry-run", "--json").json
    assert dry["recipients"] == 250
    assert dry["selected"] == [{"route": "default", "state": "waiting", "count": 250}]
    ended = spooler("queue", "remove", "--job", "june", "--json").json
    assert (ended["recipients"], ended["left"], ended["interrupted"]) == (250, 0, False)
    assert addresses(spooler) == ["other@x.example"] * 5


@pytest.mark.usefixtures("in_small_batches")
def test_interrupted(spooler: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends behind a batch, says how far it came, and the same again goes on."""
    for _ in range(5):
        put(spooler, *(f"u{i}@x.example" for i in range(50)))
    real = steering.steer
    calls = 0

    def steer(db: object, runs: object, order: Order, keys: list[Key], *, now: int) -> Steered:
        nonlocal calls
        calls += 1
        if calls == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return real(db, runs, order, keys, now=now)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(steering, "steer", steer)

    ended = spooler("queue", "remove", "--all", expect=130)

    assert ended.out.splitlines() == [
        "70 recipients removed: 70 waiting on default",
        "interrupted: some 210 of the queue were not looked at; say it again to go on",
    ]
    assert spooler("queue", "remove", "--all").out.startswith("180 recipients removed")
