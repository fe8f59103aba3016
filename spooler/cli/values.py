"""What the values of options and arguments may be, where click takes more than makes sense."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spooler.address import show

if TYPE_CHECKING:
    import os

NOTHING = "nothing is named."  # a variable of a shell that was not set, as a rule


class _Text(click.types.StringParamType):
    """Text that can be stored: an argument that was no UTF-8 cannot."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401  (click's signature)
        """Refuse what stands for bytes that are no text."""
        text: str = super().convert(value, param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"'{show(text)}' is not UTF-8.", param, ctx)
        return text


class _Name(_Text):
    """Text that names something: an empty one would select all."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401  (click's signature)
        """Refuse nothing, too."""
        text = super().convert(value, param, ctx)
        if not text:
            self.fail(NOTHING, param, ctx)
        return text


class _Line(_Text):
    """Text that is kept and shown in a line: what acts on a terminal has no place in it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401  (click's signature)
        """Refuse what would have to be escaped, too."""
        text = super().convert(value, param, ctx)
        if show(text, len(text)) != text:
            self.fail(f"'{show(text)}' has control characters.", param, ctx)
        return text


class _File(click.Path):
    """A file or folder: an empty name would be the current folder. That it cannot be read is ours to say."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Refuse nothing."""
        if value == "":
            self.fail(NOTHING, param, ctx)
        return super().convert(value, param, ctx)


class FiniteRange(click.FloatRange):
    """A range of numbers: "nan" is in any, for click, and "inf" in one without an upper end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401  (click's signature)
        """Refuse what is no number that one can reckon with."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


TEXT = _Text()
NAME = _Name()
LINE = _Line()
FILE = _File()
