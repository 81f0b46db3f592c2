"""The whole service as its users run it: real processes over an embedded database of their own."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import psutil
import requests

Found = TypeVar("Found")
ROOT = Path(__file__).resolve().parent.parent
READY = "Ready: "
DEADLINE_S = 60  # of every wait; a test that comes here fails
PROBE_EVERY_S = 0.005
MADE = """
from django.contrib.auth.models import User
from django.core.management import call_command
User.objects.create_superuser("ops", password="ops")
call_command("create_workspace", "Ours", "--json")
"""


def wait_until(probe: Callable[[], Found], satisfied: Callable[[Found], bool], within_s: float = DEADLINE_S) -> Found:
    """Ask again until the answer satisfies, and return it."""
    end = time.monotonic() + within_s
    while not satisfied(found := probe()):
        assert time.monotonic() < end, found
        _never.wait(PROBE_EVERY_S)  # who is waited for needs the processor
    return found


_never = threading.Event()


class _Made(NamedTuple):
    """A data folder with a stopped database, in which are a workspace and an operator. Each service gets a copy."""

    folder: Path
    workspace_id: str
    key: str


@cache
def _made() -> _Made:
    folder = Path(tempfile.mkdtemp(prefix="migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o711)  # started by root, PostgreSQL runs as another user
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder)}
    _managed(environment, "migrate", "--verbosity", "0")
    workspace = json.loads(_managed(environment, "shell", "--no-imports", "-c", MADE))
    wait_until(lambda: (folder / "postgres" / "postmaster.pid").exists(), lambda runs: not runs)
    return _Made(folder, workspace["workspaceId"], workspace["apiKey"])


def _managed(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE).stdout


class Service:
    """`start` and `stop` as often as wanted; the database stays between."""

    def __init__(self, data_dir: Path, *, workers: int = 1, **environment: str) -> None:
        self._workers = workers  # processes; each takes over a second to start
        self._environment = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(data_dir),
            "EVENT_SERVICE_EGRESS_ALLOW": "127.0.0.0/8",
            # Tests ask again and again until something has happened.
            **{f"EVENT_SERVICE_RATE_PER_{whose}": "0" for whose in ("KEY", "WORKSPACE", "ADDRESS")},
            **environment,
        }
        self.log = data_dir / "serve.log"
        self.port = 0  # a free one, which it then keeps
        folder, self.workspace_id, self.key = _made()
        subprocess.run(["cp", "-a", f"{folder}/.", str(data_dir)], check=True)  # with the owners of its files

    def manage(self, *arguments: str) -> str:
        return _managed(self._environment, *arguments)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.supervisor.poll() is None:
            self.stop()

    def start(self) -> None:
        command = [sys.executable, "manage.py", "serve", "--port", str(self.port), "--workers", str(self._workers)]
        with self.log.open("a") as log:
            self.supervisor = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, text=True, stdout=subprocess.PIPE, stderr=log
            )
        assert self.supervisor.stdout
        with self.supervisor.stdout as lines:
            ready = lines.readline()
        assert ready.startswith(READY), self.log.read_text()
        self.url = ready.removeprefix(READY).partition("/event-service")[0]
        self.port = int(self.url.rpartition(":")[2])

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.supervisor.terminate()
        return self.supervisor.wait(DEADLINE_S)

    def processes(self, command: str) -> Sequence[psutil.Process]:
        """Return the running processes of `manage.py COMMAND` that belong to this service."""
        children = psutil.Process(self.supervisor.pid).children(recursive=True)
        return [child for child in children if child.cmdline()[2:3] == [command]]

    def kill(self, *commands: str) -> None:
        """kill -9 the processes of these commands; "serve" is the supervisor."""
        doomed = [process for command in commands if command != "serve" for process in self.processes(command)]
        if "serve" in commands:
            doomed.insert(0, psutil.Process(self.supervisor.pid))
        for process in doomed:
            process.kill()
        psutil.wait_procs(doomed, 30)

    def publish(self, *events: dict[str, Any], timeout_s: float = 30) -> requests.Response:
        return requests.post(
            f"{self.url}/event-service/events",
            json=list(events),
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=timeout_s,
        )

    def graphql(self, query: str, **variables: Any) -> Any:
        answer = requests.post(
            f"{self.url}/event-service/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=30,
        ).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def end_leases(self) -> None:
        """Let the leases of dead workers run out now rather than in a minute."""
        sql = "UPDATE routing_delivery SET due_at = now() WHERE state = 'SENDING'"
        self.manage("dbshell", "--", "-c", sql)
