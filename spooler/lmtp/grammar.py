"""The grammar that both roles share: limits, patterns of lines, paths and parameters, xtext.

Patterns work on octets, as the wire does, and are meant for `fullmatch`. Sources: RFC 5321 section
4.1.2 and 4.2 (paths, replies), RFC 6531 section 3.3 (octets above 127), RFC 2034 (enhanced codes), RFC 3461
section 4 (xtext). Source routes are not part of it (RFC 5321 appendix C lets us drop them).
"""

from __future__ import annotations

import re

CRLF = b"\r\n"
END_OF_DATA = b".\r\n"
MAX_REPLY_LINE = 2048  # octets with CRLF; RFC 5321 section 4.5.3.1.5 says 512, real servers exceed it
MAX_REPLY_LINES = 128  # of one reply; LHLO needs some 20
MAX_COMMAND_LINE = 4096  # octets with CRLF; 512 and what the extensions that we know add to it

_QUOTED = rb'"(?:[^\x00-\x1f\x7f"\\]|\\[\x20-\x7e])*"'
_UNQUOTED = rb'[^\x00-\x20\x7f<>"]'

REPLY_LINE = re.compile(rb"([2-5][0-5][0-9])(?:([ -])([^\x00\r\n]*))?")
"""Code, "-" where more lines follow, text."""

ENHANCED_CODE = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|$)", re.ASCII)
"""The enhanced status code at the start of a reply's text, and the blanks behind it."""

PATH = re.compile(rb"<((?:" + _QUOTED + rb"|" + _UNQUOTED + rb")*)>")
"""A path in its brackets, the empty one included; group 1 is the mailbox. Not `>` unless quoted."""

KEYWORD = re.compile(rb"[A-Za-z0-9][A-Za-z0-9-]*")
"""An extension's or a parameter's name (esmtp-keyword)."""

PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
"""`KEYWORD` or `KEYWORD=value` behind a path (esmtp-param)."""

HELLO_NAME = re.compile(rb"[A-Za-z0-9_.-]+|\[[\x21-\x5a\x5e-\x7e]+\]")
"""The argument of LHLO: a domain or an address literal."""

_NOT_XCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")


def xtext_encode(text: str) -> str:
    """Encode for ENVID and ORCPT (RFC 3461 section 4); raises ValueError for what is not ASCII."""
    if not text.isascii():
        raise ValueError("xtext carries ASCII only")
    return _NOT_XCHAR.sub(lambda match: f"+{ord(match.group()):02X}", text)


def xtext_decode(text: str) -> str:
    """Undo `xtext_encode`; raises ValueError for what is no xtext."""
    if not _XTEXT.fullmatch(text):
        raise ValueError("malformed xtext")
    return _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)
