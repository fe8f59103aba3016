"""What a user installs: the sdist and the wheel made from it, with everything that the program needs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

_REPOSITORY = Path(__file__).parents[1]
_MESSAGE = b"From: a@origin.test\nSubject: from the wheel\n\nbody\n"


def _run(argv: Sequence[str | Path], *, cwd: Path, stdin: bytes = b"") -> bytes:
    # neither the repository nor what configures its tests may help
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPOOLER"))}
    done = subprocess.run(argv, cwd=cwd, env=env, input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built by way of the sdist so that both are complete."""
    out = tmp_path_factory.mktemp("dist")
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, _REPOSITORY], cwd=out)
    (found,) = out.glob("*.whl")
    return found


def test_it_has_everything_that_the_program_needs(wheel: Path) -> None:
    """Every module and migration of the repository is in the wheel, with the types marker and the licence."""
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"spooler/{path.relative_to(_REPOSITORY / 'spooler')}" for path in _sources("spooler")}
    migrations = {
        f"spooler/_migrations/{path.relative_to(_REPOSITORY / 'migrations')}"
        for path in _sources("migrations")
    }
    assert modules
    assert any(name.startswith("spooler/_migrations/versions/") for name in migrations)
    assert modules | migrations | {"spooler/py.typed"} <= names
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert f"{info}/licenses/LICENSE" in names
    data = f"{info.removesuffix('.dist-info')}.data"
    assert {f"{data}/data/share/man/man1/{page}" for page in ("lmtp.1", "spooler.1")} <= names
    packages = {name.split("/")[0] for name in names} - {info, data}
    assert packages == {"spooler"}, "nothing but the package itself is installed"


def test_it_works_away_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    """Installed into an environment of its own, its command makes a spool and takes a message."""
    venv = tmp_path / "venv"
    _run([sys.executable, "-m", "venv", "--without-pip", venv], cwd=tmp_path)
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "pip", "--python", venv / "bin" / "python", *install, wheel], cwd=tmp_path)
    # its dependencies are those of this environment: a plain path, so that an editable install is not seen
    site = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    place = tmp_path / "elsewhere"
    place.mkdir()

    where = _run([venv / "bin" / "python", "-c", "import spooler; print(spooler.__file__)"], cwd=place)
    assert Path(where.decode().strip()).is_relative_to(venv)

    command = [venv / "bin" / "spooler"]
    spool = ["--spool", "sqlite:///spool.db"]
    _run([*command, "init", *spool], cwd=place)
    message_id = _run(
        [*command, "enqueue", *spool, "-f", "a@origin.test", "b@store.test"], cwd=place, stdin=_MESSAGE
    )
    assert b"b@store.test" in _run([*command, "queue", "list", *spool], cwd=place)
    assert message_id.strip()
    assert (venv / "share/man/man1/lmtp.1").exists()
    assert b"Deliver the message on standard input" in _run([venv / "bin" / "lmtp", "--help"], cwd=place)


def _sources(folder: str) -> list[Path]:
    return [
        path
        for path in (_REPOSITORY / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    ]
