"""The producers, in a process of their own: what got a 2xx is in a ledger on the disk before anything else happens.

A request without an answer, or with 503, is repeated with the same ids until it has one. One in a hundred is repeated
although it had one.
"""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from chaos.ledger import Ledger
from chaos.world import ROOT, TYPES

THREADS = 8
AT_ONCE = 4  # events of a request, at most
TIMEOUT_S = 10
PAUSE_S = 0.2  # before the same is sent again


class Publisher:
    """The process as its owner sees it."""

    def __init__(
        self,
        folder: Path,
        *,
        urls: Sequence[str],
        keys: dict[str, str],
        rate: float,
        name: str = "p",
        on: Sequence[str] = (),
    ) -> None:
        """`name` begins the producer's ids; `on` begins the command, where it is to run on another machine."""
        what = {"folder": str(folder), "urls": urls, "keys": keys, "rate": rate, "name": name}
        command = [*on, sys.executable, "-m", "chaos.publisher"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True)
        assert self._process.stdin
        self._process.stdin.write(json.dumps(what))
        self._process.stdin.close()

    def finish(self, *, within_s: float | None = None) -> None:
        """Start nothing more, and wait until all that was started is accepted. Raises subprocess.TimeoutExpired."""
        self._process.terminate()
        self._process.wait(within_s)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Producer:
    """Publishes to the first of `urls` until that does not answer, then to the next."""

    def __init__(
        self, *, folder: str, urls: Sequence[str], keys: dict[str, str], rate: float = 1, name: str = "p"
    ) -> None:
        self._urls = deque(f"{url}/event-service/events" for url in urls)
        self.name = name
        self._keys = list(keys.items())
        self._each_s = THREADS * (1 + AT_ONCE) / 2 / rate
        self._sent = Ledger(Path(folder, "sent"), durable=False)
        self._accepted = Ledger(Path(folder, "accepted"), durable=True)
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    def run(self, name: str) -> None:
        count, next_at = 0, time.monotonic()
        with requests.Session() as session:
            while not self.stopping.is_set():
                workspace_id, key = random.choice(self._keys)
                events = [new_event(workspace_id, f"{name}-{count + n}") for n in range(random.randint(1, AT_ONCE))]
                count += len(events)
                self.publish(session, workspace_id, key, events)
                next_at = max(next_at + self._each_s, time.monotonic() - 10)  # what a fault held up is made good
                self.stopping.wait(max(0.0, next_at - time.monotonic()))

    def publish(self, session: requests.Session, workspace_id: str, key: str, events: Sequence[dict[str, Any]]) -> None:
        """Return once the events are accepted, or refused for good."""
        sent = {"at": time.time(), "workspace": workspace_id}
        self._sent.write(*({"n": event["id"], "type": event["type"], **sent} for event in events))
        tries, again, headers = 0, random.random() < 0.01, {"Authorization": f"Bearer {key}"}
        while True:
            tries += 1
            url = self._urls[0]
            try:
                answer = session.post(url, json=events, headers=headers, timeout=TIMEOUT_S)
            except requests.RequestException:
                self._leave(url)
                continue
            if answer.status_code == 503:
                self._leave(url)
                continue
            self._accepted.write(*_lines(events, answer, tries))
            if not again:
                return
            again = False

    def _leave(self, url: str) -> None:
        with self._lock:
            if self._urls[0] == url:  # else another thread came first
                self._urls.rotate(-1)
        time.sleep(PAUSE_S)


def new_event(workspace_id: str, name: str) -> dict[str, Any]:
    data = {"n": name, "workspace": workspace_id, "note": "abcdefghij" * random.randint(0, 20)}
    return {"type": random.choice(TYPES), "id": name, "orderingKey": name, "data": data}


def _lines(events: Sequence[dict[str, Any]], answer: requests.Response, tries: int) -> list[dict[str, Any]]:
    if answer.status_code != 202:
        return [{"n": event["id"], "refused": answer.status_code, "why": answer.text[:500]} for event in events]
    told = answer.json()["events"]
    return [
        {"n": event["id"], "at": time.time(), "tries": tries, **item} for event, item in zip(events, told, strict=True)
    ]


def main() -> None:
    producer = Producer(**json.loads(sys.stdin.read()))
    signal.signal(signal.SIGTERM, lambda *_: producer.stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threads = [threading.Thread(target=producer.run, args=[f"{producer.name}{n}"]) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
