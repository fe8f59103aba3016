"""Options that say which recipients of the queue are meant, and their reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

import click

from spooler.address import show
from spooler.cli.values import NAME
from spooler.config import parse_duration
from spooler.errors import UsageError
from spooler.records import GAUGES, QueueFilter, State

_Command = TypeVar("_Command", bound=Callable[..., Any])


class SelectionWords(TypedDict):
    """The options as they were typed."""

    route: str | None
    state: str | None
    job: str | None
    tenant: str | None
    sender: str | None
    to: str | None
    uncertain: bool
    older_than: str | None
    newer_than: str | None


def selection_options(command: _Command) -> _Command:
    """Add the options that `SelectionWords` holds; those that are given must all be true."""
    states = [state.value for state in GAUGES]
    for option in reversed(
        (
            click.option("--route", type=NAME, metavar="NAME", help="Only of this route."),
            click.option("--state", type=click.Choice(states), help="Only in this state."),
            click.option("--job", type=NAME, metavar="NAME", help="Only of this job."),
            click.option("--tenant", type=NAME, metavar="NAME", help="Only of this tenant."),
            click.option("--sender", type=NAME, metavar="ADDRESS", help="Only from this sender; <> is none."),
            click.option("--to", type=NAME, metavar="ADDRESS", help="Only to this recipient, or to @domain."),
            click.option("--uncertain", is_flag=True, help="Only what may be delivered already."),
            click.option("--older-than", metavar="DURATION", help="Only queued longer ago: 15m, 4h, 5d."),
            click.option("--newer-than", metavar="DURATION", help="Only queued since then."),
        )
    ):
        command = option(command)
    return command


def read_selection(words: SelectionWords, *, now: int) -> QueueFilter:
    """Tell what the options mean. Raises UsageError."""
    to, state = words["to"], words["state"]
    domain = to[1:] if to and to.startswith("@") else None
    return QueueFilter(
        route=words["route"],
        state=State(state) if state else None,
        job=words["job"],
        tenant=words["tenant"],
        sender="" if words["sender"] == "<>" else words["sender"],
        address=to if domain is None else None,
        domain=domain,
        uncertain=words["uncertain"],
        before=_ago("--older-than", words["older_than"], now),
        since=_ago("--newer-than", words["newer_than"], now),
    )


def read_duration(name: str, text: str) -> int:
    """Read a duration, in µs. Raises UsageError."""
    duration = parse_duration(text)
    if duration is None:
        raise UsageError(f"{name} '{show(text)}' is no duration", hint="write 90s, 15m, 4h or 5d")
    return duration.us


def _ago(name: str, text: str | None, now: int) -> int | None:
    return None if text is None else now - read_duration(name, text)
