"""What the sink does when: scripted faults, decided without I/O or clock.

A `Script` is what was asked for; a `Play` is one run of it and counts what was played so far. Patterns are
those of fnmatch on the whole address, case-sensitive; the first rule that matches decides, refusals first.
"""

from __future__ import annotations

import fnmatch
import re
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from spooler.address import show
from spooler.errors import UsageError
from spooler.lmtp.serving import CAPABILITIES
from spooler.reply import Reply, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSE = Reply(550, "5.1.1", ("no such user",))
DEFER = Reply(451, "4.3.0", ("try later",))
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", ("too many recipients",))
TOO_MANY_TRANSACTIONS = Reply(421, "4.3.2", ("too many transactions on this connection",))
_REPLY = re.compile(r"([2-5][0-9]{2})(?: ([245]\.[0-9]{1,3}\.[0-9]{1,3}))?(?: ([^\x00-\x1f\x7f]*))?")
_DELAYED = (Stage.CONNECT, Stage.LHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL)


class DropAt(StrEnum):
    """Where a connection can be closed without a word; what was answered before is still sent."""

    GREETING = "greeting"
    LHLO = "lhlo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    """The content has begun to arrive."""
    BEFORE_DOT = "before-dot"
    """As if the end of the content had not arrived: nothing is delivered."""
    AFTER_DOT = "after-dot"
    """Delivered, but no final reply is sent."""


class Rule(msgspec.Struct, frozen=True):
    """Recipients that match get this reply."""

    pattern: str
    reply: Reply


class Drop(msgspec.Struct, frozen=True):
    """Close at this stage of every `every`th transaction (at greeting and LHLO: connection)."""

    at: DropAt
    every: int = 1


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """All that was asked for.

    `times`: how often an address is deferred before it is let through, None for ever. `replies`: so many
    more or fewer final replies than due. `silent_for_nobody`: see `spooler.lmtp.server`. `delays` in
    seconds before each reply of a stage. The three maxima are of a transaction, a connection and the
    sink, None without limit. `too_many` is said to MAIL beyond `max_transactions`.
    """

    at_rcpt: tuple[Rule, ...] = ()
    at_final: tuple[Rule, ...] = ()
    times: int | None = None
    drops: tuple[Drop, ...] = ()
    replies: int = 0
    one_reply: bool = False
    delays: dict[Stage, float] = {}
    drip: bool = False
    greeting: str | None = None
    mute: bool = False
    without: frozenset[str] = frozenset()
    size_limit: int = 0
    smtp: bool = False
    silent_for_nobody: bool = False
    max_recipients: int | None = None
    max_transactions: int | None = None
    too_many: Reply = TOO_MANY_TRANSACTIONS
    max_connections: int | None = None

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What is announced."""
        return tuple(name for name in CAPABILITIES if name not in self.without)

    @property
    def miscounts(self) -> bool:
        """Whether final replies are too many or too few."""
        return self.one_reply or self.replies != 0


class Play:
    """A script being played: what it says for each case, by what happened before."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._at_rcpt = _compiled(script.at_rcpt)
        self._at_final = _compiled(script.at_final)
        self._deferred: dict[str, int] = {}

    def at_rcpt(self, address: str, accepted: int) -> Reply | None:
        """Return the refusal of a RCPT when `accepted` stand already; None accepts it."""
        limit = self.script.max_recipients
        if limit is not None and accepted >= limit:
            return TOO_MANY_RECIPIENTS
        return self._decide(self._at_rcpt, address) if self._at_rcpt else None

    def at_final(self, address: str) -> Reply | None:
        """Return the refusal in an accepted recipient's final reply; None delivers."""
        return self._decide(self._at_final, address) if self._at_final else None

    def drops(self, at: DropAt, number: int) -> bool:
        """Whether to close here; `number` counts transactions (at greeting and LHLO: connections) from 1."""
        return any(drop.at is at and number % drop.every == 0 for drop in self.script.drops)

    def sent_replies(self, replies: list[bytes]) -> list[bytes]:
        """Return the final replies that are really sent, of those that are due."""
        script = self.script
        if script.one_reply:
            replies = replies[:1]
        if script.replies < 0:
            return replies[: script.replies]
        return replies + replies[-1:] * script.replies

    def _decide(self, rules: Sequence[tuple[re.Pattern[str], Reply]], address: str) -> Reply | None:
        for pattern, reply in rules:
            if not pattern.match(address):
                continue
            if reply.temporary and self.script.times is not None:
                played = self._deferred.get(address, 0)
                if played >= self.script.times:
                    continue
                self._deferred[address] = played + 1
            return reply
        return None


def _compiled(rules: Sequence[Rule]) -> list[tuple[re.Pattern[str], Reply]]:
    return [(re.compile(fnmatch.translate(rule.pattern)), rule.reply) for rule in rules]


def parse_reply(text: str) -> Reply:
    """Read `550 5.1.1 text`; raises UsageError."""
    match = _REPLY.fullmatch(text)
    if match is None or (match[2] and match[2][0] != match[1][0]):
        raise UsageError(
            f"reply '{show(text)}' is not understood", hint="give it as '550 5.1.1 no such user'"
        )
    return Reply(int(match[1]), match[2] or "", (match[3] or "",))


def parse_rule(text: str, default: Reply) -> Rule:
    """Read `PATTERN` or `PATTERN=REPLY`; the reply has the class of the default. Raises UsageError.

    Addresses may hold "=" themselves: a reply is what follows one and begins with three digits.
    """
    match = re.fullmatch(r"(.*?)=([0-9]{3}(?: .*)?)", text)
    pattern, reply = (match[1], parse_reply(match[2])) if match else (text, default)
    if not pattern or re.search(r"[\x00-\x20\x7f]", pattern) or (not match and _unread_reply(pattern)):
        raise UsageError(
            f"pattern '{show(text)}' is not understood",
            hint=f"give PATTERN or PATTERN=REPLY, as in 'full-*@example.org={default}'",
        )
    if reply.code // 100 != default.code // 100:
        raise UsageError(f"reply '{reply}' does not begin with {default.code // 100}")
    return Rule(pattern, reply)


def _unread_reply(pattern: str) -> bool:
    """Whether a misspelt reply was taken for the end of an address."""
    _, equals, rest = pattern.rpartition("=")
    return bool(equals) and "@" in pattern and "@" not in rest


def parse_drop(text: str) -> Drop:
    """Read `STAGE` or `STAGE:N`; raises UsageError."""
    stage, colon, number = text.partition(":")
    if stage not in set(DropAt):
        raise UsageError(f"stage '{show(stage)}' is unknown", hint=f"one of {', '.join(DropAt)}")
    if colon and not (number.isascii() and number.isdigit() and int(number) > 0):
        raise UsageError(f"'{show(text)}' has no valid count", hint="STAGE:N closes every Nth transaction")
    return Drop(DropAt(stage), int(number) if colon else 1)


def parse_delay(text: str) -> tuple[Stage, float]:
    """Read `STAGE=SECONDS`; raises UsageError."""
    stage, _, seconds = text.partition("=")
    if stage not in {str(known) for known in _DELAYED}:
        raise UsageError(f"stage '{show(stage)}' is unknown", hint=f"one of {', '.join(_DELAYED)}")
    if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+", seconds):
        raise UsageError(f"'{show(text)}' has no valid time", hint="STAGE=SECONDS, as in final=0.5")
    return Stage(stage), float(seconds)


def parse_without(text: str) -> frozenset[str]:
    """Read a capability's name or `all`; raises UsageError."""
    name = text.upper()
    if name == "ALL":
        return frozenset(CAPABILITIES)
    if name not in CAPABILITIES:
        raise UsageError(
            f"capability '{show(text)}' is unknown", hint=f"one of {', '.join(CAPABILITIES)}, all"
        )
    return frozenset({name})
