"""Taking events from a websocket endpoint, by the protocol event-service.v1."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from event_service_client.backoff import pause_s
from event_service_client.errors import ListeningEnded
from event_service_client.events import ReceivedEvent

PROTOCOL = Subprotocol("event-service.v1")
_FINAL = (1008, 1009, 4404, 4410)  # it would only happen again
_MOST_BYTES = 16 * 1024 * 1024  # of a frame
_REMEMBERED = 10_000  # events, of which the acknowledgement may have been lost with its connection
_REASON_LENGTH = 200
_MOST_REFUSALS = 10  # of one event, which then does not come again

log = logging.getLogger("event_service_client")


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketEvent(ReceivedEvent):
    cursor: str
    _answer: Callable[..., Awaitable[None]] = field(repr=False, compare=False)

    async def ack(self) -> None:
        """Say that this event is taken, and all before it that were not refused. Where that is lost with the
        connection it is said again when the listener has connected again."""
        await self._answer(self)

    async def nack(self, reason: str = "", *, delay_s: float = 0) -> None:
        """Refuse this event: it comes again after `delay_s` (up to 900) while others come meanwhile."""
        if not 0 <= delay_s <= 900:
            raise ValueError(f"delay_s is {delay_s}; give 0 to 900.")
        await self._answer(self, {"reason": reason[:_REASON_LENGTH], "delaySeconds": delay_s})


@dataclass(frozen=True, slots=True)
class Reset:
    """Some events can't be had: those behind `after` up to `until`; None where nobody can say."""

    reason: str  # HISTORY_GONE, EPOCH_CHANGED or AHEAD
    after: str | None
    until: str | None
    cursor: str  # behind which it goes on


class Listener:
    """An async iterator over the events of one endpoint, which connects again and goes on where it was.

        async with Listener(url, endpoint_id, key) as events:
            async for event in events:
                if isinstance(event, Reset): ...
                await event.ack()

    Raises ListeningEnded where connecting again would be of no use. `cursor` is that of the last event before which all
    were acknowledged.
    """

    def __init__(
        self,
        url: str,
        endpoint_id: str,
        key: str,
        *,
        after: str | None = None,
        since: datetime | None = None,
        share: str | None = None,
        window_events: int = 256,
    ) -> None:
        scheme = {"http": "ws", "https": "wss"}.get(urlsplit(url).scheme)
        if not scheme or not urlsplit(url).hostname:
            raise ValueError(f"url is {url!r}; give the service's address, such as https://events.example.com.")
        if since is not None and since.tzinfo is None:
            raise ValueError(f"since is {since!r}; give a datetime with a time zone.")
        if share and after:
            raise ValueError("after does not go with share; give one of them.")
        self._url = f"{scheme}:{url.partition(':')[2].rstrip('/')}/event-service/ws"
        self._asking = {"endpoint_id": endpoint_id, "window_events": str(window_events)}
        self._asking |= {"share": share} if share else {}
        self._asking |= {"from": since.isoformat()} if since else {}
        self._headers = {"Authorization": f"Bearer {key}"}
        self.cursor = after
        self._socket: ClientConnection | None = None
        self._tries = 0  # since the service was last ready
        # By cursor, as what is delivered again, at somebody's wish, is the same event with another one.
        self._refused: dict[str, int] = {}  # to come again, and how often each was refused
        self._taken: dict[str, None] = {}  # the last ones, in order
        self._open: dict[str, SocketEvent] = {}  # handed out on this connection and not answered, in order
        self._late: set[str] = set()  # of these, what lies before the furthest
        self._furthest = after  # the last cursor that was acknowledged
        self._epoch: str | None = None  # by which the service counts

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._socket:
            await self._socket.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SocketEvent | Reset:
        while True:
            try:
                socket = self._socket or await self._connect()
                found = await self._read(json.loads(await socket.recv()))
            except (ConnectionClosed, OSError, InvalidHandshake) as problem:
                await self._wait(problem)
            else:
                if found is not None:
                    return found

    async def _connect(self) -> ClientConnection:
        asking = dict(self._asking)
        # While some are refused the service knows better what is left, unless it is to begin at a time: from there all
        # comes, whatever was taken. With `after` beside it, what lies before that time does not count as taken.
        if self.cursor is not None and "share" not in asking and ("from" in asking or not self._refused):
            asking["after"] = self.cursor
        self._open.clear()
        self._late.clear()
        self._socket = await connect(
            f"{self._url}?{urlencode(asking)}",
            additional_headers=self._headers,
            subprotocols=[PROTOCOL],
            max_size=_MOST_BYTES,
        )
        return self._socket

    async def _wait(self, problem: Exception) -> None:
        """Wait before the next try. Raises ListeningEnded where there is none."""
        self._socket = None
        code, reason = _why(problem)
        if code in _FINAL or 400 <= code < 500 and code != 429:
            raise ListeningEnded(code, reason) from problem
        self._tries += 1
        pause = pause_s(self._tries)
        log.warning("The websocket ended (%s: %s); connecting again in %.1f s.", code, reason, pause)
        await asyncio.sleep(pause)

    async def _read(self, frame: dict[str, Any]) -> SocketEvent | Reset | None:
        match frame["kind"]:
            case "ready":
                self._tries = 0
                self._meet(frame["cursor"])
            case "event":
                return await self._hand_out(SocketEvent.of(frame, cursor=frame["cursor"], _answer=self._answer))
            case "reset":
                return self._start_over(frame)
            case "error":
                log.error("The service did not understand: %s", frame["message"])
        return None

    def _meet(self, cursor: str) -> None:
        """Forget what was, where the service counts anew: its database was restored."""
        if self._epoch not in (None, _epoch(cursor)):
            self._refused.clear()
            self.cursor = self._furthest = None
        self._epoch = _epoch(cursor)

    def _start_over(self, frame: dict[str, Any]) -> Reset:
        self._furthest = frame["cursor"]
        if frame["reason"] == "HISTORY_GONE":
            self._late.update(self._open)
            self._advance()
        else:  # the numbers are others now
            self._refused.clear()
            self.cursor = self._furthest
        return Reset(frame["reason"], frame["missing"]["after"], frame["missing"]["until"], frame["cursor"])

    async def _hand_out(self, event: SocketEvent) -> SocketEvent | None:
        if event.cursor in self._taken and not self._open_up_to(event):  # an acknowledgement would stand for these, too
            await self._say({"kind": "ack", "cursor": event.cursor})
            return None
        self._open[event.cursor] = event
        if self._furthest and _number(event.cursor) <= _number(self._furthest):
            self._late.add(event.cursor)
        return event

    async def _answer(self, event: SocketEvent, refusal: dict[str, Any] | None = None) -> None:
        current = self._open.get(event.cursor)
        if current is not event:
            await self._note(event.cursor, current, is_taken=refusal is None)
        elif refusal is None:
            self._take([*self._open_up_to(event), event.cursor])
            await self._say({"kind": "ack", "cursor": event.cursor})
        else:
            self._refuse(event.cursor)
            await self._say({"kind": "nack", "cursor": event.cursor, **refusal})

    async def _note(self, cursor: str, current: SocketEvent | None, *, is_taken: bool) -> None:
        """Take note of an answer to what was handed out before the connection broke, and comes again or has come."""
        if not is_taken:
            if current is None and cursor not in self._taken:
                self._refused.setdefault(cursor, 0)
        elif current is None:
            self._remember(cursor)
        elif not self._open_up_to(current):  # an acknowledgement would stand for these, too
            self._take([cursor])
            await self._say({"kind": "ack", "cursor": cursor})

    def _refuse(self, cursor: str) -> None:
        self._refused[cursor] = self._refused.get(cursor, 0) + 1
        self._close(cursor)
        if self._refused[cursor] >= _MOST_REFUSALS:  # it does not come again
            del self._refused[cursor]
            self._reach(cursor)

    def _take(self, cursors: Sequence[str]) -> None:
        for cursor in cursors:
            self._close(cursor)
            self._refused.pop(cursor, None)
            self._remember(cursor)
        self._reach(cursors[-1])

    def _close(self, cursor: str) -> None:
        self._open.pop(cursor, None)
        self._late.discard(cursor)

    def _remember(self, cursor: str) -> None:
        self._taken[cursor] = None
        if len(self._taken) > _REMEMBERED:
            self._taken.pop(next(iter(self._taken)))

    def _reach(self, cursor: str) -> None:
        if self._furthest is None or _number(cursor) > _number(self._furthest):
            self._furthest = cursor
        self._advance()

    def _advance(self) -> None:
        """Move `cursor` to what was reached, unless something before that is to come again or still to be answered."""
        if not self._refused and not self._late:
            self.cursor = self._furthest

    def _open_up_to(self, event: SocketEvent) -> list[str]:
        """Return the cursors that its own stands for as well: of what was handed out before it, up to there."""
        before = takewhile(lambda open_: open_ is not event, self._open.values())
        return [open_.cursor for open_ in before if _number(open_.cursor) <= _number(event.cursor)]

    async def _say(self, frame: dict[str, Any]) -> None:
        if self._socket:
            with suppress(ConnectionClosed):  # reading will notice it, too
                await self._socket.send(json.dumps(frame))


def _why(problem: Exception) -> tuple[int, str]:
    if isinstance(problem, ConnectionClosed) and problem.rcvd:
        return problem.rcvd.code, problem.rcvd.reason
    if isinstance(problem, InvalidStatus):
        return problem.response.status_code, problem.response.reason_phrase
    return 1006, str(problem) or "the connection broke"


def _epoch(cursor: str) -> str:
    return cursor.rpartition("-")[0]


def _number(cursor: str) -> int:
    """Return the number of an event within its endpoint: what comes later has a greater one."""
    return int(cursor.rpartition("-")[2])
