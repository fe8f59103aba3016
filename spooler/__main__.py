"""`python -m spooler` is the command `spooler`."""

from __future__ import annotations

import sys

from spooler.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
