"""`python -m bench.now_and_then …`: the command `spooler …`, but it counts events in every other second only.

For `bench.metrics`. It is the command itself, with one method replaced: counting goes by the clock.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from spooler.cli.main import main
from spooler.ops.metrics import Metrics

if TYPE_CHECKING:
    from spooler.events import Event

_count = Metrics.__call__


def counting(when: float) -> bool:
    """Whether metrics are at work in this second of the wall clock."""
    return int(when) % 2 == 0


def _now_and_then(self: Metrics, event: Event) -> None:
    if counting(time.time()):
        _count(self, event)


if __name__ == "__main__":
    Metrics.__call__ = _now_and_then  # type: ignore[method-assign]  # that is what this program is for
    sys.exit(main())
