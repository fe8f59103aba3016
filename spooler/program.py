"""This program, as it names itself to others."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of


@cache
def version() -> str:
    """The version that is installed; "" where it runs from a checkout that was not installed."""
    try:
        return version_of("spooler")
    except PackageNotFoundError:
        return ""
