"""Statements of routes that are paused; claims ask for them themselves, see `leasing.SOME_DUE`."""

from __future__ import annotations

from spooler.spool.sql import Statement

PAUSES = Statement("SELECT route, at, who, why FROM pause ORDER BY route")
PAUSE = Statement(
    """
    INSERT INTO pause (route, at, who, why) VALUES (:route, :now, :who, :why)
    ON CONFLICT (route) DO NOTHING
    """
)
RESUME = Statement("DELETE FROM pause WHERE route = :route")
