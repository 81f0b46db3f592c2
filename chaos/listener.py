"""A client of event-service.v1 that is cut off again and again, and comes back with the cursor of what it had last."""

import json
import random
import socket
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlencode

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

QUIET_S = 0.2  # without a frame, after which what was read is acknowledged
PAUSE_S = 0.3  # at most, before it comes back
ACK_EVERY = 10


class Listener(threading.Thread):
    """`numbers` and `names` are what it was sent, in the order of coming; `resets` the frames that told of a loss."""

    def __init__(self, *, port: int, key: str, endpoint_id: str, cut_at: Collection[int]) -> None:
        super().__init__()
        self._url = f"ws://127.0.0.1:{port}/event-service/ws"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._endpoint_id = endpoint_id
        self._cut_at = set(cut_at)
        self._cursor: str | None = None
        self._ended = threading.Event()
        self.numbers: list[int] = []
        self.names: list[str] = []
        self.resets: list[str] = []
        self.cuts = 0

    def end(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError, WebSocketException):
                self._listen()
            time.sleep(random.uniform(0, PAUSE_S))

    def _listen(self) -> None:
        asking = {"endpoint_id": self._endpoint_id} | ({"after": self._cursor} if self._cursor else {})
        with connect(
            f"{self._url}?{urlencode(asking)}",
            additional_headers=self._headers,
            subprotocols=[Subprotocol("event-service.v1")],
            close_timeout=1,
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
            self._cursor = str(frame["cursor"])
            self.numbers.append(int(self._cursor.partition("-")[2]))
            self.names.append(frame["data"]["n"])  # type: ignore[index]
        elif frame["kind"] != "ready":
            self.resets.append(json.dumps(frame))

    def _acknowledge(self, websocket: object) -> None:
        if self._cursor:
            websocket.send(json.dumps({"kind": "ack", "cursor": self._cursor}))  # type: ignore[attr-defined]
