"""Group commit: requests that arrive while one transaction runs share the next. One request alone waits for nobody."""

import asyncio
import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from endpoints.auth import Grant
from endpoints.errors import Conflict, ServiceError, Unavailable
from endpoints.models import Scope
from routing import failpoints
from routing.models import Event, Recorded
from routing.submissions import NewEvent

logger = logging.getLogger(__name__)

MAX_EVENTS = 2_000  # of one transaction
MAX_WAITING = 2_000  # requests; beyond it the door says 503 instead of growing a backlog in memory

Answers = Sequence[Recorded | Conflict]


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    grant: Grant
    events: Sequence[NewEvent]
    answer: "asyncio.Future[Answers]"
    loop: asyncio.AbstractEventLoop


class GroupCommit:
    """Records the events of many requests, on a thread of its own."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def record(self, grant: Grant, events: Sequence[NewEvent]) -> Answers:
        """Return once the events are committed.

        Raises Unauthenticated or Forbidden if the grant's key lost its power meanwhile, and Unavailable if the
        database did not take the events, or did not say so.
        """
        if self._waiting.qsize() >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} requests are waiting for the database; try again in a second.")
        loop = asyncio.get_running_loop()
        request = _Request(grant, events, loop.create_future(), loop)
        self._waiting.put(request)
        return await request.answer

    def _run(self) -> None:
        while True:
            requests = [self._waiting.get()]
            events = len(requests[0].events)
            while events < MAX_EVENTS and not self._waiting.empty():
                requests.append(self._waiting.get())
                events += len(requests[-1].events)
            self._record(requests)
            if self._waiting.empty():
                connection.close()  # back to the pool, which checks a connection before it hands it out again

    def _record(self, requests: Sequence[_Request]) -> None:
        try:
            answers = _record_all(requests)
        except (OperationalError, InterfaceError) as error:
            logger.warning("%s requests were answered 503: %s", len(requests), error)
            connection.close()
            answers = [Unavailable("The database does not answer; try again in a second.")] * len(requests)
        except DatabaseError:
            if len(requests) > 1:  # one of them can't be stored: the others must not pay for it
                for request in requests:
                    self._record([request])
                return
            logger.exception("A request's events could not be stored")
            answers = [Unavailable("The events could not be stored; the operator's log says why.")]
        requests[0].loop.call_soon_threadsafe(_resolve, requests, answers)


def _record_all(requests: Sequence[_Request]) -> list[Answers | ServiceError]:
    with transaction.atomic():
        refusals = _refusals({request.grant for request in requests})
        accepted = [request for request in requests if request.grant.key_id not in refusals]
        answers = iter(Event.record_all([event for request in accepted for event in request.events]))
        failpoints.reach("K1")
    failpoints.reach("K2")
    return [refusals.get(request.grant.key_id) or [next(answers) for _ in request.events] for request in requests]


def _refusals(grants: set[Grant]) -> dict[UUID, ServiceError]:
    """Ask again, in the transaction that stores the events, whether the keys may publish."""
    with connection.cursor() as cursor:
        cursor.execute(_SCOPES, [[grant.key_id for grant in grants]])
        scopes = dict(cursor.fetchall())
    refusals = {}
    for grant in grants:
        try:
            grant.renewed(scopes.get(grant.key_id)).require(Scope.PUBLISH)
        except ServiceError as refusal:
            refusals[grant.key_id] = refusal
    return refusals


def _resolve(requests: Sequence[_Request], answers: Sequence[Answers | ServiceError]) -> None:
    for request, answer in zip(requests, answers, strict=True):
        if request.answer.done():  # the client went away
            continue
        if isinstance(answer, ServiceError):
            request.answer.set_exception(answer)
        else:
            request.answer.set_result(answer)


# ApiKeyQuerySet.usable(), as SQL: Django takes five times as long to write it as PostgreSQL to answer it.
_SCOPES = """
SELECT id, scopes FROM endpoints_apikey
WHERE id = ANY(%s) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
