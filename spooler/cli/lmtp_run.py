"""What `lmtp` does once its options are read: names, ways, the message, the delivery, the report."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from spooler.address import show
from spooler.cli.lmtp_envelope import envelope_of, say, supplies
from spooler.cli.main import tell, telling
from spooler.config import Config, check_config, load_config
from spooler.credentials import TELLING, Credentials
from spooler.errors import UsageError
from spooler.oneshot.carrying import Carried, Errand, carry
from spooler.oneshot.legs import Guide, Wishes
from spooler.oneshot.letter import letter_of
from spooler.oneshot.protecting import TlsWishes
from spooler.oneshot.reporting import exit_code, no_way, warnings, word
from spooler.oneshot.way import Leg, Told
from spooler.policy import classify
from spooler.tls import TlsLevel, parse_fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spooler.cli.lmtp_asked import Asked
    from spooler.dialogue import Direction
    from spooler.net.session import Session
    from spooler.oneshot.way import Way

STOPPED = 128  # and the signal's number: as shells have it
_TEXT = 2000  # characters of a server's words
_WIDEST = 60  # characters that longer addresses do not take from all
_COLOURS = {"delivered": "green", "failed": "red"}


def deliver(asked: Asked) -> int:
    """Deliver, or queue; return the exit code. Raises SpoolerError."""
    envelope = envelope_of(asked)
    config = _config(asked)
    if asked.spool is not None:
        from spooler.cli.lmtp_spool import queue

        return queue(asked, envelope, config)
    legs = Guide(_wishes(asked, envelope.named.key), config).legs(envelope.named.recipients)
    for leg in legs:
        for way in leg.ways:
            way.security.check()
    with letter_of(envelope.blocks(), supplies=supplies(asked, envelope.sender, config)) as letter:
        errand = Errand(
            sender=envelope.sender,
            letter=letter,
            lhlo=config.lhlo_name,
            overhear=_show_line if asked.debug else None,
            opened=_warn_of_line,
        )
        results = [carry(errand, leg) for leg in legs]
    return _report(results, legs, as_json=asked.as_json)


def _config(asked: Asked) -> Config:
    config = load_config(asked.config) if asked.config else Config()
    if asked.lhlo is not None:
        if not asked.lhlo:
            raise UsageError("-l has no name to greet the server with", hint="leave it out for this host's")
        config = msgspec.structs.replace(config, lhlo=asked.lhlo)
        check_config(config)
    return config


def _wishes(asked: Asked, key: str) -> Wishes:
    if key and asked.tls_cert is not None:
        raise UsageError(f"-t {show(key)} and --tls-cert both name a certificate", hint="give one of them")
    environment = ("LMTP_USER", "LMTP_PASSWORD", "LMTP_CREDENTIALS")
    if not asked.authenticate and (asked.user or asked.credentials or asked.auth_plain):
        raise UsageError(
            "there is no -a to authenticate",
            hint="give it, or leave --user, --credentials and --auth-plain out",
        )
    return Wishes(
        destination=asked.place,
        server=asked.server,
        port=asked.port,
        target=asked.target or "",
        tls=TlsWishes(
            wanted=asked.tls,
            level=TlsLevel(asked.tls_level) if asked.tls_level else None,
            implicit=asked.tls_implicit,
            ca=str(asked.tls_ca or ""),
            cert=key or str(asked.tls_cert or ""),
            key=str(asked.tls_key or ""),
            fingerprints=tuple(parse_fingerprint(text) for text in asked.tls_fingerprint),
            names=asked.tls_name,
        ),
        login=_login(asked) if asked.authenticate else None,
        login_named=bool(asked.user or asked.credentials or any(map(os.environ.get, environment))),
    )


def _login(asked: Asked) -> Callable[[], Credentials]:
    """Find the credentials once, however many ways there are."""

    @functools.cache
    def login() -> Credentials:
        from spooler.oneshot.login import find_login

        file = str(asked.credentials or os.environ.get("LMTP_CREDENTIALS", ""))
        return find_login(asked.user or "", file, os.environ, plain=asked.auth_plain)

    return login


def _show_line(direction: Direction, text: str) -> None:
    tell(f"{direction} {text}")


def _warn_of_line(way: Way, session: Session) -> None:
    """Say what level `may` came to."""
    if way.security.tls.level is not TlsLevel.MAY:
        return
    told = " and it was told the password" if session.mechanism in TELLING else ""
    if session.protection is None:
        say(f"warning: the connection to {way.destination} is in plain text{told} (--tls requires TLS)")
    else:
        say(
            f"warning: the certificate of {way.destination} is not checked{told} "
            "(--tls-level secure checks it)"
        )


def _report(results: Sequence[Carried], legs: Sequence[Leg], *, as_json: bool) -> int:
    obstacles = [one for carried in results for one in carried.obstacles if not carried.told]
    text, code = no_way(obstacles) if obstacles else ("", os.EX_OK)
    reached = any(carried.told for carried in results)
    told: list[Told] = []
    for carried, leg in zip(results, legs, strict=True):
        # what was in the way of one leg is told of its recipients
        told += carried.told or [
            Told(address, classify.unreachable(no_way(carried.obstacles)[0])) for address in leg.recipients
        ]
    if reached or as_json:
        _print(told, as_json=as_json)
    if not reached:
        say(text)
        return code
    for line in warnings(told):
        say(f"warning: {line}")
    stopped = next((carried.stopped for carried in results if carried.stopped), 0)
    return STOPPED + stopped if stopped else exit_code(told)


def _print(told: Sequence[Told], *, as_json: bool) -> None:
    with telling("the message was sent, but what became of it"):
        if as_json:
            for one in told:
                click.echo(msgspec.json.encode(_as_json(one)).decode())
        else:
            for line in _lines(told):
                click.echo(line)


def _lines(told: Sequence[Told]) -> Iterator[str]:
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = min(_WIDEST, max(len(show(one.address)) for one in told))
    longest = max(len(word(one)) for one in told)
    for one in told:
        verdict = one.verdict
        outcome = f"{word(one):<{longest}}"
        if colours:
            outcome = click.style(outcome, fg=_COLOURS.get(word(one), "yellow"))
        words = (str(verdict.code or ""), verdict.enhanced, verdict.text)
        said = show(" ".join(part for part in words if part), _TEXT)
        yield f"{show(one.address, _TEXT):<{width}}  {outcome}  {said}".rstrip()


def _as_json(told: Told) -> dict[str, object]:
    verdict = told.verdict
    return {
        "address": told.address,
        "outcome": verdict.outcome,
        "uncertain": verdict.uncertain,
        "stage": verdict.stage,
        "code": verdict.code,
        "enhanced": verdict.enhanced,
        "text": verdict.text,
        "destination": told.destination,
    }
