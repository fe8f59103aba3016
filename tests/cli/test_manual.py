"""The manual pages say what the commands say, and a reader of such pages has nothing to complain of."""

from __future__ import annotations

import subprocess

import pytest

from spooler.cli.lmtp import command as lmtp
from spooler.oneshot.usual import SOCKETS
from tests.cli.manual import FOLDER, PAGE, options_known, options_of, rewritten
from tests.servers.fixtures import require

PAGES = ["lmtp.1", "spooler.1"]


def test_the_page_of_lmtp_has_every_option_and_no_other() -> None:
    """An option that is added, or goes, is told in the page."""
    page = (FOLDER / "lmtp.1").read_text()
    assert options_of(page) == options_known(lmtp)
    for name in SOCKETS:
        assert f"\n/{name}\n" in page.replace("\\-", "-")


def test_the_page_of_spooler_is_up_to_date() -> None:
    """If not, say `make man`."""
    page = PAGE.read_text()
    assert rewritten(page) == page


@pytest.mark.parametrize("name", PAGES)
def test_a_formatter_has_no_complaint(name: str) -> None:
    """groff warns of macros and escapes that it does not know."""
    groff = require("groff", "groff-base")
    done = subprocess.run(
        [groff, "-ww", "-man", "-Tutf8", "-z", FOLDER / name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
