"""Each gate that a recipient can wait at: shown when it is shut, and not when it is open."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from spooler.command import Pause
from spooler.envelope import Notify, Priority
from spooler.policy.beats import DEAD, GRACE
from spooler.policy.gates import Gate, GateKind, Surroundings, gates
from spooler.policy.poison import SUSPECT
from spooler.records import QueuedRecipient, State, WorkerRow
from spooler.worker_standing import (
    DestinationStanding,
    Outage,
    RouteStanding,
    ShutMailbox,
    UnderWay,
    WorkerStanding,
)

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND

ROW = QueuedRecipient(
    message_id=10,
    n=0,
    address="a@x",
    route="default",
    priority=Priority.NORMAL,
    state=State.WAITING,
    due=NOW - SECOND,
    attempts=0,
    claims=0,
    hold=None,
    lease=None,
    uncertain=False,
    notify=Notify.DEFAULT,
    orcpt=None,
    stage="",
    code=0,
    enhanced="",
    text="",
    sender="s@x",
    size=10,
    job="",
    tenant="",
    created=NOW - HOUR,
    expires=NOW + HOUR,
)
TRIED = {"attempts": 2, "claims": 2, "stage": "rcpt", "code": 450, "enhanced": "4.2.1", "text": "try later"}
PUT_OFF = "its mailbox was busy, or takes no mail for now"
TRIED_WORDS = "try 2 ended at rcpt with 450 4.2.1 try later"
ROUTE = RouteStanding(
    destinations=["unix:/lmtp"],
    claimed=0,
    ready=0,
    parked=0,
    sessions=0,
    window=4,
    limit=20,
    depth=4,
    phase="holding",
)
WORKER = WorkerRow(id=7, host="alpha boot ns", pid=42, started=NOW - HOUR, beat=1, beat_at=NOW - SECOND)
PAUSE = Pause(route="default", at=NOW - HOUR, who="alice", why="disk full")


def standing(route: RouteStanding = ROUTE, name: str = "default", **more: Any) -> WorkerStanding:  # noqa: ANN401
    """What a worker says."""
    return WorkerStanding(
        at=NOW - SECOND,
        version="1",
        routes={name: route},
        destinations={"unix:/lmtp": DestinationStanding(mode="chunked", idle=0)},
        buffer=1000,
        **more,
    )


def route(**change: Any) -> WorkerStanding:  # noqa: ANN401
    """A worker on whose route something is different."""
    return standing(msgspec.structs.replace(ROUTE, **change))


def around(*standings: WorkerStanding, **more: Any) -> Surroundings:  # noqa: ANN401
    """Workers that say these things; without any, one that has nothing to complain of."""
    said = standings or (standing(),)
    workers = [msgspec.structs.replace(WORKER, id=7 + i) for i in range(len(said))]
    known = {worker.id: one for worker, one in zip(workers, said, strict=True)}
    return Surroundings(**({"workers": workers, "standings": known, "pauses": {}} | more))


def row(**change: Any) -> QueuedRecipient:  # noqa: ANN401
    """A recipient with something different."""
    return msgspec.structs.replace(ROW, **change)


OUTAGE = Outage(since=NOW - HOUR, failures=9, why="connection refused", probe_at=NOW + 20 * SECOND)
SHUT = ShutMailbox("a@x", NOW + 2 * HOUR)
SILENT = msgspec.structs.replace(WORKER, beat_at=NOW - HOUR)

CASES: list[tuple[str, QueuedRecipient, Surroundings, list[Gate]]] = [
    ("nothing", ROW, around(), [Gate(kind=GateKind.NOTHING)]),
    (
        "held",
        row(hold="by alice: test", due=NOW - SECOND),
        around(held_at=NOW - HOUR),
        [Gate(kind=GateKind.HELD, why="by alice: test", since=NOW - HOUR)],
    ),
    (
        "under way",
        row(lease=7),
        around(route(claimed=1, slow=[UnderWay(10, NOW - HOUR, 1)])),
        [Gate(kind=GateKind.UNDER_WAY, why="on alpha, process 42", since=NOW - HOUR, worker=7)],
    ),
    (
        "in a worker's hand",
        row(lease=7),
        around(route(claimed=9, ready=3, sessions=4)),
        [
            Gate(
                kind=GateKind.WITH_WORKER,
                why="on alpha, process 42; it waits for sessions: 4 of 4, holding",
                worker=7,
            )
        ],
    ),
    (
        "parked for its mailbox",
        row(lease=7),
        around(route(claimed=9, parked=3)),
        [Gate(kind=GateKind.WITH_WORKER, why="on alpha, process 42; it waits for busy mailboxes", worker=7)],
    ),
    (
        "held while a worker has it",
        row(lease=7, hold="by alice"),
        around(workers=[WORKER], standings={}),
        [
            Gate(kind=GateKind.WITH_WORKER, why="on alpha, process 42", worker=7),
            Gate(kind=GateKind.HELD, why="by alice"),
        ],
    ),
    (
        "with a dead worker, and nobody is there to take it over",
        row(lease=7),
        around(workers=[SILENT]),
        [
            Gate(
                kind=GateKind.WORKER_SILENT,
                why="on alpha, process 42",
                since=NOW - HOUR,
                clears=NOW,
                worker=7,
            ),
            Gate(kind=GateKind.NO_WORKER),
        ],
    ),
    (
        "with a worker that has been silent for a while",
        row(lease=7),
        around(
            workers=[
                msgspec.structs.replace(SILENT, beat_at=NOW - 20 * SECOND),
                msgspec.structs.replace(SILENT, id=8, beat_at=NOW),
            ]
        ),
        [
            Gate(
                kind=GateKind.WORKER_SILENT,
                why="on alpha, process 42",
                since=NOW - 20 * SECOND,
                clears=NOW - 20 * SECOND + int((DEAD + GRACE) * SECOND),
                worker=7,
            )
        ],
    ),
    (
        "with a worker that is gone",
        row(lease=9),
        around(),
        [Gate(kind=GateKind.WORKER_SILENT, why="it is not registered any more", worker=9)],
    ),
    ("over its time", row(expires=NOW), around(), [Gate(kind=GateKind.OVER_TIME, since=NOW)]),
    (
        "paused, however many are before it",
        ROW,
        around(pauses={"default": PAUSE}, ahead=4),
        [Gate(kind=GateKind.PAUSED, why="by alice: disk full", since=NOW - HOUR)],
    ),
    ("no worker", ROW, around(workers=[], standings={}), [Gate(kind=GateKind.NO_WORKER)]),
    ("only dead workers", ROW, around(workers=[SILENT]), [Gate(kind=GateKind.NO_WORKER)]),
    (
        "no worker for its route",
        ROW,
        around(standing(name="other")),
        [Gate(kind=GateKind.NO_WORKER_FOR_ROUTE, why="served are other")],
    ),
    (
        "a worker that has not told yet",
        ROW,
        around(workers=[WORKER], standings={}),
        [Gate(kind=GateKind.NOTHING)],
    ),
    (
        "scheduled",
        row(due=NOW + HOUR),
        around(not_before=NOW + HOUR),
        [Gate(kind=GateKind.SCHEDULED, clears=NOW + HOUR)],
    ),
    (
        "backing off",
        row(due=NOW + HOUR, **TRIED),
        around(not_before=NOW - HOUR),
        [Gate(kind=GateKind.RETRY, why=TRIED_WORDS, clears=NOW + HOUR)],
    ),
    (
        "held off after an uncertain attempt",
        row(due=NOW + HOUR, **TRIED),
        around(doubtful=True),
        [Gate(kind=GateKind.HOLD_OFF, why=TRIED_WORDS, clears=NOW + HOUR)],
    ),
    (
        "its mailbox is shut",
        row(due=NOW + HOUR, **TRIED),
        around(route(shut=[SHUT], shut_count=1)),
        [Gate(kind=GateKind.MAILBOX_SHUT, why=TRIED_WORDS, clears=NOW + 2 * HOUR)],
    ),
    (
        "another's mailbox is shut",
        row(due=NOW + HOUR, address="b@x"),
        around(route(shut=[SHUT], shut_count=1)),
        [
            Gate(
                kind=GateKind.PUT_OFF, why="its mailbox was busy, or takes no mail for now", clears=NOW + HOUR
            )
        ],
    ),
    (
        "its route is down",
        ROW,
        around(route(outage=OUTAGE)),
        [
            Gate(
                kind=GateKind.ROUTE_DOWN,
                why="connection refused",
                since=NOW - HOUR,
                clears=NOW + 20 * SECOND,
            )
        ],
    ),
    (
        "down for one worker of two",
        ROW,
        around(route(outage=OUTAGE), standing()),
        [Gate(kind=GateKind.NOTHING)],
    ),
    (
        "workers died with it",
        row(claims=SUSPECT),
        around(),
        [Gate(kind=GateKind.SUSPECT, why=f"{SUSPECT} workers died with it")],
    ),
    (
        "the window is full",
        ROW,
        around(route(claimed=500, ready=100, sessions=4), ahead=3000),
        [Gate(kind=GateKind.QUEUED_BEHIND, why="sessions: 4 of 4, holding")],
    ),
    (
        "memory is full",
        ROW,
        around(standing(msgspec.structs.replace(ROUTE, claimed=500), buffered=1000), ahead=1),
        [Gate(kind=GateKind.QUEUED_BEHIND, why="memory for contents (worker.buffer)")],
    ),
    (
        "several at once",
        row(due=NOW + HOUR, **TRIED),
        around(route(outage=OUTAGE), pauses={"default": PAUSE}),
        [
            Gate(kind=GateKind.PAUSED, why="by alice: disk full", since=NOW - HOUR),
            Gate(kind=GateKind.RETRY, why=TRIED_WORDS, clears=NOW + HOUR),
            Gate(
                kind=GateKind.ROUTE_DOWN,
                why="connection refused",
                since=NOW - HOUR,
                clears=NOW + 20 * SECOND,
            ),
        ],
    ),
]


@pytest.mark.parametrize(
    ("row_", "surroundings", "found"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_gate(row_: QueuedRecipient, surroundings: Surroundings, found: list[Gate]) -> None:
    """Exactly the gates that are shut are named, in order, with when they clear."""
    assert gates(row_, surroundings, now=NOW) == found


def test_every_gate_has_a_case() -> None:
    """None is left out above."""
    assert {gate.kind for case in CASES for gate in case[3]} == set(GateKind)
