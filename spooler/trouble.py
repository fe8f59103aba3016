"""Why a destination is of no use: the kinds, for people, for exit codes and for what to mend."""

from __future__ import annotations

from enum import Enum


class Trouble(Enum):
    """Its value is for people."""

    NO_HOST = "the host's name has no address"
    REFUSED = "nothing listens there"
    NOT_PERMITTED = "this user may not connect to it"
    UNREACHABLE = "it cannot be reached"
    SILENT = "it does not answer"
    BUSY = "it takes no connection now"
    NO_LMTP = "it speaks SMTP and no LMTP"
    FOREIGN = "it does not speak LMTP"
    NO_TLS = "it does not do TLS, which is required"
    NO_HANDSHAKE = "TLS could not be agreed on"
    CERTIFICATE = "its certificate is not accepted"
    NO_MECHANISM = "it offers no way to authenticate that may be used"
    AUTHENTICATION = "it does not accept the user and secret"
    OURS = "what is needed for it here is not right"

    @property
    def of_security(self) -> bool:
        """Whether it is about TLS, AUTH, or what is needed for them: a person has to mend it."""
        return self in _OF_SECURITY


_OF_SECURITY = frozenset(
    {
        Trouble.NO_TLS,
        Trouble.NO_HANDSHAKE,
        Trouble.CERTIFICATE,
        Trouble.NO_MECHANISM,
        Trouble.AUTHENTICATION,
        Trouble.OURS,
    }
)
