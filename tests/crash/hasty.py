"""`python -m tests.crash.hasty ARGUMENTS`: the command `spooler`, whose leases are lost in seconds.

The times of the heartbeat are no configuration, for whoever shortens them is robbed. They are changed here
from outside, in proportion; spool processes are what they are.
"""

from __future__ import annotations

import sys

from spooler.cli.main import main
from spooler.delivery import heartbeat

PERIOD, FRESH, DEAD, GRACE = 0.5, 3.0, 6.0, 2.0  # seconds

if __name__ == "__main__":
    heartbeat.PERIOD, heartbeat.FRESH, heartbeat.DEAD, heartbeat.GRACE = PERIOD, FRESH, DEAD, GRACE
    sys.exit(main())
