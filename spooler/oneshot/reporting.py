"""What is said of a one-shot delivery, and its exit code (sysexits.h).

Any recipient deferred: 75, else the first failure's code, else 0. Where no session was had nothing was said
of any recipient, and the code tells what was in the way.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from spooler.address import show
from spooler.reply import Stage
from spooler.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.oneshot.way import Obstacle, Told
    from spooler.policy.classify import Verdict

_SHOWN = 5  # addresses in a warning
_TROUBLE_CODES = {
    Trouble.NO_HOST: os.EX_NOHOST,
    Trouble.REFUSED: os.EX_UNAVAILABLE,
    Trouble.NOT_PERMITTED: os.EX_NOPERM,
    Trouble.UNREACHABLE: os.EX_UNAVAILABLE,
    Trouble.SILENT: os.EX_UNAVAILABLE,
    Trouble.BUSY: os.EX_TEMPFAIL,
    Trouble.NO_LMTP: os.EX_PROTOCOL,
    Trouble.FOREIGN: os.EX_PROTOCOL,
    Trouble.NO_TLS: os.EX_PROTOCOL,
    Trouble.NO_HANDSHAKE: os.EX_PROTOCOL,
    Trouble.CERTIFICATE: os.EX_PROTOCOL,
    Trouble.NO_MECHANISM: os.EX_NOPERM,
    Trouble.AUTHENTICATION: os.EX_NOPERM,
    Trouble.OURS: os.EX_CONFIG,
}
_MENDS = {
    Trouble.REFUSED: "nothing listens there: check the destination, or start the server",
    Trouble.NOT_PERMITTED: "run it as a user who may connect there",
    Trouble.BUSY: "try again later",
    Trouble.NO_TLS: "the server has to offer it; --tls-level none would send in plain text",
    Trouble.NO_MECHANISM: "use another destination, or leave -a out",
    Trouble.AUTHENTICATION: "check the user and the password",
}
# The class and subject of an enhanced code (RFC 3463 section 3), as sendmail maps them.
_SUBJECTS = {
    "1": os.EX_NOUSER,
    "2": os.EX_UNAVAILABLE,
    "3": os.EX_UNAVAILABLE,
    "4": os.EX_UNAVAILABLE,
    "5": os.EX_PROTOCOL,
    "6": os.EX_DATAERR,
    "7": os.EX_NOPERM,
}
_DETAILS = {"1.2": os.EX_NOHOST, "2.3": os.EX_DATAERR, "3.4": os.EX_DATAERR}
_USER_UNKNOWN = (550, 551, 553)  # RFC 5321 section 4.2.3, where they answer RCPT
_NOT_UNDERSTOOD = range(500, 505)


def exit_code(told: Sequence[Told]) -> int:
    """Return the code of a delivery that had a session for everybody."""
    if any(one.deferred for one in told):
        return os.EX_TEMPFAIL
    return next((failure_code(one.verdict) for one in told if not one.delivered), os.EX_OK)


def failure_code(verdict: Verdict) -> int:
    """Return the code of a failure."""
    _, _, rest = verdict.enhanced.partition(".")
    if rest in _DETAILS:
        return _DETAILS[rest]
    if rest[:1] in _SUBJECTS:
        return _SUBJECTS[rest[:1]]
    if verdict.stage is Stage.RCPT and verdict.code in _USER_UNKNOWN:
        return os.EX_NOUSER
    return os.EX_PROTOCOL if verdict.code in _NOT_UNDERSTOOD else os.EX_UNAVAILABLE


def no_way(obstacles: Sequence[Obstacle]) -> tuple[str, int]:
    """Say why no session could be had, in one line, and with which code; nothing was sent then."""
    decisive = next((one for one in obstacles if one.trouble is not Trouble.REFUSED), obstacles[-1])
    said = "; ".join(f"{one.destination}: {one.why}" for one in obstacles)
    mend = _MENDS.get(decisive.trouble, "")
    return f"{said} ({mend})" if mend else said, _TROUBLE_CODES[decisive.trouble]


def word(told: Told) -> str:
    """Name the outcome."""
    return "uncertain" if told.verdict.uncertain else told.verdict.outcome.value


def warnings(told: Sequence[Told]) -> list[str]:
    """Say what a repetition of the whole command would do."""
    deferred = [one.address for one in told if one.deferred and not one.verdict.uncertain]
    uncertain = [one.address for one in told if one.verdict.uncertain]
    delivered = any(one.delivered for one in told)
    lines = []
    if uncertain:
        lines.append(
            f"{_names(uncertain)} may have the message already: repeating the command may deliver it twice"
        )
    if deferred and (delivered or uncertain):
        lines.append(
            f"{len(deferred)} of {len(told)} deferred: repeating the whole command would deliver twice "
            f"to the others; repeat it for {_names(deferred)} alone"
        )
    return lines


def _names(addresses: Sequence[str]) -> str:
    shown = ", ".join(show(address) for address in addresses[:_SHOWN])
    more = len(addresses) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
