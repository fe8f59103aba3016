"""Metrics as a real Prometheus has them: they are what the ledger says, to the message."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spooler.histogram import LONG
from spooler.ident import now_us
from spooler.records import GAUGES
from spooler.spool.store import Store
from tests.ops.served import address_of, get, get_json, scraped
from tests.servers.own_sink import own_sink
from tests.servers.prometheus import prometheus
from tests.spool.making import ask, message
from tests.supervise.command import running

if TYPE_CHECKING:
    from tests.servers.prometheus import Prometheus

DOC = Path(__file__).parents[2] / "docs/METRICS.md"
_TOTAL = 'sum by (outcome) (spooler_recipients_total{job="spooler"})'


def fill(url: str, messages: int, domains: str) -> None:
    """Enqueue messages to a recipient in each domain; of every hundred, two are to be refused."""
    with Store.open(url) as store:
        for start in range(0, messages, 500):
            some = range(start, start + 500)
            store.enqueue([message(*(f"user{i % 100}@{d}" for d in domains)) for i in some], now=now_us())


def ledger(url: str) -> dict[str, int]:
    """Attempts by outcome."""
    with Store.open(url) as store:
        return dict(ask(store, "SELECT outcome, count(*) FROM attempt GROUP BY outcome"))


def tried(url: str) -> bool:
    """Whether nothing waits for its first attempt, or for the end of one."""
    with Store.open(url) as store:
        left = Counter({row.state.value: row.count for row in store.stats() if row.state in GAUGES})
    return left["waiting"] + left["active"] == 0


def figures(server: Prometheus) -> list[dict[str, float]]:
    """What came of attempts, by the workers' counters and by the spool's own, and what is queued: as
    Prometheus has them now, which may be of before the last result; and nothing after a scrape it missed."""
    counted = server.values(_TOTAL, "outcome")
    whole = server.values("spooler_ledger_recipients_total", "outcome")
    return [
        {outcome: count for outcome, count in counted.items() if count},
        {outcome: whole.get(outcome, 0) for outcome, count in counted.items() if count},
        server.values("spooler_queue_recipients", "state"),
    ]


def total(server: Prometheus, name: str) -> float:
    """A sum over all series; 0 where there are none."""
    return sum(float(one["value"][1]) for one in server.query(f"sum({name})"))


@pytest.mark.prometheus
@pytest.mark.parametrize(("processes", "messages", "domains"), [(1, 20_000, "x"), (2, 1000, "xy")])
def test_it_counts_what_the_ledger_has(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    prometheus_program: str,
    promtool: str,
    processes: int,
    messages: int,
    domains: str,
) -> None:
    """While a worker drains, in one process or in several: every attempt by its outcome, every delivery in
    the histograms, and what is queued; promtool has nothing against them, and no address is among them."""
    url: str = request.getfixturevalue("sqlite_url" if processes == 1 else "postgres_url")
    fill(url, messages, domains)
    recipients = messages * len(domains)
    hundredth = messages // 100
    refusals = ("--refuse", "user7@*", "--defer-final", "user8@x=451 4.7.1 later")
    with own_sink(*refusals) as sink:
        where = ("worker", "--spool", url, "--target", sink.tcp, "--processes", str(processes))
        with running(tmp_path / "log", *where, http="127.0.0.1:0") as worker:
            address = address_of(worker)
            worker.until(lambda: len(worker.lines("worker", state="started")) == processes)
            worker.until(lambda: fresh(address) == processes)
            with prometheus(prometheus_program, address.removeprefix("http://")) as server:
                worker.until(lambda: tried(url))
                outcomes = ledger(url)
                assert outcomes["delivered"] + outcomes["failed"] + hundredth == recipients
                assert outcomes["failed"] == len(domains) * hundredth
                queued = {"waiting": 0, "deferred": hundredth, "active": 0, "held": 0}
                worker.until(lambda: figures(server) == [outcomes, outcomes, queued])
                others = [f"spooler_{name}_seconds_count" for name in ("queue_time", "final_reply")]
                worker.until(lambda: all(total(server, name) > 0 for name in others))
                delivered = "spooler_delivery_time_seconds_count"
                worker.until(lambda: total(server, delivered) == outcomes["delivered"])
                worker.until(lambda: bool(server.query("up == 1")))
            text = get(f"{address}/metrics")[1]
            page = get_json(f"{address}/api/v1/status")
            assert get(f"{address}/readyz")[0] == 200
        worker_count = len(page["workers"])
    check = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (check.returncode, check.stdout + check.stderr) == (0, b"")
    assert worker_count == processes
    metrics = scraped(text)
    assert metrics["spooler_workers_fresh", frozenset()] == processes
    assert (
        sum(value for (name, _), value in metrics.items() if name == "spooler_claimed_recipients_total")
        >= recipients
    )
    assert b"@" not in text, "no label has an address"
    with DOC.open(encoding="utf-8") as doc:
        told = set(re.findall(r"^\| `(spooler_\w+)`", doc.read(), flags=re.MULTILINE))
    assert told == set(re.findall(r"^# TYPE (\w+)", text.decode(), flags=re.MULTILINE))


def test_what_a_process_that_died_had_counted_stays(postgres_url: str, tmp_path: Path) -> None:
    """The keeper's sums never go down, and the process that takes its place counts on."""
    with own_sink() as sink:
        where = ("worker", "--spool", postgres_url, "--target", sink.tcp, "--processes", "2")
        with running(tmp_path / "log", *where, http="127.0.0.1:0") as worker:
            address = address_of(worker)
            worker.until(lambda: len(worker.lines("worker", state="started")) == 2)
            done = 0
            for turn in range(2):
                with Store.open(postgres_url) as store:
                    store.enqueue([message(f"user{i}@x") for i in range(50)], now=now_us())
                done += 50
                worker.until(lambda: delivered(address) == done)  # noqa: B023  # asked in this turn alone
                if turn == 0:
                    worker.until(lambda: len(get_json(f"{address}/api/v1/status")["workers"]) == 2)
                    (victim, *_) = [line["pid"] for line in get_json(f"{address}/api/v1/status")["workers"]]
                    os.kill(victim, 9)
                    worker.until(lambda: len(worker.lines("process ended")) == 1)
                    assert delivered(address) == done


def fresh(address: str) -> float:
    """Workers whose heartbeat is in time, as they are scraped."""
    return scraped(get(f"{address}/metrics")[1])["spooler_workers_fresh", frozenset()]


def delivered(address: str) -> float:
    """Deliveries as they are scraped."""
    metrics = scraped(get(f"{address}/metrics")[1])
    found = metrics.get(
        ("spooler_recipients_total", frozenset({("route", "default"), ("outcome", "delivered")}))
    )
    return found or 0.0


def test_bounds_cover_the_life_of_a_message() -> None:
    """The last one is the lifetime that mail has by default."""
    assert LONG[-1] == 5 * 86_400_000_000
