"""Makes a mistake in a copy of the tree, and runs the tests that must notice it.

Noticed is what makes a test fail: a test that cannot be found, or a tree that cannot be loaded any more, is
an error of the table, and so is a text that is not there exactly once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TREE = Path(__file__).parents[2]
_PARTS = ("spooler", "migrations", "tests", "bench", "conftest.py", "pyproject.toml")
_FAILED = 1  # pytest's exit code where tests ran and some failed
_LONGEST = 60.0  # seconds with a mistake: it may make a test wait for ever, and is noticed by that
_PATIENCE = 900.0  # seconds for all tests without one


class Mutation(msgspec.Struct, frozen=True):
    """A mistake: `old` becomes `new` in the file `path`, and `tests` (pytest's names) must notice."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


class TableError(Exception):
    """The table does not fit the tree any more."""


class Ran(msgspec.Struct, frozen=True):
    """What pytest said: its exit code, the end of its output."""

    code: int
    told: str


@contextmanager
def copy_of(tree: Path = TREE) -> Iterator[Path]:
    """Copy what tests need of the tree to a temporary folder, for the block."""
    with TemporaryDirectory(prefix="mutation-") as name:
        root = Path(name)
        for part in _PARTS:
            source = tree / part
            if source.is_dir():
                shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, root / part)
        yield root


@contextmanager
def made(mutation: Mutation, root: Path) -> Iterator[None]:
    """Make the mistake in the copy, for the block; raises TableError."""
    path = root / mutation.path
    before = path.read_text()
    found = before.count(mutation.old)
    if found != 1:
        raise TableError(f"{mutation.name}: its text stands {found} times in {mutation.path}")
    path.write_text(before.replace(mutation.old, mutation.new))
    try:
        yield
    finally:
        path.write_text(before)


def run(tests: Iterable[str], root: Path, *, longest: float = _LONGEST) -> Ran:
    """Run tests of the copy."""
    argv = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "CI": ""}
    try:
        done = subprocess.run(
            [*argv, "--hypothesis-seed=1", *tests],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=longest,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran(_FAILED, "it did not come to an end")
    return Ran(done.returncode, (done.stdout + done.stderr)[-3000:])


def is_noticed(mutation: Mutation, root: Path) -> bool:
    """Whether the tests notice; raises TableError where that cannot be told."""
    with made(mutation, root):
        ran = run(mutation.tests, root)
    if ran.code not in (0, _FAILED):
        raise TableError(f"{mutation.name}: pytest ended with {ran.code}: {ran.told}")
    return ran.code == _FAILED


def check_unmutated(mutations: Sequence[Mutation], root: Path) -> None:
    """Raise TableError unless all tests of these pass as the tree is."""
    ran = run(sorted({test for mutation in mutations for test in mutation.tests}), root, longest=_PATIENCE)
    if ran.code:
        raise TableError(f"without a mistake, pytest ends with {ran.code}: {ran.told}")
