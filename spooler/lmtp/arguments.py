"""What stands behind MAIL and RCPT, read for the server role.

RFC 5321 sections 4.1.1.2, 4.1.1.3 and 4.1.2, RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531 (SMTPUTF8),
RFC 3461 (RET, ENVID, NOTIFY, ORCPT). Strict: a parameter of a capability that was not announced is
refused, and so is a space after the colon (RFC 5321 section 3.3). Addresses keep their case. ENVID and
ORCPT keep their xtext form. Limit: AUTH= (RFC 4954) and BINARYMIME are unknown here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from spooler.address import fault_of, needs_smtputf8
from spooler.envelope import BodyType, Notify

if TYPE_CHECKING:
    from collections.abc import Collection

# a path in brackets, quoted strings in it may hold anything but their own end; then parameters
_PATH = re.compile(rb'<((?:"(?:[^"\\]|\\.)*"|[^\x00-\x20"<>\x7f])*)>(?: +(.*))?', re.DOTALL)
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\xff]+))?")
_DIGITS = re.compile(rb"[0-9]{1,20}")  # RFC 1870 section 4
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})+")  # RFC 3461 section 4
_ORCPT = re.compile(r"[A-Za-z0-9-]+;[^\x00-\x20\x7f=]+")  # RFC 3461 section 4.2, RFC 6533 section 3
_MAX_ENVID = 100  # characters, RFC 3461 section 4.4


class Refused(Exception):  # noqa: N818 - an answer to give, not an error of ours
    """The command is answered with this."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.answer = (code, enhanced, text)


class MailParameters(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a client said behind the sender; None where it said nothing."""

    size: int | None = None
    body: BodyType | None = None
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


class RcptParameters(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a client said behind a recipient."""

    notify: Notify = Notify.DEFAULT
    orcpt: str | None = None


_NO_MAIL_PARAMETERS = MailParameters()
_NO_RCPT_PARAMETERS = RcptParameters()


def read_mail(argument: bytes, capabilities: Collection[str]) -> tuple[str, MailParameters]:
    """Read `FROM:<sender> parameters`; the null sender is "". Raises Refused."""
    path, rest = _path(argument, b"FROM:", "5.1.7")
    parameters = _NO_MAIL_PARAMETERS if rest is None else _mail_parameters(rest, capabilities)
    return _address(path, "5.1.7", smtputf8=parameters.smtputf8) if path else "", parameters


def read_rcpt(
    argument: bytes, capabilities: Collection[str], *, smtputf8: bool
) -> tuple[str, RcptParameters]:
    """Read `TO:<address> parameters`; `smtputf8` is whether MAIL carried it. Raises Refused."""
    path, rest = _path(argument, b"TO:", "5.1.3")
    parameters = _NO_RCPT_PARAMETERS if rest is None else _rcpt_parameters(rest, capabilities)
    return _address(path, "5.1.3", smtputf8=smtputf8), parameters


def _path(argument: bytes, keyword: bytes, enhanced: str) -> tuple[bytes, bytes | None]:
    length = len(keyword)
    if argument[:length].upper() != keyword:
        raise Refused(501, "5.5.4", f"expected {keyword.decode()}<address>")
    match = _PATH.fullmatch(argument, length)
    if match is None:
        raise Refused(501, enhanced, "malformed path")
    path: bytes = match[1]
    if path.startswith(b"@"):  # a source route is to be accepted and ignored, RFC 5321 appendix C
        _, colon, path = path.partition(b":")
        if not colon or not path:
            raise Refused(501, enhanced, "malformed source route")
    return path, match[2]


def _address(path: bytes, enhanced: str, *, smtputf8: bool) -> str:
    try:
        text = path.decode()
    except UnicodeDecodeError:
        raise Refused(501, enhanced, "address is not valid UTF-8") from None
    if not smtputf8 and needs_smtputf8(text):
        raise Refused(553, "5.6.7", "address needs SMTPUTF8")  # RFC 6531 section 3.5
    if fault_of(text):
        raise Refused(501, enhanced, "malformed address")
    return text


def _pairs(rest: bytes) -> dict[bytes, bytes | None]:
    found: dict[bytes, bytes | None] = {}
    for word in rest.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise Refused(501, "5.5.4", "malformed parameter")
        key = match[1].upper()
        if key in found:
            raise Refused(501, "5.5.4", "the same parameter twice")
        found[key] = match[2]
    return found


_NEEDS = {
    b"SIZE": "SIZE",
    b"BODY": "8BITMIME",
    b"SMTPUTF8": "SMTPUTF8",
    b"RET": "DSN",
    b"ENVID": "DSN",
    b"NOTIFY": "DSN",
    b"ORCPT": "DSN",
}
_OF_MAIL = frozenset({b"SIZE", b"BODY", b"SMTPUTF8", b"RET", b"ENVID"})
_OF_RCPT = frozenset({b"NOTIFY", b"ORCPT"})


def _known(
    pairs: dict[bytes, bytes | None], allowed: frozenset[bytes], capabilities: Collection[str]
) -> None:
    for key in pairs:
        if key not in allowed or _NEEDS[key] not in capabilities:
            raise Refused(555, "5.5.4", "parameter not recognised")  # RFC 5321 section 4.1.1.11


def _mail_parameters(rest: bytes, capabilities: Collection[str]) -> MailParameters:
    pairs = _pairs(rest)
    _known(pairs, _OF_MAIL, capabilities)
    size = pairs.get(b"SIZE")
    if b"SIZE" in pairs and not (size and _DIGITS.fullmatch(size)):
        raise Refused(501, "5.5.4", "malformed SIZE")
    body = pairs.get(b"BODY", b"7BIT")
    if body is None or body.upper() not in (b"7BIT", b"8BITMIME"):
        raise Refused(501, "5.5.4", "malformed BODY")
    if pairs.get(b"SMTPUTF8") is not None:
        raise Refused(501, "5.5.4", "SMTPUTF8 has no value")
    ret = _text(pairs, b"RET")
    if ret is not None and ret.upper() not in ("FULL", "HDRS"):
        raise Refused(501, "5.5.4", "malformed RET")
    envid = _text(pairs, b"ENVID")
    if envid is not None and not (_XTEXT.fullmatch(envid) and len(envid) <= _MAX_ENVID):
        raise Refused(501, "5.5.4", "malformed ENVID")
    return MailParameters(
        size=int(size) if size else None,
        body=BodyType(body.decode().lower()) if b"BODY" in pairs else None,
        smtputf8=b"SMTPUTF8" in pairs,
        ret=ret.upper() if ret is not None else None,
        envid=envid,
    )


def _rcpt_parameters(rest: bytes, capabilities: Collection[str]) -> RcptParameters:
    pairs = _pairs(rest)
    _known(pairs, _OF_RCPT, capabilities)
    orcpt = _text(pairs, b"ORCPT")
    if orcpt is not None and not _ORCPT.fullmatch(orcpt):
        raise Refused(501, "5.5.4", "malformed ORCPT")
    notify = _text(pairs, b"NOTIFY")
    return RcptParameters(notify=Notify.DEFAULT if notify is None else _notify(notify), orcpt=orcpt)


def _notify(value: str) -> Notify:
    """RFC 3461 section 4.1: NEVER alone, or a list of the others."""
    notify = Notify.DEFAULT
    for word in value.upper().split(","):
        flag = Notify.__members__.get(word)
        if not flag or (notify and Notify.NEVER in (notify | flag)):
            raise Refused(501, "5.5.4", "malformed NOTIFY")
        notify |= flag
    return notify


def _text(pairs: dict[bytes, bytes | None], key: bytes) -> str | None:
    """Return a value as text, None if the parameter is not there; without a value it is malformed."""
    if key not in pairs:
        return None
    value = pairs[key]
    try:
        if value is not None:
            return value.decode()
    except UnicodeDecodeError:
        pass
    raise Refused(501, "5.5.4", f"malformed {key.decode()}")
