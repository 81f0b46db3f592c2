"""A client of event-service.v1 that is cut off again and again, and comes back with the cursor of what it had last."""

import json
import logging
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from urllib.parse import urlencode

import requests
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

QUIET_S = 0.2  # without a frame, after which what was read is acknowledged
PAUSE_S = 0.3  # at most, before it comes back
PATIENCE_S = 5  # with a server that says nothing, then with the next
ACK_EVERY = 10


def make_endpoint(url: str, key: str) -> str:
    """Make a websocket endpoint for all events, and return its id."""
    answer = requests.post(
        f"{url}/event-service/graphql",
        json={"query": 'mutation { createWebSocketEndpoint(name: "chaos") { id } }'},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    ).json()
    return str(answer["data"]["createWebSocketEndpoint"]["id"])


logging.getLogger("websockets").setLevel(logging.CRITICAL)  # that connections break is what it is for


class Listener(threading.Thread):
    """Goes from one of `urls` to the next.

    `numbers` and `names` are what it was sent, in the order of coming; `resets` the frames that told of a loss.
    """

    def __init__(
        self,
        *,
        urls: Sequence[str],
        key: str,
        endpoint_id: str,
        cut_at: Collection[int] = (),
        cursor: str | None = None,
    ) -> None:
        super().__init__(daemon=True)  # a run that fails ends though nobody ends its clients
        self._urls = deque(f"{url.replace('http', 'ws', 1)}/event-service/ws" for url in urls)
        self._key = key
        self._endpoint_id = endpoint_id
        self._cut_at = set(cut_at)
        self.cursor = cursor
        self._ended = threading.Event()
        self.numbers: list[int] = []
        self.names: list[str] = []
        self.resets: list[str] = []
        self.cuts = 0

    def again(self, urls: Sequence[str]) -> "Listener":
        """Return the same client as it would come back, to a service elsewhere."""
        return Listener(urls=urls, key=self._key, endpoint_id=self._endpoint_id, cursor=self.cursor)

    def end(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError, WebSocketException):
                self._listen()
            self._urls.rotate(-1)
            time.sleep(random.uniform(0, PAUSE_S))

    def _listen(self) -> None:
        asking = {"endpoint_id": self._endpoint_id} | ({"after": self.cursor} if self.cursor else {})
        with connect(
            f"{self._urls[0]}?{urlencode(asking)}",
            additional_headers={"Authorization": f"Bearer {self._key}"},
            subprotocols=[Subprotocol("event-service.v1")],
            open_timeout=PATIENCE_S,
            ping_interval=PATIENCE_S,
            ping_timeout=PATIENCE_S,
            close_timeout=1,
            proxy=None,
        ) as websocket:
            while not self._ended.is_set():
                try:
                    frame = json.loads(websocket.recv(timeout=QUIET_S))
                except TimeoutError:
                    self._acknowledge(websocket)
                    continue
                self._take(frame)
                if len(self.numbers) % ACK_EVERY == 0:
                    self._acknowledge(websocket)
                if len(self.numbers) in self._cut_at:
                    self._cut_at.discard(len(self.numbers))
                    self.cuts += 1
                    websocket.socket.shutdown(socket.SHUT_RDWR)

    def _take(self, frame: dict[str, object]) -> None:
        if frame["kind"] == "event":
            self.cursor = str(frame["cursor"])
            self.numbers.append(int(self.cursor.partition("-")[2]))
            self.names.append(frame["data"]["n"])  # type: ignore[index]
        elif frame["kind"] != "ready":
            self.resets.append(json.dumps(frame))

    def _acknowledge(self, websocket: object) -> None:
        if self.cursor:
            websocket.send(json.dumps({"kind": "ack", "cursor": self.cursor}))  # type: ignore[attr-defined]
