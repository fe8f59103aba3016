"""What the whole suite shares; pytest takes plugins only from the root."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["SPOOLER_HTTP"] = "off"  # workers that tests start have no port for themselves

pytest_plugins = ["tests.servers.fixtures"]

# one example takes as long as the machine lets it: the suite as a whole has its limit in CI
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
