"""What is wrong with a configuration, and where: msgspec names neither a table's keys nor what is allowed."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from spooler.address import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PLACE = re.compile(r" - at `\$(\S*)`$")
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<number>\.\.\.|\d+)\]")


def explain(
    error: str, data: object, kind: type, *, dec_hook: Callable[[type, Any], object]
) -> tuple[str, str]:
    """Say what is wrong with `data`, which is no `kind`, and what may stand there, "" where that is open.

    `error` is msgspec's, where a place is such as "$.routes[...].mode"; `dec_hook` as for `msgspec.convert`.
    """
    match = _PLACE.search(error)
    if match is None:
        return error, ""
    place = ""
    at: Any = kind
    for step in _STEP.finditer(match[1]):
        if (name := step["name"]) is not None:
            field = next(
                (one for section in _sections(at) for one in _fields(section) if one.encode_name == name),
                None,
            )
            if field is None or not isinstance(data, dict):
                return error, ""
            data, at = data.get(name), field.type
            place += f".{name}"
        elif isinstance(data, dict):
            at = get_args(at)[1]
            key = next((key for key, value in data.items() if not _is(value, at, dec_hook)), None)
            if key is None:
                return error, ""
            data = data[key]
            place += f".{show(str(key))}"
        else:
            at = next(iter(get_args(at)), None)
            place += f"[{step['number']}]"
    allowed = ", ".join(_allowed(at)) if error.startswith("Invalid enum") else ""
    return f"{error[: match.start()]} - at `{place[1:]}`", allowed and f"write one of: {allowed}"


class _Field(msgspec.Struct):
    encode_name: str
    type: Any


def _fields(section: type) -> Iterator[_Field]:
    hints = get_type_hints(section)
    for field in msgspec.structs.fields(section):
        yield _Field(field.encode_name, hints[field.name])


def _sections(kind: object) -> Iterator[type]:
    """Give the structs among what a value may be."""
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            yield one


def _is(value: object, kind: type, dec_hook: Callable[[type, Any], object]) -> bool:
    try:
        msgspec.convert(value, kind, dec_hook=dec_hook)
    except msgspec.ValidationError:
        return False
    return True


def _allowed(kind: object) -> Iterator[str]:
    """Give the words that may stand there."""
    if get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, Enum):
        yield from (str(member.value) for member in kind)
    else:
        for one in get_args(kind):
            yield from _allowed(one)
