"""Counts events: the subscriber that metrics come from (see `spooler.events`).

What comes once a transaction is only put on a list; it is counted together, some hundreds at a time, mostly
in C. Results are counted when they are settled, so that the counts are the ledger's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import compress, count, islice
from operator import attrgetter, ne, sub
from typing import TYPE_CHECKING

from spooler.events import (
    Claimed,
    Connected,
    Doubt,
    Event,
    Held,
    NotConnected,
    RouteDown,
    SecurityTrouble,
    SessionEnded,
    Settled,
    SpoolTrouble,
    TransactionEnded,
)
from spooler.histogram import LONG, QUICK, SIZES
from spooler.ident import EPOCH, TAG_BITS
from spooler.ops.counts import Counts, RouteCounts
from spooler.ops.errors import Errors
from spooler.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spooler.result import RecipientResult

    _Verdict = tuple[str, str, str, int, bool, str]

GATHERED = 1000  # transactions that wait to be counted, at most
SUBJECTS = frozenset("01234567")
"""RFC 3463 section 3; what a server makes up beyond them is "x"."""
_DELIVERED = Outcome.DELIVERED.value
_PLACE = attrgetter("route", "destination", "mode")
_VERDICT = attrgetter("route", "outcome._value_", "enhanced", "attempt", "uncertain", "hold")
_TIMES = attrgetter("message_id", "at", "waited")
_SIZE = attrgetter("size")
_LONG_FROM_IDS = tuple(bound + EPOCH for bound in LONG)  # ids hold the time since their own epoch


class Metrics:
    """Subscribes to events and counts them."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._errors = Errors()
        self._transactions: list[TransactionEnded] = []
        self._handlers: dict[type, Callable[..., None]] = {
            TransactionEnded: self._transaction,
            Claimed: self._claimed,
            Connected: self._connected,
            NotConnected: self._not_connected,
            SessionEnded: self._session_ended,
            Doubt: self._doubt,
            RouteDown: self._route_down,
            SecurityTrouble: self._security_trouble,
            Settled: self._settled,
            SpoolTrouble: self._spool_trouble,
            Held: self._held,
        }

    def __call__(self, event: Event) -> None:
        """Take an event (see `spooler.events.Observe`)."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def take(self) -> Counts:
        """Return what was counted since the last time."""
        self._count_transactions()
        counts, self._counts = self._counts, Counts()
        counts.errors = self._errors.take()
        return counts

    def _transaction(self, event: TransactionEnded) -> None:
        self._transactions.append(event)
        if len(self._transactions) >= GATHERED:
            self._count_transactions()

    def _count_transactions(self) -> None:
        events, self._transactions = self._transactions, []
        groups: defaultdict[tuple[str, str, str], list[TransactionEnded]] = defaultdict(list)
        for event, place in zip(events, map(_PLACE, events), strict=True):
            groups[place].append(event)
        for (route, destination, mode), group in groups.items():
            if mode == "none":
                continue  # no dialogue took place
            counts = self._counts.route(route)
            modes = counts.transactions.setdefault(destination, {})
            modes[mode] = modes.get(mode, 0) + len(group)
            counts.octets += sum(map(_SIZE, group))
            counts.answer_time.observe([event.answer for event in group if event.answer], QUICK)

    def _settled(self, event: Settled) -> None:
        results = event.results
        counts = self._counts
        counts.settle_time.observe([event.took], QUICK)
        counts.settle_sizes.observe([len(results)], SIZES)
        counts.late += event.late
        routes: dict[str, RouteCounts] = {}
        delivered = 0
        for verdict, number in _counted([*map(_VERDICT, results)]).items():
            name, outcome, enhanced, attempt, uncertain, hold = verdict
            route = routes[name] = counts.route(name)
            _count(route.outcomes, outcome, number)
            _count(route.statuses, status_class(enhanced), number)
            if outcome == _DELIVERED:
                delivered += number
            if attempt > 1:
                route.retries += number
            if uncertain:
                route.uncertain += number
            if hold:
                route.held += number
        if len(routes) == 1:
            (only,) = routes.values()
            _count_times(only, results, all_delivered=delivered == len(results))
        else:
            parts: defaultdict[str, list[RecipientResult]] = defaultdict(list)
            for result in results:
                parts[result.route].append(result)
            for name, part in parts.items():
                _count_times(routes[name], part, all_delivered=False)
        if delivered < len(results):
            for result in results:
                if result.outcome is not Outcome.DELIVERED:
                    self._errors.count(result)

    def _claimed(self, event: Claimed) -> None:
        route = self._counts.route(event.route)
        route.claims += 1
        route.claimed += event.recipients
        self._counts.claim_sizes.observe([event.recipients], SIZES)

    def _connected(self, event: Connected) -> None:
        destination = self._counts.destination(event.destination)
        destination.connect_time.observe([event.took], QUICK)
        _count(destination.protections, event.protection or "none", 1)

    def _not_connected(self, event: NotConnected) -> None:
        self._counts.destination(event.destination).refused += 1

    def _security_trouble(self, event: SecurityTrouble) -> None:
        _count(self._counts.destination(event.destination).insecure, event.kind.lower(), 1)

    def _session_ended(self, event: SessionEnded) -> None:
        self._counts.destination(event.destination).lost += 1

    def _doubt(self, event: Doubt) -> None:
        self._counts.destination(event.destination).doubts += 1

    def _route_down(self, event: RouteDown) -> None:
        self._counts.route(event.route).outages += 1

    def _spool_trouble(self, event: SpoolTrouble) -> None:
        _count(self._counts.troubles, event.doing, 1)

    def _held(self, event: Held) -> None:
        self._counts.route(event.route).held += event.recipients


def status_class(enhanced: str) -> str:
    """Return class and subject of an enhanced status code (RFC 3463), of which there are few."""
    if not enhanced:
        return "none"
    parts = enhanced.split(".")
    return f"{parts[0]}.{parts[1] if parts[1] in SUBJECTS else 'x'}"


def _counted(verdicts: list[_Verdict]) -> Mapping[_Verdict, int]:
    """Count each; mostly all are the same, and to compare costs less than to hash."""
    if verdicts.count(verdicts[0]) == len(verdicts):
        return {verdicts[0]: len(verdicts)}
    return Counter(verdicts)


def _count_times(route: RouteCounts, results: Sequence[RecipientResult], *, all_delivered: bool) -> None:
    runs, lengths = _runs(results)
    route.queue_time.observe([waited for _, _, waited in runs], LONG, lengths)
    if not all_delivered:
        runs, lengths = _runs([result for result in results if result.outcome is Outcome.DELIVERED])
    times = route.delivery_time
    times.observe([at - (message_id >> TAG_BITS) for message_id, at, _ in runs], _LONG_FROM_IDS, lengths)
    times.total -= EPOCH * sum(lengths)


def _runs(results: Sequence[RecipientResult]) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Find results that follow one another and have their times in common, as those of a transaction mostly
    do; give these times, and how many have them.
    """
    if not results:
        return [], []
    times = list(map(_TIMES, results))
    ends = [*compress(count(1), map(ne, times, islice(times, 1, None))), len(times)]
    return [times[end - 1] for end in ends], list(map(sub, ends, [0, *ends]))


def _count(counts: dict[str, int], key: str, count: int) -> None:
    counts[key] = counts.get(key, 0) + count
