"""Claims what the lanes have room for, reads contents ahead, and knows when nothing is left to do.

No more is claimed than lanes can take at once plus about one batch, so a slow target or a slow spool
throttles claiming by itself. Contents are read ahead, a slice at a time, within a budget of bytes: claims
that do not fit wait here, unread, and nothing more is claimed meanwhile. Contents of more than a chunk are
streamed when their transaction runs.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from spooler.address import needs_smtputf8
from spooler.claim import Claim, Want
from spooler.delivery.isolation import Isolation
from spooler.delivery.parcel import Parcel, results_of
from spooler.delivery.settler import Settler, insist
from spooler.envelope import CHUNK_SIZE
from spooler.events import Claimed
from spooler.policy import classify
from spooler.policy.pace import shares
from spooler.policy.plan import group

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spooler.claim import ClaimedRecipient
    from spooler.config import Worker
    from spooler.delivery.drain import Drain
    from spooler.delivery.lane import Lane
    from spooler.delivery.ports import Ground
    from spooler.policy.pace import Pace
    from spooler.records import JobLeft

POLL = 0.1  # seconds between looks at a spool that had nothing due
SLICE = 1 << 20  # bytes of contents read by one call: for a moment there are a few copies of them
LOOK_SHARE = 20  # times as long as it took to look at what is left of a job, it is left alone
PATIENCE = 3  # failures in a row after which a drain takes a route for dead


class Claimer:
    """One per worker; `run` is its task, and returns when a drain has come to its end."""

    def __init__(
        self,
        *,
        ground: Ground,
        settler: Settler,
        lanes: Mapping[str, Lane],
        limits: Worker,
        drain: Drain | None,
        poll: float = POLL,
    ) -> None:
        self._ground = ground
        self._settler = settler
        self._lanes = lanes
        self.limits = limits
        self._drain = drain
        self._job = drain.job if drain is not None else ""
        self._pace = drain.pace if drain is not None else None
        self._wake = trio.Event()
        self._poll = poll
        self._unread: deque[Claim] = deque()
        """What was claimed and waits for room in memory."""
        self._dry: set[str] = set()
        self._look_at = self._looked_at = 0.0
        self._dried = trio.Event()
        """Set when a route has become dry."""
        self._news = False
        """Whether something may have come due since the last look."""
        self._silence: float | None = None
        """For how many seconds the spool would tell us; None: never, so that it must be looked at."""
        self._seen: dict[str, JobLeft] = {}
        self._rest_until = 0.0
        self._paced = False
        """Whether there is room for more, but it is too early."""
        self._turn = 0
        """Whose turn it is to be served first, where there is a pace."""
        self._stopping = False
        self._isolation = Isolation(ground)

    @property
    def suspects(self) -> int:
        """Messages that wait to be claimed alone."""
        return self._isolation.count

    def nudge(self) -> None:
        """Look again: there may be room."""
        self._wake.set()

    async def listen(self) -> None:
        """Hear of what comes in while a route is dry, until cancelled: a task of its own."""
        while True:
            if not self._dry:
                self._dried = trio.Event()
                await self._dried.wait()
            self._silence = await insist(self._ground, "listening", self._ground.spool.changed)
            self.look()

    def look(self) -> None:
        """Look again: something may have come due."""
        self._news = True
        self.nudge()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping = True
        self.nudge()

    async def run(self) -> None:
        """Claim until stopped or done."""
        while not self._stopping:
            self._wake = trio.Event()
            if self._unread and await self._read_on():
                continue
            if self._dry and trio.current_time() >= self._next_look():
                await self._look()
            if self._isolation.forbids(idle=self._idle()):
                await self._isolate()
                continue
            wants = self._wants()
            if wants:
                await self._claim(wants)
                continue
            if self._isolation.waiting and self._idle():
                self._isolation.hurry()
                continue
            if self._drain is not None and not self._paced and self._idle() and await self._done():
                return
            with trio.move_on_after(self._pause()):
                await self._wake.wait()
        self._pass_on(self._unread, {})  # the lanes give back what was not begun

    def _next_look(self) -> float:
        """When to look at what was dry: at news, but less often while there is other work."""
        if not self._news:
            return self._look_at
        return self._looked_at + (0.0 if self._idle() else self._poll)

    def _pause(self) -> float:
        """How long nothing happens by itself; lanes that wait for a probe do not tell when it is over."""
        if self._isolation.waiting:
            return min(self._poll, self._isolation.pause)
        if self._paced:
            assert self._pace is not None
            return min(self._poll, self._pace.pause(trio.current_time()))
        if self._drain is not None or any(
            name not in self._dry and not lane.closed for name, lane in self._lanes.items()
        ):
            return self._poll
        return max(0.0, self._next_look() - trio.current_time())

    async def _look(self) -> None:
        """See whether routes that had nothing due have something now: a read, cheaper than a claim."""
        ground = self._ground
        self._news = False
        self._looked_at = trio.current_time()
        now = ground.clock()
        due = await self._next_due(sorted(self._dry), now)
        if due is not None and due <= now:
            self._dry.clear()
        else:
            wait = self._poll if self._silence is None else self._silence
            wait = max(wait, self._rest_until - trio.current_time())
            if due is not None:
                wait = min(wait, (due - now) / 1e6)
            self._look_at = trio.current_time() + wait

    async def _next_due(self, routes: Sequence[str], now: int, *, anew: bool = False) -> int | None:
        """When the next recipient of these routes that is this drain's, if it is one, is or was due."""
        ground = self._ground
        if not self._job:
            return await insist(ground, "looking", lambda: ground.spool.next_due(routes, now=now))
        seen = await self._job_left(routes, anew=anew)
        return min((one.due for one in seen if one.due is not None), default=None)

    async def _job_left(self, routes: Sequence[str], *, anew: bool = False) -> list[JobLeft]:
        """What these routes have of the job, seen now or, as all of it is looked at, a while ago.

        `anew`: seen now in any case.
        """
        ground = self._ground
        began = trio.current_time()
        if anew or began >= self._rest_until:
            every = list(self._lanes)
            self._seen = await insist(ground, "looking", lambda: ground.spool.job_left(every, self._job))
            now = trio.current_time()
            self._rest_until = now + LOOK_SHARE * (now - began)
        return [self._seen[route] for route in routes if route in self._seen]

    def _wants(self) -> list[Want]:
        limits = self.limits
        now = trio.current_time()
        self._paced = False
        if self._unread or self._room() <= 0:
            for lane in self._lanes.values():
                lane.room(batch=1, now=now)  # memory is full: what waits for a mailbox that is stuck leaves
            return []
        if self._settler.backlog > 4 * limits.claim:
            return []
        rooms = {
            lane.name: min(lane.room(batch=limits.claim, now=now), limits.claim)
            for lane in self._lanes.values()
            if lane.name not in self._dry
        }
        if self._pace is not None:
            rooms = self._shared(rooms, self._pace, now)
        return [Want(route, room, self._job) for route, room in rooms.items() if room]

    def _shared(self, rooms: Mapping[str, int], pace: Pace, now: float) -> dict[str, int]:
        """Divide what the pace allows; the routes take turns in being first, for it may be one recipient."""
        allowed = pace.allowed(now)
        names = list(rooms)
        # to each its part of what may be under way: who stands still holds up nobody else
        part = max(1, pace.under_way(now) // max(1, len(names)))
        rooms = {name: min(room, max(0, part - self._lanes[name].held)) for name, room in rooms.items()}
        self._turn += allowed > 0
        first = self._turn % len(names) if names else 0
        names = names[first:] + names[:first]
        self._paced = not allowed and any(rooms.values())
        return dict(zip(names, shares([rooms[name] for name in names], allowed), strict=True))

    async def _claim(self, wants: Sequence[Want]) -> None:
        ground = self._ground
        self._news = False
        now = ground.clock()
        async with self._settler.leasing:
            claims = await insist(
                ground, "claiming", lambda: ground.spool.claim(ground.worker, wants, now=now)
            )
        taken = dict.fromkeys((want.route for want in wants), 0)
        for claim in claims:
            taken[claim.route] += len(claim.recipients)
        if self._pace is not None:
            self._pace.claimed(sum(taken.values()))
        for want in wants:
            if taken[want.route]:
                ground.observe(Claimed(route=want.route, recipients=taken[want.route]))
            if taken[want.route] < want.limit:
                self._dry.add(want.route)
                # of a job all is looked at: a claim that ends in nothing goes through it as a look does
                self._look_at = max(trio.current_time() + self._poll, self._rest_until)
                self._dried.set()
        live = [claim for claim in claims if not self._expired(claim, now)]
        self._unread.extend(await self._isolation.sort(live))

    async def _isolate(self) -> None:
        """Claim a suspect once nothing else is under way."""
        if not self._idle():
            with trio.move_on_after(self._poll):
                if self._unread or any(lane.held for lane in self._lanes.values()):
                    await self._wake.wait()
                else:
                    await self._settler.flushed()
            return
        most = self.limits.claim
        if self._pace is not None:
            most = min(most, self._pace.allowed(trio.current_time()))
            if not most:
                with trio.move_on_after(self._pace.pause(trio.current_time())):
                    await self._wake.wait()  # it may be long until then: a request to stop comes first
                return
        suspect = self._isolation.next()
        lane = self._lanes[suspect[1]]
        limit = min(most, lane.room(batch=self.limits.claim, now=trio.current_time()))
        if not limit:
            return  # its route is down: it is found again when that is probed
        await self._settler.flushed()
        now = self._ground.clock()
        async with self._settler.leasing:
            claims = await self._isolation.claim(suspect, limit=limit)
        if self._pace is not None:
            self._pace.claimed(sum(len(claim.recipients) for claim in claims))
        self._unread.extend(claim for claim in claims if not self._expired(claim, now))

    def _room(self) -> int:
        """How many bytes of contents may still be taken into memory."""
        return self.limits.buffer - sum(lane.held_bytes for lane in self._lanes.values())

    async def _read_on(self) -> bool:
        """Read a slice of what waits, and pass it on; whether there was room for any."""
        room = min(SLICE, self._room())
        claims: list[Claim] = []
        wanted: dict[int, None] = {}
        while self._unread:
            claim = self._unread[0]
            if claim.size <= CHUNK_SIZE and claim.content not in wanted:
                if claim.size > room:
                    break
                room -= claim.size
                wanted[claim.content] = None
            claims.append(self._unread.popleft())
        contents: dict[int, bytes] = {}
        if wanted:
            ground = self._ground
            contents = await insist(ground, "reading contents", lambda: ground.spool.contents(list(wanted)))
        self._pass_on(claims, contents)
        return bool(claims)

    def _pass_on(self, claims: Iterable[Claim], contents: Mapping[int, bytes]) -> None:
        """Give claims to their lanes, in parcels."""
        for claim in claims:
            lane = self._lanes[claim.route]
            lane.add(
                Parcel(claim=claim, recipients=some, content=contents.get(claim.content))
                for some in group(claim.recipients, lane.route.recipients, special=_needs_utf8)
            )

    def _expired(self, claim: Claim, now: int) -> bool:
        """Settle a claim whose time is over."""
        if claim.expires > now:
            return False
        lane = self._lanes[claim.route]
        around = lane.around(None)
        if claim.expires > around.now:
            return False  # the clock was set back since
        parcel = Parcel(claim=claim, recipients=claim.recipients, content=None)
        verdict = classify.expired("its time in the queue is over and it could not be delivered")
        lane.record(parcel, results_of(parcel.recipients, parcel, verdict, around))
        return True

    def _idle(self) -> bool:
        return (
            not self._unread
            and self._settler.backlog == 0
            and all(lane.held == 0 for lane in self._lanes.values())
        )

    async def _done(self) -> bool:
        """Whether a drain may end: nothing is due on a route that takes mail, or nothing is left.

        What was seen of a job a while ago was in our hands then, perhaps, and is back: the end is not
        concluded from that.
        """
        if not await self._seems_done(anew=False):
            return False
        return not self._job or await self._seems_done(anew=True)

    async def _seems_done(self, *, anew: bool) -> bool:
        assert self._drain is not None
        ground = self._ground
        await self._settler.flushed()
        if self._drain.until_empty:
            served = [name for name, lane in self._lanes.items() if not lane.stopping]
            if self._job:
                return not any(one.count for one in await self._job_left(served, anew=anew))
            return await insist(ground, "counting", lambda: ground.spool.left(served)) == 0
        live = [lane for lane in self._lanes.values() if lane.health.failures < PATIENCE and not lane.closed]
        now = ground.clock()
        due = await self._next_due([lane.name for lane in live], now, anew=anew)
        # what we put off ourselves is no less due
        return due is None or due > max([now, *(lane.postponed_to for lane in live)])


def _needs_utf8(recipient: ClaimedRecipient) -> bool:
    return needs_smtputf8(recipient.address)
