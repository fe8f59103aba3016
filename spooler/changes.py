"""What is different in a configuration that was read again, and what of it can hold at once.

What a worker is made with (its spool, its journal, what it listens on) stays until it is started again; so
does a bolder `mode`, for what a destination is trusted with is learnt from the first mail on.
"""

from __future__ import annotations

import msgspec

from spooler.config import Config

_AT_ONCE = frozenset({"lhlo", "routes", "domains", "worker"})
_WORKER_AT_ONCE = frozenset({"claim", "buffer", "grace", "retention"})
_MODES = ("lockstep", "pipelined", "chunked")


class Changes(msgspec.Struct, frozen=True):
    """The configuration that holds from now on; the options that changed, and those that need a restart."""

    config: Config
    now: list[str]
    restart: list[str]


def changes(old: Config, new: Config) -> Changes:
    """Tell what of `new` takes the place of what of `old`."""
    now: list[str] = []
    restart: list[str] = []
    worker = new.worker
    for name in _different(old.worker, new.worker):
        if name in _WORKER_AT_ONCE:
            now.append(f"worker.{_key(worker, name)}")
        else:
            restart.append(f"worker.{_key(worker, name)}")
            worker = msgspec.structs.replace(worker, **{name: getattr(old.worker, name)})
    for name in sorted({*old.routes, *new.routes}):
        before, after = old.routes.get(name), new.routes.get(name)
        if before is None or after is None:
            now.append(f"routes.{name} {'added' if before is None else 'removed'}")
            continue
        for key in _different(before, after):
            bolder = key == "mode" and _MODES.index(after.mode) > _MODES.index(before.mode)
            (restart if bolder else now).append(f"routes.{name}.{_key(after, key)}")
    kept = {}
    for name in _different(old, new):
        if name not in _AT_ONCE:
            restart.append(_key(new, name))
            kept[name] = getattr(old, name)
        elif name in ("lhlo", "domains"):
            now.append(name)
    return Changes(msgspec.structs.replace(new, worker=worker, **kept), now, restart)


def _different(one: msgspec.Struct, other: msgspec.Struct) -> list[str]:
    return [name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name)]


def _key(section: msgspec.Struct, name: str) -> str:
    """Spell an option as the file does."""
    return next(field.encode_name for field in msgspec.structs.fields(section) if field.name == name)
