"""`make demo`: the main job in miniature, with the real commands, and a check that nothing is made up.

A spool is filled with messages of its own making and drained into `spooler sink`, which refuses some
recipients and defers others once. The final table is made from the ledger, and compared with the sink's own
record: what one says was delivered, the other must have got exactly once, byte for byte.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from spooler.records import LedgerEntry, QueueFilter
from spooler.result import Outcome
from spooler.spool.store import Store
from tests.servers.own_sink import own_sink, read_record
from tests.servers.process import SPOOLER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = Path("demo")
_SINGLES = 240  # messages to one recipient
_CIRCULARS = 8  # messages to fifty
_MANY = 50
_WIDTH = 120  # columns where output is no terminal
_FAULTS = {
    "--refuse": "gone-*=550 5.1.1 nobody of that name here",
    "--defer": "busy-*=451 4.3.0 mailbox is locked, try again",
    "--refuse-final": "full-*=552 5.2.2 mailbox is full",
    "--defer-final": "slow-*=452 4.3.1 no room at the moment",
}
_EXPECTED = {  # outcomes in order, by the first part of an address
    "gone": [Outcome.FAILED],
    "busy": [Outcome.DEFERRED, Outcome.DELIVERED],
    "full": [Outcome.FAILED],
    "slow": [Outcome.DEFERRED, Outcome.DELIVERED],
    "person": [Outcome.DELIVERED],
}
_CONFIG = """\
spool = "sqlite:///spool.db"

[routes.default]
destinations = ["{destination}"]
retry = {{ first = "1s", maximum = "2s" }} # so that a demonstration need not wait; the default is a minute
"""

Ledger = dict[tuple[str, str], list[LedgerEntry]]
"""By digest of the content and recipient, each attempt in order."""


def main() -> int:
    """Run the demonstration; return 1 if spool and sink do not agree."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    _fresh_folder()
    console.print(
        f"{_SINGLES} messages to one recipient and {_CIRCULARS + 1} to {_MANY} go through a durable spool "
        "into an LMTP server\nwhich refuses some recipients and defers others once.\n"
    )
    faults = [word for option, rule in _FAULTS.items() for word in (option, rule)]
    listening = ["--times", "1", *faults, "--record", "record.jsonl"]
    _show(console, ["sink", "--listen", "inet:127.0.0.1:0", *listening], tail=" &")
    listening[-1] = str((FOLDER / "record.jsonl").resolve())
    with own_sink(*listening) as sink:
        console.print(f"listening on {sink.tcp}\n")
        (FOLDER / "spooler.toml").write_text(_CONFIG.format(destination=sink.tcp))
        _write_mail()
        _run(console, ["init"])
        _run(console, ["import", "mail/digest.mbox"])
        _run(console, ["import", "mail/circulars"])
        announcement = [
            "enqueue",
            "-f",
            "board@example.org",
            "--recipients-file",
            "members.txt",
            "--job",
            "agm",
        ]
        _run(console, announcement, stdin=FOLDER / "mail" / "announcement.eml")
        _run(console, ["queue", "stats"])
        messages = _queued()
        _run(console, ["drain", "--until-empty", "--log-level", "error"])
        _run(console, ["trace", "busy-0@example.net"])
        _run(console, ["queue", "stats"])
    ledger = _ledger(messages)
    _tell(console, ledger)
    wrong = [*_differences(ledger), *_surprises(ledger)]
    for line in wrong:
        console.print(f"[red]not right:[/] {line}")
    if not wrong:
        console.print(
            f"Checked: the sink's record agrees with the ledger on all {len(ledger)} recipients, "
            "and each content arrived byte for byte as it was queued.\n"
            f"Look around: cd {FOLDER}; export SPOOLER_CONFIG=spooler.toml; {_command()} queue stats",
            soft_wrap=True,
        )
    return 1 if wrong else 0


def _fresh_folder() -> None:
    """Remove what an earlier run left, and nothing else."""
    if FOLDER.exists() and not (FOLDER / "mail").is_dir() and any(FOLDER.iterdir()):
        sys.exit(f"demo: {FOLDER}/ exists and is not of an earlier demonstration: move it away")
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "mail" / "circulars").mkdir(parents=True)


def _command() -> str:
    """Return the command as it is called from the demonstration's folder."""
    return os.path.relpath(Path(sys.executable).with_name("spooler"), FOLDER)


def _show(console: Console, words: Sequence[str], *, tail: str = "") -> None:
    console.print(f"[bold green]$[/] [bold]{shlex.join(['spooler', *words])}{tail}[/]", soft_wrap=True)


def _run(console: Console, words: Sequence[str], *, stdin: Path | None = None) -> None:
    _show(console, words, tail=f" < {stdin.relative_to(FOLDER)}" if stdin else "")
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPOOLER_")}
    with (stdin or Path(os.devnull)).open("rb") as source:
        done = subprocess.run(
            [*SPOOLER, *words],
            cwd=FOLDER,
            env=env | {"SPOOLER_CONFIG": "spooler.toml"},
            stdin=source,
            check=False,
        )
    if done.returncode:
        sys.exit(f"demo: that ended with {done.returncode}")
    console.print()


def _special(number: int, every: int) -> str:
    """Name a recipient; a few are of the kinds that the sink has something against."""
    kinds = ("gone", "busy", "full", "slow")
    turn, left = divmod(number, every)
    return f"{kinds[left]}-{turn}@example.net" if left < len(kinds) else f"person-{number}@example.net"


def _write_mail() -> None:
    def message(subject: str, recipients: Iterable[str], body: str) -> str:
        envelope = "Return-Path: <news@example.org>\n" + "".join(f"X-Envelope-To: {r}\n" for r in recipients)
        return f"{envelope}From: News <news@example.org>\nSubject: {subject}\n\n{body}\n"

    mail = FOLDER / "mail"
    singles = [_special(number, 24) for number in range(_SINGLES)]
    (mail / "digest.mbox").write_text(
        "".join(
            f"From news@example.org Thu Jan  1 00:00:00 2026\n{message(f'digest {n}', [to], 'Hello.')}\n"
            for n, to in enumerate(singles)
        )
    )
    for number in range(_CIRCULARS):
        base = (100 + number) * _MANY  # nobody gets two: so what must become of each is known
        recipients = [_special(base + i, _MANY) for i in range(_MANY)]
        text = message(f"circular {number}", recipients, ".a line that begins with a dot\n" * 40)
        (mail / "circulars" / f"{number}.eml").write_text(text)
    members = [_special(200 * _MANY + i, _MANY) for i in range(_MANY)]
    (FOLDER / "members.txt").write_text("\n".join(members) + "\n")
    (mail / "announcement.eml").write_text(message("general meeting", [], "You are invited."))


def _queued() -> set[int]:
    """Return the ids of the messages in the queue."""
    with Store.open(f"sqlite:///{FOLDER}/spool.db") as store:
        return {row.message_id for row in store.queue(filter=QueueFilter(), limit=10_000, after=None)}


def _ledger(messages: Iterable[int]) -> Ledger:
    ledger: Ledger = {}
    with Store.open(f"sqlite:///{FOLDER}/spool.db") as store:
        for message_id in messages:
            message = store.message(message_id)
            assert message is not None, "its ledger keeps a message"
            for entry in sorted(store.ledger_of(message_id), key=lambda entry: entry.at):
                ledger.setdefault((message.sha256, entry.address), []).append(entry)
    return ledger


def _tell(console: Console, ledger: Ledger) -> None:
    """Print what became of every recipient."""
    kinds: Counter[tuple[str, ...]] = Counter()
    for entries in ledger.values():
        last = entries[-1]
        earlier = " and then ".join(f"{e.outcome} at {e.stage}: {_reply(e)}" for e in entries[:-1])
        kinds[last.outcome, str(len(entries)), _reply(last), earlier] += 1
    table = Table("outcome", "attempts", "the server's last word", "before", box=box.SIMPLE_HEAD)
    table.title = "What became of every recipient"
    table.add_column("recipients", justify="right")
    colours = {Outcome.DELIVERED.value: "green", Outcome.FAILED.value: "red"}
    for (outcome, attempts, reply, earlier), count in sorted(kinds.items()):
        colour = colours.get(outcome, "yellow")
        table.add_row(f"[{colour}]{outcome}[/]", attempts, reply, earlier, f"{count:,}")
    table.add_section()
    table.add_row("all", "", "", "", f"{kinds.total():,}")
    console.print(table)


def _reply(entry: LedgerEntry) -> str:
    return " ".join(part for part in (str(entry.code or ""), entry.enhanced, entry.text) if part)


def _differences(ledger: Ledger) -> list[str]:
    """Compare ledger and record, recipient by recipient and reply by reply; say where they differ."""
    by_ledger: Counter[tuple[str, str, int]] = Counter()
    for (digest, address), entries in ledger.items():
        by_ledger.update((digest, address, e.code // 100) for e in entries if e.stage == "final")
    by_record = Counter(
        (line.sha256, line.recipient, line.code // 100) for line in read_record(FOLDER / "record.jsonl")
    )
    wrong = [
        f"{address}: the ledger has {by_ledger[key]} final {kind}xx replies, the sink sent {by_record[key]}"
        for key in sorted(by_ledger.keys() | by_record.keys())
        if by_ledger[key] != by_record[key]
        for _, address, kind in (key,)
    ]
    twice = [address for (_, address, kind), count in by_record.items() if kind == 2 and count != 1]
    return wrong + [f"{address} was delivered to more than once" for address in twice]


def _surprises(ledger: Ledger) -> list[str]:
    """Compare the ledger with what the sink was told to do."""
    total = _SINGLES + (_CIRCULARS + 1) * _MANY
    wrong = [] if len(ledger) == total else [f"{len(ledger)} recipients have results, {total} were queued"]
    for (_, address), entries in ledger.items():
        outcomes = [entry.outcome for entry in entries]
        if outcomes != _EXPECTED[address.partition("-")[0]]:
            wrong.append(f"{address} ended as {', '.join(outcomes)}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
