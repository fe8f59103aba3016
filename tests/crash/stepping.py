"""Death at every numbered point, then again in recovery: `python -m tests.crash.stepping` goes through all.

A case is a few messages, deaths one after the other (each of the next worker), and a worker that finishes.
How often a point is passed is found by a rehearsal; one that a run does not come to any more (what is in
flight is never the same twice) is told as missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count, cycle, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from spooler.spool.migrate import create_or_upgrade
from tests.crash.driver import Batch, Done, Job, data_of
from tests.crash.oracle import ask, faults
from tests.crash.points import IMPORT, INTAKE, POINTS, SPOOL, Arm, Point
from tests.servers.own_sink import OwnSink, own_sink
from tests.servers.postgres import Postgres, postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LARGE = 300_000  # octets: streamed in two chunks, in and out
_MOST = 40  # calls of a point that are gone through, of a rehearsal's


class Case(msgspec.Struct, frozen=True):
    """Deaths in turn, messages put in before every other one.

    `putting`: it is who puts them in that dies, INTAKE or IMPORT.
    """

    deaths: tuple[Arm, ...]
    putting: str = ""

    def __str__(self) -> str:
        return ", then ".join(map(str, self.deaths))


@dataclass(slots=True)
class Place:
    """A spool, a target and a driver, used by one case after the other."""

    url: str
    config: Path
    sink: OwnSink
    driver: subprocess.Popen[bytes]
    numbers: Iterator[int] = field(default_factory=count)
    missed: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    _at: int = 0

    def do(self, job: Job) -> Done:
        """Let the driver do a job."""
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(msgspec.json.encode(job) + b"\n")
        self.driver.stdin.flush()
        return msgspec.json.decode(self.driver.stdout.readline(), type=Done)

    def put(self, messages: list[Batch], arm: Arm | None = None, *, files: bool = False) -> Done:
        """Put messages in, or import them from `files`."""
        return self.do(Job(self.url, str(self.config), messages, arm, files))

    def work(self, arm: Arm | None = None, *, stop: bool = False) -> Done:
        """Let a worker deliver."""
        stop = stop or (arm is not None and arm.stops)
        return self.do(Job(self.url, str(self.config), [], arm, stop=stop))

    def note(self, death: Arm, done: Done) -> None:
        """Count whether the point was reached."""
        self.hits[f"{death.moment} {death.point}"] += done.hit
        self.missed[str(death)] += not done.hit

    def copies(self) -> tuple[Counter[str], dict[str, str]]:
        """Count what the target took since the last look, and the digest of each."""
        found: Counter[str] = Counter()
        digests = {}
        with (self.sink.root / "record.jsonl").open() as record:
            record.seek(self._at)
            for reply in map(json.loads, record.readlines()):
                if reply["code"] == 250:
                    found[reply["recipient"]] += 1
                    digests[reply["recipient"]] = reply["sha256"]
            self._at = record.tell()
        return found, digests


def load(number: int) -> list[Batch]:
    """Make the messages of a case: plain ones, one to several, one put off, one refused, one large."""
    plain = [Batch(f"c{number}-{i}", [f"c{number}-{i}@x"]) for i in range(4)]
    several = Batch(f"c{number}-s", [f"c{number}-s{i}@x" for i in range(3)])
    later = Batch(f"c{number}-l", [f"c{number}-later@x"])
    gone = Batch(f"c{number}-g", [f"c{number}-gone@x"])
    return [*plain, several, later, gone, Batch(f"c{number}-b", [f"c{number}-big@x"], _LARGE)]


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Make a folder, in memory where that can be: it is processes that die, so no disk matters."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="spooler-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@contextmanager
def place(url: str, root: Path) -> Iterator[Place]:
    """Make what cases need, for the block."""
    options = ("--refuse", "*gone@x", "--defer-final", "*later@x", "--times", "1")
    with ExitStack() as stack:
        sink = stack.enter_context(own_sink(*options, record=True))
        config = root / "crash.toml"
        config.write_text(
            f"[worker]\nclaim = 5\njournal = {json.dumps(str(root / 'journals'))}\n"
            f'[routes.default]\ndestinations = ["{sink.tcp}"]\nsessions = 2\nrecipients = 2\n'
            'hold-off = "10ms"\n'
            'retry = { first = "20ms", maximum = "40ms" }\n'
        )
        driver = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.driver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        stack.callback(driver.wait)
        assert driver.stdin is not None
        assert driver.stdout is not None
        stack.callback(driver.stdout.close)
        stack.callback(driver.stdin.close)
        yield Place(url, config, sink, driver)


def go_through(here: Place, case: Case) -> list[str]:
    """Do a case; return what is wrong in the end."""
    messages: list[Batch] = []
    wrong: list[str] = []
    for turn, death in enumerate(case.deaths):
        if turn % 2 == 0:  # every other death is of one who finds what the one before left
            some = load(next(here.numbers))
            messages += some
            if case.putting:
                wrong += _put_in_twice(here, some, death, files=case.putting == IMPORT)
                continue
            done = here.put(some)
            assert done.status == 0, done
        done = here.work(death)
        here.note(death, done)
        if not done.hit and done.status:
            wrong.append(f"a worker ended with {done.status} by itself: {done.said}")
    done = here.work()
    if done.status:
        wrong.append(f"the last worker ended with {done.status}: {done.said}")
    return wrong + _judge(here, messages)


def _put_in_twice(here: Place, messages: list[Batch], death: Arm, *, files: bool) -> list[str]:
    """Die while putting in, look whether what was acknowledged is there, and say it all again."""
    done = here.put(messages, death, files=files)
    here.note(death, done)
    there = {address for (address,) in ask(here.url, "SELECT address FROM recipient")}
    wrong = [f"{address} was acknowledged and is not there" for address in {*done.acknowledged} - there]
    wrong += [
        f"of {batch.key} only a part is there"
        for batch in messages
        if len(there.intersection(batch.recipients)) not in (0, len(batch.recipients))
    ]
    again = here.put(messages, files=files)
    if again.status:
        wrong.append(f"putting it in again ended with {again.status}")
    return wrong


def _judge(here: Place, messages: list[Batch]) -> list[str]:
    copies, digests = here.copies()
    addresses = [address for batch in messages for address in batch.recipients]
    refused = [address for address in addresses if address.endswith("gone@x")]
    wrong = faults(here.url, accepted=[*{*addresses} - {*refused}], refused=refused, copies=copies)
    wrong += [f"{address} was never put in" for address in copies if address not in addresses]
    for batch in messages:
        expected = sha256(data_of(batch)).hexdigest()
        wrong += [
            f"{address} got another content"
            for address in batch.recipients
            if digests.get(address, expected) != expected
        ]
    return wrong


def rehearse(here: Place) -> dict[str, int]:
    """Find out how often each point is passed: in a run with nothing behind it, and in a recovery."""
    passed: dict[str, int] = {}
    before: tuple[Callable[[], Done], ...] = (lambda: here.work(RICH), lambda: here.work(stop=True))
    for first in (None, *before):
        messages = load(next(here.numbers))
        runs = [here.put(messages, files=first is None)]
        if first is not None:
            runs.append(first())
        runs.append(here.work())
        assert runs[-1].status == 0, runs
        assert _judge(here, messages) == []
        for run in runs:
            passed |= {name: max(often, passed.get(name, 0)) for name, often in run.passed.items()}
    return passed


# leaves all kinds of things to a recovery: results not settled, intents without one, leases alone
RICH = Arm("worker: Session._hand_over", "after", 4)


def cases(passed: dict[str, int], points: Sequence[Point], *, every: bool) -> Iterator[Case]:
    """Give the cases: deaths at each moment of each point, each followed by one in recovery.

    Not `every`: one call of each moment, chosen from among all of them in turn, and two to a case.
    """
    deaths = list(_deaths(passed, [p for p in points if _of_work(p)], every=every))
    again = list(_deaths(passed, [p for p in points if p.recovery], every=every))
    later = cycle(again)
    for putting in (INTAKE, IMPORT):
        for death in _deaths(passed, [p for p in points if p.side == putting], every=every):
            yield Case((death,), putting)
    if every:
        for death in deaths:
            yield Case((death, next(later)))
            if death.point.startswith(SPOOL):
                yield Case((msgspec.structs.replace(death, together=True), next(later)))
    else:
        half = len(deaths) // 2
        for one, two in zip_longest(deaths[:half], deaths[half:]):
            yield Case((two, next(later), *([one] if one else [])))
    for death in again:
        yield Case((RICH, death, next(later)))


def _of_work(point: Point) -> bool:
    return point.side not in (INTAKE, IMPORT) and not point.only_recovery


def _deaths(passed: dict[str, int], points: Sequence[Point], *, every: bool) -> Iterator[Arm]:
    for turn, point in enumerate(points):
        for moment in point.moments:
            often = min(passed.get(f"{moment} {point.name}", 0), _MOST)
            surely = (often + 1) // 2  # so many come in any run
            some = range(1, often + 1) if every else [1 + turn * 7 % surely] if often else []
            for number in some:
                together = not every and point.side == SPOOL and turn % 2 == 0
                yield Arm(point.name, moment, number, together, point.stops)


def untouched(passed: dict[str, int]) -> list[str]:
    """Name the points of the table that no run comes past: the table has rotted."""
    return [
        f"{moment} {point.name}"
        for point in POINTS
        for moment in point.moments
        if not passed.get(f"{moment} {point.name}")
    ]


def step(
    here: Place,
    points: Sequence[Point] = POINTS,
    *,
    every: bool,
    say: Callable[[str], None],
    part: slice = slice(None),
) -> list[str]:
    """Go through the cases of these points, or `part` of them; return what was wrong, by case."""
    passed = rehearse(here)
    wrong = [f"no run comes past: {name}" for name in untouched(passed)]
    for case in list(cases(passed, points, every=every))[part]:
        found = go_through(here, case)
        say(f"{case}: {found or 'ok'}")
        if found:
            return [*wrong, *(f"{case}: {one}" for one in found)]  # the next one would meet what it left
    return wrong


def main() -> int:
    """Go through all of them; return 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.stepping", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--some", action="store_true", help="as many as the suite goes through")
    parser.add_argument("--part", default="1/1", metavar="N/OF", help="go through every OFth case")
    asked = parser.parse_args()
    number, of = map(int, asked.part.split("/"))
    with ExitStack() as stack:
        root = stack.enter_context(quick_folder())
        url = f"sqlite:///{root}/spool.db"
        if asked.database == "postgres":
            server: Postgres = stack.enter_context(postgres())
            url = server.new_database()
        create_or_upgrade(url)
        here = stack.enter_context(place(url, root))
        began = time.monotonic()
        part = slice(number - 1, None, of)
        wrong = step(here, every=not asked.some, say=lambda text: print(text, flush=True), part=part)  # noqa: T201
        runs = sum(here.missed.values()) + sum(here.hits.values())
        print(  # noqa: T201
            f"{sum(here.hits.values())} deaths at {len(+here.hits)} points of {runs} asked for, "
            f"{time.monotonic() - began:.0f} s; wrong: {wrong or 'nothing'}"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
