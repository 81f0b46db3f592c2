"""The service under test: real processes on one port, over an embedded database in a DATA_DIR of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from chaos.database import Database, wait_for
from chaos.world import ROOT, World

GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


class Service(Database):
    """`start` as often as wanted; the database and the port stay. `root` is where its code is."""

    def __init__(
        self, data_dir: Path, *, web: int, workers: int, environment: Mapping[str, str], root: Path = ROOT
    ) -> None:
        data_dir.mkdir(mode=0o711, exist_ok=True)
        super().__init__(data_dir / "postgres")
        self.data_dir = data_dir
        self.failpoints = data_dir / "failpoints"
        self.failpoints.mkdir(exist_ok=True)
        self.log = data_dir.with_name("serve.log")  # not on the disk that may be full
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(data_dir),
            "EVENT_SERVICE_EGRESS_ALLOW": "127.0.0.0/8",
            "EVENT_SERVICE_FAILPOINTS": "1",
            **environment,
        }
        self._root = root
        self._serve = ["serve", "--port", str(self.port), "--web", str(web), "--workers", str(workers)]
        self._spawned: list[subprocess.Popen[str]] = []

    def prepare(self, receiver: str, *, workspaces: int) -> World:
        self.run("manage.py", "migrate", "--verbosity", "0")
        return World.parse(self.run("-m", "chaos.world", receiver, str(workspaces)))

    def run(self, *command: str) -> str:
        return subprocess.run(
            [sys.executable, *command],
            cwd=self._root,
            env=self.environment,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout

    def spawn(self, *command: str, stdout: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *command],
                cwd=self._root,
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

    def drain(self) -> int:
        """Ask what was started last to end, and return its exit code."""
        self._spawned[-1].terminate()
        return self._spawned[-1].wait(60)

    def stop(self) -> int:
        """Ask it to end, and return its exit code; end whatever is left by force."""
        with suppress(subprocess.TimeoutExpired):
            self.drain()
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
