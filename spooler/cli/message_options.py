"""Options that say something of the messages which a command puts in, and their reading."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, TypeVar

import click
import msgspec

from spooler.address import show
from spooler.cli.values import TEXT
from spooler.config import Config, parse_duration
from spooler.envelope import Notify, Priority
from spooler.errors import UsageError
from spooler.intake.submit import Options, check_options, check_route

_Command = TypeVar("_Command", bound=Callable[..., Any])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MessageWords(TypedDict):
    """The options as they were typed."""

    job: str
    tenant: str
    priority: str
    not_before: str | None
    expires: str | None
    route: str | None
    envid: str | None
    ret: str | None
    notify: str | None


class Wishes(msgspec.Struct, frozen=True):
    """The options as they are meant; `route` None is by domain."""

    options: Options
    route: str | None
    notify: Notify


def message_options(command: _Command) -> _Command:
    """Add the options that `MessageWords` holds; `read_words` tells what they mean."""
    for option in reversed(
        (
            click.option(
                "--job", type=TEXT, metavar="NAME", default="", help="Label to find these messages by."
            ),
            click.option("--tenant", type=TEXT, metavar="NAME", default="", help="Whose messages these are."),
            click.option(
                "--priority",
                type=click.Choice([one.name.lower() for one in Priority]),
                default="normal",
                show_default=True,
                help="What is more urgent goes first; each gets an eighth at least.",
            ),
            click.option(
                "--not-before", metavar="WHEN", help="Earliest delivery: in 90s, 15m, 4h, 5d, or a timestamp."
            ),
            click.option(
                "--expires",
                metavar="WHEN",
                help="When to give up: after 4h, 5d, or a timestamp.  [default: the route's]",
            ),
            click.option("--route", metavar="NAME", help="Route for all recipients, instead of by domain."),
            click.option("--envid", metavar="ID", help="Envelope id for delivery notices (RFC 3461)."),
            click.option(
                "--ret", type=click.Choice(["full", "hdrs"]), help="What a notice returns (RFC 3461)."
            ),
            click.option(
                "--notify",
                metavar="WHEN",
                help="When to send notices: never, or some of success,failure,delay (RFC 3461).",
            ),
        )
    ):
        command = option(command)
    return command


def read_words(
    words: MessageWords, *, config: Config, now: int, idempotency_key: str | None = None
) -> Wishes:
    """Read the options; `now` in µs UTC. Raises UsageError."""
    not_before, expires = words["not_before"], words["expires"]
    start = parse_when("--not-before", not_before, now=now, base=now) if not_before is not None else None
    base = max(now, start or 0)
    options = Options(
        job=words["job"],
        tenant=words["tenant"],
        priority=Priority[words["priority"].upper()],
        not_before=start,
        expires=parse_when("--expires", expires, now=now, base=base) if expires is not None else None,
        idempotency_key=idempotency_key,
        envid=words["envid"],
        ret=words["ret"],
    )
    route = words["route"]
    if route is not None:
        check_route(route, config=config)
    return Wishes(check_options(options, now=now), route, parse_notify(words["notify"]))


def parse_when(name: str, text: str, *, now: int, base: int) -> int:
    """Read a duration after `base` or an RFC 3339 timestamp; µs UTC. Raises UsageError."""
    duration = parse_duration(text)
    if duration is not None:
        return base + duration.us
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{name} '{show(text)}' is neither a duration nor a time",
            hint="give 90s, 15m, 4h, 5d, or a timestamp such as 2030-01-31T12:00:00Z",
        ) from None
    if moment.tzinfo is None:
        raise UsageError(f"{name} '{show(text)}' names no time zone", hint="append Z for UTC, or +02:00")
    when = (moment - _EPOCH) // timedelta(microseconds=1)
    if when <= now:
        raise UsageError(f"{name} '{show(text)}' is in the past", hint="give a later time")
    return when


def parse_notify(text: str | None) -> Notify:
    """Read --notify. Raises UsageError."""
    if text is None:
        return Notify.DEFAULT
    words = [word.strip().upper() for word in text.split(",")]
    valid = {"SUCCESS", "FAILURE", "DELAY"}
    if words == ["NEVER"] or set(words) <= valid:
        notify = Notify.DEFAULT
        for word in words:
            notify |= Notify[word]
        return notify
    raise UsageError(
        f"--notify '{show(text)}' is not understood", hint="give never, or some of success,failure,delay"
    )
