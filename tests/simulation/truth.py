"""What really happened at the targets, told by their servers as it happened."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FRESH = 30.0  # seconds: the age of a heartbeat behind which no end-of-data may be handed over


class Letter(NamedTuple):
    """A message as it was put in."""

    number: int
    recipients: tuple[str, ...]
    content: bytes
    expires: int
    id: int

    @property
    def sender(self) -> str:
        """Which tells it from all others."""
        return f"s{self.number}@sim"


class Truth:
    """Kept by sender and recipient; the servers answer truly, so an answer is a fact."""

    def __init__(self, doubts: Callable[[Letter, str], int]) -> None:
        self.letters: dict[str, Letter] = {}
        self.copies: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.answers: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        self._doubts = doubts

    def expect(self, letter: Letter) -> None:
        """A message was put in."""
        self.letters[letter.sender] = letter

    def answered(self, stage: str, sender: str, recipients: Sequence[str], code: int) -> None:
        """A reply was given that is about these ("*": about the message)."""
        for recipient in recipients:
            self.answers[stage, sender, recipient].append(code)

    def ended(self, sender: str, age: float) -> None:
        """An end-of-data came whose sender's last good beat was so many seconds old."""
        assert age < FRESH, f"end-of-data of {sender} was handed over {age:g} s after the last good beat"

    def stored(self, sender: str, recipient: str, content: bytes, how: str) -> None:
        """A copy was stored."""
        letter = self.letters[sender]
        assert recipient in letter.recipients, f"{recipient} got what {sender} did not send it"
        expected = letter.content
        if how == "data" and expected and not expected.endswith(b"\r\n"):
            expected += b"\r\n"  # there the end of a line is part of the end of the content
        same = hashlib.sha256(content).digest() == hashlib.sha256(expected).digest()
        assert same, f"{sender} came to {recipient} with other octets by {how}"
        before = self.copies[sender, recipient]
        if before:
            doubts = self._doubts(letter, recipient)
            assert before <= doubts, f"{recipient} got copy {before + 1} of {sender} after {doubts} doubts"
        self.copies[sender, recipient] += 1
