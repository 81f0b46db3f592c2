"""What the websockets of one process share: the listener for hints, the poll, and the settling of what was sent."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection

from routing.admission import FAILURE, Admission, Refusal, keys_that_may_read, standings
from routing.feed import Feed, Reader
from routing.reading import RETRY_S, Sent, in_thread, insist, settle
from routing.router import WEB_SOCKET_HINT

logger = logging.getLogger(__name__)

POLL_S = 1  # also how soon a revoked key, a deleted endpoint or a resumed one is noticed
_MAX_SETTLED = 1_000  # deliveries in one statement
_ROTATE_S = 600  # a connection that only listens may not notice that its other end is gone


class Hub:
    def __init__(self) -> None:
        self._feeds: dict[UUID, Feed] = {}
        self._settler = Settler()
        self._work: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def reader(self, admission: Admission, *, end: Callable[[Refusal], None]) -> AsyncIterator[Reader]:
        """Keep a reader for as long as its socket is served, then settle what it sent.

        `end` is called when it must not go on.
        """
        if self._work is None:
            self._work = asyncio.create_task(self._run())
            self._work.add_done_callback(self._ended)
        feed = self._feeds.setdefault(admission.standing.endpoint.pk, Feed(admission.standing))
        reader = Reader(feed, admission, settle=self._settler.add, end=end)
        feed.readers.add(reader)
        try:
            yield reader
        finally:
            feed.readers.discard(reader)
            if not feed.readers:
                self._feeds.pop(feed.endpoint_id, None)
            await reader.leave()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._poll())
            tasks.create_task(self._settler.run())

    def _ended(self, work: asyncio.Task[None]) -> None:
        """Let no socket hang on work that failed. The next one that connects starts it again."""
        if not work.cancelled():
            logger.critical("The websockets' hub failed", exc_info=work.exception())
        self._work = None
        for feed in self._feeds.values():
            for reader in feed.readers:
                reader.end(FAILURE)

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear_hints()
            except psycopg.Error as error:
                logger.warning("Websockets poll, for there are no hints: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _hear_hints(self) -> None:
        parameters = await in_thread(_connection_parameters)
        async with await psycopg.AsyncConnection.connect(**parameters) as listener:
            await listener.execute(f"LISTEN {WEB_SOCKET_HINT}")
            async for hint in listener.notifies(timeout=_ROTATE_S):
                self._announce(hint.payload)

    def _announce(self, endpoint_ids: str) -> None:
        hinted = map(UUID, endpoint_ids.split(",")) if endpoint_ids else list(self._feeds)
        for endpoint_id in hinted:
            if feed := self._feeds.get(endpoint_id):
                feed.announce()

    async def _poll(self) -> None:
        """Look at everything that the sockets depend on: with three queries, however many they are."""
        while True:
            await asyncio.sleep(POLL_S)
            feeds = dict(self._feeds)
            if feeds:
                keys = {reader.key_id for feed in feeds.values() for reader in feed.readers if reader.key_id}
                found = await insist(standings, feeds.keys())
                lost_keys = keys - await insist(keys_that_may_read, keys)
                for endpoint_id, feed in feeds.items():
                    feed.check(found.get(endpoint_id), lost_keys)


class Settler:
    """Writes what was sent. All that is added while one statement runs shares the next."""

    def __init__(self) -> None:
        self._sent: list[Sent] = []
        self._settled = asyncio.Event()  # that `_sent` is
        self._wanted = asyncio.Event()

    def add(self, sent: Sequence[Sent]) -> asyncio.Event:
        """Return the event that happens once all that was added until now is settled."""
        self._sent += sent
        self._wanted.set()
        return self._settled

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            sent, settled = self._sent, self._settled
            self._sent, self._settled = [], asyncio.Event()
            for start in range(0, len(sent), _MAX_SETTLED):
                await insist(settle, sent[start : start + _MAX_SETTLED])
            settled.set()


def _connection_parameters() -> dict[str, Any]:
    parameters = connection.get_connection_params()
    del parameters["cursor_factory"]  # Django's cursors are not for asyncio
    return {**parameters, "autocommit": True}


hub = Hub()
