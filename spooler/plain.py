"""Records as JSON has them: ids in the form that people see, RFC 3339 times in UTC, durations in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum, IntFlag
from typing import Any

import msgspec

from spooler.ident import format_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDS = frozenset({"id", "message_id", "content", "lease", "worker"})
_TIMES = frozenset(
    {"at", "due", "created", "not_before", "expires", "started", "beat_at", "oldest", "since", "until"}
    | {"first_at", "last_at", "probe_at", "clears", "began"}
)
_DURATIONS = frozenset({"waited", "took", "mean", "p50", "p90", "p95", "p99"})


def rfc3339(when: int) -> str:
    """Write a time (µs UTC) to the microsecond."""
    return moment(when).isoformat(timespec="microseconds").replace("+00:00", "Z")


def plain(value: Any) -> Any:  # noqa: ANN401  (any record in, JSON's types out)
    """Turn a record into what JSON can say, with stable keys."""
    if isinstance(value, msgspec.Struct):
        return {key: _field(key, getattr(value, key)) for key in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {key: _field(key, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, IntFlag):
        return [flag.name.lower() for flag in value if flag.name]
    if isinstance(value, IntEnum):
        return value.name.lower()
    return value


def moment(when: int) -> datetime:
    """The nearest time that there is: one strange row must not hide the others."""
    try:
        return _EPOCH + timedelta(microseconds=when)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if when < 0 else datetime.max.replace(tzinfo=UTC)


def _field(key: str, value: Any) -> Any:  # noqa: ANN401  (as `plain`)
    if not isinstance(value, int) or isinstance(value, bool):
        return plain(value)
    if key in _IDS:
        return format_id(value) if value else None
    if key in _TIMES:
        return rfc3339(value)
    return value / 1_000_000 if key in _DURATIONS else plain(value)
