"""Who may ask: whoever has the token, or without one whoever is on this machine.

Without a token a page of a stranger that runs in a browser on this machine must not read along: it could give
its own name this machine's address (DNS rebinding). So the name that is asked for must be an address, or
`localhost`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from spooler.errors import ConfigError, NoInputError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = frozenset({"/livez"})
"""What anybody may ask."""


class Token:
    """A secret that is never shown."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def __repr__(self) -> str:
        return "<Token ***>"

    def matches(self, offered: bytes) -> bool:
        """Whether it is this one; how long that takes tells nothing."""
        return hmac.compare_digest(self._secret, offered)


def read_token(path: str) -> Token | None:
    """Read a token from its file, None if no file is named; raises NoInputError or ConfigError."""
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise NoInputError(
            f"http.token-file {path}: {why}", hint="name a file that this user can read"
        ) from None
    if not text:
        raise ConfigError(f"http.token-file {path} is empty", hint="write a long random word into it")
    return Token(text)


class Guard:
    """Wraps the application and lets pass what may."""

    def __init__(self, app: ASGIApp, *, token: Token | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["path"] in OPEN:
            return None
        headers = dict(scope["headers"])
        if self._token is None:
            if _is_address(headers.get(b"host", b"").decode("latin-1")):
                return None
            return JSONResponse({"error": "ask for this machine by its address, or as localhost"}, 421)
        if self._token.matches(_offered(headers.get(b"authorization", b""))):
            return None
        return JSONResponse(
            {"error": "a token is needed: as Bearer, or as the password of any user"},
            401,
            {"WWW-Authenticate": 'Basic realm="spooler", charset="UTF-8"'},
        )


def _offered(header: bytes) -> bytes:
    """Return the token of an Authorization header (RFC 6750 section 2.1, RFC 7617); b"" for none."""
    scheme, _, rest = header.partition(b" ")
    rest = rest.strip()
    if scheme.lower() == b"bearer":
        return rest
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


def _is_address(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
