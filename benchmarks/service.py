"""The processes under test, and what a benchmark puts into the database before it starts them."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import PIPE, Popen
from urllib.parse import urlsplit

import msgspec
import psutil
from django.conf import settings
from django.db import connection
from uuid_utils.compat import uuid7

from benchmarks import profiling
from endpoints.models import ApiKey, Endpoint, Scope, Workspace
from routing import envelope
from routing.models import Event
from routing.router import WEBHOOK_HINT
from routing.submissions import NewEvent

MANAGE = str(settings.BASE_DIR / "manage.py")
EMPTY = ["-m", "benchmarks.empty"]  # under daphne as it comes
DATA = {"orderId": 1001, "total": "24.90", "note": "abcdefghij" * 64}
EVENT = json.dumps({"type": "order.paid", "source": "/orders", "data": DATA})  # about 750 bytes


@dataclass(frozen=True)
class Web:
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        spent = self.process.cpu_times()
        return spent.user + spent.system


@contextmanager
def web_process(*program: str) -> Iterator[Web]:
    """Run `manage.py web`, or a program that takes the same options, on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    ready, say_ready = os.pipe()
    lifeline, life = os.pipe()
    fds = {"--listener": listener.fileno(), "--ready": say_ready, "--lifeline": lifeline}
    options = [text for option, fd in fds.items() for text in (option, str(fd))]
    kind = "web" if MANAGE in program else "bare"
    process = _started(kind, *program, *options, pass_fds=list(fds.values()))
    for fd in (say_ready, lifeline):
        os.close(fd)
    try:
        if not os.read(ready, 1):
            raise RuntimeError(f"{program} ended before it was ready")
        port = listener.getsockname()[1]
        listener.close()
        profiling.watch(kind, process.pid)
        yield Web(port, psutil.Process(process.pid))
    finally:
        os.close(ready)
        os.close(life)
        _end(process)


def _started(kind: str, *arguments: str, **options) -> Popen:
    """Start a program that PostgreSQL knows by its kind."""
    return Popen([sys.executable, *arguments], env={**os.environ, "PGAPPNAME": kind}, **options)


@contextmanager
def workers(*, processes: int, threads: int) -> Iterator[list[psutil.Process]]:
    running = [_started("worker", MANAGE, "deliver", "--threads", str(threads)) for _ in range(processes)]
    try:
        _wait_for_listeners(processes)
        for process in running:
            profiling.watch("worker", process.pid)
        yield [psutil.Process(process.pid) for process in running]
    finally:
        for process in running:
            process.terminate()
        for process in running:
            _end(process)


def _wait_for_listeners(count: int) -> None:
    deadline = time.monotonic() + 30
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query = %s", [f"LISTEN {WEBHOOK_HINT}"])
            if cursor.fetchone()[0] >= count:
                return
            time.sleep(0.1)
    raise RuntimeError("The workers did not start")


@dataclass(frozen=True)
class Service:
    port: int
    process: psutil.Process  # the supervisor

    def processes(self, command: str) -> list[psutil.Process]:
        """Return those that run a command of manage.py: "web" or "deliver"."""
        return [child for child in self.process.children() if command in child.cmdline()]


@contextmanager
def serving(*, log: int | None = None) -> Iterator[Service]:
    """Run `manage.py serve` with one web and one worker process."""
    process = _started("service", MANAGE, "serve", "--port", "0", stdout=PIPE, stderr=log, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith("Ready: "):
            raise RuntimeError(f"The service did not start: {line!r}")
        service = Service(urlsplit(line.removeprefix("Ready: ").strip()).port, psutil.Process(process.pid))
        for kind, command in (("web", "web"), ("worker", "deliver")):
            for child in service.processes(command):
                profiling.watch(kind, child.pid)
        yield service
    finally:
        process.terminate()
        _end(process)


@contextmanager
def whole_service(*, log: int | None = None) -> Iterator[int]:
    """`serving`, where the port is all that is needed."""
    with serving(log=log) as service:
        yield service.port


def _end(process: Popen) -> None:
    process.wait(timeout=40)


def clear() -> None:
    """Leave nothing of an earlier benchmark."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE endpoints_workspace, routing_event, routing_typetally CASCADE")


def new_workspace(*, webhooks: Sequence[str] = (), paused: bool = False) -> tuple[Workspace, str]:
    """Make a workspace with a key, and a webhook endpoint for each URL."""
    workspace = Workspace.objects.create(name=str(uuid7()))
    _, key = ApiKey.issue(workspace=workspace, name="benchmark", scopes=[Scope.PUBLISH])
    endpoints = [Endpoint.create_webhook(workspace_id=workspace.pk, name=url, url=url) for url in webhooks]
    if paused:
        Endpoint.change_state(endpoints, Endpoint.State.PAUSED)
    return workspace, key


def body_of_first_event() -> str:
    """Return what a webhook of it would be sent."""
    event = Event.objects.order_by("pk").first()
    fields = ("id", "type", "date", "source", "subject", "workspace_id", "data")
    return envelope.render(**{name: getattr(event, name) for name in fields}).decode()


def record_events(workspace: Workspace, count: int, *, type: str = "order.paid") -> None:
    Event.record_all([_new_event(workspace, type) for _ in range(count)])


def _new_event(workspace: Workspace, type: str) -> NewEvent:
    return NewEvent(
        id=uuid7(),
        workspace_id=workspace.pk,
        type=type,
        data=msgspec.json.encode(DATA).decode(),
        value=DATA,
        source="/orders",
        subject="",
        ordering_key="",
        date=None,
        producer_id=None,
    )
