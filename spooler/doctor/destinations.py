"""Judging what destinations answered, and what it means for delivery; pure but for `check_destinations`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from spooler.address import show
from spooler.credentials import TELLING, Account
from spooler.destination import Destination, UnixDestination, is_local
from spooler.doctor.files import open_to_all
from spooler.doctor.finding import About
from spooler.doctor.probe import PATIENCE, Answer, probe
from spooler.net.security import security_for
from spooler.tls import PLAIN, Tls, TlsLevel
from spooler.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spooler.config import Config
    from spooler.doctor.finding import Finding
    from spooler.lmtp.capabilities import Capabilities

ABOUT = "destinations"
AT_ONCE = 20  # destinations asked at the same time
SOON = 14  # days before a certificate ends: whoever renews them a month or so ahead has missed it

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
    Trouble.NO_TLS: ("let the server do TLS, or state another level", os.EX_UNAVAILABLE),
    Trouble.NO_HANDSHAKE: (
        "see the server's log; write tls-implicit = true if its port wants TLS from the start",
        os.EX_PROTOCOL,
    ),
    Trouble.CERTIFICATE: ("no mail goes there until it is mended", os.EX_UNAVAILABLE),
    Trouble.NO_MECHANISM: ("see auth-mechanisms, and what the server offers under TLS", os.EX_UNAVAILABLE),
    Trouble.AUTHENTICATION: ("see auth-user and auth-secret-file, and the server's users", os.EX_NOPERM),
    Trouble.OURS: ("see the tls-… and auth-… keys of the route", os.EX_CONFIG),
}


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How a destination is reached: routes that agree in it share its connections."""

    destination: Destination
    tls: Tls = PLAIN
    account: Account | None = None


async def check_destinations(config: Config, *, now: float, patience: float = PATIENCE) -> list[Finding]:
    """Ask each destination of the configuration, and judge what it answers; in the order of the file.

    `now` in seconds UTC.
    """
    routes: dict[Way, list[str]] = {}
    for name, route in config.routes.items():
        tls, account = route.protection(), route.account()
        for destination in dict.fromkeys(route.parsed()):
            routes.setdefault(Way(destination=destination, tls=tls, account=account), []).append(name)
    answers: dict[Way, Answer] = {}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def ask(way: Way) -> None:
        async with limit:
            security = security_for(way.destination, way.tls, way.account)
            answers[way] = await probe(
                way.destination, lhlo=config.lhlo_name, security=security, patience=patience
            )

    async with trio.open_nursery() as nursery:
        for way in routes:
            nursery.start_soon(ask, way)
    return [
        finding
        for way, names in routes.items()
        for finding in judge(way, answers[way], modes={config.routes[n].mode for n in names}, now=now)
    ]


def judge(way: Way, answer: Answer, *, modes: set[str], now: float) -> Iterator[Finding]:
    """Judge an answer; `modes` are those of the routes that lead there, `now` in seconds UTC."""
    destination = way.destination
    about = About(ABOUT, str(destination))
    if answer.trouble is not None or answer.capabilities is None:
        trouble = answer.trouble or Trouble.FOREIGN
        mend, code = _MENDS[trouble]
        said = f": {show(answer.detail, 300)}" if answer.detail else ""
        yield about.problem(f"{trouble.value}{said}", mend, code)
    else:
        yield about.ok(
            f"LMTP, in {answer.took * 1000:.0f} ms; offers {_names(answer.capabilities) or 'nothing'}"
        )
        yield from _speed(answer.capabilities, modes, about)
        yield from _limits(answer.capabilities, about)
        yield from _protection(way, answer, about, now)
        yield from _account(way, answer, about)
    if isinstance(destination, UnixDestination):
        yield from _socket(Path(destination.path), about)


def _protection(way: Way, answer: Answer, about: About, now: float) -> Iterator[Finding]:
    level, has = way.tls.level, answer.protection
    local = is_local(way.destination)
    if has is None:
        offered = answer.capabilities is not None and answer.capabilities.starttls
        if level is TlsLevel.MAY:
            yield about.warning(
                "it does no TLS, and level 'may' lets mail travel in plain text then",
                "let the server do TLS, and state level 'secure'",
            )
        elif offered and not local:
            yield about.warning(
                "it offers STARTTLS, and level 'none' lets mail travel in plain text",
                "state level 'secure', or another",
            )
        return
    days = (has.certificate.not_after - now) / 86400
    said = f"{has.version}, {has.cipher}, at level '{level}'"
    if days <= 0:
        yield about.warning(
            f"{said}; its certificate has expired, which this level does not look at",
            "let the server's owner renew it",
        )
    elif days < SOON:
        yield about.warning(
            f"{said}; its certificate expires in {days:.0f} days", "let the server's owner renew it"
        )
    else:
        yield about.ok(f"{said}; its certificate lasts for {days:.0f} days")
    if not (local or _is_known(level)):
        yield about.warning(
            f"level '{level}' does not look at who the server is: whoever is between can read all",
            "state level 'secure', 'verify' or 'fingerprint'",
        )


def _account(way: Way, answer: Answer, about: About) -> Iterator[Finding]:
    account = way.account
    if account is None:
        return
    said = f"it takes '{show(account.user)}' by {answer.mechanism}"
    known = is_local(way.destination) or (answer.protection is not None and _is_known(way.tls.level))
    if answer.mechanism in TELLING and not known:
        yield about.warning(
            f"{said}, which tells the secret to whoever answers there",
            "state level 'secure', or let the server offer SCRAM-SHA-256",
        )
    else:
        yield about.ok(said)


def _is_known(level: TlsLevel) -> bool:
    """Whether the server has shown who it is."""
    return level.trusts_authorities or level is TlsLevel.FINGERPRINT


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
        (bool(offers.auth), f"AUTH {' '.join(offers.auth)}"),
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
