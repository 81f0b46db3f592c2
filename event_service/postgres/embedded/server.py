"""The PostgreSQL that runs beside the service: one for a DATA_DIR, shared by every process that uses it.

The first process that wants a connection starts it, and it stops after the last one ended, however that ended.
Three lock files beside the data say who does what. The kernel gives a lock back when its holder dies, so no
list of processes has to be believed:

    postgres.users   shared by every process that uses the server, as long as the process lives
    postgres.server  held by who starts the server, then by the server, whose processes all inherit it
    postgres.watch   held by the one watcher (watcher.py), which stops the server when nobody holds `users`
"""

import fcntl
import functools
import hashlib
import os
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO

import psutil
import psycopg
from django.conf import settings
from psycopg import sql

from event_service.postgres.embedded import watcher
from event_service.postgres.embedded.place import Account, Place, choose_place

PORT = "5432"  # a part of the socket's name; there is no TCP
SOCKET = f".s.PGSQL.{PORT}"
SOCKET_PATH_BYTES = 103  # macOS; Linux has 107
PATIENCE_S = 60  # a start after a crash replays the log first
POLL_S = 0.02
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "300",  # what a large machine's processes may take: docs/scaling.md
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_init_zero": "off",  # to fill a new segment of the log holds up whoever commits just then: 70 to 180 ms
    "jit": "off",
    "log_checkpoints": "off",
    "log_min_messages": "log",  # the errors of statements go to the client; nobody rotates the log file
}


@functools.cache
def embedded_server() -> "Server":
    return Server(choose_place(settings.DATA_DIR), database=settings.DATABASES["default"]["NAME"])


class Server:
    def __init__(self, place: Place, *, database: str) -> None:
        self.data = place.data
        self.programs = place.programs
        self._account = place.account
        self._database = database
        self._pid_file = self.data / "postmaster.pid"
        self._log_file = self.data.with_name("postgres.log")
        self._locks = {name: self.data.with_name(f"postgres.{name}") for name in ("users", "watch", "server")}
        self._sockets = self._socket_folder()
        self._users: int | None = None  # the open lock file; only the end of the process closes it

    def serving(self) -> dict[str, str]:
        """Return how to connect, to a server that runs. Raises psycopg's OperationalError where none can be started."""
        if self._users is None or self._is_gone():
            self._use()
        return {"host": str(self._sockets), "port": PORT, "user": "postgres"}

    def _use(self) -> None:
        self._refuse_data_of_others()
        if self._users is None:
            with self._lock("users", fcntl.LOCK_SH) as users:  # waits while a watcher is stopping the server
                self._users = os.dup(users.fileno())
        self._watch()
        if lock := self._lock_of_a_server():
            with lock:
                self._start(lock)
        self._wait_for_answer()

    def _refuse_data_of_others(self) -> None:
        if os.geteuid() != 0 and self.data.exists() and not os.access(self.data, os.W_OK):
            raise psycopg.OperationalError(
                f"The database in {self.data} belongs to the user {self.data.owner()}. Run as this user, "
                "or set DATA_DIR to a folder of your own, or DATABASE_URL to another database."
            )

    def _watch(self) -> None:
        """Have a watcher. It comes before the server: a start that is killed half-way is cleared up as well."""
        try:
            lock = self._lock("watch", fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        with lock:
            python = [sys.executable, "-I", "-S", watcher.__file__]
            watched = [self._locks["users"], self._locks["server"], self._pid_file]
            # As who we are: root may signal anybody's processes.
            self._leave_running(Account(), [*python, str(lock.fileno()), *map(str, watched)], [lock.fileno()])

    def _lock_of_a_server(self) -> IO[bytes] | None:
        """Return the lock once nothing is left of an earlier server, or None as soon as a server listens."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._listens():
            try:
                return self._lock("server", fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise psycopg.OperationalError(
                        f"No server listens in {self._sockets}, but processes that hold "
                        f"{self._locks['server']} are starting one or were left by a killed one. End them."
                    ) from None
            time.sleep(POLL_S)
        return None

    def _start(self, lock: IO[bytes]) -> None:
        if not self.data.exists():
            self._create(lock)
        self.data.chmod(0o700)  # PostgreSQL insists on it, and a copied folder may have lost it
        self._forget_dead()
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        with self._account.entering(self.data) as (data, descriptors):
            sockets = data if self._sockets == self.data else str(self._sockets)
            command = [str(self.programs / "postgres"), "-D", data, "-k", sockets, "-p", PORT, *options]
            self._leave_running(self._account, command, [lock.fileno(), *descriptors])

    def _create(self, lock: IO[bytes]) -> None:
        """Make the data folder with the database in it, or nothing."""
        draft = self.data.with_name("postgres.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._account.own(draft)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = ["--username=postgres", "--auth=trust"]  # who can enter the folder of the socket
        create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)).as_bytes()
        with self._account.entering(draft) as (data, descriptors):
            inherited = [lock.fileno(), *descriptors]
            self._run(["initdb", "-D", data, *access, *locale], inherited)
            self._run(["postgres", "--single", "-D", data, "postgres"], inherited, stdin=create + b"\n")
        draft.rename(self.data)

    def _run(self, command: Sequence[str], inherited: Collection[int], stdin: bytes = b"") -> None:
        program, *arguments = command
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
            given.write(stdin)
            given.seek(0)
            command = [str(self.programs / program), *arguments]
            code = self._account.run(command, stdin=given, output=output, inherited=inherited)
            if code != 0:
                output.seek(0)
                said = output.read().decode(errors="replace")
                raise psycopg.OperationalError(f"{program} failed with exit code {code}: {said}")

    def _leave_running(self, account: Account, command: Sequence[str], inherited: Collection[int]) -> None:
        """Start a process that is nobody's child, so that it outlives us and never waits for us as a zombie."""
        with open(self._log_file, "ab") as log:
            self._account.own(self._log_file)
            account.run(["/bin/sh", "-c", '"$@" &', "sh", *command], output=log, inherited=inherited)

    def _forget_dead(self) -> None:
        """Remove what a killed server left. PostgreSQL would take a zombie or a stranger with its pid for it.

        A server on this data that somebody started by hand is not dead: PostgreSQL then refuses by itself.
        """
        try:
            command = psutil.Process(int(self._pid_file.read_text().partition("\n")[0])).cmdline()
        except (OSError, ValueError, psutil.Error):
            command = []
        if not command or Path(command[0]).name != "postgres":
            self._pid_file.unlink(missing_ok=True)
            (self._sockets / f"{SOCKET}.lock").unlink(missing_ok=True)

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg.connect(host=str(self._sockets), port=PORT, user="postgres", dbname="postgres").close()
            except psycopg.OperationalError as error:
                if self._is_gone() or time.monotonic() > deadline:
                    raise psycopg.OperationalError(f"PostgreSQL does not start: {self._end_of_log()}") from error
            else:
                return
            time.sleep(POLL_S)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._sockets / SOCKET)) == 0

    def _is_gone(self) -> bool:
        """Tell whether no server holds its lock. It is asked for each connection that is taken out of the pool."""
        try:
            file = os.open(self._locks["server"], os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(file)
        return True

    def _end_of_log(self) -> str:
        return " / ".join(self._log_file.read_text(errors="replace").splitlines()[-3:])

    def _lock(self, name: str, operation: int) -> IO[bytes]:
        """Open the lock file and lock it. Closing gives the lock back, unless a process inherited the file."""
        path = self._locks[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab")  # noqa: SIM115 - returned open
        try:
            self._account.own(path)
            fcntl.flock(file, operation)
        except BaseException:
            file.close()
            raise
        return file

    def _socket_folder(self) -> Path:
        """Return the data folder, or a short stand-in where the socket's path is too long or breaks libpq's lists."""
        path = os.fsencode(self.data / SOCKET)
        if len(path) <= SOCKET_PATH_BYTES and not set(path) & set(b',"'):
            return self.data
        folder = Path("/tmp", f"event-service-{hashlib.sha256(path).hexdigest()[:16]}")
        try:
            folder.mkdir(mode=0o700)
            self._account.own(folder)
        except FileExistsError:
            status = folder.lstat()
            if (status.st_uid, status.st_mode) != (self._account.user_id, stat.S_IFDIR | 0o700):
                raise psycopg.OperationalError(
                    f"{folder} is not a folder that only user {self._account.user_id} can enter; remove it."
                ) from None
        return folder
