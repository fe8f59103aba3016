"""Fixtures of these tests."""

from tests.spools import empty_spool, spool_path, spool_url

__all__ = ["empty_spool", "spool_path", "spool_url"]
