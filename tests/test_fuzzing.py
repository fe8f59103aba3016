"""The targets of the other fuzzer hold for what it begins with, so that they do not rot."""

from __future__ import annotations

import pytest

from tests.fuzzing import TARGETS


@pytest.mark.parametrize("octets", [b"", b"250 ok\r\n", b".\r\n.", b"\0\0\0\1aaaa\x90", bytes(range(256))])
@pytest.mark.parametrize("name", TARGETS)
def test_a_target(name: str, octets: bytes) -> None:
    """No exception."""
    TARGETS[name](octets)
