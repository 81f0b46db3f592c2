"""One web process on the test's database, and what a client of its websockets sees."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from urllib.parse import quote, urlencode

import msgspec
import pytest
from django.conf import settings
from django.db import connection
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from routing.models import Delivery, Event, Socket
from routing.sockets.admission import standings
from routing.submissions import Submission, check
from tests.service import wait_until

DEADLINE_S = 20  # for every step that waits; a test that comes here fails
ENDED_S = 2  # for a web process to write that its websockets have ended
QUIET_S = 1.5  # over the time between two polls
# Runs manage.py after setting the constants that come first, such as routing.sockets.hub.POLL_S=5.
BOOT = """
import sys, importlib, event_service.asgi
from django.core.management import execute_from_command_line
while "=" in sys.argv[1]:
    path, value = sys.argv.pop(1).split("=")
    module, name = path.rsplit(".", 1)
    assert hasattr(importlib.import_module(module), name), path
    setattr(importlib.import_module(module), name, float(value))
execute_from_command_line(sys.argv)
"""


class Web:
    """One web process on the test's database."""

    def __init__(self, errors, *constants, **environment):
        self.errors = errors
        ready, is_ready = os.pipe()
        lifeline, self.lifeline = os.pipe()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            fds = {"listener": listener.fileno(), "ready": is_ready, "lifeline": lifeline}
            options = [f"--{name}={fd}" for name, fd in fds.items()]
            self.process = subprocess.Popen(
                [sys.executable, "-c", BOOT, *constants, "web", *options],
                stderr=errors,
                pass_fds=fds.values(),
                cwd=settings.BASE_DIR,
                env={**os.environ, "DATABASE_URL": database_url(), **environment},
            )
        os.close(is_ready)
        os.close(lifeline)
        with open(ready, "rb") as pipe:
            assert pipe.read(1) == b".", self.log()

    def log(self):
        self.errors.seek(0)
        return self.errors.read().decode()

    def listen(self, endpoint, key=None, *, asking=(), additional=(), **options):
        """Connect to an endpoint; `asking` is what else the query says, `additional` are headers."""
        headers = [("Authorization", f"Bearer {key}")] * bool(key) + list(additional)
        query = urlencode({"endpoint_id": getattr(endpoint, "pk", endpoint), **dict(asking)})
        return self.connect(f"/event-service/ws?{query}", additional_headers=headers, **options)

    def v1(self, endpoint, key=None, **asking):
        """Connect to acknowledge."""
        return self.listen(endpoint, key, asking=asking, subprotocols=["event-service.v1"])

    def connect(self, path, **options):
        return connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    def drain(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        self.process.kill()
        self.process.wait()
        os.close(self.lifeline)


def database_url():
    where = connection.get_connection_params()
    login = ":".join(quote(where[name], safe="") for name in ("user", "password") if where.get(name))
    return f"postgres://{login}@{quote(where['host'], safe='')}:{where['port']}/{where['dbname']}"


@contextmanager
def running(*constants, **environment):
    with tempfile.TemporaryFile() as errors:
        web = Web(errors, *constants, **environment)
        try:
            yield web
            assert "Traceback" not in web.log()
        finally:
            web.stop()


def cursors(websocket, count):
    return [number(json.loads(websocket.recv(timeout=DEADLINE_S))) for _ in range(count)]


def number(frame):
    return int(frame["cursor"].partition("-")[2])


def cursor(endpoint, seq):
    """Return the cursor of the endpoint's event of that number."""
    return f"{standings({endpoint.pk})[endpoint.pk].epoch}-{seq}"


def assert_quiet(websocket):
    with pytest.raises(TimeoutError):
        websocket.recv(timeout=QUIET_S)


def closed(websocket):
    """Return the close code and reason that the websocket gets next."""
    with pytest.raises(ConnectionClosed) as error:
        websocket.recv(timeout=DEADLINE_S)
    return error.value.rcvd.code, error.value.rcvd.reason


def states(endpoint):
    return list(Delivery.objects.filter(endpoint=endpoint).order_by("seq").values_list("seq", "state"))


def asked(endpoint, key, *protocols, **asking):
    query = urlencode({"endpoint_id": endpoint.pk, **asking}).encode()
    return {"query_string": query, "headers": [(b"token", key.encode())], "subprotocols": protocols}


def record(workspace, *data, **fields):
    """Record one event for each JSON text that is given, in one transaction."""
    submissions = [Submission(type="test", data=msgspec.Raw(item), **fields) for item in data]
    return Event.record_all([check(submission, workspace.pk) for submission in submissions])


def wait_for_ends():
    """Return when no websocket is open, or those that are left belong to processes that were killed."""
    with suppress(AssertionError):
        wait_until(Socket.objects.count, (0).__eq__, within_s=ENDED_S)
