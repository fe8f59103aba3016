"""Rules and dashboard in a real Prometheus that watches a real worker."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.deploy.reading import DEPLOY, expressions
from tests.ops.served import address_of
from tests.servers.own_sink import own_sink
from tests.servers.prometheus import prometheus
from tests.supervise.command import put, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.prometheus import Prometheus

RULES = DEPLOY / "prometheus/rules.yml"
# with all mail delivered and nothing amiss there is nothing to show
NOT_YET = {
    "route:spooler_deferred:ratio10m",
    "route:spooler_failed:ratio10m",
    "Faults of destinations, an hour",
    "Oldest, and first due",
    "Refusals a second, by class and subject of the status",
    "Refusals of the spool, late results, an hour",
}


@pytest.mark.prometheus
def test_everything_that_is_asked_has_an_answer(
    sqlite_url: str, tmp_path: Path, prometheus_program: str
) -> None:
    """No alert while a worker delivers, and a figure for all that a dashboard shows."""
    put(sqlite_url, 50)
    with own_sink() as sink:
        words = ("worker", "--spool", sqlite_url, "--target", sink.tcp)
        with running(tmp_path / "log", *words, http="127.0.0.1:0") as worker:
            target = address_of(worker).removeprefix("http://")
            rules = f"rule_files: [{json.dumps(str(RULES))}]"
            with prometheus(prometheus_program, target, more=rules) as server:
                worker.until(lambda: bool(server.query("spooler_build_info")))
                counters = ("spooler_uncertain_total", "spooler_doubts_total", "spooler_recipients_total")
                # there before anything was counted: a rise from nothing is none to Prometheus
                worker.until(lambda: all(server.query(f"{name} == 0") for name in counters))
                put(sqlite_url, 50, start=50)
                worker.until(lambda: bool(server.query("route:spooler_queue_done_in:seconds")))
                worker.until(lambda: health(server.port) == {"ok"})
                # both may take until a scrape that was late is behind it
                worker.until(lambda: silent(server) <= NOT_YET)
                worker.until(lambda: bool(server.query("up == 1")) and not server.query("ALERTS"))


def silent(server: Prometheus) -> set[str]:
    """What is asked in rules and dashboard, but for alerts, and has no answer."""
    asked = [(where, asks) for where, asks in expressions() if not where.startswith("Spooler")]
    return {where for where, asks in asked if not server.query(asks)}


def health(port: int) -> set[str]:
    """What Prometheus says of its rules."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/rules", timeout=5) as answer:
        groups = json.load(answer)["data"]["groups"]
    return {rule["health"] for group in groups for rule in group["rules"]}
