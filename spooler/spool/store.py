"""The spool as one object: everything that can be done with it, synchronously.

One thread at a time on SQLite (others wait), several on Postgres. All times are µs UTC and come from the
caller: the store reads no clock. Whatever goes wrong outside is raised as SpoolerError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from spooler.ident import IdMaker, format_id
from spooler.records import (
    JobLeft,
    LedgerEntry,
    MessageInfo,
    QueuedRecipient,
    QueueFilter,
    SettleReport,
    TallyRow,
    WorkerRow,
)
from spooler.result import NO_ROUTES, Outcome
from spooler.spool import contents, intake, looking, of_job, pausing, settling, wake
from spooler.spool.chores import Chores
from spooler.spool.connect import Database, connect
from spooler.spool.leasing import Leases
from spooler.spool.place import parse_place
from spooler.spool.rescuing import Rescues
from spooler.spool.runs import Runs
from spooler.spool.standing import check_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spooler.claim import Claim, Want
    from spooler.command import Group, Key, Order, Page, Pause, Steered
    from spooler.envelope import Enqueued, ImportIdentity, NewMessage
    from spooler.result import Doubtful, RecipientResult
    from spooler.sample import Sample, Traced
    from spooler.worker_standing import WorkerStanding


class Store:
    """An open spool; `uuid` is its identity, which journals carry. Also a context manager."""

    def __init__(self, db: Database, *, uuid: str, id_maker: IdMaker | None = None) -> None:
        self.uuid = uuid
        self._db = db
        self._ids = id_maker or IdMaker()
        self._runs = Runs()
        self._leases = Leases(db)
        self._rescues = Rescues(db, self._runs, self._leases)
        self._chores = Chores(db, self._runs)
        self._waiter = wake.Waiter(db, uuid)

    @classmethod
    def open(cls, url: str, *, id_maker: IdMaker | None = None) -> Self:
        """Open a spool that exists and has this program's schema."""
        db = connect(parse_place(url))
        try:
            uuid = check_schema(db)
        except BaseException:
            db.abandon()
            raise
        return cls(db, uuid=uuid, id_maker=id_maker)

    @property
    def is_postgres(self) -> bool:
        """Whether several threads may use it at a time."""
        return self._db.is_postgres

    def close(self) -> None:
        """Close all connections."""
        self._waiter.close()
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # intake

    def store_chunks(self, chunks: Iterable[bytes], *, now: int) -> int:
        """Stream a large content in, chunks of at most CHUNK_SIZE; returns its id for `Content.stored`."""
        return intake.store_chunks(self._db, self._ids, chunks, now=now)

    def enqueue(self, messages: Sequence[NewMessage], *, now: int) -> list[Enqueued]:
        """Put messages in, all or none, in one transaction that is on disk when this returns.

        Recipients are numbered from 0 in the order given. Raises DataError for what cannot be stored.
        """
        enqueued = intake.enqueue(self._db, self._ids, messages, now=now)
        if not all(one.duplicate for one in enqueued):
            wake.announce(self._db, self.uuid)
        return enqueued

    def imported(self, identities: Sequence[ImportIdentity]) -> set[ImportIdentity]:
        """Which of these were imported before."""
        return intake.imported(self._db, identities)

    # workers

    def register(self, *, host: str, pid: int, now: int) -> int:
        """Add a worker; returns its id."""
        return self._leases.register(self._ids, host=host, pid=pid, now=now)

    def beat(self, worker: int, *, now: int, standing: str | None = None) -> bool:
        """Renew all leases of a worker; False if it was declared dead.

        `standing` is what it publishes of itself (see `spooler.worker_standing`); None: as before.
        """
        return self._leases.beat(worker, now=now, standing=standing)

    def workers(self) -> list[WorkerRow]:
        """Return the workers, and those not yet rescued."""
        return self._leases.workers()

    def standings(self) -> dict[int, WorkerStanding]:
        """Return what workers publish of themselves, as of their last beats, by worker."""
        return self._leases.standings()

    def unregister(self, worker: int, *, now: int) -> None:
        """Remove a worker that is done; anything it still holds is released."""
        self._leases.unregister(worker, now=now)

    def rescue(
        self,
        worker: int,
        *,
        now: int,
        due: int,
        uncertain: bool,
        doubtful: Mapping[str, Doubtful] = NO_ROUTES,
    ) -> int:
        """Take a dead worker's recipients from it, and make them due; returns how many.

        `uncertain`: any of them may have been delivered already; each gets a ledger row that says so, and is
        then due, or held, as `doubtful` says for its route, or due at `due` where it says nothing.
        """
        text = f"worker {format_id(worker)} stopped before it recorded a result"
        rescued = self._rescues.rescue(
            worker, now=now, due=due, uncertain=uncertain, doubtful=doubtful, text=text
        )
        if rescued:
            wake.announce(self._db, self.uuid)
        return rescued

    def doubt(
        self,
        worker: int,
        keys: Sequence[tuple[int, int]],
        *,
        now: int,
        due: int,
        doubtful: Mapping[str, Doubtful] = NO_ROUTES,
    ) -> int:
        """Take from a dead worker what its journal leaves open: as `rescue`, of these recipients alone."""
        text = f"worker {format_id(worker)} stopped before it had the answer to its end of data"
        return self._rescues.doubt(worker, keys, now=now, due=due, doubtful=doubtful, text=text)

    # delivery

    def claim(self, worker: int, wants: Sequence[Want], *, now: int) -> list[Claim]:
        """Take due recipients under the lease of `worker`, urgent ones first; see `spooler.spool.leasing`.

        Those over their time are among them. Raises TryAgainError if the worker was declared dead.
        """
        return self._leases.claim(worker, wants, now=now)

    def claim_alone(self, worker: int, message_id: int, route: str, *, limit: int, due: int) -> list[Claim]:
        """Take recipients of one message on a route, due by `due`, those first with which workers died."""
        return self._leases.claim_alone(worker, message_id, route, limit=limit, due=due)

    def hold(self, worker: int, message_id: int, route: str, *, why: str) -> int:
        """Hold what is queued of a message on a route and with no worker, for a person; returns how many."""
        return self._leases.hold(worker, message_id, route, why=why)

    def contents(self, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return whole contents of one chunk each; larger and missing ones are left out."""
        return contents.contents(self._db, content_ids)

    def chunk(self, content: int, sequence: int) -> bytes | None:
        """Return one chunk of a content, None behind the last."""
        return contents.chunk(self._db, content, sequence)

    def settle(self, worker: int, results: Sequence[RecipientResult], *, now: int) -> SettleReport:
        """Make results durable in one transaction; see `spooler.spool.settling`. Repeating it is harmless."""
        settled = settling.settle(
            self._db, worker, results, now=now, run=self._runs.take(len(results), now=now)
        )
        self._leases.settled(worker, settled.leases)
        ended = [r.message_id for r in results if r.outcome is not Outcome.DEFERRED]
        self._chores.ended(ended)
        if len(ended) < len(results):  # a retry may be due before anything that is known
            wake.announce(self._db, self.uuid)
        return settled.report

    def release(self, worker: int, keys: Sequence[tuple[int, int]], *, due: int) -> int:
        """Give back what was claimed and not tried, without an attempt; not due before `due`."""
        released = self._leases.release(worker, keys, due=due)
        if released:
            wake.announce(self._db, self.uuid)
        return released

    def next_due(self, routes: Sequence[str], *, now: int) -> int | None:  # noqa: ARG002  # as all
        """When the next unleased, unheld recipient of these routes is or was due."""
        return looking.next_due(self._db, routes)

    def changed(self) -> float | None:
        """Wait until something may have come due since the last time; see `spooler.spool.wake.Waiter`.

        For a thread of its own: it blocks until then, or until the spool is closed.
        """
        return self._waiter.changed()

    def left(self, routes: Sequence[str] | None = None) -> int:
        """How many recipients are queued and not held, leased or not; None means on all routes."""
        return looking.left(self._db, routes)

    def job_left(self, routes: Sequence[str] | None, job: str) -> dict[str, JobLeft]:
        """Return how much of a job each of these routes has, None means each that has mail; looks at all that
        is left of it.
        """
        return of_job.left(self._db, routes, job)

    def expire(self, *, routes: Sequence[str] | None, now: int, limit: int) -> int:
        """End as expired what is over its time and not leased; returns how many, `limit` if perhaps more."""
        return self._chores.expire(routes=routes, now=now, limit=limit)

    # looking

    def stats(self) -> list[TallyRow]:
        """Return the counts by route and state; never scans the queue."""
        return looking.stats(self._db)

    def queue(
        self,
        *,
        filter: QueueFilter,  # noqa: A002  # it reads well
        limit: int,
        after: tuple[int, int] | None = None,
    ) -> list[QueuedRecipient]:
        """List queued recipients by (message id, n), from behind `after`."""
        from spooler.spool import listing  # see there

        return listing.queue(self._db, filter, limit=limit, after=after)

    def ahead(self, row: QueuedRecipient, *, limit: int) -> int:
        """How many of its route and class are due before a queued recipient; at most `limit` are counted."""
        return looking.ahead(self._db, row, limit=limit)

    def message(self, message_id: int) -> MessageInfo | None:
        """Return a message, or None."""
        return looking.one_message(self._db, message_id)

    def queued_of(self, message_id: int) -> list[QueuedRecipient]:
        """All recipients of a message that are still queued."""
        from spooler.spool import listing

        return listing.queue(self._db, QueueFilter(message_id=message_id), limit=None, after=None)

    def ledger_of(self, message_id: int) -> list[LedgerEntry]:
        """All that happened to a message, in order."""
        return looking.ledger_of(self._db, message_id)

    def sample(self, *, now: int) -> Sample:
        """Look at everything at once that metrics and the status page show; never scans the queue."""
        from spooler.spool import sampling  # whoever only delivers asks for none

        return sampling.sample(self._db, workers=self.workers(), standings=self.standings(), now=now)

    def trace(self, what: str, *, limit: int) -> Traced:
        """Tell the story of a message or an address; raises NoInputError where nothing is known of it."""
        from spooler.spool import tracing  # as a list

        return tracing.trace(self._db, what, limit=limit)

    def connections(self) -> tuple[int, int]:
        """How many connections there are to the database, and how many are at work."""
        return self._db.connections()

    def ledger_for(self, address: str, *, limit: int) -> list[LedgerEntry]:
        """What happened to an address, newest first; case does not matter."""
        return looking.ledger_for(self._db, address, limit=limit)

    # what people do

    def select(self, which: QueueFilter, *, after: Key) -> Page:
        """Look through a page of the queue for what is to be changed; see `spooler.spool.steering`."""
        from spooler.spool import steering  # loaded for people alone, as lists are

        return steering.select(self._db, which, after=after)

    def count(self, which: QueueFilter, *, after: Key) -> tuple[list[Group], Key | None]:
        """Count in a page of the queue what would be selected; also returns its last key, None at the end."""
        from spooler.spool import steering

        return steering.count(self._db, which, after=after)

    def steer(self, order: Order, keys: Sequence[Key], *, now: int) -> Steered:
        """Do with these recipients, at most `steering.BATCH`, what a person ordered, in one transaction."""
        from spooler.spool import steering

        steered = steering.steer(self._db, self._runs, order, keys, now=now)
        if steered.done and not order.command.ends:
            wake.announce(self._db, self.uuid)
        return steered

    def pauses(self) -> list[Pause]:
        """Name the routes that are paused."""
        return pausing.pauses(self._db)

    def pause(self, route: str, *, who: str, why: str, now: int) -> bool:
        """Let nothing be claimed from a route; False if it was paused already."""
        return pausing.pause(self._db, route, who=who, why=why, now=now)

    def resume(self, route: str) -> bool:
        """Let a paused route go on; False if it was not paused."""
        resumed = pausing.resume(self._db, route)
        if resumed:
            wake.announce(self._db, self.uuid)
        return resumed

    # housekeeping

    def sweep(self, *, now: int, limit: int) -> int:
        """Remove contents that nobody needs; returns how many chunks, `limit` or more if perhaps more."""
        return self._chores.sweep(now=now, limit=limit)

    def retire(self, *, before: int, limit: int) -> int:
        """Remove messages and their ledger that ended before `before`; returns how many messages."""
        return self._chores.retire(before=before, limit=limit)

    def maintain(self, *, now: int) -> None:
        """Checkpoint (SQLite; call it every second or so), or make partitions ahead (Postgres)."""
        self._chores.maintain(now=now)
