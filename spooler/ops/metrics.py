"""Counts events: the subscriber that metrics come from (see `spooler.events`).

Results are counted when they are settled, so that the counts are the ledger's. They are counted in *runs*,
of those that follow one another and have in common what is counted. Where a transaction has many results,
its runs are found as soon as it is told, for the processor has them at hand then, and it takes half the
time. Where it has few, it is cheaper to do it for many transactions at once.
"""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import compress, count, groupby, islice
from operator import attrgetter, itemgetter, ne, sub
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
from spooler.ops.counts import Counts
from spooler.ops.errors import Errors
from spooler.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spooler.ops.counts import RouteCounts
    from spooler.result import RecipientResult

    _Results = Sequence[RecipientResult]
    _Verdict = tuple[Outcome, str, int, bool, str]
    _Facts = tuple[str, int, Outcome, str, int, bool, str, int, int]

GATHERED = 1000  # answers of a place that wait to be counted, at most
MANY = 5  # results of a transaction
SUBJECTS = frozenset("01234567")
"""RFC 3463 section 3; what a server makes up beyond them is "x"."""
_VARYING = ("outcome", "enhanced", "attempt", "uncertain", "hold", "at", "waited")
_FACTS = attrgetter("route", "message_id", *_VARYING)
_ROUTE = itemgetter(0)  # of these
_FACTS_OF_ONE = attrgetter(*_VARYING)
_LONG_FROM_IDS = tuple(bound + EPOCH for bound in LONG)  # ids hold the time since their own epoch


class _Transactions:
    """Of one route, destination and mode, not counted yet; `answers` are times in µs."""

    __slots__ = ("answers", "count", "octets")

    def __init__(self) -> None:
        self.count = self.octets = 0
        self.answers: list[int] = []


class Metrics:
    """Subscribes to events and counts them."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._errors = Errors()
        self._transactions: dict[tuple[str, str, str], _Transactions] = {}
        self._told = self._counted = 0
        """Results: of transactions, and settled."""
        self._known: deque[tuple[int, int, list[_Facts], list[int]]] = deque()
        """Runs that are known before they are settled: how many results were told before, how many these are,
        and the runs with their lengths; none of the rest of what was settled in part."""
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
        place = (event.route, event.destination, event.mode)
        group = self._transactions.get(place)
        if group is None:
            group = self._transactions[place] = _Transactions()
        group.count += 1
        group.octets += event.size
        if event.answer:
            group.answers.append(event.answer)
            if len(group.answers) >= GATHERED:
                self._count_transactions()
        results = event.results
        if len(results) >= MANY:
            self._known.append((self._told, len(results), *_runs_of_one(event)))
        self._told += len(results)

    def _count_transactions(self) -> None:
        groups, self._transactions = self._transactions, {}
        for (route, destination, mode), group in groups.items():
            if mode == "none":
                continue  # no dialogue took place
            counts = self._counts.route(route)
            _count(counts.transactions.setdefault(destination, {}), mode, group.count)
            counts.octets += group.octets
            counts.answer_time.observe(group.answers, QUICK)

    def _settled(self, event: Settled) -> None:
        results = event.results
        counts = self._counts
        counts.settle_time.observe([event.took], QUICK)
        counts.settle_sizes.observe([len(results)], SIZES)
        counts.late += event.late
        runs, lengths = self._runs_of(results)
        delivered = 0
        for name in set(map(_ROUTE, runs)):
            mine = [run[0] == name for run in runs]
            delivered += _count_runs(counts.route(name), [*compress(runs, mine)], [*compress(lengths, mine)])
        if delivered < len(results):
            for result in results:
                if result.outcome is not Outcome.DELIVERED:
                    self._errors.count(result)

    def _runs_of(self, results: _Results) -> tuple[list[_Facts], list[int]]:
        """Find the runs of what is settled: those that are known, and those of all that is in between."""
        start = at = self._counted
        end = self._counted = start + len(results)
        runs: list[_Facts] = []
        lengths: list[int] = []
        unknown: list[RecipientResult] = []
        known = self._known
        while known and known[0][0] < end:
            first, length, some, lengths_of_some = known.popleft()
            unknown += results[at - start : first - start]
            at = first + length
            if at > end:  # the rest comes with what is settled next
                known.appendleft((end, at - end, [], []))
                at = first
                break
            if some:
                runs += some
                lengths += lengths_of_some
            else:
                unknown += results[first - start : at - start]
        unknown += results[at - start :]
        if unknown:
            facts = list(map(_FACTS, unknown))
            ends = [*compress(count(1), map(ne, facts, islice(facts, 1, None))), len(facts)]
            lengths += map(sub, ends, [0, *ends])
            runs += [facts[end - 1] for end in ends] if len(ends) < len(facts) else facts
        return runs, lengths

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


def _runs_of_one(event: TransactionEnded) -> tuple[list[_Facts], list[int]]:
    """Find the runs of a transaction's results: mostly there is one, which takes a comparison to find out."""
    facts = list(map(_FACTS_OF_ONE, event.results))
    if facts.count(facts[0]) == len(facts):
        return [(event.route, event.message_id, *facts[0])], [len(facts)]
    runs = [(facts, len(list(alike))) for facts, alike in groupby(facts)]
    return [(event.route, event.message_id, *facts) for facts, _ in runs], [length for _, length in runs]


def _count_runs(route: RouteCounts, runs: list[_Facts], lengths: list[int]) -> int:
    """Count runs of one route; return how many recipients were delivered to."""
    route.queue_time.observe([run[8] for run in runs], LONG, lengths)
    verdicts = _sum([run[2:7] for run in runs], lengths)
    for (outcome, enhanced, attempt, uncertain, hold), number in verdicts.items():
        _count(route.outcomes, outcome.value, number)
        _count(route.statuses, status_class(enhanced), number)
        if attempt > 1:
            route.retries += number
        if uncertain:
            route.uncertain += number
        if hold:
            route.held += number
    if any(outcome is not Outcome.DELIVERED for outcome, *_ in verdicts):
        good = [run[2] is Outcome.DELIVERED for run in runs]
        runs, lengths = [*compress(runs, good)], [*compress(lengths, good)]
    delivered = sum(lengths)
    waited = [run[7] - (run[1] >> TAG_BITS) for run in runs]
    route.delivery_time.observe(waited, _LONG_FROM_IDS, lengths, zero=EPOCH)
    return delivered


def _sum(verdicts: list[_Verdict], lengths: list[int]) -> Mapping[_Verdict, int]:
    """Count each; mostly all are the same, and to compare costs less than to hash."""
    if verdicts.count(verdicts[0]) == len(verdicts):
        return {verdicts[0]: sum(lengths)}
    counted: defaultdict[_Verdict, int] = defaultdict(int)
    for verdict, length in zip(verdicts, lengths, strict=True):
        counted[verdict] += length
    return counted


def _count(counts: dict[str, int], key: str, count: int) -> None:
    counts[key] = counts.get(key, 0) + count
