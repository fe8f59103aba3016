"""What a configuration says that makes no sense, or not the sense that it seems to; pure.

What contradicts itself was refused when it was read (see `spooler.config.check_config`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.destination import InetDestination
from spooler.doctor.finding import About
from spooler.envelope import DEFAULT_ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spooler.config import Config, Route
    from spooler.doctor.finding import Finding

SMTP_PORT = 25
LONG_IDLE = 300.0  # seconds: Dovecot and Cyrus hang up on a client that is silent for five minutes or so
FINAL = 600.0  # seconds: RFC 5321 section 4.5.3.2.6
ABOUT = "configuration"


def check_options(config: Config, *, name: str, memory: int | None) -> list[Finding]:
    """Judge a configuration that came from `name`; `memory` is this machine's, in bytes."""
    return [
        *_routes(config, About(ABOUT, name)),
        *_worker(config, About(ABOUT, f"{name}, [worker]"), memory),
        *(
            finding
            for route_name, route in config.routes.items()
            for finding in _route(route, About(ABOUT, f"{name}, [routes.{route_name}]"))
        ),
    ]


def _routes(config: Config, about: About) -> Iterator[Finding]:
    if not config.routes:
        yield about.problem(
            "no route is configured, so there is nowhere to deliver",
            "give --target DEST or write [routes.default]",
        )
    elif DEFAULT_ROUTE not in config.routes:
        yield about.warning(
            f"there is no route '{DEFAULT_ROUTE}': mail for domains not listed waits until it expires",
            f"write [routes.{DEFAULT_ROUTE}], or give --target",
        )
        for domain, route in config.domains.items():
            if route == DEFAULT_ROUTE:
                yield about.problem(
                    f"domain '{domain}' takes the route '{route}', which does not exist",
                    f"write [routes.{route}], or name another route",
                )
    if config.spool and config.spool.startswith("sqlite:///") and not config.spool.startswith("sqlite:////"):
        yield about.warning(
            "the spool's path is relative: which file it is depends on where a command is started",
            "write four slashes and the whole path: sqlite:////var/lib/spooler/spool.db",
        )


def _worker(config: Config, about: About, memory: int | None) -> Iterator[Finding]:
    worker = config.worker
    if worker.journal and not worker.journal.startswith("/"):
        yield about.warning(
            "journal is relative: a worker that is started elsewhere does not find what a dead one left",
            "write the whole path",
        )
    if worker.journal_sync <= 0:
        yield about.warning(
            "journal-sync is 0: after a power cut some deliveries may not be known, and be made again",
            'write journal-sync = "10ms"',
        )
    if memory and worker.buffer > memory // 2:
        yield about.warning(
            f"buffer is {worker.buffer} bytes, more than half of this machine's memory",
            "lower it: 8 MB keep a worker busy",
        )


def _route(route: Route, about: About) -> Iterator[Finding]:
    if route.hold_off <= 0 and route.uncertain == "retry":
        yield about.warning(
            "hold-off is 0: what may have been delivered already is sent again at once",
            'write hold-off = "60s"',
        )
    destinations = route.parsed()
    if len(set(destinations)) < len(destinations):
        yield about.warning("a destination is named twice", "name each once")
    if len(destinations) == 1 and route.balance == "round-robin":
        yield about.warning(
            "balance = 'round-robin' has no effect with one destination", "name more, or leave it out"
        )
    for destination in destinations:
        if isinstance(destination, InetDestination) and destination.port == SMTP_PORT:
            yield about.warning(
                f"{destination} is SMTP's port, on which no server may speak LMTP (RFC 2033 section 5)",
                "name the port of the store's LMTP service, often 24",
            )
    if route.idle > LONG_IDLE:
        yield about.warning(
            f"idle is {route.idle:g} s: servers hang up before, and connections are found dead",
            "leave it at 30 s",
        )
    if route.timeouts.final < FINAL:
        yield about.warning(
            f"timeouts.final is {route.timeouts.final:g} s: "
            "mail that a slow server took after that is delivered again",
            "leave it at 600 s (RFC 5321 section 4.5.3.2.6) or more",
        )
    if route.retry.lifetime <= route.retry.first:
        yield about.warning(
            f"retry.lifetime is {route.retry.lifetime:g} s: mail expires before its second attempt",
            f"make it longer than retry.first, {route.retry.first:g} s",
        )
