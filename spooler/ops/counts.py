"""What was counted, as values that add up: by one process since it was last asked, and by all of a command.

Metrics are gathered here and not in a library's registry, for three reasons: counting costs a few µs a batch,
what a process counted travels to its keeper as a record, and what a process that died had counted stays in
the sum. `spooler.ops.exposition` writes it for Prometheus. Times are µs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from spooler.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROUTES_AT_ONCE = 32  # in a record that a keeper is sent


class RouteCounts(msgspec.Struct, omit_defaults=True):
    """Of one route."""

    outcomes: dict[str, int] = {}
    """Recipients by what became of them in an attempt."""
    statuses: dict[str, int] = {}
    """The same by class and subject of the enhanced status code, "4.2"; "none" where there was none."""
    transactions: dict[str, dict[str, int]] = {}
    """Transactions by destination and mode."""
    octets: int = 0
    """Of messages, each once a transaction."""
    claims: int = 0
    claimed: int = 0
    """Recipients."""
    retries: int = 0
    """Results of attempts after the first."""
    uncertain: int = 0
    held: int = 0
    outages: int = 0
    queue_time: Histogram = msgspec.field(default_factory=Histogram)
    """From being due to the begin of the transaction."""
    delivery_time: Histogram = msgspec.field(default_factory=Histogram)
    """From being enqueued to being delivered."""
    answer_time: Histogram = msgspec.field(default_factory=Histogram)
    """From end-of-data to the last final reply."""

    def add(self, other: RouteCounts) -> None:
        """Count what another counted."""
        _add(self.outcomes, other.outcomes)
        _add(self.statuses, other.statuses)
        for destination, modes in other.transactions.items():
            _add(self.transactions.setdefault(destination, {}), modes)
        self.octets += other.octets
        self.claims += other.claims
        self.claimed += other.claimed
        self.retries += other.retries
        self.uncertain += other.uncertain
        self.held += other.held
        self.outages += other.outages
        self.queue_time.add(other.queue_time)
        self.delivery_time.add(other.delivery_time)
        self.answer_time.add(other.answer_time)


class DestinationCounts(msgspec.Struct, omit_defaults=True):
    """Of one destination."""

    connect_time: Histogram = msgspec.field(default_factory=Histogram)
    """Of the connections that were made, greeting and LHLO included."""
    protections: dict[str, int] = {}
    """The same by version of TLS, "none" without."""
    insecure: dict[str, int] = {}
    """Connections that were given up because of TLS or AUTH, by kind."""
    refused: int = 0
    lost: int = 0
    """Sessions that ended by a fault."""
    doubts: int = 0

    def add(self, other: DestinationCounts) -> None:
        """Count what another counted."""
        self.connect_time.add(other.connect_time)
        _add(self.protections, other.protections)
        _add(self.insecure, other.insecure)
        self.refused += other.refused
        self.lost += other.lost
        self.doubts += other.doubts


class ErrorKey(msgspec.Struct, frozen=True, array_like=True):
    """What an error is; `text` is in the server's words, with an ellipsis for the recipient's address."""

    route: str
    destination: str
    stage: str
    code: int
    enhanced: str
    text: str


class ErrorCount(msgspec.Struct, array_like=True):
    """How often it happened, first and last (µs UTC), and the message that met it last."""

    key: ErrorKey
    outcome: str
    count: int
    first: int
    last: int
    message_id: int


class Counts(msgspec.Struct, omit_defaults=True):
    """All that was counted; `errors` are the most frequent."""

    routes: dict[str, RouteCounts] = {}
    destinations: dict[str, DestinationCounts] = {}
    settle_time: Histogram = msgspec.field(default_factory=Histogram)
    settle_sizes: Histogram = msgspec.field(default_factory=Histogram)
    claim_sizes: Histogram = msgspec.field(default_factory=Histogram)
    late: int = 0
    syncs: int = 0
    sync_time: int = 0
    troubles: dict[str, int] = {}
    """Refusals of the spool, by what was being done."""
    calls: dict[str, Histogram] = {}
    """How long the database took for each kind of call."""
    errors: list[ErrorCount] = []

    def route(self, name: str) -> RouteCounts:
        """Return those of a route."""
        found = self.routes.get(name)
        if found is None:
            found = self.routes[name] = RouteCounts()
        return found

    def destination(self, name: str) -> DestinationCounts:
        """Return those of a destination."""
        found = self.destinations.get(name)
        if found is None:
            found = self.destinations[name] = DestinationCounts()
        return found

    def add(self, other: Counts) -> None:
        """Count what another counted; errors are for `spooler.ops.errors`."""
        for name, route in other.routes.items():
            self.route(name).add(route)
        for name, destination in other.destinations.items():
            self.destination(name).add(destination)
        self.settle_time.add(other.settle_time)
        self.settle_sizes.add(other.settle_sizes)
        self.claim_sizes.add(other.claim_sizes)
        self.late += other.late
        self.syncs += other.syncs
        self.sync_time += other.sync_time
        _add(self.troubles, other.troubles)
        for name, times in other.calls.items():
            self.calls.setdefault(name, Histogram()).add(times)

    def pieces(self) -> Iterator[Counts]:
        """Cut into parts that fit a record, however many routes there are."""
        routes = list(self.routes.items())
        destinations = list(self.destinations.items())
        rest = msgspec.structs.replace(self, routes={}, destinations={})
        step = ROUTES_AT_ONCE
        for start in range(0, max(len(routes), len(destinations), 1), step):
            end = start + step
            yield msgspec.structs.replace(
                rest, routes=dict(routes[start:end]), destinations=dict(destinations[start:end])
            )
            rest = Counts()


def _add(to: dict[str, int], more: Mapping[str, int]) -> None:
    for key, count in more.items():
        to[key] = to.get(key, 0) + count
