"""What the websockets of one process share: the listener for hints, the poll, and the settling of what was sent.

That is done for all of them at once, whosever they are. What is done for one of them sees its workspace alone.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import IntegrityError, connection

from endpoints.models import Endpoint
from endpoints.tenancy import inside
from routing import metrics
from routing.partitions import for_attempts
from routing.router import WEB_SOCKET_HINT
from routing.sockets import registry
from routing.sockets.admission import Admission, keys_that_may_read, standings
from routing.sockets.feed import Feed
from routing.sockets.operators import looks_that_are_allowed
from routing.sockets.reader import Reader
from routing.sockets.refusals import FAILURE, NO_DATABASE, SWEPT, TRY_AGAIN, Refusal
from routing.sockets.settling import Settler, adopt
from routing.sockets.sharing import Share, join, takeable
from routing.sockets.sources import Everything, Member, Source
from routing.sockets.threads import RETRY_S, in_thread, insist
from routing.sockets.watching import CHANGES_HINT, Watcher, Watching, forget, live_endpoints

logger = logging.getLogger(__name__)

POLL_S = 1  # also how soon a revoked key, a deleted endpoint or a resumed one is noticed
RENEW_S = 5  # between signs of life, which are missed after registry.DEAD_AFTER_S
GATHER_S = 0.05  # in which changes of deliveries share a look
_ROTATE_S = 600  # a connection that only listens may not notice that its other end is gone


class Hub:
    def __init__(self) -> None:
        self._feeds: dict[UUID, Feed] = {}
        self._readers: set[Reader] = set()
        self._settler = Settler()
        self._watching = Watching()
        self._node_id: UUID | None = None
        self._node_lock = asyncio.Lock()
        self._work: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        metrics.open_sockets.set_function(lambda: len(self._readers) + len(self._watching.placed()))

    @asynccontextmanager
    async def reader(
        self, admission: Admission, *, end: Callable[[Refusal], None], address: str = ""
    ) -> AsyncIterator[Reader]:
        """Keep a reader for as long as its socket is served, then settle what it sent.

        `end` is called when it must not go on. Raises Refusal where there are too many sockets.
        """
        asked = admission.asked
        visitor = registry.Visitor(
            admission.standing.endpoint, admission.key_id, address, share=asked.share, looks_on=asked.watches
        )
        async with self._place(visitor) as place, self._reading(admission, place, end) as reader:
            yield reader

    @asynccontextmanager
    async def watcher(
        self, endpoint: Endpoint, key_id: UUID | None, *, end: Callable[[Refusal], None], address: str = ""
    ) -> AsyncIterator[Watcher]:
        """Keep somebody who is told which of the endpoint's deliveries change. `end` and refusals are as of readers."""
        watcher = Watcher(endpoint.pk, key_id, end)
        visitor = registry.Visitor(endpoint, key_id, address, watches=True)
        with self._watching.watched(watcher):
            await self._watching.begin()
            async with self._place(visitor):
                watcher.placed = True
                self._begin()
                yield watcher

    @asynccontextmanager
    async def _place(self, visitor: registry.Visitor) -> AsyncIterator[registry.Place]:
        entering = asyncio.create_task(self._enter(visitor))
        try:
            yield await asyncio.shield(entering)
        finally:
            # In a task of its own: whoever is cancelled, once or again, has its row and leaves it behind.
            leaving = asyncio.create_task(self._leave(entering, visitor))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.shield(leaving)

    async def _leave(self, entering: asyncio.Task[registry.Place], visitor: registry.Visitor) -> None:
        await asyncio.wait([entering])
        if entering.exception() is None:
            # The other way round a tenant would make the day that is missing, which it must not.
            leave = for_attempts(inside(visitor.endpoint.workspace_id, registry.leave))
            await insist(leave, entering.result().socket_id)

    @asynccontextmanager
    async def _reading(
        self, admission: Admission, place: registry.Place, end: Callable[[Refusal], None]
    ) -> AsyncIterator[Reader]:
        endpoint_id, share = admission.standing.endpoint.pk, admission.asked.share
        workspace_id = admission.standing.endpoint.workspace_id
        if admission.adopts:
            adopt_some = for_attempts(inside(workspace_id, adopt))
            while await insist(adopt_some, endpoint_id, admission.began_at, admission.position, place.peer):
                pass
        group_id = None
        if share:
            group_id = await in_thread(inside(workspace_id, join), endpoint_id, share, admission.position)
        feed = self._feeds.setdefault(endpoint_id, Feed(admission.standing))
        hold = None if group_id is None else Share(group_id, 0, place.socket_id)
        source: Source = Member(feed, hold) if hold else Everything(feed, admission)
        reader = Reader(source, admission, place, settle=self._settler.add, end=end)
        feed.readers.add(reader)
        self._readers.add(reader)
        self._begin()
        try:
            if place.node_id != self._node_id:  # others took this process for dead before the reader was among them
                raise SWEPT.with_traceback(None)
            yield reader
        finally:
            self._readers.discard(reader)
            feed.readers.discard(reader)
            if not feed.readers:
                self._feeds.pop(feed.endpoint_id, None)
            self._begin()  # its work is needed to settle, should it have failed
            await reader.leave()

    async def _enter(self, visitor: registry.Visitor) -> registry.Place:
        open_here = len(self._served())
        if open_here >= settings.SOCKETS_PER_PROCESS:
            raise Refusal(TRY_AGAIN, f"This process has {open_here} websockets open; connect again.")
        for _ in range(2):
            node_id = await self._node()
            try:
                return await in_thread(inside(visitor.endpoint.workspace_id, registry.enter), visitor, node_id)
            except IntegrityError:  # others took this process for dead, and it did not know yet
                self._lose(node_id)
        raise NO_DATABASE.with_traceback(None)

    async def _node(self) -> UUID:
        async with self._node_lock:
            if self._node_id is None:
                self._node_id = await in_thread(registry.open_node)
            return self._node_id

    def _lose(self, node_id: UUID) -> None:
        """End the sockets: others have taken back what was with them."""
        if self._node_id == node_id:
            self._node_id = None
            self._end_all(SWEPT)

    def _begin(self) -> None:
        if self._work is None:
            self._work = asyncio.create_task(self._run())
            self._work.add_done_callback(self._ended)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._poll())
            tasks.create_task(self._watch())
            tasks.create_task(self._renew())
            tasks.create_task(self._settler.run())

    def _ended(self, work: asyncio.Task[None]) -> None:
        """Let no socket hang on work that failed. The next one that connects starts it again."""
        self._work = None
        self._end_all(FAILURE)
        if not work.cancelled():
            logger.critical("The websockets' hub failed", exc_info=work.exception())
            if self._settler.wanted:
                self._begin()

    def _end_all(self, refusal: Refusal) -> None:
        for served in self._served():
            served.end(refusal)

    def _served(self) -> list[Reader | Watcher]:
        return [*self._readers, *self._watching.placed()]

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
            await listener.execute(f"LISTEN {CHANGES_HINT}")
            async for hint in listener.notifies(timeout=_ROTATE_S):
                if hint.channel == CHANGES_HINT:
                    self._watching.hint()
                else:
                    self._announce(hint.payload)

    def _announce(self, endpoint_ids: str) -> None:
        hinted = map(UUID, endpoint_ids.split(",")) if endpoint_ids else list(self._feeds)
        for endpoint_id in hinted:
            if feed := self._feeds.get(endpoint_id):
                feed.announce()

    async def _poll(self) -> None:
        """Look at everything that the sockets depend on: with a few queries, however many they are."""
        while True:
            await asyncio.sleep(POLL_S)
            feeds, watchers = dict(self._feeds), self._watching.placed()
            if not feeds and not watchers:
                continue
            keys = {served.key_id for served in self._served() if served.key_id}
            looks = {look for feed in feeds.values() for look in feed.looks()}
            found = await insist(standings, feeds.keys())
            lost_keys = keys - await insist(keys_that_may_read, keys)
            lost_looks = looks - await insist(looks_that_are_allowed, looks) if looks else looks
            for endpoint_id, feed in feeds.items():
                feed.check(found.get(endpoint_id), lost_keys, lost_looks)
            live = await insist(live_endpoints, {watcher.endpoint_id for watcher in watchers})
            for watcher in watchers:
                watcher.check(live, lost_keys)
            await self._look_into_groups()

    async def _look_into_groups(self) -> None:
        sources = [reader.source for reader in self._readers]
        if groups := {source.group_id for source in sources if isinstance(source, Member)}:
            for endpoint_id in await insist(takeable, groups):
                if feed := self._feeds.get(endpoint_id):
                    feed.announce()

    async def _watch(self) -> None:
        """Tell the watchers what changed, on a hint or at the next poll."""
        while True:
            await self._watching.wanted(within_s=POLL_S)
            node_id = self._node_id
            if node_id and not await self._watching.look(node_id):
                self._watching.end_all(SWEPT)
            await asyncio.sleep(GATHER_S)

    async def _renew(self) -> None:
        """Say that this process lives, and clear up after those that do not."""
        while True:
            await asyncio.sleep(RENEW_S)
            node_id = self._node_id
            if node_id and not await insist(registry.renew_node, node_id):
                self._lose(node_id)
            await insist(registry.sweep)
            await insist(forget)


def _connection_parameters() -> dict[str, Any]:
    parameters = connection.get_connection_params()
    del parameters["cursor_factory"]  # Django's cursors are not for asyncio
    return {**parameters, "autocommit": True}


hub = Hub()
