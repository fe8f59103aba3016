"""What the whole suite shares; pytest takes plugins only from the root."""

from __future__ import annotations

pytest_plugins = ["tests.servers.fixtures"]
