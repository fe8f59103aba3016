"""What the client role tells its caller."""

from __future__ import annotations

import msgspec

from spooler.lmtp.capabilities import Capabilities
from spooler.lmtp.transaction import Transaction
from spooler.reply import Reply, Stage


class Greeting(msgspec.Struct, frozen=True):
    """The server is there: send LHLO."""

    reply: Reply


class Ready(msgspec.Struct, frozen=True):
    """LHLO was taken: transactions may begin."""

    capabilities: Capabilities


class TlsDue(msgspec.Struct, frozen=True):
    """220 to STARTTLS: agree on TLS now, then say LHLO. Not an octet of plain text came behind it."""


class Challenge(msgspec.Struct, frozen=True):
    """334: AUTH goes on with what the server said, in base64."""

    reply: Reply


class Authenticated(msgspec.Struct, frozen=True):
    """235: AUTH was accepted."""

    reply: Reply


class Refused(msgspec.Struct, frozen=True):
    """A refusal before mail. Of the greeting (CONNECT) or LHLO: nothing but QUIT is left.

    STARTTLS or AUTH that was refused leaves the session as it was.
    """

    stage: Stage
    reply: Reply


class GoAhead(msgspec.Struct, frozen=True):
    """354: the body of this transaction is due now (by BDAT it is due as soon as it has begun)."""

    transaction: Transaction


class Finished(msgspec.Struct, frozen=True):
    """Every reply of this transaction was read and is proven to be its own."""

    transaction: Transaction


class ServerClosing(msgspec.Struct, frozen=True):
    """421: nothing more will come. `stage` is the slot that it stood in, None where none was due."""

    stage: Stage | None
    reply: Reply


Event = Greeting | Ready | TlsDue | Challenge | Authenticated | Refused | GoAhead | Finished | ServerClosing
