"""`python -m tests.mutations`: makes each mistake of the table and shows that the suite notices.

Exit code 1 if one is not noticed, 70 if the table does not fit the tree.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.mutations.table import MUTATIONS
from tests.mutations.trying import TableError, check_unmutated, copy_of, is_noticed


def say(text: str) -> None:
    """Print a line now."""
    print(text, flush=True)  # noqa: T201


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("words", nargs="*", help="only those with one of these words in their name or path")
    parser.add_argument("--part", default="1/1", metavar="N/OF", help="only every OFth")
    asked = parser.parse_args()
    number, of = map(int, asked.part.split("/"))
    chosen = [
        one
        for one in MUTATIONS
        if not asked.words or any(word in f"{one.name} {one.path}" for word in asked.words)
    ][number - 1 :: of]
    survived = 0
    with copy_of() as root:
        try:
            check_unmutated(chosen, root)
            for one in chosen:
                began = time.monotonic()
                noticed = is_noticed(one, root)
                survived += not noticed
                verdict = "noticed " if noticed else "SURVIVED"
                say(f"{verdict} {time.monotonic() - began:5.1f} s  {one.path:38} {one.name}")
        except TableError as error:
            print(f"tests.mutations: {error}", file=sys.stderr)  # noqa: T201
            return 70
    say(f"{len(chosen)} mistakes, {survived} of them not noticed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
