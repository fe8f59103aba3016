"""What is measured, as data: cases, who runs in them, and what the figures must show.

A case is a load and a target; its entrants take turns at it. A goal is a ratio between two entrants of one
case. A new kind of measurement adds a runner in `bench.entrants`, a new server one in `bench.places`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    """Who runs."""

    SPOOLER = "spooler"
    POSTFIX = "postfix"
    WIRE = "wire"
    SMTPLIB = "smtplib"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One who runs in a case.

    `messages` replaces the case's number, for those who would take too long. `sessions`, `mode` and `adapt`
    are keys of the route in spooler's configuration (None: as by default). `connections` is Postfix's limit
    and the wire's number.
    """

    name: str
    kind: Kind = Kind.SPOOLER
    spool: str = "sqlite"
    sessions: int | None = None
    mode: str | None = None
    adapt: bool | None = None
    connections: int = 20
    messages: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """So many messages of `size` bytes with so many recipients each, in turn for so many mailboxes,
    delivered once by each entrant; `round_trip` in seconds lies between them and the target."""

    name: str
    title: str
    messages: int
    recipients: int = 1
    size: int = 4096
    target: str = "smtp-sink"
    mailboxes: int = 100
    round_trip: float = 0.0
    entrants: tuple[Entrant, ...]

    def of(self, entrant: Entrant) -> Case:
        """The case as this entrant runs it."""
        return self if entrant.messages is None else replace(self, messages=entrant.messages)

    @property
    def total(self) -> int:
        """Recipients altogether."""
        return self.messages * self.recipients


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a case must show: recipients a second of `of`, divided by those of `against` (its best).

    `at_least` and `goal` are ratios.
    """

    title: str
    case: str
    of: str
    against: tuple[str, ...]
    at_least: float
    goal: float


SQLITE = Entrant(name="spooler, SQLite")
POSTGRES = Entrant(name="spooler, Postgres", spool="postgres")
POSTFIX = Entrant(name="Postfix", kind=Kind.POSTFIX)
POSTFIX_5 = Entrant(name="Postfix, 5 connections", kind=Kind.POSTFIX, connections=5)
POSTFIX_20 = Entrant(name="Postfix, 20 connections", kind=Kind.POSTFIX)
WIRE = Entrant(name="the wire", kind=Kind.WIRE, connections=10)
SMTPLIB = Entrant(name="smtplib, 1 connection", kind=Kind.SMTPLIB, messages=4_000)
LOCKSTEP = Entrant(name="spooler, 1 session, lock-step", sessions=1, mode="lockstep", messages=200)
PIPELINED = Entrant(name="spooler, 1 session, pipelined", sessions=1, mode="pipelined", messages=400)
CHUNKED = Entrant(name="spooler, 1 session", sessions=1, messages=4_000)
FIXED = tuple(
    Entrant(name=f"spooler, fixed: {sessions}", sessions=sessions, adapt=False)
    for sessions in (1, 2, 4, 10, 20)
)

_SINK = (SQLITE, POSTGRES, POSTFIX, WIRE)
_FAR = 0.020  # seconds

CASES = (
    Case(
        name="1x4k",
        title="1 recipient, 4 KB, into smtp-sink",
        messages=20_000,
        entrants=(*_SINK, SMTPLIB),
    ),
    Case(
        name="10x4k",
        title="10 recipients, 4 KB, into smtp-sink",
        messages=4_000,
        recipients=10,
        mailboxes=1_000,
        entrants=_SINK,
    ),
    Case(
        name="50x4k",
        title="50 recipients, 4 KB, into smtp-sink",
        messages=2_000,
        recipients=50,
        mailboxes=5_000,
        entrants=_SINK,
    ),
    Case(
        name="list",
        title="50 recipients, the same in every message, 4 KB, into smtp-sink",
        messages=1_000,
        recipients=50,
        mailboxes=50,
        entrants=(SQLITE, POSTFIX),
    ),
    Case(
        name="1x1k",
        title="1 recipient, 1 KB, into smtp-sink",
        messages=10_000,
        size=1024,
        entrants=_SINK,
    ),
    Case(
        name="1x100k",
        title="1 recipient, 100 KB, into smtp-sink",
        messages=2_000,
        size=100 * 1024,
        entrants=_SINK,
    ),
    Case(
        name="dovecot",
        title="1 recipient, 4 KB, into Dovecot, 100 mailboxes",
        messages=3_000,
        target="dovecot",
        entrants=(
            SQLITE,
            POSTGRES,
            POSTFIX_5,
            POSTFIX_20,
            replace(SMTPLIB, messages=1_000),
        ),
    ),
    Case(
        name="cyrus",
        title="1 recipient, 4 KB, into Cyrus, 300 mailboxes",
        messages=2_000,
        target="cyrus",
        mailboxes=300,
        entrants=(SQLITE, POSTFIX_5, POSTFIX_20),
    ),
    Case(
        name="far-sink",
        title="1 recipient, 4 KB, 20 ms away, into smtp-sink (which has no CHUNKING)",
        messages=4_000,
        round_trip=_FAR,
        entrants=(SQLITE, replace(POSTFIX_20, messages=2_000)),
    ),
    Case(
        name="far-chunking",
        title="1 recipient, 4 KB, 20 ms away, into spooler sink (which has CHUNKING)",
        messages=10_000,
        target="sink",
        round_trip=_FAR,
        entrants=(SQLITE, CHUNKED, PIPELINED, LOCKSTEP, replace(POSTFIX_20, messages=2_000)),
    ),
    Case(
        name="far-dovecot",
        title="1 recipient, 4 KB, 20 ms away, into Dovecot, 100 mailboxes",
        messages=3_000,
        target="dovecot",
        round_trip=_FAR,
        entrants=(
            SQLITE,
            replace(CHUNKED, messages=2_000),
            replace(PIPELINED, messages=400),
            replace(LOCKSTEP, messages=200),
            replace(POSTFIX_20, messages=1_500),
        ),
    ),
)

TUNING = (
    Case(
        name="tuning-sink",
        title="As it finds out against fixed numbers of sessions, into smtp-sink",
        messages=20_000,
        entrants=(SQLITE, *FIXED),
    ),
    Case(
        name="tuning-dovecot",
        title="As it finds out against fixed numbers of sessions, into Dovecot, 100 mailboxes",
        messages=3_000,
        target="dovecot",
        entrants=(SQLITE, *FIXED),
    ),
    Case(
        name="tuning-cyrus",
        title="As it finds out against fixed numbers of sessions, into Cyrus, 300 mailboxes",
        messages=2_000,
        target="cyrus",
        mailboxes=300,
        entrants=(SQLITE, *FIXED),
    ),
    Case(
        name="tuning-far",
        title="As it finds out against fixed numbers of sessions, 20 ms away, into spooler sink",
        messages=10_000,
        target="sink",
        round_trip=_FAR,
        entrants=(SQLITE, *FIXED[2:]),
    ),
)

GOALS = (
    Goal(
        title="1 recipient, SQLite, against Postfix",
        case="1x4k",
        of=SQLITE.name,
        against=(POSTFIX.name,),
        at_least=6,
        goal=12,
    ),
    Goal(
        title="50 recipients, SQLite, against Postfix",
        case="50x4k",
        of=SQLITE.name,
        against=(POSTFIX.name,),
        at_least=3.5,
        goal=6,
    ),
    Goal(
        title="1 recipient, Postgres, against Postfix",
        case="1x4k",
        of=POSTGRES.name,
        against=(POSTFIX.name,),
        at_least=4,
        goal=8,
    ),
    Goal(
        title="1 recipient, SQLite, against the wire",
        case="1x4k",
        of=SQLITE.name,
        against=(WIRE.name,),
        at_least=0.5,
        goal=1.0,
    ),
    Goal(
        title="into Dovecot, against Postfix at its best",
        case="dovecot",
        of=SQLITE.name,
        against=(POSTFIX_5.name, POSTFIX_20.name),
        at_least=1.6,
        goal=2.5,
    ),
    Goal(
        title="20 ms away, one session: chunked against lock-step",
        case="far-dovecot",
        of=CHUNKED.name,
        against=(LOCKSTEP.name,),
        at_least=10,
        goal=15,
    ),
    Goal(
        title="20 ms away, a sink with CHUNKING, against Postfix with 20 connections",
        case="far-chunking",
        of=SQLITE.name,
        against=(POSTFIX_20.name,),
        at_least=5,
        goal=20,
    ),
    *(
        Goal(
            title=f"as it finds out, against the best fixed number of sessions: {where}",
            case=name,
            of=SQLITE.name,
            against=tuple(entrant.name for entrant in fixed),
            at_least=0.9,
            goal=1.0,
        )
        for name, where, fixed in (
            ("tuning-sink", "smtp-sink", FIXED),
            ("tuning-dovecot", "Dovecot", FIXED),
            ("tuning-cyrus", "Cyrus", FIXED),
            ("tuning-far", "20 ms away", FIXED[2:]),
        )
    ),
)

_QUICK = ("1x4k", "50x4k", "dovecot", "far-chunking")


def full() -> list[Case]:
    """All cases in full size, but for those of `TUNING`, which are a bench of their own."""
    return list(CASES)


def quick() -> list[Case]:
    """The cases that tell most, with a third of the messages."""
    return [_scaled(case, 1 / 3) for case in CASES if case.name in _QUICK]


def tiny() -> list[Case]:
    """All cases, so small that they only tell whether they still run: of several entrants that differ only
    in a number, the last; and Postgres only where it is compared."""
    return [_tiny(case) for case in (*CASES, *TUNING)]


def _tiny(case: Case) -> Case:
    compared = {goal.of for goal in GOALS if goal.case == case.name}
    entrants = {
        (
            entrant.kind,
            entrant.spool,
            entrant.mode,
            entrant.adapt,
            entrant.adapt is None and entrant.sessions,
        ): entrant
        for entrant in case.entrants
        if entrant.spool == SQLITE.spool or entrant.name in compared
    }
    case = replace(case, mailboxes=max(4, case.recipients), entrants=tuple(entrants.values()))
    return _scaled(case, 0, least=20 if case.recipients == 1 else 3)


def _scaled(case: Case, factor: float, *, least: int = 50) -> Case:
    entrants = tuple(
        entrant
        if entrant.messages is None
        else replace(entrant, messages=max(least, round(entrant.messages * factor)))
        for entrant in case.entrants
    )
    return replace(case, messages=max(least, round(case.messages * factor)), entrants=entrants)
