"""How a worker and its spool process talk: frames of MessagePack over a stream of their own.

A frame is its length in four bytes, then a request (number, method, arguments) or an answer (number,
error or null, result). Both ends are the same version of this program, started together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from spooler import errors
from spooler.claim import Claim, Want
from spooler.command import Pause
from spooler.records import JobLeft, QueuedRecipient, QueueFilter, SettleReport, WorkerRow
from spooler.result import Doubtful, RecipientResult
from spooler.sample import Sample, Traced
from spooler.spool.starting import LENGTH
from spooler.vitals import SpoolVitals

if TYPE_CHECKING:
    from typing import TypeAlias

    from spooler.errors import SpoolerError

    Buffer: TypeAlias = bytes | bytearray | memoryview

Key = tuple[int, int]

METHODS: dict[str, tuple[Any, Any]] = {
    "uuid": (tuple[()], str),
    "register": (tuple[str, int, int], int),
    "beat": (tuple[int, int, str | None], bool),
    "workers": (tuple[()], list[WorkerRow]),
    "unregister": (tuple[int, int], None),
    "rescue": (tuple[int, int, int, bool, dict[str, Doubtful]], int),
    "doubt": (tuple[int, list[Key], int, int, dict[str, Doubtful]], int),
    "claim": (tuple[int, list[Want], int], list[Claim]),
    "claim_alone": (tuple[int, int, str, int, int], list[Claim]),
    "hold": (tuple[int, int, str, str], int),
    "contents": (tuple[list[int]], dict[int, bytes]),
    "chunk": (tuple[int, int], bytes | None),
    "settle": (tuple[int, list[RecipientResult], int], SettleReport),
    "release": (tuple[int, list[Key], int], int),
    "next_due": (tuple[list[str], int], int | None),
    "changed": (tuple[()], float | None),
    "pauses": (tuple[()], list[Pause]),
    "job_left": (tuple[list[str] | None, str], dict[str, JobLeft]),
    "left": (tuple[list[str] | None], int),
    "expire": (tuple[list[str] | None, int, int], int),
    "sweep": (tuple[int, int], int),
    "retire": (tuple[int, int], int),
    "maintain": (tuple[int], None),
    "sample": (tuple[int], Sample),
    "trace": (tuple[str, int], Traced),
    "queue": (tuple[QueueFilter, int, Key | None], list[QueuedRecipient]),
    "vitals": (tuple[()], SpoolVitals),
}
"""Arguments, in the order of the store's, and result of each method; `uuid` is answered unasked."""
LOOKS = frozenset({"sample", "trace", "queue"})
"""Whoever delivers does not wait for these."""


class Request(msgspec.Struct, array_like=True, gc=False):
    """A call; `arguments` are decoded by the method's type."""

    number: int
    method: str
    arguments: msgspec.Raw


class Answer(msgspec.Struct, array_like=True, gc=False):
    """What came of it: `fault` is (kind, what, hint) of a SpoolerError; of a bug ("", traceback, "")."""

    number: int
    fault: tuple[str, str, str] | None
    result: msgspec.Raw


_ENCODER = msgspec.msgpack.Encoder()
_REQUEST = msgspec.msgpack.Decoder(Request)
_ANSWER = msgspec.msgpack.Decoder(Answer)
_ARGUMENTS = {name: msgspec.msgpack.Decoder(types[0]) for name, types in METHODS.items()}
_RESULTS = {name: msgspec.msgpack.Decoder(types[1]) for name, types in METHODS.items()}


def pack_request(number: int, method: str, arguments: tuple[object, ...]) -> bytearray:
    """Make a frame of a call."""
    return _frame(number, method, arguments)


def unpack_request(body: Buffer) -> tuple[int, str, tuple[Any, ...]]:
    """Read the body of a frame: number, method, arguments."""
    request = _REQUEST.decode(body)
    return request.number, request.method, _ARGUMENTS[request.method].decode(request.arguments)


def method_of(body: Buffer) -> str:
    """Read the method's name alone."""
    return _REQUEST.decode(body).method


def pack_result(number: int, result: object) -> bytearray:
    """Make a frame of what a call returned."""
    return _frame(number, None, result)


def pack_fault(number: int, fault: tuple[str, str, str]) -> bytearray:
    """Make a frame of what a call raised."""
    return _frame(number, fault, None)


def fault_of(error: SpoolerError) -> tuple[str, str, str]:
    """Describe an error for the other end."""
    return type(error).__name__, error.what, error.hint


def unpack_answer(body: Buffer) -> Answer:
    """Read the body of a frame."""
    return _ANSWER.decode(body)


def result_of(method: str, answer: Answer) -> Any:  # noqa: ANN401  # its type is in METHODS
    """Return what the call returned, or raise what it raised."""
    if answer.fault is None:
        return _RESULTS[method].decode(answer.result)
    raise error_of(answer.fault)


def error_of(fault: tuple[str, str, str]) -> Exception:
    """Make the error that a fault describes."""
    kind, what, hint = fault
    if not kind:
        return RuntimeError(f"in the spool process: {what}")
    made: SpoolerError = getattr(errors, kind)(what, hint=hint)
    return made


def _frame(*fields: object) -> bytearray:
    """Encode in place: megabytes of contents are not copied from one buffer to another."""
    buffer = bytearray(LENGTH)
    _ENCODER.encode_into(fields, buffer, LENGTH)
    buffer[:LENGTH] = (len(buffer) - LENGTH).to_bytes(LENGTH, "big")
    return buffer
