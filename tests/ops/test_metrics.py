"""Counting events: nothing is lost, nothing counts twice, and it adds up over processes."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from spooler.events import (
    Claimed,
    Connected,
    Doubt,
    Event,
    Held,
    NotConnected,
    RouteDown,
    RouteUp,
    SecurityTrouble,
    SessionEnded,
    Settled,
    SpoolTrouble,
    TransactionEnded,
)
from spooler.histogram import LONG, QUICK, Histogram
from spooler.ident import IdMaker, time_of
from spooler.ops.counts import ROUTES_AT_ONCE, Counts, RouteCounts
from spooler.ops.metrics import GATHERED, Metrics, status_class
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
IDENT = IdMaker().make(NOW - 5 * SECOND)


def result(n: int = 0, outcome: Outcome = Outcome.DELIVERED, **more: Any) -> RecipientResult:  # noqa: ANN401
    fixed: dict[str, Any] = {
        "route": "default",
        "attempt": 1,
        "at": NOW,
        "stage": Stage.FINAL,
        "enhanced": "2.0.0",
        "waited": 2 * SECOND,
        "destination": "unix:/x",
    }
    return RecipientResult(message_id=IDENT, n=n, address=f"r{n}@x", outcome=outcome, **(fixed | more))


def transaction(*results: RecipientResult, mode: str = "chunked", answer: int = 4000) -> TransactionEnded:
    first = results[0]
    return TransactionEnded(first.message_id, "a@x", 10, first.route, "unix:/x", mode, 5000, answer, results)


def counted(*events: Event) -> Counts:
    metrics = Metrics()
    for event in events:
        metrics(event)
    return metrics.take()


def test_results_count_when_they_are_settled() -> None:
    """What was only told by a transaction is not yet true; what is settled is, by what became of it."""
    results = [
        result(0),
        result(1, enhanced="2.1.5"),
        result(2, Outcome.DEFERRED, enhanced="4.2.2", attempt=3, uncertain=True),
        result(3, Outcome.FAILED, enhanced="", route="other"),
        result(4, Outcome.DEFERRED, enhanced="4.99.1", hold="why"),
    ]
    assert counted(transaction(*results)).route("default").outcomes == {}
    counts = counted(Settled(results, 1, 2000))
    route, other = counts.route("default"), counts.route("other")
    assert route.outcomes == {"delivered": 2, "deferred": 2}
    assert other.outcomes == {"failed": 1}
    assert route.statuses == {"2.0": 1, "2.1": 1, "4.2": 1, "4.x": 1}
    assert other.statuses == {"none": 1}
    assert (route.retries, route.uncertain, route.held) == (1, 1, 1)
    assert counts.late == 1
    assert sum(counts.settle_sizes.buckets) == 1
    assert counts.settle_sizes.total == 5


@pytest.mark.parametrize("others", [[], [result(9, Outcome.FAILED)], [result(9, route="other")]])
def test_times_are_of_the_right_recipients(others: list[RecipientResult]) -> None:
    """Queue time is everybody's, the time since enqueueing only that of who was delivered."""
    route = counted(Settled([result(0), *others], 0, 1)).route("default")
    mine = [one for one in [result(0), *others] if one.route == "default"]
    assert sum(route.queue_time.buckets) == len(mine)
    assert route.queue_time.total == 2 * SECOND * len(mine)
    assert sum(route.delivery_time.buckets) == 1
    assert route.delivery_time.total == 5 * SECOND
    bucket = route.delivery_time.buckets.index(1)
    assert LONG[bucket] == 5 * SECOND  # bounds are upper ones, and included


def _as_counted_one_by_one(results: list[RecipientResult], name: str) -> RouteCounts:
    expected = Counts().route(name)
    for one in (one for one in results if one.route == name):
        expected.outcomes[one.outcome.value] = expected.outcomes.get(one.outcome.value, 0) + 1
        expected.statuses["2.0"] = expected.statuses.get("2.0", 0) + 1
        expected.retries += one.attempt > 1
        expected.uncertain += one.uncertain
        expected.held += bool(one.hold)
        expected.queue_time.observe([one.waited], LONG)
        ages = [one.at - time_of(one.message_id)] if one.outcome is Outcome.DELIVERED else []
        expected.delivery_time.observe(ages, LONG)
    return expected


def _transactions(rng: random.Random, *, all_delivered: bool, routes: list[str]) -> list[TransactionEnded]:
    """Make transactions with few and with many results, which may be alike or not."""
    made = []
    for _ in range(rng.randrange(1, 40)):
        ident, route = IdMaker().make(NOW - rng.randrange(10 * SECOND)), rng.choice(routes)
        results: list[RecipientResult] = []
        for _ in range(rng.choice([1, 1, 3])):
            outcome = Outcome.DELIVERED if all_delivered else rng.choice(list(Outcome))
            deferred = outcome is Outcome.DEFERRED
            alike: dict[str, Any] = {
                "message_id": ident,
                "route": route,
                "outcome": outcome,
                "at": NOW + rng.randrange(2),
                "waited": rng.randrange(3) * SECOND,
                "attempt": rng.choice([1, 1, 2]),
                "uncertain": deferred and rng.random() < 0.3,
                "hold": "why" if deferred and rng.random() < 0.3 else "",
            }
            results += [msgspec.structs.replace(result(n), **alike) for n in range(rng.choice([1, 1, 4, 20]))]
        made.append(transaction(*results))
    return made


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("seed", range(40))
def test_however_results_follow_one_another(seed: int, told: bool) -> None:
    """Counted in runs, from when they were told or not, and settled in any parts: the same as one by one."""
    rng = random.Random(seed)
    routes = ["default", "far"] if seed % 2 else ["default"]
    transactions = _transactions(rng, all_delivered=seed % 3 == 0, routes=routes)
    metrics, counts = Metrics(), Counts()
    settled: list[RecipientResult] = []
    waiting: list[RecipientResult] = []
    while transactions or waiting:
        if transactions and (not waiting or rng.random() < 0.6):
            event = transactions.pop()
            waiting += event.results
            if told:
                metrics(event)
            continue
        some = rng.randrange(1, len(waiting) + 1)
        metrics(Settled(waiting[:some], 0, 1))
        settled += waiting[:some]
        del waiting[:some]
        counts.add(metrics.take())
    for name in {one.route for one in settled}:
        found = counts.route(name)
        found.transactions, found.octets, found.answer_time = {}, 0, Histogram()  # not what this is about
        assert found == _as_counted_one_by_one(settled, name)


def test_transactions_by_place_and_mode() -> None:
    """Only those with a dialogue count; the time to the final reply is theirs that had an end-of-data."""
    counts = counted(
        transaction(result()),
        transaction(result(), answer=0),
        transaction(result(), mode="pipelined"),
        transaction(result(), mode="none", answer=0),
    )
    route = counts.route("default")
    assert route.transactions == {"unix:/x": {"chunked": 2, "pipelined": 1}}
    assert route.octets == 30
    assert sum(route.answer_time.buckets) == 2
    assert route.answer_time.total == 8000


def test_what_waits_to_be_counted_is_bounded() -> None:
    """Transactions are counted when there are many of them, though nothing is settled and nobody asks."""
    metrics = Metrics()
    for _ in range(GATHERED + 1):
        metrics(transaction(result()))
    assert len(metrics._transactions) == 1
    assert metrics.take().route("default").transactions == {"unix:/x": {"chunked": GATHERED + 1}}
    assert metrics.take() == Counts(), "what was taken is not taken again"


def test_the_other_events() -> None:
    """Each has its counter."""
    counts = counted(
        Claimed("default", 7),
        Connected("unix:/x", 3000),
        Connected("unix:/x", 0, "TLSv1.3"),
        SecurityTrouble("default", "unix:/x", "CERTIFICATE", "expired", 1.0),
        NotConnected("unix:/x", "refused"),
        SessionEnded("default", "unix:/x", "gone"),
        Doubt("unix:/x", "why", "lockstep"),
        RouteDown("default", "refused", 1.0),
        RouteUp("default"),
        Held(7, "default", 3, "why"),
        SpoolTrouble("claiming", "locked", 0.2),
    )
    route, place = counts.route("default"), counts.destination("unix:/x")
    assert (route.claims, route.claimed, route.outages, route.held) == (1, 7, 1, 3)
    assert (place.refused, place.lost, place.doubts, place.connect_time.total) == (1, 1, 1, 3000)
    assert (place.protections, place.insecure) == ({"none": 1, "TLSv1.3": 1}, {"certificate": 1})
    assert counts.troubles == {"claiming": 1}


def test_counts_add_up_and_survive_the_way_to_the_keeper() -> None:
    """In pieces and through JSON, of many routes: the sum is what was counted."""
    events: list[Event] = []
    for i in range(ROUTES_AT_ONCE * 2 + 5):
        name = f"route{i}"
        some = [result(0, route=name), result(1, Outcome.FAILED, route=name, enhanced="5.1.1")]
        events += [transaction(*some), Claimed(name, 2), Connected(f"unix:/{i}", 10), Settled(some, 0, 10)]
    counts = counted(*events)
    errors, counts.errors = counts.errors, []
    pieces = list(counts.pieces())
    assert len(pieces) == 3
    total = Counts()
    for piece in pieces:
        total.add(msgspec.json.decode(msgspec.json.encode(piece), type=Counts))
    assert total == counts
    total.add(counts)
    assert total.route("route0").outcomes == {"delivered": 2, "failed": 2}
    assert sum(error.count for error in errors) == ROUTES_AT_ONCE * 2 + 5


def test_a_histogram_counts_up_to_its_bounds() -> None:
    """A value on a bound belongs below it, one above all of them to the last bucket."""
    histogram = Histogram()
    histogram.observe([0, QUICK[0], QUICK[0] + 1, QUICK[-1] + 1], QUICK)
    assert histogram.buckets[:2] == [2, 1]
    assert histogram.buckets[-1] == 1
    assert len(histogram.buckets) == len(QUICK) + 1
    assert (histogram.total, histogram.greatest) == (2 * QUICK[0] + 1 + QUICK[-1] + 1, QUICK[-1] + 1)
    for weights in (None, [3]):
        shifted = Histogram()
        shifted.observe([1005], [1010, 1020], weights, zero=1000)
        count = 1 if weights is None else 3
        assert shifted == Histogram(buckets=[count, 0, 0], total=5 * count, greatest=5)


@pytest.mark.parametrize(
    ("enhanced", "label"), [("", "none"), ("2.1.5", "2.1"), ("4.7.999", "4.7"), ("5.123.4", "5.x")]
)
def test_labels_are_few(enhanced: str, label: str) -> None:
    """Whatever a server makes up, there are no more than nine subjects in a class."""
    assert status_class(enhanced) == label
