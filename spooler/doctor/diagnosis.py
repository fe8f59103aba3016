"""Everything that is looked at, in order: the first problem is the first that is worth mending."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from spooler.delivery.heartbeat import is_gone, whereabouts
from spooler.doctor.database import ABOUT as DATABASE
from spooler.doctor.database import check_clock, check_database, check_workers
from spooler.doctor.destinations import check_destinations
from spooler.doctor.files import check_file_system, check_owner, check_private, check_room
from spooler.doctor.finding import About
from spooler.doctor.journals import check_journals, look
from spooler.doctor.options import ABOUT as CONFIGURATION
from spooler.doctor.options import check_options
from spooler.errors import SpoolerError
from spooler.ident import format_id
from spooler.spool.examination import PostgresFacts, examine
from spooler.spool.place import SqlitePlace, parse_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spooler.config import Config, Http
    from spooler.doctor.finding import Finding
    from spooler.spool.examination import Spool
    from spooler.spool.place import Place

MOUNTS = Path("/proc/self/mountinfo")
WAL = "SQLite's log does not work over a network: commits are lost, whatever its locks promise"


def check_configuration(config: Config, file: Path | None) -> Iterator[Finding]:
    """Judge a configuration that was read from `file`, or is of options alone."""
    name = str(file) if file else "command line"
    about = About(CONFIGURATION, name)
    if file is not None:
        yield about.ok("it can be read, and nothing in it contradicts itself")
        yield from _secrets(config, file, about)
        yield from _token(config.http, About(CONFIGURATION, f"{name}, [http]"))
    yield from check_options(config, name=name, memory=_memory())


def check_spool(url: str, *, journals: Path, processes: int, now: int) -> Iterator[Finding]:
    """Judge a spool, its files, its workers and their journals; `now` in µs UTC."""
    mounts = _mounts()
    try:
        place = parse_place(url)
    except SpoolerError as error:
        yield About(DATABASE, "the spool's URL").error(error)
        return
    name = str(place)
    uuid = ""
    try:
        facts = examine(url)
    except SpoolerError as error:
        yield About(DATABASE, name).error(error)
        yield from _files(place, mounts)
    else:
        uuid = facts.spool.uuid
        yield from check_database(facts, where=name, url=url, processes=processes)
        yield from _files(place, mounts)
        if isinstance(facts, PostgresFacts) and facts.data is not None and _is_visible(facts.data):
            yield from check_room(facts.data, about=DATABASE)
        dead = _dead(facts.spool, journals)
        yield from check_workers(facts.spool, where=name, now=now, dead=dead)
        yield from check_clock(facts, now=now)
    yield from check_journals(journals, spool=uuid, mounts=mounts)


def ask_destinations(config: Config, *, now: int) -> list[Finding]:
    """Ask all destinations at the same time, and judge what they answer; `now` in µs UTC."""
    return trio.run(partial(check_destinations, config, now=now / 1_000_000))


def _secrets(config: Config, file: Path, about: About) -> Iterator[Finding]:
    password = config.spool and "@" in config.spool and ":" in config.spool.split("@")[0].partition("//")[2]
    if password and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield about.problem(
            "it holds the database's password, and others may read it",
            f"chmod 600 {file}, as the workers' user, or keep the password in ~/.pgpass",
            os.EX_NOPERM,
        )


def _token(http: Http, about: About) -> Iterator[Finding]:
    """Read the token as a worker does, which does not start without it."""
    if not (http.listen and http.token_file):
        return
    from spooler.ops.guard import read_token  # loads what serves

    try:
        read_token(http.token_file)
    except SpoolerError as error:
        yield about.error(error)
        return
    mode = stat.S_IMODE(Path(http.token_file).stat().st_mode)
    # a group may have it: whoever asks, Prometheus for one, needs it too
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        # and in a container, where secrets are mounted so, there is nobody else
        yield about.warning(
            f"everybody on this host may get at token-file {http.token_file}: its mode is {mode:04o}",
            f"chmod o= {http.token_file}",
        )


def _dead(spool: Spool, journals: Path) -> set[int]:
    """Find workers that are no more, as others do: their process is gone, or nobody holds their journal."""
    here = whereabouts()
    dead = {row.id for row in spool.workers if row.host == here and is_gone(row.pid)}
    with suppress(OSError):  # it is told where journals are judged
        left = {path.name for path in look(journals, spool=spool.uuid).dead}
        dead |= {row.id for row in spool.workers if format_id(row.id) in left}
    return dead


def _files(place: Place, mounts: str) -> Iterator[Finding]:
    if not isinstance(place, SqlitePlace) or not place.path.is_file():
        return
    path = place.path
    beside = [Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", ".lock", ".journals")]
    for file in (path, *beside[:3]):
        yield from check_private(file, about="files")
    yield from _folder(path.parent)
    yield from check_owner(path, beside, about="files")
    yield from check_file_system(path, about="files", mounts=mounts, local=WAL)
    yield from check_room(path.parent, about="files")
    if os.geteuid() == 0 and path.stat().st_uid != 0:
        yield About("files", str(path)).warning(
            "root runs this, whom no permission stops: what the workers' user may do was not seen",
            f"runuser -u '#{path.stat().st_uid}' -- spooler doctor …",
        )


def _folder(folder: Path) -> Iterator[Finding]:
    about = About("files", str(folder))
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        yield about.problem(
            f"everybody on this host may put other files in the spool's place: mode {stat.S_IMODE(mode):04o}",
            f"chmod 700 {folder}",
            os.EX_NOPERM,
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        yield about.problem(
            "this user cannot write to the folder, and SQLite keeps its log beside the file",
            "run as the user that the spool belongs to",
            os.EX_NOPERM,
        )


def _is_visible(path: Path) -> bool:
    try:
        os.statvfs(path)
    except OSError:
        return False
    return True


def _memory() -> int | None:
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _mounts() -> str:
    with suppress(OSError):
        return MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    return ""
