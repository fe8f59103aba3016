"""Commands as octets. What could end a command early, or start another, is refused here and nowhere else.

CR, LF, NUL and every other control character, `>` even where a quoted local part may carry it, and
whatever is no mailbox by the grammar raise LocalProtocolError before an octet exists, whoever made
the envelope (SMTP smuggling starts with an encoder that trusts its caller). Parameters appear only if
the server offers their extension: SIZE (RFC 1870), BODY (RFC 6152), RET, ENVID, NOTIFY and ORCPT
(RFC 3461); SMTPUTF8 (RFC 6531) cannot be left out, so a server without it is our error. Whether 8-bit
content may go to a server without 8BITMIME is not decided here.

A group for many recipients is checked by one search and built by one join.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from spooler.envelope import BodyType, Notify
from spooler.lmtp.errors import LocalProtocolError
from spooler.lmtp.grammar import HELLO_NAME, PATH, xtext_encode

if TYPE_CHECKING:
    from spooler.lmtp.capabilities import Capabilities
    from spooler.lmtp.transaction import Recipient, Transaction

DATA = b"DATA\r\n"
RSET = b"RSET\r\n"
QUIT = b"QUIT\r\n"
STARTTLS = b"STARTTLS\r\n"

MAX_ADDRESS = 512  # characters; RFC 5321 section 4.5.3.1.3 allows half of it
MAX_AUTH = 12288  # octets of a line of AUTH with its end, RFC 4954 section 4
MAX_PARAMETER = 1024  # characters as encoded; RFC 3461 section 4.2 allows half of it

_FORBIDDEN = re.compile(r"[\x00-\x1f>\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# What an address that needs no second look is free of. LF is not: it parts the addresses that are searched.
_UNUSUAL = re.compile(r'[\x00-\x09\x0b-\x20"<>\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_AUTH = re.compile(rb"(?:AUTH [A-Z0-9_-]{1,20}(?: (?:=|[A-Za-z0-9+/]+={0,2}))?|[A-Za-z0-9+/]*={0,2})")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]+")
_EMBEDDED = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")  # RFC 6533 section 3: not QCHAR
_NOTIFY = {
    flags: "NEVER"
    if flags & Notify.NEVER
    else ",".join(word for flag, word in ((2, "SUCCESS"), (4, "FAILURE"), (8, "DELAY")) if flags & flag)
    for flags in range(1, 16)
}


def lhlo(name: str) -> bytes:
    """LHLO with our name: a domain or an address literal."""
    raw = name.encode("ascii", "replace")
    if not HELLO_NAME.fullmatch(raw) or len(raw) > MAX_ADDRESS:
        raise LocalProtocolError(f"{name[:80]!a} is no name to greet a server with")
    return b"LHLO %b\r\n" % raw


def auth(line: bytes) -> bytes:
    """AUTH with its mechanism, and perhaps a response, or a response alone (RFC 4954 section 4)."""
    if not _AUTH.fullmatch(line) or len(line) + 2 > MAX_AUTH:
        raise LocalProtocolError("what was to be said in AUTH is neither the command nor base64")
    return line + b"\r\n"


def envelope(transaction: Transaction, capabilities: Capabilities) -> bytes:
    """MAIL and each RCPT: one group (RFC 2920), in lines that may also be sent one by one."""
    recipients = transaction.recipients
    if not recipients:
        raise LocalProtocolError("a transaction without recipients")
    addresses = [recipient.address for recipient in recipients]
    _check_all(addresses)
    if capabilities.dsn and any(recipient.notify or recipient.orcpt for recipient in recipients):
        group = "".join([_rcpt(recipient, i) for i, recipient in enumerate(recipients)])
    else:
        group = "RCPT TO:<" + ">\r\nRCPT TO:<".join(addresses) + ">\r\n"
    text = _mail(transaction, capabilities) + group
    if transaction.smtputf8:
        if not capabilities.smtputf8:
            raise LocalProtocolError("the message needs SMTPUTF8, which the server does not offer")
    elif not text.isascii():
        raise _not_ascii(transaction)
    return text.encode()


def bdat(size: int, *, last: bool) -> bytes:
    """BDAT for a chunk of so many octets (RFC 3030 section 2)."""
    return b"BDAT %d LAST\r\n" % size if last else b"BDAT %d\r\n" % size


def _mail(transaction: Transaction, capabilities: Capabilities) -> str:
    sender = transaction.sender
    if sender and (_UNUSUAL.search(sender) or "\n" in sender or len(sender) > MAX_ADDRESS):
        _check(sender)
    line = f"MAIL FROM:<{sender}>"
    if capabilities.size is not None and transaction.size is not None:
        line += f" SIZE={transaction.size:d}"
    if capabilities.eightbitmime and transaction.body is BodyType.EIGHT_BIT:
        line += " BODY=8BITMIME"
    if transaction.smtputf8:
        line += " SMTPUTF8"
    if capabilities.dsn:
        if transaction.ret:
            if transaction.ret.upper() not in ("FULL", "HDRS"):
                raise LocalProtocolError(f"RET={transaction.ret[:80]!a} is neither FULL nor HDRS")
            line += f" RET={transaction.ret.upper()}"
        if transaction.envid:
            line += f" ENVID={_xtext(transaction.envid, 'ENVID', None)}"
    return line + "\r\n"


def _rcpt(recipient: Recipient, i: int) -> str:
    line = f"RCPT TO:<{recipient.address}>"
    if recipient.notify:
        line += f" NOTIFY={_NOTIFY[recipient.notify]}"
    if recipient.orcpt:
        line += f" ORCPT={_orcpt(recipient.orcpt, i)}"
    return line + "\r\n"


def _check_all(addresses: list[str]) -> None:
    """Hold recipients against the grammar: all at once, and only if that raises a question each."""
    joined = "\n".join(addresses)
    if (
        _UNUSUAL.search(joined)
        or joined.count("\n") >= len(addresses)
        or not all(addresses)
        or max(map(len, addresses)) > MAX_ADDRESS
    ):
        for i, address in enumerate(addresses):
            _check(address, i)


def _check(address: str, i: int | None = None) -> None:
    """Hold one address against the whole grammar; `i` is None for the sender."""
    what = "sender" if i is None else "recipient"
    _forbid(address, what, i)
    if not address or not PATH.fullmatch(f"<{address}>".encode()) or len(address) > MAX_ADDRESS:
        raise LocalProtocolError(f"{what} {address[:80]!a} is no mailbox", recipient=i)


def _forbid(text: str, what: str, i: int | None) -> None:
    if _FORBIDDEN.search(text):
        raise LocalProtocolError(f"{what} {text[:80]!a} has a character that is never sent", recipient=i)


def _xtext(text: str, what: str, i: int | None) -> str:
    _forbid(text, what, i)
    if not text.isascii():
        raise LocalProtocolError(f"{what} {text[:80]!a} is not ASCII", recipient=i)
    return _bounded(xtext_encode(text), what, i)


def _orcpt(text: str, i: int) -> str:
    """Give type and address (RFC 3461 section 4.2); what is not ASCII has a type of its own (RFC 6533)."""
    kind, semicolon, address = text.partition(";")
    if not semicolon:
        kind, address = "rfc822", text
    if not _ADDRESS_TYPE.fullmatch(kind):
        raise LocalProtocolError(f"ORCPT {text[:80]!a} has no valid address type", recipient=i)
    if address.isascii() and kind.lower() != "utf-8":
        return f"{kind};{_xtext(address, 'ORCPT', i)}"
    _forbid(address, "ORCPT", i)
    embedded = _EMBEDDED.sub(lambda match: f"\\x{{{ord(match.group()):02X}}}", address)
    return f"utf-8;{_bounded(embedded, 'ORCPT', i)}"


def _bounded(encoded: str, what: str, i: int | None) -> str:
    if len(encoded) > MAX_PARAMETER:
        raise LocalProtocolError(f"{what} of over {MAX_PARAMETER} characters", recipient=i)
    return encoded


def _not_ascii(transaction: Transaction) -> LocalProtocolError:
    """Name the first address to blame; the parameters are ASCII always."""
    if not transaction.sender.isascii():
        return LocalProtocolError(f"sender {transaction.sender[:80]!a} needs SMTPUTF8")
    i = next(i for i, recipient in enumerate(transaction.recipients) if not recipient.address.isascii())
    return LocalProtocolError(
        f"recipient {transaction.recipients[i].address[:80]!a} needs SMTPUTF8", recipient=i
    )
