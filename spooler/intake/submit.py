"""Makes a message of what a person or a program handed in: validated, routed, without repeated recipients.

Used by every way in: commands, the import of files, the Python API. Nothing here does I/O.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from spooler.address import check_recipient, check_sender, needs_smtputf8, show, split
from spooler.envelope import (
    DEFAULT_LIFETIME,
    DEFAULT_ROUTE,
    Content,
    ImportIdentity,
    NewMessage,
    NewRecipient,
    Notify,
    Priority,
)
from spooler.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spooler.config import Config

MAX_LABEL = 200  # characters of a job, tenant, idempotency key or route
MAX_ENVID = 100  # characters (RFC 3461 section 4.4)
MAX_AHEAD = 3650 * 86400 * 1_000_000  # µs that a time may lie ahead of what it counts from
_ENVID = re.compile(r"[\x20-\x7e]+")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What may be said of a message beside its envelope; times in µs UTC, `ret` is "full" or "hdrs".

    `check_options` judges it.
    """

    job: str = ""
    tenant: str = ""
    priority: Priority = Priority.NORMAL
    not_before: int | None = None
    expires: int | None = None
    idempotency_key: str | None = None
    envid: str | None = None
    ret: str | None = None


class Addressees(msgspec.Struct, frozen=True):
    """The recipients of a message, each once; `repeated` of those given were there already.

    `lifetime` (µs) is the longest of their routes', after which the message expires unless it says otherwise.
    """

    recipients: tuple[NewRecipient, ...]
    repeated: int
    smtputf8: bool
    lifetime: int


def check_options(options: Options, *, now: int) -> Options:
    """Return the options. Raises UsageError for what cannot be; `now` in µs UTC."""
    for name, text in (
        ("job", options.job),
        ("tenant", options.tenant),
        ("idempotency key", options.idempotency_key),
    ):
        if text is not None or name != "idempotency key":
            check_label(name, text)
    if not isinstance(options.priority, Priority):
        raise UsageError(
            f"priority {show(repr(options.priority))} is unknown", hint="give one of spooler.Priority"
        )
    if options.idempotency_key == "":
        raise UsageError(
            "the idempotency key is empty", hint="leave it out, or give what is unique to the message"
        )
    envid: object = options.envid
    if envid is not None and not (
        isinstance(envid, str) and _ENVID.fullmatch(envid) and len(envid) <= MAX_ENVID
    ):
        raise UsageError(
            f"envelope id '{show(str(envid))}' is not 1 to {MAX_ENVID} printable ASCII characters",
            hint="RFC 3461 section 4.4",
        )
    if options.ret not in (None, "full", "hdrs"):
        raise UsageError(
            f"ret '{show(str(options.ret))}' is unknown", hint="give full or hdrs (RFC 3461 section 4.3)"
        )
    start = max(now, options.not_before or 0)
    for what, when, base in (
        ("earliest delivery", options.not_before, now),
        ("time to expire", options.expires, start),
    ):
        if when is not None and not 0 <= when <= base + MAX_AHEAD:
            wrong = "before 1970" if when < 0 else "too far ahead"
            raise UsageError(f"the {what} is {wrong}", hint="give a time within 3650 days")
    if options.expires is not None and options.expires <= start:
        raise UsageError(
            "the message would expire before it may be delivered", hint="give a later time to expire"
        )
    return options


def check_label(name: str, text: object) -> None:
    """Check a job, tenant, idempotency key or route. Raises UsageError."""
    if not isinstance(text, str):
        raise UsageError(f"{name} {show(repr(text))} is no text", hint="give a str")
    if len(text) > MAX_LABEL:
        raise UsageError(
            f"{name} '{show(text)}' is longer than {MAX_LABEL} characters", hint="choose a shorter one"
        )
    if show(text, MAX_LABEL) != text:
        raise UsageError(f"{name} '{show(text)}' has control characters", hint="choose a simpler one")


def check_route(name: str, *, config: Config) -> str:
    """Return the name of a route. Raises UsageError, which names the known ones, if there is none such."""
    if name not in config.routes and name != DEFAULT_ROUTE:
        known = ", ".join(sorted({DEFAULT_ROUTE, *config.routes}))
        raise UsageError(
            f"route '{show(name)}' is unknown", hint=f"known: {known}; routes are made in the configuration"
        )
    return name


def address_to(
    addresses: Iterable[str], *, config: Config, route: str | None = None, notify: Notify = Notify.DEFAULT
) -> Addressees:
    """Check, route and number recipients; `route` None means by `config.domains`.

    Raises DataError for an address that is none, and if there is no recipient at all.
    """
    recipients: dict[str, NewRecipient] = {}
    repeated = 0
    for text in addresses:
        address = check_recipient(text)
        if address in recipients:
            repeated += 1
        else:
            way = config.route_of(split(address)[1]) if route is None else route
            recipients[address] = NewRecipient(address=address, route=way, notify=notify)
    if not recipients:
        raise DataError("the message has no recipient", hint="name at least one")
    return Addressees(
        tuple(recipients.values()),
        repeated,
        any(needs_smtputf8(address) for address in recipients),
        max(_lifetime(config, way) for way in {recipient.route for recipient in recipients.values()}),
    )


def make_message(
    sender: str,
    addressees: Addressees,
    content: Content,
    options: Options,
    *,
    now: int,
    origin: ImportIdentity | None = None,
) -> NewMessage:
    """Put a message together; `sender` "" or "<>" is the null sender.

    Raises DataError for a sender that is no address.
    """
    sender = check_sender(sender)
    return NewMessage(
        sender=sender,
        recipients=addressees.recipients,
        content=content,
        smtputf8=addressees.smtputf8 or needs_smtputf8(sender),
        priority=options.priority,
        envid=options.envid,
        ret=options.ret,
        job=options.job,
        tenant=options.tenant,
        not_before=options.not_before,
        expires=options.expires or max(now, options.not_before or 0) + addressees.lifetime,
        idempotency_key=options.idempotency_key,
        origin=origin,
    )


def _lifetime(config: Config, route: str) -> int:
    known = config.routes.get(route)
    return known.retry.lifetime.us if known else DEFAULT_LIFETIME
