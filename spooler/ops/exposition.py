"""Metrics as Prometheus reads them: everything that was counted, and everything as it stands.

Names end in their unit, `_total` where they count up. Labels are names from the configuration and words of
ours: never an address, a subject or an id. Figures that begin with `spooler_queue_` and `spooler_ledger_` are
of the whole spool, the same at every command that works on it; all others are of this command's processes.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from spooler.histogram import LONG, QUICK, SIZES, Histogram
from spooler.ident import time_of
from spooler.lmtp.mode import Mode
from spooler.ops.counts import DestinationCounts, RouteCounts
from spooler.records import GAUGES, State
from spooler.result import Outcome

if TYPE_CHECKING:
    from spooler.ops.pulse import Gathering
    from spooler.ops.watch import Watch
    from spooler.sample import Sample
    from spooler.worker_standing import DestinationStanding, RouteStanding, WorkerStanding

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ENDED = (State.DELIVERED, State.FAILED, State.EXPIRED, State.DEFERRALS, State.UNCERTAIN, State.LATE)
_LEDGER = {State.DEFERRALS: "deferred"}
_US = 1e6
Labels = tuple[str, ...]
_Of = TypeVar("_Of")
_Table: TypeAlias = tuple[tuple[str, str, Callable[[_Of], float]], ...]
_Family = TypeVar("_Family", CounterMetricFamily, GaugeMetricFamily)

_WORKER_GAUGES: _Table[WorkerStanding] = (
    ("settle_backlog_recipients", "Results that wait to be settled.", lambda s: s.backlog),
    ("buffered_bytes", "Contents in memory, read ahead.", lambda s: s.buffered),
    ("buffer_limit_bytes", "As much of them as may be.", lambda s: s.buffer),
    ("isolated_messages", "Messages that are claimed alone because workers died.", lambda s: s.suspects),
    ("journal_bytes", "What journals hold and still need.", lambda s: s.journal.octets),
    ("journal_unsettled_recipients", "Results in journals only.", lambda s: s.journal.unsettled),
    (
        "journal_unanswered_transactions",
        "Duplicates at risk: transactions whose end-of-data may be out, not answered yet.",
        lambda s: s.journal.unanswered,
    ),
)
_ROUTE_GAUGES: _Table[RouteStanding] = (
    ("route_sessions", "Connections at work, or being made.", lambda r: r.sessions),
    ("route_window_sessions", "Connections that there may be now.", lambda r: r.window),
    ("route_limit_sessions", "Connections that there may ever be.", lambda r: r.limit),
    ("route_leased_recipients", "Recipients under the leases of these workers.", lambda r: r.claimed),
    ("route_ready_transactions", "Transactions that wait for a connection.", lambda r: r.ready),
    ("route_parked_recipients", "Recipients that wait for a busy mailbox.", lambda r: r.parked),
    ("route_shut_mailboxes", "Mailboxes that take no mail for now.", lambda r: r.shut_count),
)
_ROUTE_COUNTERS: _Table[RouteCounts] = (
    ("claims", "Claims that found something.", lambda r: r.claims),
    ("claimed_recipients", "Recipients that came under a lease.", lambda r: r.claimed),
    ("sent_bytes", "Sizes of messages, once a transaction.", lambda r: r.octets),
    ("retries", "Results of attempts after the first.", lambda r: r.retries),
    ("uncertain", "Attempts that may have delivered: a second copy may follow.", lambda r: r.uncertain),
    ("held", "Recipients that were held for a person to decide.", lambda r: r.held),
    ("route_outages", "Times that no destination of a route gave a session.", lambda r: r.outages),
)
_DESTINATION_COUNTERS: _Table[DestinationCounts] = (
    ("connection_failures", "Connections that could not be made.", lambda d: d.refused),
    ("sessions_lost", "Sessions that ended by a fault.", lambda d: d.lost),
    ("doubts", "Times that replies did not match commands.", lambda d: d.doubts),
)
_ROUTE_TIMES: tuple[tuple[str, str, Callable[[RouteCounts], Histogram], Sequence[int]], ...] = (
    (
        "queue_time_seconds",
        "From being due to the begin of the transaction.",
        lambda r: r.queue_time,
        LONG,
    ),
    ("delivery_time_seconds", "From being enqueued to being delivered.", lambda r: r.delivery_time, LONG),
    (
        "final_reply_seconds",
        "From end-of-data to the last final reply, proven.",
        lambda r: r.answer_time,
        QUICK,
    ),
)


async def render(watch: Watch, *, version: str) -> bytes:
    """Write all metrics."""
    sample = await watch.sample()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(_all(watch, sample, version)))
    return generate_latest(registry)


class _Once(Collector):
    """Gives metrics that were put together already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """See the library."""
        return self._metrics

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before."""
        return []


def _all(watch: Watch, sample: Sample | None, version: str) -> Iterator[Metric]:
    info = GaugeMetricFamily("spooler_build_info", "Version of the program.", labels=("version", "python"))
    info.add_metric((version, platform.python_version()), 1)
    yield info
    yield _gauge(
        "spooler_spool_up",
        "Whether the spool's database answers, and takes what is written.",
        {(): watch.answers and not watch.gathering.refused},
    )
    yield _gauge(
        "spooler_workers_fresh",
        "Worker processes of this command whose heartbeat is in time.",
        {(): sum(member.fresh for member in watch.gathering.members.values())},
    )
    if sample is not None:
        yield from _spool(sample, watch.clock())
    yield from _standing(watch)
    counts = watch.gathering.counts
    # what is known has its counters before anything is counted: a series that begins at 5 is no increase
    known = [standing for _, standing in watch.ours().values()]
    routes = dict.fromkeys((name for standing in known for name in standing.routes), RouteCounts())
    names = (name for standing in known for name in standing.destinations)
    places = dict.fromkeys(names, DestinationCounts())
    yield from _routes(routes | counts.routes)
    yield from _destinations(places | counts.destinations)
    yield from _worker(watch.gathering)


def _spool(sample: Sample, now: int) -> Iterator[Metric]:
    tallies = {(row.route, row.state): row.count for row in sample.tallies}
    routes = sorted({route for route, _ in tallies})
    yield _gauge(
        "spooler_queue_recipients",
        "Recipients that are queued.",
        {(route, state.value): tallies.get((route, state), 0) for route in routes for state in GAUGES},
        labels=("route", "state"),
    )
    yield _gauge(
        "spooler_queue_oldest_seconds",
        "Age of the oldest queued recipient, from when it was enqueued.",
        {(one.route, one.state.value): max(0, now - time_of(one.message_id)) / _US for one in sample.oldest},
        labels=("route", "state"),
    )
    yield _gauge(
        "spooler_queue_overdue_seconds",
        "For how long the first recipient has been due; 0 if none is.",
        {(route,): max(0, now - due) / _US for route, due in sample.due.items()},
        labels=("route",),
    )
    yield _counter(
        "spooler_ledger_recipients",
        "What became of recipients in the whole spool, by whomever; uncertain ones are deferred, too.",
        {
            (route, _LEDGER.get(state, state.value)): tallies.get((route, state), 0)
            for route in routes
            for state in _ENDED
        },
        labels=("route", "outcome"),
    )
    yield _gauge("spooler_queue_workers", "Workers that the spool knows.", {(): len(sample.workers)})


def _standing(watch: Watch) -> Iterator[Metric]:
    ours = watch.ours()
    standings = [standing for _, standing in ours.values()]
    yield from _route_standings(standings)
    yield from _destination_standings(standings)
    for name, help_, value in _WORKER_GAUGES:
        yield _gauge(f"spooler_{name}", help_, {(): sum(map(value, standings))})
    yield _gauge(
        "spooler_journal_lag_seconds",
        "For how long the oldest note of a journal has waited for its sync.",
        {(): max((one.journal.lag for one in standings), default=0.0)},
    )
    processes = {
        (str(part), name): vitals
        for part, (_, standing) in ours.items()
        for name, vitals in standing.processes.items()
    }
    yield _gauge(
        "spooler_process_resident_memory_bytes",
        "Resident memory of a worker and of its spool process.",
        {labels: vitals.memory for labels, vitals in processes.items()},
        labels=("part", "process"),
    )
    yield _counter(
        "spooler_process_cpu_seconds",
        "Processor time of a worker and of its spool process.",
        {labels: vitals.cpu for labels, vitals in processes.items()},
        labels=("part", "process"),
    )


def _route_standings(standings: Sequence[WorkerStanding]) -> Iterator[Metric]:
    routes: dict[str, list[RouteStanding]] = {}
    for standing in standings:
        for name, route in standing.routes.items():
            routes.setdefault(name, []).append(route)
    for name, help_, value in _ROUTE_GAUGES:
        sums: dict[Labels, float] = {(route,): sum(map(value, some)) for route, some in routes.items()}
        yield _gauge(f"spooler_{name}", help_, sums, labels=("route",))
    yield _gauge(
        "spooler_route_depth_transactions",
        "Transactions that may be in flight on a connection.",
        {(route,): max(one.depth for one in some) for route, some in routes.items()},
        labels=("route",),
    )
    yield _gauge(
        "spooler_route_up",
        "Whether a route takes mail, as far as is known.",
        {(route,): any(one.outage is None for one in some) for route, some in routes.items()},
        labels=("route",),
    )
    yield _gauge(
        "spooler_route_paused",
        "Whether a person has paused a route.",
        {(route,): any(one.paused for one in some) for route, some in routes.items()},
        labels=("route",),
    )


def _destination_standings(standings: Sequence[WorkerStanding]) -> Iterator[Metric]:
    places: dict[str, list[DestinationStanding]] = {}
    for standing in standings:
        for name, place in standing.destinations.items():
            places.setdefault(name, []).append(place)
    yield _gauge(
        "spooler_destination_up",
        "Whether a destination takes mail, as far as is known.",
        {(name,): any(one.outage is None for one in some) for name, some in places.items()},
        labels=("destination",),
    )
    yield _gauge(
        "spooler_destination_sessions",
        "Connections to a destination, at work or kept for reuse.",
        {
            (name, state): sum(getattr(one, field) for one in some)
            for name, some in places.items()
            for state, field in (("busy", "sessions"), ("idle", "idle"))
        },
        labels=("destination", "state"),
    )
    yield _gauge(
        "spooler_destination_mode",
        "How transactions follow one another: 1 for the mode of the most careful process.",
        {
            (name, mode.word): min(Mode.of(one.mode) for one in some) is mode
            for name, some in places.items()
            for mode in Mode
        },
        labels=("destination", "mode"),
    )

    for field, of in (
        ("transactions", "Transactions that a session"),
        ("recipients", "Recipients that a transaction"),
    ):
        yield _gauge(
            f"spooler_destination_limit_{field}",
            f"{of} takes, where it was learnt that there is a limit.",
            {
                (name,): min(limits)
                for name, some in places.items()
                if (limits := [limit for one in some if (limit := getattr(one, field))])
            },
            labels=("destination",),
        )


def _routes(routes: Mapping[str, RouteCounts]) -> Iterator[Metric]:
    for name, help_, value in _ROUTE_COUNTERS:
        sums: dict[Labels, float] = {(route,): value(one) for route, one in routes.items()}
        yield _counter(f"spooler_{name}", help_, sums, labels=("route",))
    yield _counter(
        "spooler_transactions",
        "Transactions that had a dialogue.",
        {
            (route, destination, mode): count
            for route, one in routes.items()
            for destination, modes in one.transactions.items()
            for mode, count in modes.items()
        },
        labels=("route", "destination", "mode"),
    )
    yield _counter(
        "spooler_recipients",
        "Results of attempts that these processes made and settled.",
        {
            (route, outcome.value): one.outcomes.get(outcome.value, 0)
            for route, one in routes.items()
            for outcome in Outcome
        },
        labels=("route", "outcome"),
    )
    yield _counter(
        "spooler_statuses",
        "The same by class and subject of the enhanced status code (RFC 3463).",
        {(route, word): count for route, one in routes.items() for word, count in one.statuses.items()},
        labels=("route", "status"),
    )
    for name, help_, times, bounds in _ROUTE_TIMES:
        found: dict[Labels, Histogram] = {(route,): times(one) for route, one in routes.items()}
        yield _histogram(f"spooler_{name}", help_, found, bounds, labels=("route",))


def _destinations(places: Mapping[str, DestinationCounts]) -> Iterator[Metric]:
    yield _histogram(
        "spooler_connect_seconds",
        "Connecting, greeting and LHLO, where they succeeded.",
        {(name,): one.connect_time for name, one in places.items()},
        QUICK,
        labels=("destination",),
    )
    for name, help_, value in _DESTINATION_COUNTERS:
        sums: dict[Labels, float] = {(place,): value(one) for place, one in places.items()}
        yield _counter(f"spooler_{name}", help_, sums, labels=("destination",))
    yield _counter(
        "spooler_sessions_opened",
        "Connections that were made, by version of TLS.",
        {(place, tls): n for place, one in places.items() for tls, n in one.protections.items()},
        labels=("destination", "tls"),
    )
    yield _counter(
        "spooler_security_failures",
        "Connections that were given up because of TLS or AUTH.",
        {(place, kind): n for place, one in places.items() for kind, n in one.insecure.items()},
        labels=("destination", "kind"),
    )


def _worker(gathering: Gathering) -> Iterator[Metric]:
    counts = gathering.counts
    yield _histogram("spooler_settle_seconds", "Settling a batch.", {(): counts.settle_time}, QUICK)
    yield _histogram("spooler_settle_batch_recipients", "Its results.", {(): counts.settle_sizes}, SIZES)
    yield _histogram("spooler_claim_batch_recipients", "What a claim took.", {(): counts.claim_sizes}, SIZES)
    yield _histogram(
        "spooler_database_call_seconds",
        "Calls of the spool, each one transaction at most, as its database took for them.",
        {(call,): times for call, times in sorted(counts.calls.items())},
        QUICK,
        labels=("call",),
    )
    members = [member.pulse for member in gathering.members.values() if member.fresh]
    in_use = sum(pulse.in_use for pulse in members)
    idle = sum(pulse.connections for pulse in members) - in_use
    yield _gauge(
        "spooler_database_connections",
        "Connections to the database.",
        {("busy",): in_use, ("idle",): idle},
        labels=("state",),
    )
    yield _counter(
        "spooler_late_results", "Results that came without right to their recipient.", {(): counts.late}
    )
    yield _counter("spooler_journal_syncs", "Syncs of journals.", {(): counts.syncs})
    yield _counter("spooler_journal_sync_seconds", "What they took.", {(): counts.sync_time / _US})
    yield _counter(
        "spooler_spool_troubles",
        "Refusals of the spool, by what was being done.",
        {(doing,): count for doing, count in counts.troubles.items()},
        labels=("doing",),
    )


def _gauge(name: str, help_: str, values: Mapping[Labels, float], *, labels: Labels = ()) -> Metric:
    return _filled(GaugeMetricFamily(name, help_, labels=labels), values)


def _counter(name: str, help_: str, values: Mapping[Labels, float], *, labels: Labels = ()) -> Metric:
    return _filled(CounterMetricFamily(name, help_, labels=labels), values)


def _filled(family: _Family, values: Mapping[Labels, float]) -> _Family:
    for words, value in values.items():
        family.add_metric(words, float(value))
    return family


def _histogram(
    name: str, help_: str, values: Mapping[Labels, Histogram], bounds: Sequence[int], *, labels: Labels = ()
) -> Metric:
    unit = _US if name.endswith("_seconds") else 1
    family = HistogramMetricFamily(name, help_, labels=labels)
    ends = [f"{bound / unit:g}" for bound in bounds] + ["+Inf"]
    for words, histogram in values.items():
        counts = histogram.buckets or [0] * len(ends)
        family.add_metric(words, list(zip(ends, accumulate(counts), strict=True)), histogram.total / unit)
    return family
