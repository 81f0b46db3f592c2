"""The far end of all webhooks, in a process of its own: what came is in its ledger before it answers.

`python -m chaos.receiver LEDGER HOST` prints its URL, then obeys JSON lines on its input, each answered with "ok":
{"secrets": {path: secret}}, {"mode": ...}, the name of one of MODES, and {"delay_s": ...}, before each answer.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.ledger import Ledger
from chaos.world import ROOT

# How many answers in a hundred are which; the rest is 200. `cut`: processed, then the connection is cut.
MODES: dict[str, dict[str, int]] = {
    "faulty": {"cut": 2, "503": 3},
    "honest": {},
    "troubled": {"503": 10},
    "failing": {"503": 100},
    "silent": {"none": 100},
}
PROCESSED = ("200", "cut")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Receiver:
    """The process as its owner sees it; `url` is where it listens."""

    def __init__(self, ledger: Path, *, host: str = "127.0.0.1", on: Sequence[str] = ()) -> None:
        """`on` begins the command, where it is to run on another machine."""
        command = [*on, sys.executable, "-m", "chaos.receiver", str(ledger), host]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()

    def tell(self, **what: Any) -> None:
        """Return when it has taken effect."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "ok\n":
            raise RuntimeError("the receiver has ended")

    def stop(self) -> None:
        self._process.communicate()


class _Desk:
    """What all connections share."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = Ledger(ledger, durable=False)
        self.secrets: dict[str, bytes] = {}
        self.mode = "honest"
        self.delay_s = 0.0

    def receive(self, peer: tuple[str, int], head: bytes, body: bytes) -> str:
        """Write down a request, and return how it is answered."""
        lines = head.decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        answer = self._answer()
        data = json.loads(body).get("data", {})
        self._ledger.write(
            {
                "at": time.time(),
                "host": peer[0],
                "peer": peer[1],
                "path": path,
                "id": headers.get("webhook-id"),
                "signed": headers.get("webhook-timestamp"),
                "valid": self._is_valid(path, headers, body),
                "sha": hashlib.sha256(body).hexdigest(),
                "n": data.get("n"),
                "workspace": data.get("workspace"),
                "answer": answer,
            }
        )
        return answer

    def _answer(self) -> str:
        chance = random.randrange(100)
        for answer, share in MODES[self.mode].items():
            if chance < share:
                return answer
            chance -= share
        return "200"

    def _is_valid(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        if path not in self.secrets:
            return False
        signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
        right = "v1," + base64.b64encode(hmac.digest(self.secrets[path], signed, hashlib.sha256)).decode()
        return any(hmac.compare_digest(right, one) for one in headers.get("webhook-signature", "").split())

    def obey(self, order: dict[str, Any]) -> None:
        for path, secret in order.get("secrets", {}).items():
            self.secrets[path] = base64.b64decode(secret.removeprefix("whsec_"))
        self.mode = order.get("mode", self.mode)
        self.delay_s = order.get("delay_s", self.delay_s)


class _Connection(asyncio.Protocol):
    def __init__(self, desk: _Desk) -> None:
        self._desk = desk
        self._unread = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, _, body = self._unread.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length and len(body) >= int(length[1]):
            self._unread = b""
            answer = self._desk.receive(self._transport.get_extra_info("peername"), head, body)
            asyncio.get_running_loop().call_later(self._desk.delay_s, self._reply, answer)

    def _reply(self, answer: str) -> None:
        if answer == "cut":
            self._transport.abort()
        elif answer != "none":
            self._transport.write(f"HTTP/1.1 {answer} Answer\r\nContent-Length: 0\r\n\r\n".encode())


async def _main(ledger: Path, host: str) -> None:
    loop, ended, desk = asyncio.get_running_loop(), asyncio.Event(), _Desk(ledger)

    def obey() -> None:
        if line := sys.stdin.readline():
            desk.obey(json.loads(line))
            print("ok", flush=True)
        else:
            ended.set()

    loop.add_reader(sys.stdin, obey)
    server = await loop.create_server(lambda: _Connection(desk), host, 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"http://{host}:{port}", flush=True)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
