"""The Python API: the examples that its documentation shows, from plain code and from trio."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import spooler
from spooler.config import parse_config
from spooler.envelope import CHUNK_SIZE, Priority
from spooler.errors import DataError, NoInputError, SpoolerError, UsageError
from spooler.ident import parse_id
from spooler.records import QueueFilter
from spooler.reply import Stage
from spooler.result import Outcome
from spooler.spool.migrate import create_or_upgrade
from spooler.spool.store import Store
from tests.cli.running import claim_all, result_of

CONTENT = b"Subject: hi\n\nHello\n"


def test_plain_code(spool_url: str) -> None:
    """Enqueue, look at each recipient, trace an address, count."""
    with spooler.open_spool(spool_url) as spool:
        receipt = spool.enqueue(
            "news@example.org", ["a@example.com", "b@example.com", "a@EXAMPLE.com"], CONTENT
        )
        assert (receipt.duplicate, receipt.recipients, receipt.repeated) == (False, 2, 1)
        assert [(one.address, one.state) for one in spool.results(receipt)] == [
            ("a@example.com", "waiting"),
            ("b@example.com", "waiting"),
        ]
        with Store.open(spool_url) as store:
            worker, (claim,) = claim_all(store)
            store.settle(
                worker,
                [
                    result_of(claim, 0, Outcome.DELIVERED, code=250, text="saved"),
                    result_of(claim, 1, Outcome.FAILED, code=550, text="unknown", stage=Stage.RCPT),
                ],
                now=claim.created + 1,
            )
        results = spool.results(str(receipt))
        assert all(recipient.ended for recipient in results)
        assert [(one.state, one.code, one.text) for one in results] == [
            ("delivered", 250, "saved"),
            ("failed", 550, "unknown"),
        ]
        assert [entry.text for entry in spool.trace("a@example.com", limit=1)] == ["saved"]
        counts = {row.state.value: row.count for row in spool.stats() if row.count}
        assert counts == {"delivered": 1, "failed": 1}


@pytest.mark.parametrize("source", ["README.md", "spooler/api.py"])
def test_documented_examples(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples for Python that are shown to people run as they stand."""
    text = (Path(__file__).parents[2] / source).read_text()
    if source.endswith(".py"):
        module = ast.get_docstring(ast.parse(text)) or ""
        examples = [textwrap.dedent("".join(re.findall(r"^(?: {4}.*|)\n", module, re.MULTILINE)))]
    else:
        examples = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert examples
    monkeypatch.chdir(tmp_path)
    create_or_upgrade("sqlite:///spool.db")
    for example in examples:
        assert "enqueue" in example
        exec(compile(example, source, "exec"), {"spooler": spooler})


async def test_trio(spool_url: str) -> None:
    """The same methods, awaited."""
    async with spooler.open_spool_async(spool_url) as spool:
        receipt = await spool.enqueue("", ["a@example.com"], io.BytesIO(CONTENT), job="june")
        (recipient,) = await spool.results(receipt)
        assert (recipient.state, recipient.ended) == ("waiting", False)
        assert await spool.trace("a@example.com") == []
        assert sum(row.count for row in await spool.stats() if row.state == "waiting") == 1


def test_options(spool_url: str) -> None:
    """Times are aware, spans count from the later of now and not-before, keys are unique."""
    start = datetime.now(UTC) + timedelta(hours=1)
    config = parse_config(
        b'[routes.far]\ndestinations = ["unix:/s"]\n[domains]\n"x.example" = "far"', name=""
    )
    with spooler.open_spool(spool_url, config=config) as spool, Store.open(spool_url) as store:
        receipt = spool.enqueue(
            "",
            ["a@x.example"],
            CONTENT,
            not_before=start,
            expires=timedelta(hours=4),
            priority=Priority.IDLE,
            idempotency_key="k",
        )
        (row,) = store.queue(filter=QueueFilter(), limit=9, after=None)
        assert (row.route, row.expires - row.due, row.priority) == ("far", 4 * 3_600_000_000, Priority.IDLE)
        again = spool.enqueue("", ["b@x.example"], CONTENT, idempotency_key="k")
        assert (again.id, again.duplicate) == (receipt.id, True)


def test_large_content(spool_url: str) -> None:
    """A file is streamed, bytes are cut: both end in the same content."""
    data = b"0123456789abcde\n" * (CHUNK_SIZE // 8)
    with spooler.open_spool(spool_url) as spool, Store.open(spool_url) as store:
        idents = [spool.enqueue("", ["a@x"], content).id for content in (data, io.BytesIO(data))]
        found = [store.message(parse_id(ident) or 0) for ident in idents]
        assert {message.sha256 for message in found if message} == {found[0].sha256 if found[0] else ""}
        assert [message.size for message in found if message] == [len(data) // 16 * 17] * 2


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"job": "a\nb"}, UsageError),
        ({"not_before": datetime(2100, 1, 1)}, UsageError),  # noqa: DTZ001  (the fault that is tested)
        ({"expires": timedelta(0)}, UsageError),
        ({"ret": "all"}, UsageError),
        ({"ret": []}, UsageError),
        ({"job": None}, UsageError),
        ({"tenant": b"x"}, UsageError),
        ({"envid": 5}, UsageError),
        ({"route": 5}, UsageError),
        ({"notify": "never"}, UsageError),
        ({"priority": 7}, UsageError),
        ({"max_size": "5"}, UsageError),
        ({"not_before": "soon"}, UsageError),
        ({"not_before": datetime.max.replace(tzinfo=UTC)}, UsageError),
        ({"not_before": datetime(1969, 1, 1, tzinfo=UTC)}, UsageError),
        ({"expires": timedelta.max}, UsageError),
        ({"max_size": 5}, DataError),
    ],
)
def test_wrong_options(spool_url: str, options: dict[str, object], kind: type[SpoolerError]) -> None:
    """Each is an error of its kind, and nothing is queued."""
    with spooler.open_spool(spool_url) as spool:
        with pytest.raises(kind):
            spool.enqueue("", ["a@x"], CONTENT, **options)  # type: ignore[arg-type]  # any option of the table
        assert sum(row.count for row in spool.stats()) == 0


@pytest.mark.parametrize(
    ("sender", "recipients", "content"),
    [
        ("", "a@x", CONTENT),
        ("", None, CONTENT),
        ("", [b"a@x"], CONTENT),
        (None, ["a@x"], CONTENT),
        ("", ["a@x"], CONTENT.decode()),
        ("", ["a@x"], io.StringIO(CONTENT.decode())),
        ("", ["a@x"], None),
    ],
)
def test_wrong_types(spool_url: str, sender: str, recipients: list[str], content: bytes) -> None:
    """What is of another type than it must be is told as such, and nothing is queued."""
    with spooler.open_spool(spool_url) as spool:
        with pytest.raises(UsageError):
            spool.enqueue(sender, recipients, content)
        assert sum(row.count for row in spool.stats()) == 0


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_kinds_of_bytes(spool_url: str, kind: type[bytearray]) -> None:
    """Whatever holds bytes is a content."""
    with spooler.open_spool(spool_url) as spool:
        assert spool.enqueue("", ["a@x"], kind(CONTENT)).recipients == 1


def test_unknown_ids(spool_url: str) -> None:
    """A message that the spool does not know has no results; what is no id is an error."""
    with spooler.open_spool(spool_url) as spool:
        assert spool.results("0" * 13) == []
        with pytest.raises(UsageError, match="no message id"):
            spool.results("12")


def test_missing_spool(tmp_path: Path) -> None:
    """Opening what is not there is an error that tells how to make it."""
    with pytest.raises(NoInputError, match="init"):
        spooler.open_spool(f"sqlite:///{tmp_path}/none.db")


def test_names_are_offered() -> None:
    """What is public can be seen and imported; what is not, is an error."""
    assert set(spooler.__all__) <= set(dir(spooler))
    assert all(getattr(spooler, name).__name__ == name for name in spooler.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        spooler.nonsense  # noqa: B018  (it raises)


def test_import_is_light() -> None:
    """Importing the package loads no database."""
    program = "import sys, spooler; sys.exit('sqlalchemy' in sys.modules or 'trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
