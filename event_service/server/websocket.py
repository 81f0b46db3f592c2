"""Websockets as daphne speaks them, bounded both ways and closed with the code that was meant."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autobahn.util import encode_truncate
from autobahn.websocket.types import ConnectionDeny
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

POLICY_VIOLATION, SERVICE_RESTART, TRY_AGAIN_LATER = 1008, 1012, 1013  # close codes
STALL_S = 10  # how long a client may take nothing while there is something for it
MAX_UNSENT = 4 << 20  # bytes, for senders that do not wait; those that do stay near Twisted's 64 KiB
MAX_UNREAD, MAX_UNREAD_SIZE = 64, 1 << 20  # messages that the application has not asked for yet, and their length
UNREAD_CHECK_S = 0.05
SMALL_FRAMES_PER_S, SMALL_FRAMES_AT_ONCE = 100, 1_000  # pings, pongs and fragments, from one client
_HEAD_OF_SHORT = 6  # bytes before the payload of a masked frame of up to 125
MAX_REASON = 123  # bytes: a control frame has room for no more


class ClientGone(ConnectionError):
    """What an application's `send` raises on a websocket that is closed: the message did not go out."""


class WebSocket(WebSocketProtocol):
    """A websocket that holds little for a client that does not read, and little from one that floods.

    Twisted calls pauseProducing, resumeProducing and stopProducing as its send buffer fills and empties.
    """

    server: Any = None  # daphne sets it once the handshake has turned out to be one
    hear: Callable[[bytes], bool] | None = None  # takes a text that no other message waits before, or returns False

    def __init__(self) -> None:
        super().__init__()
        self.drained = asyncio.Event()
        self.drained.set()
        self.gone = asyncio.Event()
        self.unsent = 0  # bytes given to Twisted since it asked to pause
        self.waits = False  # until the application has asked for something of what is unread
        self.deaf = False  # for the rest of its time
        self.small_frames_left, self.counted_at = float(SMALL_FRAMES_AT_ONCE), time.monotonic()

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        headers = {"content-length": "0", "connection": "close", **self.factory.headers}
        super().sendHttpErrorResponse(code, reason, [*(responseHeaders or ()), *headers.items()])

    def onOpen(self) -> None:
        super().onOpen()
        self.transport.unregisterProducer()  # the HTTP channel, which would stop reading while we can't send
        self.transport.registerProducer(self, True)

    def onClose(self, clean: bool, code: int | None, reason: str | None) -> None:
        self.drained.set()
        self.gone.set()
        # What came of a message without an end: a connection is in circles, which the collector seldom looks at.
        self.data, self.message_data = b"", list[bytes]()
        if self.server is not None:
            super().onClose(clean, code, reason)

    def pauseProducing(self) -> None:
        self.drained.clear()

    def resumeProducing(self) -> None:
        self.unsent = 0
        self.drained.set()

    def stopProducing(self) -> None:
        self.drained.set()

    async def drain(self) -> None:
        """Wait until the client has taken what was sent; close 1013 when it takes too long.

        Raises ClientGone when the websocket is closed.
        """
        if self.state == self.STATE_OPEN and not self.drained.is_set():
            try:
                async with asyncio.timeout(STALL_S):
                    await self.drained.wait()
            except TimeoutError:
                self.serverClose(TRY_AGAIN_LATER)
        if self.state != self.STATE_OPEN:
            raise ClientGone("The websocket is closed.")

    def processData(self) -> bool:
        """Take a short text at once where all of it is there. The rest, and all that is wrong, is for autobahn."""
        text = self._short_text()
        if text is None:
            return bool(super().processData())
        self.data = self.data[_HEAD_OF_SHORT + len(text) :]
        if self.autoPingTimeoutCall:  # it lives
            self._cancelAutoPingTimeoutCall()
        self.onMessage(text, False)
        return bool(self.data)

    def _short_text(self) -> bytes | None:
        """Return the next message if it is one frame, a text of up to 125 bytes (RFC 6455, 5.2)."""
        data = self.data
        if self.state != self.STATE_OPEN or self.current_frame is not None or self.inside_message:
            return None
        if len(data) < _HEAD_OF_SHORT or data[0] != 0x81 or not 0x80 <= data[1] < 0x80 + 126:
            return None
        size = data[1] - 0x80
        masked = data[_HEAD_OF_SHORT : _HEAD_OF_SHORT + size]
        if len(masked) < size:
            return None
        text = _unmasked(masked, data[2:_HEAD_OF_SHORT])
        return text if _is_utf8(text) else None

    def onFrameBegin(self) -> None:
        """Read nothing more from who sends too much of what no application hears of."""
        if self.current_frame.opcode not in (1, 2) and not self._has_small_frame_left():
            self.serverClose(POLICY_VIOLATION, f"Over {SMALL_FRAMES_PER_S} control frames or fragments a second.")
            self.deaf = True
            self.transport.pauseProducing()
        super().onFrameBegin()

    def _has_small_frame_left(self) -> bool:
        now = time.monotonic()
        saved = self.small_frames_left + (now - self.counted_at) * SMALL_FRAMES_PER_S
        self.small_frames_left, self.counted_at = min(saved, SMALL_FRAMES_AT_ONCE) - 1, now
        return self.small_frames_left >= 0

    def onMessage(self, payload: bytes, is_binary: bool) -> None:
        if not is_binary and self.hear and self.application_queue.empty() and self.hear(payload):
            return
        super().onMessage(payload, is_binary)
        if not self.waits:  # as for each of the thousands of messages that may come in one read
            self._read_when_heard()

    def _read_when_heard(self) -> None:
        self.waits = not (self._has_room() or self.gone.is_set())
        if self.waits:
            self.transport.pauseProducing()
            if self.autoPingTimeoutCall:  # its pong can't be heard
                self._cancelAutoPingTimeoutCall()
            asyncio.get_running_loop().call_later(UNREAD_CHECK_S, self._read_when_heard)
        elif not self.deaf:
            self.transport.resumeProducing()

    def _has_room(self) -> bool:
        unread = self.application_queue._queue
        return len(unread) < MAX_UNREAD and sum(map(_size, unread)) < MAX_UNREAD_SIZE

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send" and "texts" in message:
            self.sendAll(message["texts"])
        elif message["type"] == "websocket.close" and self.state != self.STATE_CONNECTING:
            self.serverClose(message.get("code"), message.get("reason"))  # daphne loses the reason
        else:
            super().handle_reply(message)

    def sendAll(self, texts: Sequence[bytes]) -> None:
        """Send these texts, in UTF-8, in one write: a frame each. Our own addition to ASGI: {"texts": [...]}."""
        if self.state != self.STATE_OPEN:
            return  # `drain` tells the application
        data = b"".join(part for text in texts for part in (_head(len(text)), text))
        if not self.drained.is_set():
            self.unsent += len(data)
        if self.unsent > MAX_UNSENT:
            self.serverClose(TRY_AGAIN_LATER)
        else:
            self.transport.write(data)

    def serverSend(self, content: str | bytes, binary: bool = False) -> None:
        if self.state != self.STATE_OPEN:
            return  # `drain` tells the application
        payload = content.encode() if isinstance(content, str) else content
        if not self.drained.is_set():
            self.unsent += len(payload)
        if self.unsent > MAX_UNSENT:
            self.serverClose(TRY_AGAIN_LATER)
        else:
            # Not sendMessage: that holds what we send to the limit of what we receive.
            self.sendFrame(opcode=2 if binary else 1, payload=payload)

    def serverClose(self, code: int | None = None, reason: str | None = None) -> None:
        # Not sendClose: that refuses the registered codes from 1001 to 2999.
        self.sendCloseFrame(code=code or 1000, reasonUtf8=encode_truncate(reason or "", MAX_REASON))

    def retire(self) -> None:
        """Send the client to another process."""
        if self.state == self.STATE_CONNECTING:
            refusal = ConnectionDeny(503, "Restarting; connect again")
            self.handshake_deferred.errback(refusal)
            del self.handshake_deferred
        elif self.state == self.STATE_OPEN:
            self.serverClose(SERVICE_RESTART, "Restarting; connect again")


def _size(message: Mapping[str, Any]) -> int:
    return len(message.get("text") or message.get("bytes") or "")


def _unmasked(masked: bytes, key: bytes) -> bytes:
    size = len(masked)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(masked) ^ int.from_bytes(mask)).to_bytes(size)


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _head(size: int) -> bytes:
    """Return what comes before the payload of a text frame (RFC 6455, 5.2); a server's has no mask."""
    if size < 126:
        return bytes((0x81, size))
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2)
    return b"\x81\x7f" + size.to_bytes(8)


class SocketFactory(WebSocketFactory):
    protocol = WebSocket
