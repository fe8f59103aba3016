"""Files and folders: who may read mail, on what kind of file system it lies, how much room is left."""

from __future__ import annotations

import os
import pwd
import re
import stat
from typing import TYPE_CHECKING

from spooler.doctor.finding import About

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from spooler.doctor.finding import Finding

NETWORK = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
    }
    | {"ncpfs", "nfs", "nfs4", "smb3", "smbfs", "vboxsf"}
)
VOLATILE = frozenset({"ramfs", "tmpfs"})
LITTLE = 1 << 30  # bytes left from which on it is told
TOO_LITTLE = 64 << 20  # bytes left: what SQLite's log needs alone
_ESCAPE = re.compile(r"\\([0-7]{3})")


def check_private(path: Path, *, about: str, folder: bool = False) -> Iterator[Finding]:
    """Judge who may get at a file, or a folder, that holds mail or guards it; nothing if it is not there."""
    here = About(about, str(path))
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        yield here.problem(
            f"cannot be looked at: {error.strerror}",
            "run as the user that the spool belongs to",
            os.EX_NOPERM,
        )
        return
    wanted = 0o700 if folder else 0o600
    mend = f"chmod {wanted:o} {path}"
    if mode & 0o007:
        yield here.problem(
            f"everybody on this host may get at it: its mode is {mode:04o}", mend, os.EX_NOPERM
        )
    elif mode & 0o070:
        yield here.warning(f"its group may get at it: its mode is {mode:04o}", mend)
    else:
        yield here.ok(f"its owner alone may get at it ({mode:04o})")
    need = os.R_OK | os.W_OK | (os.X_OK if folder else 0)
    if not os.access(path, need):
        yield here.problem(
            f"user {_name(os.geteuid())} cannot write to it",
            f"run as its owner, {_name(path.stat().st_uid)}, on a file system that is mounted to be written",
            os.EX_NOPERM,
        )


def check_owner(path: Path, others: Iterable[Path], *, about: str) -> Iterator[Finding]:
    """Find what lies beside a spool and belongs to somebody else, mostly root: a worker is shut out."""
    owner = path.stat().st_uid
    for other in others:
        try:
            found = other.stat().st_uid
        except OSError:
            continue
        if found != owner:
            yield About(about, str(other)).problem(
                f"it belongs to {_name(found)}, and the spool to {_name(owner)}: one of them is shut out",
                f"chown {_name(owner)} {other}, and run every command as that user",
                os.EX_NOPERM,
            )


def check_file_system(path: Path, *, about: str, mounts: str, local: str) -> Iterator[Finding]:
    """Judge the file system below `path`; `mounts` is /proc/self/mountinfo, `local` why it must be local."""
    kind = file_system_of(path.resolve(), mounts)
    here = About(about, str(path))
    if kind in NETWORK:
        yield here.problem(f"it is on a network file system ({kind}): {local}", "move it to a local disk")
    elif kind in VOLATILE:
        yield here.warning(f"it is in memory ({kind}), and gone when the power is", "move it to a disk")


def check_room(path: Path, *, about: str) -> Iterator[Finding]:
    """Judge how much room is left where `path` is."""
    here = About(about, str(path))
    try:
        found = os.statvfs(path)
    except OSError as error:
        yield here.problem(f"cannot be looked at: {error.strerror}", "check the path", os.EX_NOPERM)
        return
    left = found.f_bavail * found.f_frsize
    said = (
        f"{left / 1e9:.1f} GB are left on its file system" if left >= LITTLE else f"{left >> 20} MB are left"
    )
    if found.f_flag & os.ST_RDONLY:
        yield here.problem("its file system is mounted read-only", "mount it to be written", os.EX_NOPERM)
    elif left < TOO_LITTLE:
        yield here.problem(said, "make room: mail is refused when the disk is full", os.EX_IOERR)
    elif left < LITTLE or (found.f_files and found.f_favail < found.f_files // 1000):
        inodes = "" if left < LITTLE else f", but only {found.f_favail} inodes"
        yield here.warning(said + inodes, "make room: mail is refused when the disk is full")
    else:
        yield here.ok(said)


def file_system_of(path: Path, mounts: str) -> str:
    """Return the type of the file system that holds an absolute path, "" if it cannot be told.

    `mounts` is in the format of /proc/self/mountinfo (proc_pid_mountinfo(5)).
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # of two on one point the later one covers the other
        if len(point) >= best and (point == "/" or f"{path}/".startswith(f"{point}/")):
            best, kind = len(point), right.split()[0]
    return kind


def open_to_all(path: Path) -> bool:
    """Whether everybody on this host may connect to a socket: its mode, and the folders on the way there."""
    if not path.stat().st_mode & stat.S_IWOTH:
        return False
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
