"""What is answered over HTTP, and that nothing is changed by it."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

import pytest
import trio

from spooler.errors import UnavailableError
from spooler.events import Settled
from spooler.ident import format_id
from spooler.ops.counts import Counts
from spooler.ops.pulse import SILENT, Pulse
from spooler.result import Outcome
from spooler.worker_standing import DestinationStanding, Outage, RouteStanding, WorkerStanding, encode
from tests.delivery.house import EPOCH
from tests.ops.asking import ask, asked
from tests.ops.served import scraped
from tests.ops.test_metrics import counted, result
from tests.spool.making import DUE, NOW, claim, message, put, results, worker

if TYPE_CHECKING:
    from trio.testing import MockClock

    from spooler.ops.watch import Watch
    from spooler.spool.store import Store

EVERY = (
    "/", "/livez", "/readyz", "/metrics", "/api/v1/status", "/api/v1/history", "/api/v1/queue",
    "/api/v1/errors", "/api/v1/trace/a@x",
)  # fmt: skip
OUTAGE = Outage(since=EPOCH, failures=3, why="<b>refused</b>", probe_at=EPOCH + 1)


def route_standing(outage: Outage | None = None) -> RouteStanding:
    return RouteStanding(
        destinations=["unix:/a"], claimed=0, ready=0, parked=0, sessions=2, window=4, limit=20, depth=8,
        phase="growing", outage=outage,
    )  # fmt: skip


def works(
    store: Store,
    watch: Watch,
    *,
    outage: Outage | None = None,
    fresh: bool = True,
    part: int = 0,
    takes: tuple[int, int] = (0, 0),
) -> int:
    """Have a worker that is one of the command's own processes; it learnt what a destination `takes`:
    transactions a session, recipients a transaction."""
    ident = worker(store)
    place = DestinationStanding(
        mode="chunked", idle=1, sessions=2, outage=outage, transactions=takes[0], recipients=takes[1]
    )
    standing = WorkerStanding(
        at=NOW, version="1", routes={"default": route_standing(outage)}, destinations={"unix:/a": place}
    )
    assert store.beat(ident, now=EPOCH, standing=encode(standing))
    watch.gathering.take(part, Pulse(ident, fresh, Counts()))
    return ident


@pytest.mark.parametrize("path", EVERY)
async def test_it_only_reads(store: Store, path: str) -> None:
    """Nothing but GET and HEAD is understood, and no answer is kept by anybody."""
    async with asked(store) as (app, _):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = await ask(app, path, method=method)
            assert answer.status == 405, method
            assert answer.headers["content-type"] == "application/json"
        answer = await ask(app, path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await ask(app, path, method="HEAD")).status == answer.status


async def test_the_page_runs_nothing_but_its_own(store: Store) -> None:
    """Its policy names its style and its script by what they are, and nothing is fetched from elsewhere."""
    async with asked(store) as (app, _):
        page = await ask(app, "/")
    text = page.body.decode()
    policy = page.headers["content-security-policy"]
    for kind, inline in (("style-src", "style"), ("script-src", "script")):
        (found,) = re.findall(f"<{inline}>(.*?)</{inline}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"(?:src|href)=\"(?!data:)|url\(|@import|innerHTML|style=", text)
    assert set(re.findall(r"https?://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}


async def test_readiness(store: Store, autojump_clock: MockClock) -> None:
    """Ready with a database, a heartbeat in time and a route that takes mail; each says what is missing."""
    async with asked(store) as (app, watch):
        answer = await ask(app, "/readyz")
        assert answer.status == 503
        assert answer.json["checks"]["heartbeat"] == {"ok": False, "says": "0 of 0 worker processes in time"}
        ident = works(store, watch)
        await trio.sleep(1)
        assert (await ask(app, "/readyz")).status == 200
        watch.gathering.take(0, Pulse(ident, False, Counts()))
        assert (await ask(app, "/readyz")).json["checks"]["heartbeat"]["ok"] is False
        works(store, watch, outage=OUTAGE)
        await trio.sleep(1)
        answer = await ask(app, "/readyz")
        assert answer.json["checks"]["targets"] == {
            "ok": False,
            "says": "route default is down: <b>refused</b>",
        }
        assert answer.status == 503
        works(store, watch)
        await trio.sleep(SILENT + 1)  # nothing is heard of the process any more
        assert (await ask(app, "/readyz")).json["checks"]["heartbeat"]["ok"] is False
        assert (await ask(app, "/livez")).status == 200


async def test_a_database_that_is_gone(store: Store, autojump_clock: MockClock) -> None:
    """What was seen last is shown for a while, and it is said; questions that need it say so."""
    async with asked(store) as (app, watch):
        works(store, watch)
        put(store)
        assert (await ask(app, "/readyz")).status == 200

        class Gone:
            def __getattr__(self, name: str) -> object:
                raise UnavailableError("the database does not answer", hint="start it")

        watch.spool = Gone()  # type: ignore[assignment]  # whatever is asked of it
        await trio.sleep(20)
        checks = (await ask(app, "/readyz")).json["checks"]
        assert checks["database"] == {"ok": False, "says": "the database does not answer (start it)"}
        status = (await ask(app, "/api/v1/status")).json
        assert status["answers"] is False
        assert status["problems"][0]["what"] == "The spool's database does not answer"
        assert status["routes"][0]["states"]["waiting"] == 1
        assert b"spooler_spool_up 0.0" in (await ask(app, "/metrics")).body
        answer = await ask(app, "/api/v1/queue")
        assert (answer.status, answer.json) == (
            503,
            {"error": "the database does not answer", "hint": "start it"},
        )


async def test_status(store: Store, autojump_clock: MockClock) -> None:
    """Routes, destinations and workers, with what is queued, for whom, and what limits it."""
    async with asked(store) as (app, watch):
        (ident,) = put(store, message("a@x", "b@x", "c@x"))
        put(store, message("d@y"))
        mine = works(store, watch, outage=OUTAGE)
        claims = claim(store, mine, limit=1)
        store.settle(mine, results(claims), now=DUE)
        status = (await ask(app, "/api/v1/status")).json
        (route,) = status["routes"]
        assert route["states"] == {"waiting": 3, "deferred": 0, "active": 0, "held": 0}
        assert route["ended"]["delivered"] == 1
        assert (route["limits"], route["sessions"], route["window"]) == ("down", 2, 4)
        assert route["outage"]["why"] == "<b>refused</b>"
        (place,) = status["destinations"]
        assert (place["name"], place["waiting"], place["routes"]) == ("unix:/a", 3, ["default"])
        assert [one["id"] for one in status["workers"]] == [format_id(mine)]
        assert [one["what"] for one in status["problems"]] == ["unix:/a takes no mail"]
        assert (await ask(app, "/api/v1/queue?limit=1")).json["recipients"][0]["message_id"] == format_id(
            ident
        )
        assert (await ask(app, "/api/v1/queue?limit=1")).json["more"] is True
        history = (await ask(app, "/api/v1/history")).json
        assert history["near"]["waiting"] == [3]


async def test_traces(store: Store) -> None:
    """By address and by id; what is not known is not found, and says how to ask."""
    async with asked(store) as (app, _):
        (ident,) = put(store, message("a b/c@x"))
        for what in ("a b/c@x", "<A B/C@X>", format_id(ident), f" {format_id(ident)} "):
            traced = (await ask(app, f"/api/v1/trace/{what}")).json
            assert [one["id"] for one in traced["messages"]] == [format_id(ident)], what
        answer = await ask(app, "/api/v1/trace/nobody@x")
        assert answer.status == 404
        assert answer.json["error"] == "nothing is known of 'nobody@x'"
        assert answer.json["hint"]


@pytest.mark.parametrize(
    "limit", ["0", "-1", "x", "1001", "99999999999999999999", "00000001000000000", "0000000010", "", "1e3"]
)
async def test_a_limit_that_is_none(store: Store, limit: str) -> None:
    """It is refused, in JSON, as everything is."""
    async with asked(store) as (app, _):
        answer = await ask(app, f"/api/v1/queue?limit={limit}")
        assert (answer.status, answer.json["error"]) == (400, "limit must be a number from 1 to 1000")
        assert (await ask(app, "/api/v2/none")).json == {"error": "Not Found", "hint": ""}


async def test_errors(store: Store) -> None:
    """As they were met, most frequent first."""
    async with asked(store) as (app, watch):
        some = [result(n, Outcome.FAILED, text=f"<i>no r{n}@x</i>", code=550) for n in range(3)]
        counts = counted(Settled(some, 0, 1))
        watch.gathering.take(0, Pulse(1, True, counts))
        (error,) = (await ask(app, "/api/v1/errors")).json["errors"]
        assert (error["count"], error["text"], error["code"]) == (3, "<i>no …</i>", 550)
        assert error["message_id"] == format_id(some[0].message_id)


@pytest.mark.parametrize(
    ("one", "other", "words", "limits"),
    [
        ((0, 0), (0, 0), "", {}),
        ((0, 0), (1, 0), "1 transaction a session", {"transactions": 1}),
        (
            (1000, 50),
            (2000, 0),
            "1,000 transactions a session, 50 recipients a transaction",
            {"transactions": 1000, "recipients": 50},
        ),
    ],
)
async def test_what_a_destination_takes(
    store: Store,
    autojump_clock: MockClock,
    one: tuple[int, int],
    other: tuple[int, int],
    words: str,
    limits: dict[str, int],
) -> None:
    """The least that any process learnt, in words and in figures; a limit that is not known is no figure."""
    async with asked(store) as (app, watch):
        works(store, watch, takes=one)
        works(store, watch, part=1, takes=other)
        await trio.sleep(1)
        (place,) = (await ask(app, "/api/v1/status")).json["destinations"]
        metrics = scraped((await ask(app, "/metrics")).body)
    assert place["takes"] == words
    at = frozenset({("destination", "unix:/a")})
    found = {
        name: metrics[f"spooler_destination_limit_{name}", at]
        for name in ("transactions", "recipients")
        if (f"spooler_destination_limit_{name}", at) in metrics
    }
    assert found == limits


async def test_a_database_that_takes_nothing(store: Store, autojump_clock: MockClock) -> None:
    """It answers, and no process gets its heartbeat in: that is said, and not that nobody lives."""
    async with asked(store) as (app, watch):
        ident = works(store, watch)
        put(store)
        await trio.sleep(1)
        assert (await ask(app, "/readyz")).status == 200
        watch.gathering.take(1, Pulse(ident, True, Counts(), trouble="it is read-only"))
        assert (await ask(app, "/readyz")).status == 200, "another process gets through"
        watch.gathering.take(0, Pulse(ident, True, Counts(), trouble="it is read-only"))
        answer = await ask(app, "/readyz")
        assert (answer.status, answer.json["checks"]["database"]["says"]) == (503, "it is read-only")
        status = (await ask(app, "/api/v1/status")).json
        assert [(one["what"], one["why"], one["waiting"]) for one in status["problems"]] == [
            ("The spool's database takes nothing that is written", "it is read-only", 1)
        ]
        assert (status["answers"], status["trouble"]) == (True, "it is read-only")
        assert scraped((await ask(app, "/metrics")).body)["spooler_spool_up", frozenset()] == 0
