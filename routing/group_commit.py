"""Group commit: requests that arrive while one transaction runs share the next. One request alone waits for nobody.

It runs on the event loop, over a connection of its own: a thread would fight with the loop for the interpreter, and
each trip to the database carries all that needs no answer in between.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import psycopg
from django.db import connection

from endpoints.about import about
from endpoints.auth import Grant
from endpoints.errors import ServiceError, Unavailable
from endpoints.models import Scope
from endpoints.outage import DRIVERS_OUTAGE
from endpoints.tenancy import BE_ABOUT
from routing import failpoints, metrics, tracing
from routing.models import Answer, DayIsFull, Event, recording
from routing.plans import Ask, Plan, Row, Statement, Tell, WrongGuess
from routing.rules import Judgement
from routing.submissions import NewEvent
from routing.wire import Wire

logger = logging.getLogger(__name__)

MAX_EVENTS = 2_000  # of one transaction
MAX_BYTES = 8 << 20  # of the data of one transaction's events; one request more may begin below it
MAX_WAITING, MAX_WAITING_BYTES = 2_000, 64 << 20  # requests; beyond it the door says 503 and grows no backlog in memory

Answers = Sequence[Answer]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    grant: Grant
    events: Sequence[NewEvent]
    judgement: Judgement
    trace: str
    answer: "asyncio.Future[Answers]"

    @property
    def size(self) -> int:
        """Of the events' data."""
        return sum(len(event.data) for event in self.events)


class _StaleError(Exception):
    """Two requests of one workspace were judged by different rules: one of them by rules that are no more."""


class GroupCommit:
    """Records the events of many requests, one transaction after another."""

    def __init__(self) -> None:
        self._waiting: list[_Request] = []
        self._waiting_size = 0
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        metrics.ingest_waiting.set_function(lambda: len(self._waiting))

    async def record(self, grant: Grant, events: Sequence[NewEvent], judgement: Judgement) -> Answers:
        """Return once the events are committed. Where the judgement is by rules that changed meanwhile, it is renewed.

        Raises Unauthenticated or Forbidden if the grant's key lost its power meanwhile, and Unavailable if the
        database did not take the events, or did not say so.
        """
        if len(self._waiting) >= MAX_WAITING or self._waiting_size >= MAX_WAITING_BYTES:
            raise Unavailable(f"{len(self._waiting)} requests are waiting for the database; try again in a second.")
        request = _Request(grant, events, judgement, tracing.current(), asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._waiting_size += request.size
        self._arrived.set()
        return await request.answer

    async def close(self) -> None:
        """Record nothing more, and give the connection up."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        link = Link()
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    await self._record(link, self._next())
        finally:
            await link.close()

    def _next(self) -> list[_Request]:
        events = size = taken = 0
        while taken < len(self._waiting) and events < MAX_EVENTS and size < MAX_BYTES:
            events += len(self._waiting[taken].events)
            size += self._waiting[taken].size
            taken += 1
        requests, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._waiting_size -= size
        return requests

    async def _record(self, link: "Link", requests: Sequence[_Request]) -> None:
        try:
            with metrics.commit_seconds.time(), _span(requests):
                answers: Sequence[Answers | ServiceError] = await _guessing(link, lambda: _recording(requests))
            failpoints.reach("K2")
        except DRIVERS_OUTAGE as error:
            logger.warning("%d requests were answered 503: %s", len(requests), error)
            answers = [Unavailable("The database does not answer; try again in a second.")] * len(requests)
        except Exception:
            if len(requests) > 1:  # one of them can't be stored: the others must not pay for it
                for request in requests:
                    await self._record(link, [request])
                return
            answers = [await self._record_with_care(link, requests[0])]
        _resolve(requests, answers)

    async def _record_with_care(self, link: "Link", request: _Request) -> Answers | ServiceError:
        """Record a request for which something did not hold that was taken for granted: a key, or a version of rules.

        Return why it can't be, where it can't: its key lost its power, or else the log says.
        """
        try:
            with _span([request]):
                return await link.run(lambda: _recording_with_care(request))
        except ServiceError as refusal:
            return refusal
        except Exception:
            with about(traceparent=request.trace, workspace_id=request.grant.workspace_id):
                logger.exception("A request's events could not be stored")
            return Unavailable("The events could not be stored; the operator's log says why.")


async def _guessing(link: "Link", make_plan: Callable[[], Plan[Result]]) -> Result:
    """Run a plan in a single trip if what it guesses is right, as it is until somebody changes the configuration."""
    try:
        return await link.run(make_plan, guesses=True)
    except WrongGuess:
        return await link.run(make_plan)


def _span(requests: Sequence[_Request]) -> AbstractContextManager[str]:
    """Return the span of a transaction: of the first request's trace, and linked to the others'."""
    first, *others = (request.trace for request in requests)
    return tracing.span("record", parent=first, links=others, requests=len(requests))


class Link:
    """A connection to the database that is made when it is needed, and runs plans in few trips."""

    def __init__(self) -> None:
        self._wire: Wire | None = None

    async def run(self, make_plan: Callable[[], Plan[Result]], *, guesses: bool = False) -> Result:
        """Run the plan in a transaction. With `guesses`, questions are not asked whose answers it guesses.

        Where the connection turns out to be broken before anything was said on it, another one is made, once.
        Raises psycopg's errors, and of these WrongGuess where one was wrong.
        """
        known = self._wire is not None
        trips = _Trips(await self._connected(), guesses)
        try:
            return await trips.run(make_plan())
        except DRIVERS_OUTAGE:
            await self.close()
            if not known or trips.made or trips.commits:
                raise
        except Exception:
            await self._roll_back()
            raise
        except BaseException:  # in the middle of a trip, perhaps
            await self.close()
            raise
        return await self.run(make_plan, guesses=guesses)

    async def _connected(self) -> Wire:
        if self._wire is None or self._wire.is_lost:
            await self.close()
            parameters = await asyncio.to_thread(_parameters)
            self._wire = await Wire.connect(**parameters)
        return self._wire

    async def _roll_back(self) -> None:
        try:
            if self._wire is not None:
                await self._wire.trip([("ROLLBACK", ())])
        except psycopg.Error:
            await self.close()

    async def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()


class _Trips:
    """One transaction. What needs no answer waits for the next statement that does, or for the COMMIT."""

    def __init__(self, wire: Wire, guesses: bool) -> None:
        self._wire = wire
        self._guesses = guesses
        self._held: list[Statement] = [("BEGIN", ())]
        self.made = 0
        self.commits = False  # so that nobody knows what became of it, should the answer get lost

    async def run(self, plan: Plan[Result]) -> Result:
        try:
            step = next(plan)
            while True:
                step = plan.send(await self._rows_of(step))
        except StopIteration as end:
            failpoints.reach("K1")
            self._held.append(("COMMIT", ()))
            self.commits = True
            await self._ask()
            result: Result = end.value
            return result

    async def _rows_of(self, step: Ask | Tell) -> Sequence[Row]:
        guess = step.guess if self._guesses and isinstance(step, Ask) else None
        sent = guess.guard if guess else step
        self._held.append((sent.sql, sent.parameters))
        if guess:
            return guess.rows
        return await self._ask() if isinstance(step, Ask) else ()

    async def _ask(self) -> Sequence[Row]:
        """Send what is held and return the rows of the last statement."""
        statements, self._held = self._held, []
        rows = await self._wire.trip(statements)
        self.made += 1
        return rows


def _parameters() -> dict[str, Any]:
    parameters = connection.get_connection_params()
    del parameters["cursor_factory"]  # Django's cursors are not for asyncio
    return parameters


def _recording(requests: Sequence[_Request]) -> Plan[list[Answers | DayIsFull]]:
    versions = {(request.grant.workspace_id, request.judgement.version) for request in requests}
    if len({workspace_id for workspace_id, _ in versions}) < len(versions):
        raise _StaleError
    keys = {request.grant.key_id for request in requests}
    yield Tell(BE_ABOUT, [",".join(str(workspace_id) for workspace_id, _ in versions)])
    yield Tell(_ALL_STANDS, [len(keys), list(keys), list({version for _, version in versions})])
    problems = {id_: problem for request in requests for id_, problem in request.judgement.problems.items()}
    granted = [(request.grant, request.events) for request in requests]
    return (yield from recording(granted, partial(Event.recording, problems=problems)))


def _recording_with_care(request: _Request) -> Plan[Answers | DayIsFull]:
    """Take nothing for granted. Raises what is wrong with the key now."""
    yield Tell(BE_ABOUT, [str(request.grant.workspace_id)])
    rows = yield Ask(_SCOPES, [request.grant.key_id])
    request.grant.renewed(rows[0][0] if rows else None).require(Scope.PUBLISH)
    workspace_id = request.grant.workspace_id
    (answers,) = yield from recording([(request.grant, request.events)], partial(Event.publishing, workspace_id))
    return answers


def _resolve(requests: Sequence[_Request], answers: Sequence[Answers | ServiceError]) -> None:
    for request, answer in zip(requests, answers, strict=True):
        if request.answer.done():  # the client went away
            continue
        if isinstance(answer, ServiceError):
            request.answer.set_exception(answer)
        else:
            request.answer.set_result(answer)


# ApiKeyQuerySet.usable(), as SQL.
_SCOPES = """
SELECT scopes FROM endpoints_apikey
WHERE id = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
# Asked in the transaction that stores the events: it divides by zero, and so ends the transaction, unless each key may
# still publish, and what its events were judged by still stands. Rows would have to be waited for. No two workspaces
# ever have the same version but the first, which none comes back to; so it does not matter whose version it is.
_ALL_STANDS = """
SELECT 1 / (count(*) = %s)::int
FROM endpoints_apikey AS key JOIN endpoints_workspace AS workspace ON workspace.id = key.workspace_id
WHERE key.id = ANY(%s) AND workspace.types_version = ANY(%s)
  AND 'publish' = ANY(scopes) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
