"""A client of one websocket endpoint: takes its events one after the other, and comes back to where it was."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlencode

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

PROTOCOL = Subprotocol("event-service.v1")
REASON_LENGTH = 200  # of a refusal, by the protocol
MOST_REFUSALS = 10  # of one event, which then does not come again
_LONGEST_PAUSE_S = 30  # between two tries to connect
_LONGEST_DELAY_S = 60  # until an event that was refused comes again
# The connection broke; the service failed, restarts, or was too busy. All else would only happen again.
_RESUMABLE = (1006, 1011, 1012, 1013)


class Ended(Exception):
    """Why it makes no sense to connect again."""


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    type: str
    cursor: str
    body: bytes  # what a webhook would get


class _Ready(msgspec.Struct, tag_field="kind", tag="ready"):
    cursor: str


class _Event(msgspec.Struct, tag_field="kind", tag="event"):
    id: str
    type: str
    cursor: str


class _Missing(msgspec.Struct):
    after: str | None
    until: str | None


class _Reset(msgspec.Struct, tag_field="kind", tag="reset"):
    reason: str
    missing: _Missing
    cursor: str


class _Error(msgspec.Struct, tag_field="kind", tag="error"):
    message: str


_Frame = _Ready | _Event | _Reset | _Error
_decode = msgspec.json.Decoder(_Frame).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def body(frame: str | bytes) -> bytes:
    """Return a webhook's body: the frame without what only a websocket has, and every member with its very bytes."""
    members = _members(frame)
    return _encode({name: text for name, text in members.items() if name not in ("kind", "cursor", "traceparent")})


class Listener:
    """`take` gets each event and returns why it could not be taken, or nothing where it was.

    `tell` gets what a person should know, in sentences.
    """

    def __init__(
        self,
        service: str,
        *,
        asking: dict[str, str],  # of the URL: endpoint_id, and share, from or window_events
        key: str,
        take: Callable[[Event], str],
        tell: Callable[[str], None],
    ) -> None:
        self._service = service
        self._asking = asking
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._take = take
        self._tell = tell
        self._refusals: dict[str, int] = {}  # by the cursors of events that were not taken yet
        self._furthest = ""  # the cursor behind which nothing was taken
        self._complete = ""  # the cursor up to which everything was
        self._epoch = ""  # by which the service counts
        self._has_listened = False
        self._tries = 0  # since the service was last ready

    def run(self) -> NoReturn:
        """Take events until the process is stopped. Raises Ended."""
        while True:
            if self._tries:
                time.sleep(pause_s(self._tries))
            self._tries += 1
            if socket := self._connect():
                with socket:
                    self._listen(socket)

    def _connect(self) -> ClientConnection | None:
        """Return a connection, or None where it may be had later."""
        asking = dict(self._asking)
        # While some are refused the service knows better what is left, unless it is to begin at a time: from there all
        # comes. With `after` beside it, what lies before that time does not count as taken. A group keeps its place.
        if self._complete and "share" not in asking and ("from" in asking or not self._refusals):
            asking["after"] = self._complete
        url = f"{self._service}/event-service/ws?{urlencode(asking)}"
        try:
            return connect(url, additional_headers=self._headers, subprotocols=[PROTOCOL])
        except (OSError, InvalidHandshake) as error:
            refused = isinstance(error, InvalidStatus) and error.response.status_code < 500
            if refused or not self._has_listened:
                raise Ended(
                    f"{self._service} can't be reached: {error}. "
                    "Where it is elsewhere, say so with --service, or export PORT."
                ) from error
        return None

    def _listen(self, socket: ClientConnection) -> None:
        try:
            while True:
                self._obey(socket.recv(), socket)
        except msgspec.DecodeError as error:
            raise Ended(f"The service sent what is no frame of {PROTOCOL}: {error}") from error
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "the connection broke")
            if code not in _RESUMABLE:
                raise Ended(f"The service closed the connection with {code}: {reason}") from closed
            self._tell(f"The connection ended ({code}: {reason}); going on from where it stood.")

    def _obey(self, text: str | bytes, socket: ClientConnection) -> None:
        match _decode(text):
            case _Ready() as frame:
                self._has_listened, self._tries = True, 0
                self._meet(frame.cursor)
                self._tell(f"Listening to {self._asking['endpoint_id']}")
            case _Event() as frame:
                self._answer(Event(frame.id, frame.type, frame.cursor, body(text)), socket)
            case _Reset() as frame:
                self._tell(_explained(frame))
                self._furthest = frame.cursor
                if frame.reason != "HISTORY_GONE":  # the numbers are others now
                    self._refusals.clear()
                self._advance()
            case _Error() as frame:
                self._tell(f"The service did not understand: {frame.message}")

    def _meet(self, cursor: str) -> None:
        """Forget what was, where the service counts anew: its database was restored."""
        if self._epoch not in ("", _epoch(cursor)):
            self._refusals.clear()
            self._furthest = self._complete = ""
        self._epoch = _epoch(cursor)

    def _answer(self, event: Event, socket: ClientConnection) -> None:
        if reason := "" if self._was_taken(event) else self._take(event):
            refusals = self._refusals.get(event.cursor, 0) + 1
            if refusals < MOST_REFUSALS:
                self._refusals[event.cursor] = refusals
            else:
                self._settle(event)  # it does not come again
            nack = {"reason": reason[:REASON_LENGTH], "delaySeconds": delay_s(refusals)}
            socket.send(_encode({"kind": "nack", "cursor": event.cursor, **nack}), text=True)
        else:
            self._settle(event)  # first: where the acknowledgement is lost, this says the same
            socket.send(_encode({"kind": "ack", "cursor": event.cursor}), text=True)

    def _was_taken(self, event: Event) -> bool:
        """Tell whether its acknowledgement was lost, or it comes once more with those that were refused before it.

        It comes in order, but to a member of a group, which may be sent what others had before.
        """
        is_new = _number(event.cursor) > _number(self._furthest)
        return not (is_new or event.cursor in self._refusals or "share" in self._asking)

    def _settle(self, event: Event) -> None:
        self._refusals.pop(event.cursor, None)
        self._furthest = max(self._furthest, event.cursor, key=_number)
        self._advance()

    def _advance(self) -> None:
        if not self._refusals:
            self._complete = self._furthest


def pause_s(tries: int) -> float:
    """Return how long to wait before another try: longer each time, and by chance, so that not all come at once."""
    return min(_LONGEST_PAUSE_S, 0.5 * 2.0 ** min(tries - 1, 10)) * random.uniform(0.5, 1)


def delay_s(refusals: int) -> int:
    """Return when an event that was refused so often is to come again."""
    return min(_LONGEST_DELAY_S, int(2 ** min(refusals - 1, 10)))


def _epoch(cursor: str) -> str:
    return cursor.rpartition("-")[0]


def _number(cursor: str) -> int:
    """Return the number of an event within its endpoint; before all of them for none."""
    return int(cursor.rpartition("-")[2] or 0)


def _explained(reset: _Reset) -> str:
    after = reset.missing.after or "the start"
    until = f" up to {reset.missing.until}" if reset.missing.until else ""
    return f"Events behind {after}{until} can't be had ({reset.reason}); going on behind {reset.cursor}."
