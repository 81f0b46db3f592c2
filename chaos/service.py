"""The service under test: real processes on one port, over an embedded database in a DATA_DIR of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from chaos.world import World

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 120  # of every wait: longer than a lease
POLL_S = 0.02
GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


def wait_for(what: str, holds: Callable[[], Any], *, within_s: float = PATIENCE_S) -> Any:
    """Ask again until the answer is true, and return it. Raises TimeoutError, naming what was waited for."""
    end = time.monotonic() + within_s
    while not (found := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {within_s:g} s for {what}")
        time.sleep(POLL_S)
    return found


class Service:
    """`start` as often as wanted; the database and the port stay."""

    def __init__(self, data_dir: Path, *, web: int, workers: int, environment: Mapping[str, str]) -> None:
        data_dir.mkdir(mode=0o711, exist_ok=True)
        self.data_dir = data_dir
        self.failpoints = data_dir / "failpoints"
        self.failpoints.mkdir()
        self.log = data_dir.with_name("serve.log")  # not on the disk that may be full
        self.port = _free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(data_dir),
            "EVENT_SERVICE_EGRESS_ALLOW": "127.0.0.0/8",
            "EVENT_SERVICE_FAILPOINTS": "1",
            **environment,
        }
        self._serve = ["serve", "--port", str(self.port), "--web", str(web), "--workers", str(workers)]
        self._spawned: list[subprocess.Popen[str]] = []

    def prepare(self, receiver: str, *, workspaces: int) -> World:
        self.run("manage.py", "migrate", "--verbosity", "0")
        return World.parse(self.run("-m", "chaos.world", receiver, str(workspaces)))

    def run(self, *command: str) -> str:
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=self.environment, check=True, text=True, stdout=subprocess.PIPE
        ).stdout

    def spawn(self, *command: str, stdout: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *command],
                cwd=ROOT,
                env=self.environment,
                text=True,
                stdout=stdout,
                stderr=log,
            )
        self._spawned.append(process)
        return process

    def start(self) -> None:
        """Return when it serves. It is started again while what an earlier one left still holds the port."""
        wait_for(f"the service to start (see {self.log})", self._start)

    def _start(self) -> bool:
        supervisor = self.spawn(*self._serve, stdout=subprocess.PIPE)
        assert supervisor.stdout
        with supervisor.stdout as lines:
            return lines.readline().startswith("Ready: ")

    def stop(self) -> int:
        """Ask it to end, and return its exit code; end whatever is left by force."""
        with suppress(subprocess.TimeoutExpired):
            self._spawned[-1].terminate()
            self._spawned[-1].wait(60)
        self.kill_everything()
        return self._spawned[-1].returncode

    def processes(self, *commands: str) -> list[psutil.Process]:
        """Return the running processes of `manage.py COMMAND`; "serve" is the supervisor."""
        return [process for process in self.everything() if _command(process) in commands]

    def connected_by(self, port: int) -> psutil.Process:
        """Return the process of the service that has the connection with that port at one end."""
        ends = [end for end in psutil.net_connections("tcp") if end.raddr and port in (end.laddr.port, end.raddr.port)]
        pids = {end.pid for end in ends if end.pid}
        (process,) = (process for process in self.processes("web", "deliver") if process.pid in pids)
        return process

    def postmaster(self) -> psutil.Process | None:
        with suppress(OSError, ValueError, *GONE):
            first, *_ = (self.data_dir / "postgres/postmaster.pid").read_text().splitlines()
            process = psutil.Process(int(first))
            if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE:  # else the file is old
                return process
        return None

    def everything(self) -> list[psutil.Process]:
        """Return every process that belongs to this DATA_DIR, PostgreSQL's last."""
        mine = str(self.data_dir)
        found = []
        for process in psutil.process_iter():
            with suppress(*GONE):
                if process.environ().get("DATA_DIR") == mine or _watches(process, mine):
                    found.append(process)
        if postmaster := self.postmaster():
            with suppress(*GONE):
                found += [postmaster, *postmaster.children(recursive=True)]
        return found

    def kill_everything(self) -> None:
        """kill -9, as a machine that loses its power."""
        while doomed := self.everything():
            kill(doomed)
        for process in self._spawned:
            process.wait()

    def arm(self, point: str, signal: str = "SIGKILL") -> None:
        draft = self.data_dir / "failpoint"
        draft.write_text(signal)
        draft.rename(self.failpoints / point)

    def is_armed(self, point: str) -> bool:
        return (self.failpoints / point).exists()

    def connect(self, database: str = "event_service") -> "psycopg.Connection[Any]":
        """Return a connection for those who watch: it never starts a server."""
        return psycopg.connect(
            host=str(self.data_dir / "postgres"),
            user="postgres",
            dbname=database,
            connect_timeout=5,
            options="-c statement_timeout=30s",
            autocommit=True,
        )

    def ask(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query, asked until a database answers."""

        def answered() -> list[list[tuple[Any, ...]]]:
            with suppress(psycopg.OperationalError), self.connect() as connection:
                cursor = connection.execute(query.encode(), parameters)
                return [cursor.fetchall() if cursor.description else []]
            return []

        rows: list[tuple[Any, ...]] = wait_for(f"an answer to {query!r}", answered)[0]
        return rows

    def end_leases(self) -> None:
        """Let leases run out now rather than in a minute."""
        self.ask("UPDATE routing_delivery SET due_at = clock_timestamp() WHERE state = 'SENDING'")

    def close_breakers(self) -> None:
        """Do what resuming an endpoint does."""
        self.ask(
            "UPDATE routing_lane SET ready_at = clock_timestamp(), opened_at = NULL, openings = 0, "
            "window_attempts = 0, window_failures = 0 WHERE opened_at IS NOT NULL OR ready_at > clock_timestamp()"
        )

    def is_final(self) -> bool:
        return not self.ask("SELECT 1 FROM routing_delivery WHERE state IN ('PENDING', 'SENDING') LIMIT 1")


def kill(doomed: Iterable[psutil.Process]) -> None:
    doomed = list(doomed)
    for process in doomed:
        with suppress(*GONE):
            process.kill()
    psutil.wait_procs(doomed, 30)


def _watches(process: psutil.Process, data_dir: str) -> bool:
    line = " ".join(process.cmdline())
    return "watcher.py" in line and data_dir in line


def _command(process: psutil.Process) -> str:
    with suppress(*GONE):
        line: list[str] = process.cmdline()
        if len(line) > 2 and line[1].endswith("manage.py"):
            return line[2]
    return ""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
