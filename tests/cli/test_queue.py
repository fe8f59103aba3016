"""`spooler queue` and `spooler trace`: what is shown of the queue and the ledger."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from spooler.ident import now_us, parse_id
from spooler.reply import Stage
from spooler.result import HOLD_UNCERTAIN, Outcome
from tests.cli.running import claim_all, result_of

if TYPE_CHECKING:
    from spooler.spool.store import Store
    from tests.cli.running import Runner

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
RECIPIENTS = ("a@x.example", "b@x.example", "c@y.example", "d@y.example")


def settle_some(spooler: Runner, store: Store) -> str:
    """One message to four: a delivered, b failed, c deferred in doubt, d still with the worker."""
    ident = spooler("enqueue", "-f", "s@example.org", "--job", "june", *RECIPIENTS).out.strip()
    worker, (claim,) = claim_all(store)
    results = [  # in the order of their times
        result_of(
            claim, 1, Outcome.FAILED, code=550, enhanced="5.1.1", text="no such\x1b[31m", stage=Stage.RCPT
        ),
        result_of(claim, 0, Outcome.DELIVERED, code=250, enhanced="2.0.0", text="saved [ok]", after=1000),
        result_of(claim, 2, Outcome.DEFERRED, text="connection lost", uncertain=True, after=2000),
    ]
    numbers = {recipient.address: recipient.n for recipient in claim.recipients}
    assert numbers == dict(zip(RECIPIENTS, range(4), strict=True))
    report = store.settle(worker, results, now=now_us())
    assert report.settled == 3
    return ident


def test_empty_queue(spooler: Runner) -> None:
    """Nothing to show is said in words, or as an empty list."""
    assert spooler("queue", "list").out == "The queue is empty.\n"
    assert spooler("queue", "list", "--job", "x").out == "Nothing in the queue is like that.\n"
    assert spooler("queue", "list", "--json").json == {"recipients": [], "more": False}
    assert "nothing was ever queued" in spooler("queue", "stats").out
    assert spooler("queue", "stats", "--json").json == {"routes": {}, "workers": [], "paused": []}


def test_list(spooler: Runner, store: Store) -> None:
    """A line for each recipient that is still to do, with the last reply."""
    ident = settle_some(spooler, store)
    head, third, fourth = spooler("queue", "list").out.splitlines()
    assert head.split() == ["id", "age", "state", "tries", "next", "route", "from", "to", "last", "reply"]
    assert third.startswith(ident)
    assert "deferred (may be delivered already)" in third
    assert third.rstrip().endswith("c@y.example  connection lost")
    assert "in 59m" in third
    assert "active" in fourth
    assert fourth.rstrip().endswith("d@y.example")


def test_list_as_json(spooler: Runner, store: Store) -> None:
    """Keys are those of the record; ids and times have the forms that people see."""
    ident = settle_some(spooler, store)
    third, fourth = spooler("queue", "list", "--json").json["recipients"]
    assert third["message_id"] == ident
    assert (third["address"], third["state"], third["uncertain"]) == ("c@y.example", "deferred", True)
    assert (third["priority"], third["notify"], third["lease"]) == ("normal", [], None)
    assert all(TIME.fullmatch(third[key]) for key in ("due", "created", "expires"))
    assert parse_id(fourth["lease"]) is not None


def test_uncertain_and_held(spooler: Runner, store: Store) -> None:
    """What is held for being uncertain is found, with its reason, for people and for programs."""
    ident = spooler("enqueue", "-f", "s@example.org", *RECIPIENTS).out.strip()
    worker, (claim,) = claim_all(store)
    lost = result_of(claim, 1, Outcome.DEFERRED, text="connection lost", uncertain=True, after=10)
    lost = msgspec.structs.replace(lost, hold=HOLD_UNCERTAIN)
    store.settle(worker, [lost], now=now_us())
    arguments = ("queue", "list", "--uncertain", "--state", "held")
    (found,) = spooler(*arguments, "--json").json["recipients"]
    assert (found["message_id"], found["address"], found["uncertain"]) == (ident, "b@x.example", True)
    assert (found["state"], found["hold"], found["text"]) == ("held", HOLD_UNCERTAIN, "connection lost")
    _, line = spooler(*arguments).out.splitlines()
    assert f"held: {HOLD_UNCERTAIN} (may be delivered already)" in line
    shown = spooler("queue", "show", ident).out
    assert f"held: {HOLD_UNCERTAIN} (may be delivered already)" in shown
    (standing,) = [
        one for one in spooler("queue", "show", ident, "--json").json["recipients"] if one["state"] == "held"
    ]
    assert (standing["hold"], standing["uncertain"]) == (HOLD_UNCERTAIN, True)


@pytest.mark.parametrize(
    ("arguments", "addresses"),
    [
        ([], ["c@y.example", "d@y.example", "e@z.example"]),
        (["--state", "deferred"], ["c@y.example"]),
        (["--state", "waiting"], ["e@z.example"]),
        (["--state", "active"], ["d@y.example"]),
        (["--uncertain"], ["c@y.example"]),
        (["--to", "D@y.example"], ["d@y.example"]),
        (["--to", "@y.example"], ["c@y.example", "d@y.example"]),
        (["--sender", "<>"], ["e@z.example"]),
        (["--sender", "s@example.org"], ["c@y.example", "d@y.example"]),
        (["--job", "june", "--to", "@z.example"], []),
        (["--tenant", "acme"], ["e@z.example"]),
        (["--route", "default"], ["c@y.example", "d@y.example", "e@z.example"]),
        (["--route", "other"], []),
    ],
)
def test_filters(spooler: Runner, store: Store, arguments: list[str], addresses: list[str]) -> None:
    """Each filter narrows the list."""
    settle_some(spooler, store)
    spooler("enqueue", "-f", "<>", "--tenant", "acme", "e@z.example")
    found = spooler("queue", "list", "--json", *arguments).json
    assert [row["address"] for row in found["recipients"]] == addresses


def test_limit(spooler: Runner) -> None:
    """What a limit hides is told."""
    spooler("enqueue", "-f", "<>", *RECIPIENTS)
    done = spooler("queue", "list", "--limit", "3")
    assert len(done.out.splitlines()) == 4
    assert "--limit shows more than 3" in done.err
    assert spooler("queue", "list", "--limit", "3", "--json").json["more"] is True
    assert spooler("queue", "list", "--limit", "4").err == ""


def test_show(spooler: Runner, store: Store) -> None:
    """The message, then where each recipient stands, those that ended included."""
    ident = settle_some(spooler, store)
    text = spooler("queue", "show", ident).out
    assert re.search(rf"^message +{ident}$", text, re.MULTILINE)
    assert re.search(r"^states +1 delivered, 1 failed, 1 deferred, 1 active$", text, re.MULTILINE)
    assert re.search(r"^content +3 LF made CRLF$", text, re.MULTILINE)
    assert re.search(r"^a@x\.example +delivered +1 .*250 2\.0\.0 saved \[ok\]", text, re.MULTILINE)
    assert re.search(r"^b@x\.example +failed +1 .*550 5\.1\.1 no such\\x1b\[31m", text, re.MULTILINE)
    assert "\x1b" not in text


def test_show_as_json(spooler: Runner, store: Store) -> None:
    """The same for programs."""
    ident = settle_some(spooler, store)
    shown = spooler("queue", "show", ident, "--json").json
    assert shown["message"]["id"] == ident
    assert shown["message"]["body"] == "7bit"
    assert shown["states"] == {"delivered": 1, "failed": 1, "deferred": 1, "active": 1}
    assert [(one["address"], one["state"], one["attempts"]) for one in shown["recipients"]] == [
        ("a@x.example", "delivered", 1),
        ("b@x.example", "failed", 1),
        ("c@y.example", "deferred", 1),
        ("d@y.example", "active", 0),
    ]
    assert shown["recipients"][0]["due"] is None
    assert shown["more"] is False
    assert spooler("queue", "show", ident, "--json", "--limit", "1").json["more"] is True


def test_show_what_is_not_there(spooler: Runner) -> None:
    """An id that is none, and an id that nobody has, are two errors."""
    assert "is no message id" in spooler("queue", "show", "12", expect=64).err
    assert "is not in this spool" in spooler("queue", "show", "0" * 13, expect=66).err


def test_stats(spooler: Runner, store: Store) -> None:
    """Counts by route and state, their sum, and the workers."""
    settle_some(spooler, store)
    text = spooler("queue", "stats").out
    head, counts, _, workers, worker = text.splitlines()
    assert head.split() == [
        *("route", "waiting", "deferred", "active", "held"),
        *("delivered", "failed", "expired", "uncertain", "oldest"),
    ]
    assert counts.split()[:9] == ["default", "0", "1", "1", "0", "1", "1", "0", "1"]
    assert workers.split()[:3] == ["worker", "host", "pid"]
    assert worker.split()[1:3] == ["host.example", "4711"]
    report = spooler("queue", "stats", "--json").json
    default = report["routes"]["default"]
    assert (default["deferred"], default["deferrals"], default["delivered"]) == (1, 1, 1)
    assert default["uncertain"] == 1
    assert TIME.fullmatch(default["oldest"])
    assert [(one["host"], one["pid"]) for one in report["workers"]] == [("host.example", 4711)]


def test_trace_of_a_message(spooler: Runner, store: Store) -> None:
    """Queued, each attempt with the server's words, and what is next, in order of time."""
    ident = settle_some(spooler, store)
    title, _, *lines = spooler("trace", ident).out.splitlines()
    assert title == f"message {ident} from s@example.org, 22 bytes, job june"
    what = [re.split(r" {2,}", line.rstrip())[1:] for line in lines]
    assert what[0] == ["queued", "4 in all"]
    assert what[1] == [
        "failed, try 1, at rcpt",
        "b@x.example",
        "inet:127.0.0.1:24",
        r"550 5.1.1 no such\x1b[31m",
    ]
    assert what[2] == ["delivered, try 1", "a@x.example", "inet:127.0.0.1:24", "250 2.0.0 saved [ok]"]
    assert what[3][0] == "deferred, try 1, at final, may be delivered"
    assert what[4][:2] == ["deferred", "c@y.example"]
    assert re.fullmatch(r"try 2 in 59m \d+s; may be delivered already", what[4][2])
    assert what[5][:2] == ["active", "d@y.example"]


def test_trace_of_an_address(spooler: Runner, store: Store) -> None:
    """All mail for an address, newest message first; upper and lower case are the same."""
    old = settle_some(spooler, store)
    new = spooler("enqueue", "-f", "<>", "c@y.example").out.strip()
    text = spooler("trace", "C@y.example").out
    assert [line.split()[1] for line in text.splitlines() if line.startswith("message ")] == [new, old]
    assert "a@x.example" not in text
    found = spooler("trace", "c@y.example", "--json").json
    assert [story["id"] for story in found["messages"]] == [new, old]
    (event,) = found["messages"][1]["events"]
    assert (event["outcome"], event["uncertain"], event["waited"], event["took"]) == (
        "deferred",
        True,
        1.5,
        0.0025,
    )
    assert TIME.fullmatch(event["at"])
    assert parse_id(event["worker"]) is not None
    assert [row["address"] for row in found["messages"][0]["queued"]] == ["c@y.example"]


def test_trace_limit(spooler: Runner, store: Store) -> None:
    """What a limit hides is told."""
    ident = settle_some(spooler, store)
    assert spooler("trace", ident, "--limit", "2", "--json").json["more"] is True
    assert "--limit shows more than 2" in spooler("trace", ident, "--limit", "2").err
    for _ in range(3):
        spooler("enqueue", "-f", "<>", "z@x.example")
    assert len(spooler("trace", "z@x.example", "--limit", "2", "--json").json["messages"]) == 2


def test_trace_of_nobody(spooler: Runner) -> None:
    """An address or id of which nothing is known is an error that says how to ask."""
    assert "nothing is known of 'nobody@x'" in spooler("trace", "nobody@x", expect=66).err
    assert "is not in this spool" in spooler("trace", "0" * 13, expect=66).err


@pytest.mark.parametrize(
    "arguments",
    [
        ("queue", "list", "--to", "\udcff@x"),
        ("queue", "list", "--sender", "\udcff@x"),
        ("queue", "list", "--job", "\udcff"),
        ("trace", "\udcff@x"),
        ("init", "--spool", "sqlite:///\udcff.db"),
        ("queue", "list", "--limit", "1000001"),
    ],
)
def test_arguments_that_nothing_can_be_like(spooler: Runner, arguments: tuple[str, ...]) -> None:
    """What is no UTF-8, or too large a number, is a usage error in one line."""
    done = spooler(*arguments, expect=64)
    assert done.err.count("\n") == 1
