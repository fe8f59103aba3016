"""Judging what destinations answered, and what it means for delivery; pure but for `check_destinations`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from spooler.address import show
from spooler.destination import Destination, UnixDestination
from spooler.doctor.files import open_to_all
from spooler.doctor.finding import About
from spooler.doctor.probe import PATIENCE, Answer, Trouble, probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spooler.config import Config
    from spooler.doctor.finding import Finding
    from spooler.lmtp.capabilities import Capabilities

ABOUT = "destinations"
AT_ONCE = 20  # destinations asked at the same time

_MENDS: Mapping[Trouble, tuple[str, int]] = {
    Trouble.NO_HOST: ("check the name, and this host's resolver", os.EX_NOHOST),
    Trouble.REFUSED: ("start the LMTP server, or name where it listens", os.EX_UNAVAILABLE),
    Trouble.NOT_PERMITTED: (
        "run as the workers' user, and let the server give that user's group access",
        os.EX_NOPERM,
    ),
    Trouble.UNREACHABLE: ("check the address, the network and its firewalls", os.EX_UNAVAILABLE),
    Trouble.SILENT: ("see the server's log: it may be overloaded, or want TLS at once", os.EX_UNAVAILABLE),
    Trouble.BUSY: ("see the server's log: it may limit connections", os.EX_UNAVAILABLE),
    Trouble.NO_LMTP: ("name the port of the store's LMTP service, often 24", os.EX_PROTOCOL),
    Trouble.FOREIGN: ("name the port of the store's LMTP service, often 24", os.EX_PROTOCOL),
}


async def check_destinations(config: Config, *, patience: float = PATIENCE) -> list[Finding]:
    """Ask each destination of the configuration, and judge what it answers; in the order of the file."""
    routes: dict[Destination, list[str]] = {}
    for name, route in config.routes.items():
        for destination in dict.fromkeys(route.parsed()):
            routes.setdefault(destination, []).append(name)
    answers: dict[Destination, Answer] = {}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def ask(destination: Destination) -> None:
        async with limit:
            answers[destination] = await probe(destination, lhlo=config.lhlo_name, patience=patience)

    async with trio.open_nursery() as nursery:
        for destination in routes:
            nursery.start_soon(ask, destination)
    return [
        finding
        for destination, names in routes.items()
        for finding in judge(destination, answers[destination], modes={config.routes[n].mode for n in names})
    ]


def judge(destination: Destination, answer: Answer, *, modes: set[str]) -> Iterator[Finding]:
    """Judge an answer; `modes` are those of the routes that lead there."""
    about = About(ABOUT, str(destination))
    if answer.trouble is not None or answer.capabilities is None:
        trouble = answer.trouble or Trouble.FOREIGN
        mend, code = _MENDS[trouble]
        said = f": {show(answer.detail, 200)}" if answer.detail else ""
        yield about.problem(f"{trouble.value}{said}", mend, code)
    else:
        yield about.ok(
            f"LMTP, in {answer.took * 1000:.0f} ms; offers {_names(answer.capabilities) or 'nothing'}"
        )
        yield from _speed(answer.capabilities, modes, about)
        yield from _limits(answer.capabilities, about)
    if isinstance(destination, UnixDestination):
        yield from _socket(Path(destination.path), about)


def _speed(offers: Capabilities, modes: set[str], about: About) -> Iterator[Finding]:
    if not offers.pipelining:
        yield about.warning(
            "without PIPELINING each command waits for its reply: slow, the more so over a distance",
            "let the server offer PIPELINING, if it can",
        )
        return
    if modes - {"chunked"}:
        boldest = "lockstep" if "lockstep" in modes else "pipelined"
        yield about.warning(
            f"a route's mode keeps it at {boldest}, whatever it offers",
            "leave mode out, unless the server's extension is broken",
        )
    if offers.chunking and offers.enhanced:
        yield about.ok("whole transactions may travel back to back: the fastest way, at any distance")
    elif offers.chunking:
        yield about.ok(
            "CHUNKING without ENHANCEDSTATUSCODES, by which replies are proved to be in step: "
            "each transaction waits for the one before; more sessions make up for it nearby"
        )
    else:
        yield about.ok(
            "without CHUNKING each transaction waits once for the server: fast nearby, slower over a distance"
        )


def _limits(offers: Capabilities, about: About) -> Iterator[Finding]:
    if not offers.eightbitmime:
        yield about.warning(
            "without 8BITMIME mail with octets above 127 fails (5.6.3): nothing is rewritten",
            "let the server offer 8BITMIME",
        )
    if not offers.smtputf8:
        yield about.ok("without SMTPUTF8 mail to or from addresses that are not ASCII fails (5.6.7)")
    if offers.size:
        yield about.ok(f"messages of more than {offers.size:,} bytes fail (5.3.4), by its SIZE")


def _names(offers: Capabilities) -> str:
    words = (
        (offers.pipelining, "PIPELINING"),
        (offers.chunking, "CHUNKING"),
        (offers.enhanced, "ENHANCEDSTATUSCODES"),
        (offers.eightbitmime, "8BITMIME"),
        (offers.smtputf8, "SMTPUTF8"),
        (offers.size is not None, f"SIZE {offers.size}" if offers.size else "SIZE"),
        (offers.dsn, "DSN"),
        (offers.starttls, "STARTTLS"),
    )
    return ", ".join(word for offered, word in words if offered)


def _socket(path: Path, about: About) -> Iterator[Finding]:
    try:
        everybody = path.is_socket() and open_to_all(path)
    except OSError:
        return  # that it cannot be got at was told
    if everybody:
        yield about.warning(
            "everybody on this host may connect to the socket, and put mail into any mailbox",
            "let the server make it with mode 0660 and the workers' group",
        )
