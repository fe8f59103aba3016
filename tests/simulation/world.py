"""One run: hosts, sites, workers that come and go, clocks that jump, a database that is gone; and the end.

After the last of the lives that were drawn all is healed, and workers drain what is left. Then everything
must be over.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import trio
from trio.testing import MockClock

from spooler.delivery import housekeeping
from spooler.delivery.drain import Drain
from spooler.ident import IdMaker
from spooler.journal import writer
from spooler.spool import migrate
from spooler.spool.place import SqlitePlace
from spooler.spool.store import Store
from tests.simulation.chance import Chance
from tests.simulation.diary import Diary
from tests.simulation.life import Life
from tests.simulation.oracle import Oracle
from tests.simulation.post import draw_config, put
from tests.simulation.site import Site
from tests.simulation.truth import Truth

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

EPOCH = 1_800_000_000_000_000  # µs UTC at which a run begins
DAY = 86400.0  # seconds
LONGEST = 40 * DAY  # that a run may take, of its own time
SEGMENT = 8192  # octets of a journal's segment: small, so that many are begun and ended
LONGEST_DRAIN = 6 * 3600.0  # seconds, when nothing goes wrong any more
_ROUNDS = 2000  # of draining what is left: a server may stand still for 1000 s and take nobody else meanwhile


class Outcome(NamedTuple):
    """What a run came to."""

    seed: int
    hits: Counter[str]
    trace: str
    days: float


class Host:
    """A machine: a clock, and a folder of journals that no other can read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.skew = 0.0

    def clock(self) -> int:
        """Give its wall clock, µs UTC."""
        return EPOCH + int((trio.current_time() + self.skew) * 1e6)


class World:
    """Everything of one run."""

    def __init__(self, chance: Chance, folder: Path) -> None:
        self.chance = chance
        template, self.uuid = _template()
        path = folder / "spool.db"
        shutil.copyfile(template, path)
        self.place = SqlitePlace(path)
        self.ids = IdMaker(chance.rng.getrandbits(12))
        self._patient = chance.may(0.2)
        """Whether workers live long enough to take others for dead whose journals they cannot read."""
        hosts = 2 if self._patient else chance.pick((1, 1, 2))
        self.hosts = [Host(folder / f"host{i}") for i in range(hosts)]
        self.poll = 10.0 if self._patient else chance.pick((1.0, 5.0))
        self.spool_pause = chance.pick((0.0005, 0.01, 0.3))
        self.sites: dict[str, Site] = {}
        self.oracle = Oracle(path)
        self.truth = Truth(self.oracle.doubts)
        self._lives: set[Life] = set()
        self._answer = trio.Event()
        self._numbers = 0
        self._letters = 0

    def count(self) -> int:
        """Give a new number."""
        self._numbers += 1
        return self._numbers

    def note(self, *what: object) -> None:
        """Put into the trace."""
        self.chance.note(trio.current_time(), *what)

    async def run(self) -> None:
        """From the first message to the last."""
        chance = self.chance
        store = Store.open(str(self.place), id_maker=self.ids)
        try:
            async with trio.open_nursery() as servers:
                names = [f"unix:/site{i}" for i in range(chance.pick((1, 1, 2)))]
                self.sites = {name: Site(chance, self.truth, servers) for name in names}
                self._config = draw_config(chance, names)
                self._put(store)
                async with trio.open_nursery() as mischief:
                    mischief.start_soon(self._mail, store)
                    mischief.start_soon(self._clocks)
                    mischief.start_soon(self._outages)
                    async with trio.open_nursery() as slots:
                        for _ in range(
                            chance.rng.randint(2, 3) if self._patient else chance.rng.randint(1, 4)
                        ):
                            slots.start_soon(self._slot)
                    mischief.cancel_scope.cancel()
                chance.heal()
                self.note("healed")
                await self._finish()
                servers.cancel_scope.cancel()
            self._check(over=True)
            self.oracle.check_end([host.root for host in self.hosts])
            self.oracle.count(chance)
        finally:
            store.close()
            self.oracle.close()

    def _put(self, store: Store) -> None:
        letters = put(
            self.chance, store, sorted(self._config.routes), start=self._letters, now=self.hosts[0].clock()
        )
        self._letters += len(letters)
        for letter in letters:
            self.truth.expect(letter)

    def _check(self, *, over: bool = False) -> None:
        self.oracle.check(self.truth, [site.profile for site in self.sites.values()], over=over)

    async def _slot(self) -> None:
        """Workers, one after the other."""
        chance = self.chance
        for _ in range(1 if self._patient else chance.rng.randint(1, 3)):
            await trio.sleep(
                chance.between(0, 30)
                if self._patient
                else chance.pick((0.0, 1.0, 60.0, 3600.0, DAY)) * chance.between(0, 1)
            )
            life = Life(self, chance.pick(self.hosts), number=self.count())
            some = (None, Drain(until_empty=False), Drain(until_empty=False))
            drain = None if self._patient else chance.pick(some)
            killed_after = 10 ** chance.between(-2, 2.5) if chance.may(0.4) else None
            stop_after = 10 ** (chance.between(2.9, 3.1) if self._patient else chance.between(0, 2.5))
            self._lives.add(life)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop, life, stop_after)
                await life.run(self._config, drain=drain, killed_after=killed_after)
                nursery.cancel_scope.cancel()
            self._lives.discard(life)
            self._check()

    async def _stop(self, life: Life, after: float) -> None:
        await trio.sleep(after)
        self.chance.hit("stop")
        life.stop()
        if self.chance.may(0.3):
            await trio.sleep(self.chance.between(0, 10))
            self.chance.hit("second stop")
            life.stop()

    async def _mail(self, store: Store) -> None:
        """More messages, now and then."""
        for _ in range(self.chance.rng.randint(0, 2)):
            await trio.sleep(10 ** self.chance.between(0, 3))
            self._put(store)

    async def _clocks(self) -> None:
        """Wall clocks that jump."""
        chance = self.chance
        while chance.may(0.6):
            await trio.sleep(10 ** chance.between(0, 3))
            jump = 10 ** chance.between(-1, 4)
            host = chance.pick(self.hosts)
            if chance.may(0.5):
                host.skew += jump
                chance.hit("clock jumps on")
            else:
                host.skew -= jump
                chance.hit("clock jumps back")
            self.note("clock", jump)

    async def _outages(self) -> None:
        """The database is gone for some, or for all."""
        chance = self.chance
        while chance.may(0.9 if self._patient else 0.3):
            await trio.sleep(10 ** chance.between(0, 1.5))
            if self._patient:  # when somebody has results that are not settled yet: they will come late
                self._answer = trio.Event()
                with trio.move_on_after(chance.between(0, 600)):
                    await self._answer.wait()
            cut = sorted(self._lives, key=lambda life: (-life.answered_at, str(life)))
            if chance.may(0.85):
                cut = cut[:1]
            for life in cut:
                life.cut_off = True
            # in the long run others take its recipients over, and it learns of that only when it is back
            await trio.sleep(chance.between(450, 900) if self._patient else 10 ** chance.between(0, 2.5))
            for life in cut:
                life.cut_off = False

    def answered(self) -> None:
        """Somebody has heard what became of a transaction."""
        self._answer.set()

    async def _finish(self) -> None:
        """Drain what is left, on each host in turn, whenever something is due."""
        for number in range(_ROUNDS):
            host = self.hosts[number % len(self.hosts)]
            if number >= len(self.hosts):
                due = self.oracle.next_due()
                if due is None:
                    return
                await trio.sleep(max(0.0, (due - host.clock()) / 1e6) + 0.001)
            life = Life(self, host, number=self.count())
            with trio.fail_after(LONGEST_DRAIN):
                await life.run(self._config, drain=Drain(until_empty=False))
            self._check()


def run_seed(seed: int, *, tell: Callable[[str], None] | None = None) -> Outcome:
    """Run one seed from its beginning to its end; raises what is wrong."""
    chance = Chance(seed, tell=tell)
    with _scheduled_by(seed), tempfile.TemporaryDirectory(dir=_memory()) as folder, _small_journals():
        world = World(chance, Path(folder))
        days = trio.run(_timed, world, clock=MockClock(autojump_threshold=0))
    return Outcome(seed, chance.hits, chance.trace, days)


async def _timed(world: World) -> float:
    began = trio.current_time()
    with trio.fail_after(LONGEST):
        await world.run()
    return (trio.current_time() - began) / DAY


@contextmanager
def _scheduled_by(seed: int) -> Iterator[None]:
    """Let trio take its tasks in an order that the seed decides.

    trio shuffles what is ready by a generator of its own, so that nobody relies on an order, and offers no
    way to seed it. Two private names are all there is: the generator, and the flag that sorts tasks by their
    age before they are shuffled (they come out of sets). pytest-trio relies on both for Hypothesis.
    """
    from trio._core import _run

    with (
        mock.patch.object(_run, "_r", random.Random(seed)),
        mock.patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
    ):
        yield


@contextmanager
def _small_journals() -> Iterator[None]:
    """Journals whose keepers may die, in small segments."""
    with (
        mock.patch("spooler.worker.Journal", Diary),
        mock.patch.object(housekeeping, "CHECKPOINT_EVERY", 60.0),  # one a second is most of a quiet day
        mock.patch.object(writer, "SEGMENT", SEGMENT),
        mock.patch.object(writer, "RESERVE", SEGMENT // 2),
    ):
        yield


@cache
def _template() -> tuple[Path, str]:
    """Make an empty spool to copy, once; its folder goes with the process."""
    folder = tempfile.TemporaryDirectory()
    _kept.append(folder)
    path = Path(folder.name) / "spool.db"
    migrate.create_or_upgrade(f"sqlite:///{path}")
    with Store.open(f"sqlite:///{path}") as store:
        return path, store.uuid


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _memory() -> str | None:
    """Where files cost no disk: nothing here outlives the process, so nothing needs to be durable."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
