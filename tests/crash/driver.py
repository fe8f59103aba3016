"""`python -m tests.crash.driver`: runs workers and intakes that die where they are told to.

It has everything loaded and forks for each job, so a worker with its spool process costs milliseconds to
start. A job is a line of JSON on standard input, its answer one on standard output. The forked processes
run the product's own code: the worker as `drain --until-empty` has it, the spool process whole.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psycopg  # noqa: F401  # loaded before the fork
import trio

from spooler.config import load_config
from spooler.delivery.claimer import Until
from spooler.envelope import CHUNK_SIZE
from spooler.errors import SpoolerError
from spooler.events import TransactionEnded
from spooler.ident import now_us
from spooler.intake import importer
from spooler.spool import process
from spooler.spool.postgres import PostgresDatabase  # noqa: F401  # loaded before the fork
from spooler.spool.remote import spool_process
from spooler.spool.starting import LENGTH, Started
from spooler.spool.store import Store
from spooler.worker import WorkerRun
from tests.crash.points import IMPORT, INTAKE, SPOOL, WORKER, Arm, Trigger
from tests.spool.making import content, message

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 60.0  # seconds that a job may take
_BATCH = 3  # messages of an import in a transaction
_SOME = 2  # transactions after which a worker is asked to stop


class Batch(msgspec.Struct):
    """A message to put in; a content over the size of a chunk is streamed first."""

    key: str
    recipients: list[str]
    size: int = 0
    """Octets of the content, 0: a short one."""


class Job(msgspec.Struct):
    """Deliver what is there, or put `messages` in."""

    url: str
    config: str
    messages: list[Batch] = []
    arm: Arm | None = None
    files: bool = False
    """Import `messages` from files."""
    stop: bool = False
    """Ask the worker to stop when its second transaction has ended."""


class Done(msgspec.Struct):
    """How it ended: a signal's number is negative; `hit`: at the point that was armed."""

    status: int
    hit: bool
    passed: dict[str, int] = {}
    """How often each point was passed: "moment name"; only of a run that ended by itself."""
    acknowledged: list[str] = []
    said: str = ""


def data_of(batch: Batch) -> bytes:
    """Return a message's content."""
    told = "".join(f"Delivered-To: {address}\r\n" for address in batch.recipients)
    data = f"Return-Path: <s@x>\r\n{told}Subject: {batch.key}\r\n\r\n.hello\r\n".encode()
    line = b"x" * 70 + b"\r\n"
    return data + line * (max(0, batch.size - len(data)) // len(line))


def deliver(job: Job, out: int) -> int:
    """Run a worker on the spool until nothing is left."""
    ours, theirs = socket.socketpair()
    spool = os.fork()
    if not spool:
        ours.close()
        _exit(partial(_be_spool, job, theirs, out))
    theirs.close()
    url = job.url.encode()
    ours.sendall(len(url).to_bytes(LENGTH, "big") + url)
    trigger = Trigger(job.arm, out)
    trigger.install(WORKER)
    config = load_config(Path(job.config))

    ended = 0

    async def main() -> bool:
        async with spool_process(Started(_Forked(spool), ours)) as port:  # type: ignore[arg-type]  # as much as is used

            def observe(event: object) -> None:
                nonlocal ended
                ended += isinstance(event, TransactionEnded)
                if job.stop and ended == _SOME:
                    run.stop()

            run = WorkerRun(
                spool=port,
                config=config,
                journals=Path(config.worker.journal),
                observe=observe,
                until=Until(empty=True),
                poll=0.01,
            )
            return await run.run()

    try:
        return 0 if trio.run(main) else 75
    except* SpoolerError as group:
        os.write(out, msgspec.json.encode({"said": repr(group.exceptions)}) + b"\n")
    finally:
        _tell(trigger, out)
    return 69


class _Forked:
    """What `spool_process` needs of a process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        """Wait for its end."""
        return os.waitpid(self.pid, 0)[1]


def _be_spool(job: Job, stream: socket.socket, out: int) -> int:
    trigger = Trigger(job.arm, out)
    trigger.install(SPOOL)
    sys.argv = ["spool", str(stream.detach())]
    process.main()
    _tell(trigger, out)
    return 0


def put_in(job: Job, out: int) -> int:
    """Put messages in, and say of each call what was acknowledged."""
    trigger = Trigger(job.arm, out)
    trigger.install(INTAKE)
    with Store.open(job.url) as store:
        short = [batch for batch in job.messages if not batch.size]
        _enqueue(store, short, out)
        for batch in job.messages:
            if batch.size:
                _enqueue(store, [batch], out)
    _tell(trigger, out)
    return 0


def import_files(job: Job, out: int) -> int:
    """Import messages, a file each, a few to a transaction; all are acknowledged together, at the end."""
    folder = Path(job.config).with_name(f"mail-{job.messages[0].key}")
    folder.mkdir(exist_ok=True)
    for batch in job.messages:
        (folder / batch.key).write_bytes(data_of(batch))
    importer.BATCH_MESSAGES = _BATCH
    trigger = Trigger(job.arm, out)
    trigger.install(IMPORT)
    with Store.open(job.url) as store:
        report = importer.Importer(store, importer.ImportPlan(), clock=now_us).run([folder])
        assert not report.refused, report
    addresses = [address for batch in job.messages for address in batch.recipients]
    os.write(out, msgspec.json.encode({"acknowledged": addresses}) + b"\n")
    _tell(trigger, out)
    return 0


def _enqueue(store: Store, batches: list[Batch], out: int) -> None:
    messages = []
    for batch in batches:
        data = data_of(batch)
        made = content(data)
        if len(data) > CHUNK_SIZE:
            pieces = [data[i : i + CHUNK_SIZE] for i in range(0, len(data), CHUNK_SIZE)]
            stored = store.store_chunks(pieces, now=now_us())
            made = msgspec.structs.replace(made, data=b"", stored=stored)
        messages.append(message(*batch.recipients, content=made, idempotency_key=batch.key))
    store.enqueue(messages, now=now_us())
    addresses = [address for batch in batches for address in batch.recipients]
    os.write(out, msgspec.json.encode({"acknowledged": addresses}) + b"\n")


def _tell(trigger: Trigger, out: int) -> None:
    passed = {f"{moment} {name}": count for (name, moment), count in trigger.passed.items()}
    with suppress(BrokenPipeError):  # nobody waits for the spool process of a worker that was killed
        os.write(out, msgspec.json.encode({"passed": passed}) + b"\n")


def _exit(work: Callable[[], int]) -> None:
    try:
        status = work()
    except BaseException:  # noqa: BLE001  # a forked process must not go on with its parent's work
        traceback.print_exc()
        status = 70
    sys.stderr.flush()
    os._exit(status)


def do(job: Job) -> Done:
    """Do a job in a process of its own, and wait for that."""
    theirs, out = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(theirs)
        os.setpgid(0, 0)
        work = deliver if not job.messages else import_files if job.files else put_in
        _exit(partial(work, job, out))
    os.close(out)
    status = _wait(pid)
    os.set_blocking(theirs, False)
    said = b""
    while select.select([theirs], [], [], 0)[0] and (block := os.read(theirs, 1 << 16)):
        said += block
    os.close(theirs)
    done = Done(status, b"+\n" in said)
    for line in said.splitlines():
        if line.startswith(b"{"):
            told = msgspec.json.decode(line)
            done.passed |= told.get("passed", {})
            done.acknowledged += told.get("acknowledged", [])
            done.said += told.get("said", "")
    return done


def _wait(pid: int) -> int:
    deadline = time.monotonic() + _LONGEST
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 124
        time.sleep(0.002)


def main() -> None:
    """Do jobs until the input ends."""
    jobs = msgspec.json.Decoder(Job)
    gc.freeze()  # what is there already is not looked at, and so not copied, by those that are forked
    for line in sys.stdin.buffer:
        answer = msgspec.json.encode(do(jobs.decode(line)))
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
