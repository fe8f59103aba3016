"""What is wrong, in words that somebody understands who never saw this program."""

from __future__ import annotations

from typing import Any

import msgspec

from spooler.command import Pause
from spooler.ops.problems import MOST, OVERDUE, problems
from spooler.ops.view import DestinationView, RouteView, WorkerView
from spooler.worker_standing import Outage

NOW = 1_800_000_000_000_000
DOWN = Outage(since=NOW - 300_000_000, failures=5, why="connection refused", probe_at=NOW + 10_000_000)


def route(name: str = "default", **more: Any) -> RouteView:  # noqa: ANN401  # its fields
    states = {"waiting": 0, "deferred": 0, "active": 0, "held": 0} | more.pop("states", {})
    fixed: dict[str, Any] = {
        "ended": {}, "oldest": None, "due": None, "destinations": ["unix:/a", "unix:/b"], "served": True,
        "paused": False, "pause": None, "outage": None, "limits": "",
    }  # fmt: skip
    return RouteView(name=name, states=states, **(fixed | more))


def place(name: str = "unix:/a", outage: Outage | None = None, doubts: int = 0) -> DestinationView:
    return DestinationView(
        name=name, routes=["default"], mode="pipelined", sessions=0, idle=0, takes="", doubts=doubts,
        last_doubt="a reply too many", proven=outage is None, outage=outage, waiting=0,
    )  # fmt: skip


WORKER = WorkerView(
    id=1, host="mx1", pid=7, started=NOW, beat_at=NOW, lives=True, version="", routes=1, sessions=0, memory=0
)


def found(
    *,
    routes: list[RouteView],
    places: list[DestinationView] | None = None,
    **more: Any,  # noqa: ANN401
) -> list[tuple[str, str, int]]:
    fixed: dict[str, Any] = {"answers": True, "trouble": "", "seen": NOW, "workers": [WORKER], "now": NOW}
    told = problems(routes=routes, destinations=places or [], **(fixed | more))
    return [(one.level, one.what, one.waiting) for one in told]


def test_nothing_is_wrong() -> None:
    """Mail that waits for its turn is no problem."""
    assert found(routes=[route(states={"waiting": 10}, due=NOW)], places=[place()]) == []


def test_a_target_that_is_down() -> None:
    """Which, since when, in its own words, and what waits for it; held mail waits for somebody else."""
    (one,) = problems(
        answers=True, trouble="", seen=NOW, workers=[WORKER], now=NOW,
        routes=[
            route(
                states={"waiting": 5, "deferred": 2}, outage=DOWN, due=NOW - 10 * OVERDUE,
                destinations=["unix:/a"],
            )
        ],
        destinations=[place(outage=DOWN)],
    )  # fmt: skip
    assert (one.level, one.what, one.why) == ("bad", "unix:/a takes no mail", "connection refused")
    assert (one.since, one.waiting, one.probe_at) == (DOWN.since, 7, DOWN.probe_at)


def test_one_of_several_targets_is_down() -> None:
    """Others take its mail: somebody should know, but nothing waits."""
    assert found(routes=[route(states={"waiting": 5})], places=[place(outage=DOWN), place("unix:/b")]) == [
        ("warn", "unix:/a takes no mail; others take what is for it", 0)
    ]


def test_all_targets_of_a_route_are_down() -> None:
    """One problem, not one each: what waits for it waits once."""
    down = route(states={"waiting": 5}, outage=DOWN)
    both = [place(outage=DOWN), place("unix:/b", outage=DOWN)]
    assert found(routes=[down], places=both) == [
        ("bad", "None of 2 destinations of route default takes mail", 5)
    ]
    shared = msgspec.structs.replace(down, destinations=["unix:/a"])
    assert found(routes=[shared, msgspec.structs.replace(shared, name="far")], places=both[:1]) == [
        ("bad", "unix:/a takes no mail", 10)
    ]


def test_of_very_many_the_worst_are_told() -> None:
    """Most waiting first, and how many there are more."""
    routes = [
        route(f"r{n}", states={"waiting": n}, outage=DOWN, destinations=[f"unix:/{n}"]) for n in range(40)
    ]
    told = found(routes=routes, places=[place(f"unix:/{n}", outage=DOWN) for n in range(40)])
    assert len(told) == MOST
    assert told[0] == ("bad", "unix:/39 takes no mail", 39)
    assert told[-1] == ("bad", f"And {40 - MOST + 1} more like these", 0)


def test_a_pause_is_told_as_it_was_given() -> None:
    """Since when, by whom and why; also where no worker serves the route."""
    pause = Pause(route="default", at=NOW - 5, who="ann@mx1", why="moving")
    (one,) = problems(
        answers=True, trouble="", seen=NOW, workers=[WORKER], destinations=[], now=NOW,
        routes=[route(states={"waiting": 3}, served=False, paused=True, pause=pause)],
    )  # fmt: skip
    assert (one.what, one.since, one.why) == ("Route default is paused", NOW - 5, "by ann@mx1: moving")


def test_a_database_that_is_gone() -> None:
    """Since when, and nothing is made up of workers that cannot be seen."""
    silent = msgspec.structs.replace(WORKER, lives=False)
    (one,) = problems(
        answers=False, trouble="refused", seen=NOW - 7, routes=[], destinations=[], workers=[silent], now=NOW
    )
    assert (one.level, one.since) == ("bad", NOW - 7)
    assert one.why == "refused; the queue and its routes are shown as they were then"


def test_each_of_the_others() -> None:
    """The worst first."""
    late = msgspec.structs.replace(WORKER, lives=False)
    waiting = {"waiting": 4}
    for told, expected in (
        (found(routes=[], answers=False), ("bad", "The spool's database does not answer", 0)),
        (found(routes=[route(states=waiting)], workers=[]), ("bad", "No worker is running", 4)),
        (found(routes=[], workers=[WORKER, late]), ("warn", "Worker 7 on mx1 gives no sign of life", 0)),
        (
            found(routes=[route(states={"held": 1})]),
            ("warn", "On route default 1 recipient is held until a person decides", 0),
        ),
        (found(routes=[route(states=waiting, paused=True)]), ("warn", "Route default is paused", 4)),
        (found(routes=[route(states=waiting, served=False)]), ("bad", "No worker serves route default", 4)),
        (
            found(routes=[route(states=waiting, due=NOW - OVERDUE - 1)]),
            ("warn", "Route default is behind: mail has been due", 4),
        ),
        (
            found(routes=[], places=[place(doubts=1)]),
            ("warn", "unix:/a answered out of step, so it is asked more carefully (pipelined)", 0),
        ),
    ):
        assert told == [expected]
    both = found(routes=[route(states={"held": 2}), route("x", states=waiting, served=False)])
    assert [level for level, _, _ in both] == ["bad", "warn"]
