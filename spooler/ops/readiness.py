"""Whether this command is ready: its spool answers, its heartbeat is in time, and a route takes mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from spooler.ops.watch import Watch


class Check(msgspec.Struct, frozen=True):
    """One condition, and what is known of it."""

    ok: bool
    says: str


class Readiness(msgspec.Struct, frozen=True):
    """Ready if all checks are good."""

    ready: bool
    checks: dict[str, Check]


async def readiness(watch: Watch) -> Readiness:
    """Look at everything that delivery needs."""
    await watch.sample()
    members = list(watch.gathering.members.values())
    refused = watch.gathering.refused
    fresh = sum(member.fresh for member in members)
    routes = [(name, one) for _, standing in watch.ours().values() for name, one in standing.routes.items()]
    up = {name for name, one in routes if one.outage is None}
    down = {name: one.outage.why for name, one in routes if one.outage is not None and name not in up}
    checks = {
        "database": Check(watch.answers and not refused, watch.trouble or refused or "answers"),
        "heartbeat": Check(fresh > 0, f"{fresh} of {len(members)} worker processes in time"),
        # a route of which nothing is known yet may well take mail
        "targets": Check(
            bool(up) or not routes,
            "; ".join(f"route {name} is down: {why}" for name, why in sorted(down.items()))
            or "no route is down",
        ),
    }
    return Readiness(all(check.ok for check in checks.values()), checks)
