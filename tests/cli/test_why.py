"""`spooler why`: the gate of each recipient in words, and what came of those that wait for nothing."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from spooler.ident import format_id, now_us
from spooler.reply import Stage
from spooler.result import Outcome
from spooler.worker_standing import Outage
from tests.cli.running import claim_all, result_of
from tests.cli.test_route import serve

if TYPE_CHECKING:
    from spooler.spool.store import Store
    from tests.cli.running import Runner

T = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"


def put(spooler: Runner, *recipients: str) -> str:
    """Queue a message; returns its id."""
    return spooler("enqueue", "-f", "s@example.org", *recipients).out.strip()


def kinds(spooler: Runner, what: str) -> list[str]:
    """The gates of the one recipient that is found."""
    (one,) = spooler("why", what, "--json").json["recipients"]
    return [gate["kind"] for gate in one["gates"]]


def test_no_worker(spooler: Runner) -> None:
    """Nobody delivers: that is said, with what to do."""
    ident = put(spooler, "a@x.example")
    head, gate, mend = spooler("why", ident).out.splitlines()
    assert re.fullmatch(rf"a@x\.example, message {ident}, queued for \ds, not tried yet", head)
    assert gate == "  waits: no worker is running"
    assert mend == "    start one: spooler worker, or spooler drain"


def test_next(spooler: Runner, store: Store) -> None:
    """With a worker nothing holds it up; one that is due before is counted."""
    first, second = put(spooler, "a@x.example"), put(spooler, "b@x.example")
    serve(store)
    assert "waits: nothing: it is claimed next" in spooler("why", first).out
    (one,) = spooler("why", second, "--json").json["recipients"]
    assert (one["ahead"], [gate["kind"] for gate in one["gates"]]) == (1, ["others first"])
    assert "waits: 1 others are due before it" in spooler("why", second).out


def test_down_paused_and_held(spooler: Runner, store: Store) -> None:
    """All gates are named, the first one that it comes to first, each with its words."""
    ident = put(spooler, "a@x.example")
    now = now_us()
    serve(store, outage=Outage(since=now - 90_000_000, failures=3, why="refused", probe_at=now + 20_000_000))
    (line,) = [one for one in spooler("why", "a@x.example").out.splitlines() if "down" in one]
    assert re.fullmatch(
        rf" +waits: route default is down, since {T} \(1m 3\ds ago\), next probe {T} \(in 1\ds\): refused",
        line,
    )
    spooler("queue", "hold", ident, "--reason", "a test")
    spooler("route", "pause", "default", "--reason", "disk full")
    assert kinds(spooler, ident) == ["held", "route paused", "route down"]
    said = spooler("why", ident).out
    assert "waits: it is held, since " in said
    assert ": a test\n" in said
    assert f"    spooler queue release {ident}\n" in said
    assert "  and: route default is paused, since " in said
    assert "    spooler route resume default\n" in said
    (one,) = spooler("why", ident, "--json").json["recipients"]
    assert one["clears"] is None
    assert one["gates"][2]["clears"].endswith("Z")


def test_what_is_proposed_for_an_address_is_for_it_alone(spooler: Runner, store: Store) -> None:
    """Not for the others to whom the message goes; who asked for a message means all of it."""
    ident = put(spooler, "o'neil@x.example", "b@x.example")
    spooler("queue", "hold", ident)
    said = spooler("why", "o'neil@x.example").out
    (mend,) = [line for line in said.splitlines() if "release" in line]
    words = shlex.split(mend)
    assert words == ["spooler", "queue", "release", ident, "--to", "o'neil@x.example"]
    assert spooler("why", ident).out.count(f"    spooler queue release {ident}\n") == 2
    spooler(*words[1:])
    assert kinds(spooler, "o'neil@x.example") == ["no worker"]
    assert kinds(spooler, "b@x.example")[0] == "held"

    worker, (claim,) = claim_all(store)
    store.settle(worker, [result_of(claim, 0, Outcome.DEFERRED, code=450)], now=now_us())
    assert shlex.join(["spooler", "queue", "retry", *words[3:]]) in spooler("why", "o'neil@x.example").out


def test_retry_and_uncertain(spooler: Runner, store: Store) -> None:
    """Until when, and what the server said last; after an uncertain attempt the risk is named."""
    put(spooler, "a@x.example", "b@x.example")
    worker, (claim,) = claim_all(store)
    results = [
        result_of(claim, 0, Outcome.DEFERRED, code=450, enhanced="4.2.0", text="busy", stage=Stage.RCPT),
        result_of(claim, 1, Outcome.DEFERRED, text="connection lost", uncertain=True),
    ]
    store.settle(worker, results, now=now_us())
    said = spooler("why", "a@x.example").out
    assert re.search(
        rf"it is not due for its next try, until {T} \(in 59m 5\ds\): try 1 ended at rcpt with", said
    )
    assert "with 450 4.2.0 busy" in said
    assert "may be delivered" not in said
    said = spooler("why", "b@x.example").out
    assert "waits: its last attempt may have delivered it, so it is held off, until " in said
    assert "it may be delivered already" in said
    assert " --to b@x.example, at the risk of a second copy\n" in said


def test_with_a_worker(spooler: Runner, store: Store) -> None:
    """Who has it is named; a worker that no more beats is told apart."""
    put(spooler, "a@x.example")
    worker, _ = claim_all(store)
    assert (
        f"worker {format_id(worker)} has it in hand: on host.example, process 4711"
        in spooler("why", "a@x.example").out
    )
    store.beat(worker, now=now_us() - 3_600_000_000)
    said = spooler("why", "a@x.example").out
    assert "gives no sign of life, last beat " in said
    assert ", taken over at the latest " in said


def test_ended(spooler: Runner, store: Store) -> None:
    """What waits for nothing more: how it ended, in the server's words."""
    ident = put(spooler, "a@x.example")
    worker, (claim,) = claim_all(store)
    store.settle(
        worker,
        [result_of(claim, 0, Outcome.DELIVERED, code=250, enhanced="2.0.0", text="saved")],
        now=now_us(),
    )
    for what in (ident, "A@x.example", "<a@x.example>"):
        said = spooler("why", what).out
        assert re.fullmatch(
            rf"a@x\.example waits for nothing: delivered \({T}, (now|\ds ago)\): 250 2\.0\.0 saved\n", said
        )
    (ended,) = spooler("why", ident, "--json").json["ended"]
    assert (ended["state"], ended["text"]) == ("delivered", "saved")


def test_unknown(spooler: Runner) -> None:
    """What was never there is no input."""
    ident = put(spooler, "a@x.example")
    assert "nothing is known of 'b@x.example'" in spooler("why", "b@x.example", expect=66).err
    assert "is not in this spool" in spooler("why", ident[:-2] + "zz", expect=66).err


def test_many(spooler: Runner) -> None:
    """A message to many shows some, and says that there are more."""
    ident = put(spooler, *(f"u{i}@x.example" for i in range(5)))
    ended = spooler("why", ident, "--limit", "2")
    assert len(ended.out.splitlines()) == 6
    assert ended.err == "There are more: --limit shows more than 2.\n"
    assert spooler("why", ident, "--limit", "2", "--json").json["more"]
