"""The examples in JavaScript, run by Node as their reader would."""

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.core.management import call_command

from endpoints.models import Endpoint
from tests.clients.test_verifying import BODY, OLD_SECRET, SECRET, headers
from tests.service import ROOT, wait_until
from tests.web import Web, record, states

NODE = shutil.which("node")
INSTALLED = ROOT / "clients/javascript/node_modules/standardwebhooks"
pytestmark = [
    pytest.mark.skipif(NODE is None, reason="There is no node."),
    pytest.mark.skipif(not INSTALLED.exists(), reason="script/test did not reach npm's registry."),
]


@contextmanager
def node(program: str, **environment: str) -> Iterator[Any]:
    """Run a program, and give what it says line by line."""
    assert NODE
    # Node 22 has WebSocket without being asked.
    options = ["--no-warnings", "--experimental-websocket"]
    process = subprocess.Popen(
        [NODE, *options, program],
        cwd=ROOT / "clients/javascript",
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with process.stdout as lines:
        yield (line.rstrip("\n") for line in iter(lines.readline, ""))
        process.terminate()
        process.wait()


def test_the_receiver_takes_what_is_signed_and_nothing_else() -> None:
    with node("receive.mjs", SECRET=SECRET, PORT="0") as said:
        url = f"http://127.0.0.1:{next(said).split()[-1]}/"
        assert requests.post(url, BODY, headers=headers(OLD_SECRET), timeout=30).status_code == 400
        with socket.create_connection(("127.0.0.1", urlsplit(url).port)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it breaks off
        assert requests.post(url, bytes(2 << 20), headers=headers(SECRET), timeout=30).status_code == 400
        assert requests.post(url, BODY + b" ", headers=headers(SECRET), timeout=30).status_code == 400
        assert requests.post(url, BODY, headers=headers(OLD_SECRET, SECRET), timeout=30).status_code == 204
        assert next(said) == 'order.paid {"n":1}'


def has_web_socket() -> bool:
    """Whether Node is one of the versions that consume.mjs names."""
    command = [str(NODE), "--no-warnings", "--experimental-websocket", "-p", "typeof WebSocket"]
    return NODE is not None and subprocess.run(command, capture_output=True, check=False).stdout == b"function\n"


@pytest.mark.skipif(not has_web_socket(), reason="This node has no WebSocket; 20.10 and newer have.")
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sockets_left")
def test_the_consumer_acknowledges_and_comes_back(web: Web, web_socket: Endpoint, key: str, workspace: Any) -> None:
    record(workspace, b"1", b"2")
    where = {"URL": f"ws://127.0.0.1:{web.port}", "ENDPOINT": str(web_socket.pk), "KEY": key}
    with node("consume.mjs", **where) as said:
        assert [next(said), next(said)] == ["test 1", "test 2"]
        wait_until(lambda: states(web_socket), [(1, "DELIVERED"), (2, "DELIVERED")].__eq__)
        call_command("new_epoch", verbosity=0)  # ends all sockets, which come back with a cursor that is none any more
        record(workspace, b"3")
        assert next(said) == "test 3"
        wait_until(lambda: states(web_socket)[-1], (3, "DELIVERED").__eq__)
