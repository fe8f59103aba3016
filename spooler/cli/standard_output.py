"""Standard output that names itself in its errors: "disk full" alone would be read as the spool's disk."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "standard output"


class _Named:
    """A stream whose errors name it, as those of a file that is opened name the file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write."""
        with _naming():
            return self._stream.write(text)

    def flush(self) -> None:
        """Flush."""
        with _naming():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever streams have)
        return getattr(self._stream, name)


@contextmanager
def _naming() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = NAME
        raise


@contextmanager
def named() -> Iterator[None]:
    """Let errors of standard output name it, for the block."""
    before = sys.stdout
    sys.stdout = ours = cast("TextIO", _Named(before))
    try:
        yield
    finally:
        if sys.stdout is ours:  # where nobody reads any more, click has put one there that keeps quiet
            sys.stdout = before
