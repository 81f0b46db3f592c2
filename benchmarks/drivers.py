"""Webhook servers under the same load: ours, and any other that takes an event as an HTTP request.

How another server is spoken to is said by a TOML file; README.md explains its members.
"""

import json
import os
import subprocess
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from string import Template
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec
import psutil

from benchmarks.costs import postgres
from benchmarks.latency import EVENT
from benchmarks.load import event_door
from benchmarks.service import clear, new_workspace, serving

START_S = 300  # for a server to start, or to stop
SENT_AT = "SENT_AT"  # stands in a body for the time at which an event was due


class Publish(NamedTuple):
    """The request that publishes one event: as `load` takes it, and its body with SENT_AT in it."""

    to: dict[str, Any]
    body: str


class Driver(Protocol):
    """One webhook server. The sink listens where `sink` says, before `start`."""

    name: str
    sink: tuple[str, int]  # host and port; port 0 is any

    def start(self, sink_url: str) -> Publish:
        """Have the server run, with one endpoint at this URL. Return how an event is published to it."""

    def processes(self) -> Mapping[str, Sequence[psutil.Process]]:
        """Return the server's processes by kind, for what they cost. Their descendants need not be named."""

    def stop(self) -> None: ...


class EventService:
    name = "Event Service"
    sink = ("127.0.0.1", 0)

    def start(self, sink_url: str) -> Publish:
        clear()
        self._running = ExitStack()
        self._service = self._running.enter_context(serving())
        _, key = new_workspace(webhooks=[sink_url])
        return Publish(event_door(self._service.port, key), EVENT)

    def processes(self) -> Mapping[str, Sequence[psutil.Process]]:
        service = self._service
        return {
            "web": service.processes("web"),
            "worker": service.processes("deliver"),
            "PostgreSQL": [postgres()],
        }

    def stop(self) -> None:
        self._running.close()


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body: str = ""


class _Sink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 0


class _Described(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    publish: _Request
    setup: list[_Request] = []
    sink: _Sink = _Sink()
    start: list[str] = []
    stop: list[str] = []
    processes: dict[str, str] = {}


class HttpServer:
    """A server that a TOML file describes. Raises ValueError where the file says what can't be."""

    def __init__(self, path: Path) -> None:
        try:
            self._described = msgspec.convert(tomllib.loads(path.read_text()), type=_Described)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise ValueError(f"{path}: {error}") from error
        self.name, self.sink = self._described.name, (self._described.sink.host, self._described.sink.port)

    def start(self, sink_url: str) -> Publish:
        _run(self._described.start)
        known = {**os.environ, "SINK_URL": sink_url, SENT_AT: SENT_AT}
        for request in self._described.setup:
            known |= _ask(_filled(request, known))
        publish = _filled(self._described.publish, known)
        return Publish(_address(publish), publish.body)

    def processes(self) -> Mapping[str, Sequence[psutil.Process]]:
        return {kind: _roots(text) for kind, text in self._described.processes.items()}

    def stop(self) -> None:
        _run(self._described.stop)


def _run(command: list[str]) -> None:
    if command:
        subprocess.run(command, check=True, timeout=START_S)


def _filled(request: _Request, known: Mapping[str, str]) -> _Request:
    def fill(text: str) -> str:
        try:
            return Template(text).substitute(known)
        except KeyError as error:
            raise ValueError(
                f"{request.url}: {error.args[0]} is neither in the environment nor in an answer"
            ) from error

    headers = {name: fill(value) for name, value in request.headers.items()}
    return _Request(url=fill(request.url), method=request.method, headers=headers, body=fill(request.body))


def _ask(request: _Request) -> dict[str, str]:
    """Send a request of the set-up; return the texts and numbers at the top of its answer, for later ones."""
    asked = urllib.request.Request(request.url, request.body.encode() or None, request.headers, method=request.method)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise ValueError(f"{request.method} {request.url}: {error.code} {error.read()[:300]!r}") from error
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    members = found.items() if isinstance(found, dict) else ()
    return {name: str(value) for name, value in members if isinstance(value, str | int)}


def _address(publish: _Request) -> dict[str, Any]:
    parts = urlsplit(publish.url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(
            f"{publish.url!r}: the load is sent by plain HTTP; give a URL like http://127.0.0.1:8071/path."
        )
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    return {"host": parts.hostname, "port": parts.port or 80, "path": path, "headers": publish.headers}


def _roots(text: str) -> list[psutil.Process]:
    """Return the processes whose command line has this text, without those that are children of another of them."""
    found = {
        process.pid: process
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and text in " ".join(process.info["cmdline"] or [])
    }
    return [process for process in found.values() if process.ppid() not in found]
