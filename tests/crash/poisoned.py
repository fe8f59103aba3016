"""`spooler ARGUMENTS` with a fault that real programs have had: one message kills it, whenever it is sent.

The address deadly@example.org kills when its content is asked for, late@example.org when all its replies are
there and nothing of them was recorded.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from spooler.cli.main import main
from spooler.delivery import feed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from spooler.lmtp.transaction import Transaction


class Poisoned(feed.Feed):
    """A feed that dies."""

    def content(self, transaction: Transaction) -> bytes | AsyncGenerator[bytes, None]:
        """See `Feed`."""
        _die_of(transaction, "deadly@")
        return super().content(transaction)

    def finished(self, transaction: Transaction) -> None:
        """See `Feed`."""
        _die_of(transaction, "late@")
        super().finished(transaction)


def _die_of(transaction: Transaction, who: str) -> None:
    if any(recipient.address.startswith(who) for recipient in transaction.recipients):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from spooler.delivery import crew

    crew.Feed = Poisoned  # type: ignore[attr-defined]  # the fault
    sys.exit(main())
