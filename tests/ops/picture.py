"""`python -m tests.ops.picture FILE`: the picture of the status page in docs/, taken during a drain."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from spooler.spool import migrate
from tests.ops.served import address_of
from tests.ops.test_page import prepare
from tests.servers.chromium import picture_of
from tests.servers.own_sink import own_sink
from tests.servers.process import find, folder
from tests.supervise.command import running

_WIDTH, _HEIGHT = 1120, 1240
_GO_ON = 25.0  # seconds of drain, so that charts show something


def main() -> int:
    """Take it."""
    chromium = find("chromium")
    if chromium is None:
        print("chromium is missing: install chromium (Debian's name)", file=sys.stderr)  # noqa: T201  # a program
        return 69
    with folder() as place, own_sink("--delay", "final=0.03", "--refuse", "user7-*") as sink:
        url = f"sqlite:///{place}/spool.db"
        migrate.create_or_upgrade(url)
        config = prepare(url, place, sink.tcp, messages=24_000)
        with running(place / "log", "worker", "--config", str(config), http="127.0.0.1:0") as worker:
            address = address_of(worker)
            time.sleep(_GO_ON)
            picture_of(chromium, f"{address}/", Path(sys.argv[1]), width=_WIDTH, height=_HEIGHT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
