"""SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side: both sides prove that they know the secret.

The server never learns the secret, and has to show by its signature that it knows what belongs to it: before
that, its "success" is none. Limits: no channel binding (SCRAM-SHA-256-PLUS); a server may ask for at most
`MAX_ITERATIONS`, because the worker stands still meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from typing import TYPE_CHECKING

from spooler.lmtp.errors import RemoteProtocolError

if TYPE_CHECKING:
    from spooler.credentials import Credentials

MIN_ITERATIONS = 4096  # RFC 7677 section 4
MAX_ITERATIONS = 600_000  # a quarter of a second
_HEADER = "n,,"  # RFC 5802 section 7: no channel binding, no other identity
_FIRST = re.compile(r"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,9})(?:,.*)?")
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class ScramSha256:
    """One exchange (see `spooler.lmtp.sasl.Mechanism`); `nonce` is printable ASCII without a comma."""

    def __init__(self, credentials: Credentials, nonce: str) -> None:
        user = prepare(credentials.user).replace("=", "=3D").replace(",", "=2C")
        self._secret = prepare(credentials.secret.reveal()).encode()
        self._nonce = nonce
        self._first = f"n={user},r={nonce}"
        self._expected = b""  # the server's signature
        self._proven = False

    def initial(self) -> bytes:
        """See `Mechanism`."""
        return f"{_HEADER}{self._first}".encode()

    def respond(self, challenge: bytes) -> bytes:
        """See `Mechanism`."""
        try:
            text = challenge.decode()
        except UnicodeDecodeError:
            raise RemoteProtocolError("the server's part of SCRAM is not UTF-8") from None
        if self._expected:
            self._check(text)
            return b""
        return self._prove(text)

    def accepted(self) -> None:
        """See `Mechanism`."""
        if not self._proven:
            raise RemoteProtocolError("the server accepts without having proved that it knows the secret")

    def _prove(self, text: str) -> bytes:
        match = _FIRST.fullmatch(text)
        if match is None:
            raise RemoteProtocolError("the server's first part of SCRAM is malformed")
        nonce, salt, iterations = match[1], match[2], int(match[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise RemoteProtocolError("the server's part of SCRAM does not answer ours")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise RemoteProtocolError(
                f"the server wants {iterations} rounds of SCRAM, not {MIN_ITERATIONS} to {MAX_ITERATIONS}"
            )
        salted = hashlib.pbkdf2_hmac("sha256", self._secret, _decode(salt), iterations)
        final = f"c={base64.b64encode(_HEADER.encode()).decode()},r={nonce}"
        message = f"{self._first},{text},{final}".encode()
        client_key = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.sha256(client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._expected = _hmac(_hmac(salted, b"Server Key"), message)
        return f"{final},p={base64.b64encode(proof).decode()}".encode()

    def _check(self, text: str) -> None:
        kind, _, value = text.partition(",")[0].partition("=")
        if kind != "v" or not hmac.compare_digest(_decode(value), self._expected) or self._proven:
            raise RemoteProtocolError("the server does not prove that it knows the secret")
        self._proven = True


def prepare(text: str) -> str:
    """Prepare a user or a secret (SASLprep, RFC 4013); what must not be in one is left as it is.

    Servers that do not prepare what they store would else never match it.
    """
    if text.isascii():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared or any(table(char) for char in prepared for table in _PROHIBITED):
        return text
    rightwards = [stringprep.in_table_d1(char) for char in prepared]
    mixed = any(rightwards) and (
        any(stringprep.in_table_d2(char) for char in prepared) or not (rightwards[0] and rightwards[-1])
    )
    return text if mixed else prepared


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except binascii.Error:
        raise RemoteProtocolError("the server's part of SCRAM is not base64") from None
