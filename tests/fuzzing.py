"""`python -m tests.fuzzing TARGET [FOLDER …]`: the parsers under a fuzzer that follows their branches.

It needs atheris (`pip install atheris`), which is none of the project's dependencies: the suite fuzzes the
same with hypothesis. Arguments behind the target are libFuzzer's; a folder keeps what it finds.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def replies(octets: bytes) -> None:
    """A reply reader: the same whole as in pieces, and no other exception than its own."""
    from tests.lmtp.test_replies import read

    step = octets[0] + 1 if octets else 1
    whole = read(octets)
    if read(*(octets[i : i + step] for i in range(0, len(octets), step))) != whole:
        raise AssertionError("it depends on the cut")


def contents(octets: bytes) -> None:
    """From intake to the wire: one message with the same bytes, whoever reads it."""
    from spooler.errors import DataError
    from spooler.intake.normalise import normalise
    from spooler.lmtp.stuffing import Stuffer
    from tests.lmtp.wire_readers import lenient, strict

    try:
        content, _ = normalise(octets)
    except DataError:
        return
    stuffer = Stuffer()
    at = octets[0] % (len(content) + 1)
    wire = b"MAIL FROM:<a@x>\r\nDATA\r\n" + stuffer.feed(content[:at]) + stuffer.feed(content[at:])
    wire += b"".join(stuffer.end())
    for read in (strict, lenient):
        if [one.content for one in read(wire)] != [content]:
            raise AssertionError("read as something else")


def journals(octets: bytes) -> None:
    """A segment of a journal: whatever is in it, no exception."""
    from spooler.journal.record import UnknownVersionError, head_of, notes_of

    with suppress(UnknownVersionError):
        head_of(octets)
    notes_of(octets)


TARGETS: dict[str, Callable[[bytes], None]] = {"replies": replies, "contents": contents, "journals": journals}


def main() -> int:
    """Fuzz until something is found, or as long as libFuzzer's options say."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        print(f"give one of {', '.join(TARGETS)}", file=sys.stderr)  # noqa: T201
        return 64
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print("atheris is not installed: pip install atheris", file=sys.stderr)  # noqa: T201
        return 69
    target = TARGETS[sys.argv.pop(1)]
    with atheris.instrument_imports():
        target(b".")  # imports what it fuzzes
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
