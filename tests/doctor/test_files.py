"""Who may get at mail, where it lies, and how much room there is."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from spooler.doctor.files import (
    check_file_system,
    check_owner,
    check_private,
    check_room,
    file_system_of,
    open_to_all,
)
from spooler.doctor.finding import Level

MOUNTS = r"""22 27 0:21 / / rw,relatime shared:1 - ext4 /dev/sda rw
23 27 0:22 / /srv rw,relatime - xfs /dev/sdb rw
24 27 0:22 / /srv/mail\040box rw,relatime master:2 - nfs4 server:/mail rw
25 27 0:22 / /run rw - tmpfs tmpfs rw
26 27 0:22 / /run rw - fuse.sshfs host: rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/spool.db", "ext4"),
        ("/srv/spool.db", "xfs"),
        ("/srvx", "ext4"),
        ("/srv/mail box/spool.db", "nfs4"),
        ("/srv/mail box", "nfs4"),
        ("/run/x", "fuse.sshfs"),
    ],
)
def test_file_systems_are_told_apart(path: str, kind: str) -> None:
    """The longest mount point decides, and of two on one place the later; names are unescaped."""
    assert file_system_of(Path(path), MOUNTS) == kind


def test_unknown_file_system() -> None:
    """Without /proc nothing is claimed."""
    assert file_system_of(Path("/a"), "") == ""
    assert list(check_file_system(Path("/a"), about="x", mounts="", local="no")) == []


def test_network_and_memory() -> None:
    """A spool on the network is a problem of the configuration, one in memory a warning."""
    (network,) = check_file_system(Path("/srv/mail box/a"), about="x", mounts=MOUNTS, local="no locks")
    assert (network.level, network.exit_code) == (Level.PROBLEM, 78)
    assert "network file system (nfs4): no locks" in network.what
    (memory,) = check_file_system(
        Path("/nowhere"), about="x", mounts="1 2 0:1 / / rw - tmpfs tmpfs rw", local="no locks"
    )
    assert memory.level is Level.WARNING


@pytest.mark.parametrize(
    ("mode", "level", "code"),
    [
        (0o600, Level.OK, 0),
        (0o640, Level.WARNING, 0),
        (0o660, Level.WARNING, 0),
        (0o604, Level.PROBLEM, 77),
        (0o666, Level.PROBLEM, 77),
    ],
)
def test_readable_mail_is_a_finding(tmp_path: Path, mode: int, level: Level, code: int) -> None:
    """Mail that the group may read is a warning, that everybody may read a problem; the mend is a command."""
    file = tmp_path / "spool.db"
    file.touch()
    file.chmod(mode)
    (found,) = check_private(file, about="files")
    assert (found.level, found.exit_code) == (level, code)
    assert found.mend == ("" if level is Level.OK else f"chmod 600 {file}")
    assert f"{mode:04o}" in found.what


def test_folders_and_what_is_not_there(tmp_path: Path) -> None:
    """A folder is for its owner at 0700; what does not exist has no permissions."""
    tmp_path.chmod(0o755)
    (found,) = check_private(tmp_path, about="files", folder=True)
    assert found.mend == f"chmod 700 {tmp_path}"
    assert list(check_private(tmp_path / "none", about="files")) == []


def test_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of somebody else's is a problem of permissions that names both users."""
    file = tmp_path / "spool.db"
    file.touch(0o600)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    _, found = check_private(file, about="files")
    assert found.exit_code == 77
    assert "cannot write to it" in found.what


def test_other_owners(tmp_path: Path) -> None:
    """A lock file that root made shuts the workers' user out."""
    spool, lock = tmp_path / "spool.db", tmp_path / "spool.db.lock"
    spool.touch()
    lock.touch()
    assert list(check_owner(spool, [lock, tmp_path / "none"], about="files")) == []
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(spool, 12345, -1)
    (found,) = check_owner(spool, [lock], about="files")
    assert found.exit_code == 77
    assert found.mend.startswith(f"chown 12345 {lock}")


@pytest.mark.parametrize(
    ("left", "flags", "inodes", "level", "code"),
    [
        (10 << 30, 0, 1000, Level.OK, 0),
        (500 << 20, 0, 1000, Level.WARNING, 0),
        (10 << 20, 0, 1000, Level.PROBLEM, 74),
        (10 << 30, 0, 0, Level.WARNING, 0),
        (10 << 30, os.ST_RDONLY, 1000, Level.PROBLEM, 77),
    ],
)
def test_room(
    monkeypatch: pytest.MonkeyPatch, left: int, flags: int, inodes: int, level: Level, code: int
) -> None:
    """Little room is a warning, none a problem; so is a file system that cannot be written."""
    found = SimpleNamespace(f_bavail=left // 4096, f_frsize=4096, f_flag=flags, f_files=1000, f_favail=inodes)
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    (finding,) = check_room(Path("/"), about="files")
    assert (finding.level, finding.exit_code) == (level, code)


def test_room_of_nothing(tmp_path: Path) -> None:
    """A path that is not there is told."""
    (finding,) = check_room(tmp_path / "none", about="files")
    assert finding.level is Level.PROBLEM


def test_socket_open_to_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A socket is open to all only if everybody can also pass through the folders above it."""
    folder = Path(tmp_path_factory.mktemp("s"))
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        path.chmod(0o660)
        assert not open_to_all(path)
        path.chmod(0o666)
        folder.chmod(0o700)
        assert not open_to_all(path)
