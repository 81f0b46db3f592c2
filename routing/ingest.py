"""The event door: POST /event-service/events, one event or many, as an ASGI application ahead of Django's middleware.

Answers 202 {"events": [{"id", "duplicate"} | {"error": {...}}]} in the order of the request, once everything is
committed; {"error": {"code", "message", "field"}} where nothing was looked at.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from channels.db import database_sync_to_async

from endpoints import rates
from endpoints.auth import Grant, authenticate, presented_key
from endpoints.errors import BadInput, Conflict, Forbidden, ServiceError, Unauthenticated, Unavailable
from endpoints.models import Scope, key_digest
from endpoints.outage import OUTAGE
from routing import cloudevents, metrics, rules, tracing
from routing.group_commit import GroupCommit
from routing.models import Answer, DayIsFull, Recorded
from routing.rules import Judgement, Rules
from routing.submissions import TEXT_LENGTH, NewEvent, Submission, check, json_problem

PATH = "/event-service/events"
MAX_BODY_BYTES = 5 * 1024 * 1024
MAX_EVENTS = 1_000  # of one request
_GRANT_SECONDS = 4  # for which a key's grant is kept; each commit asks the database whether it still stands
_MAX_GRANTS = 10_000
_TURN_S = 0.005  # of one request, after which others have theirs

Q = TypeVar("Q")
T = TypeVar("T")

Headers = dict[bytes, bytes]
STATUS: dict[type[ServiceError], int] = {
    BadInput: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    Conflict: 409,
    rates.TooMany: 429,
    DayIsFull: 429,
    Unavailable: 503,
}
_HEADERS = {
    401: [(b"www-authenticate", b"Bearer")],
    405: [(b"allow", b"POST")],
}


class _Refused(ServiceError):
    """A refusal with a status of its own."""

    code = "BAD_USER_INPUT"

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(message, field)
        self.status = status


class EventDoor:
    """One for each process."""

    def __init__(self) -> None:
        self._commits: GroupCommit | None = None
        self._grants: dict[bytes, tuple[Grant, float]] = {}  # by the digests of keys: no key stays in memory

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        answer: dict[str, Any]
        begun = time.monotonic()
        try:
            status, answer, told = await self._answer(scope, receive)
        except _Refused as refusal:
            status, answer, told = refusal.status, {"error": refusal.as_dict()}, refusal.headers
        except ServiceError as refusal:
            status, answer, told = STATUS[type(refusal)], {"error": refusal.as_dict()}, refusal.headers
        body = msgspec.json.encode(answer) + b"\n"  # for the shells of those who try it
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length), *_HEADERS.get(status, ())]
        headers += [(name.lower().encode(), value.encode()) for name, value in told]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        metrics.ingest_requests.labels(status).inc()
        metrics.ingest_seconds.observe(time.monotonic() - begun)

    async def close(self) -> None:
        """Give up the connection to the database. What is waiting to be recorded is not."""
        if self._commits is not None:
            await self._commits.close()

    async def _answer(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]]
    ) -> tuple[int, dict[str, Any], rates.Headers]:
        headers = dict(scope["headers"])
        if scope["method"] != "POST":
            raise _Refused(405, f"{scope['method']} is not for events; use POST.")
        asked = tracing.accepted(_text(headers, b"traceparent"))
        with tracing.span("publish", parent=asked) as own:
            return await self._take(scope, receive, headers, own or asked)

    async def _take(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], headers: Headers, trace: str
    ) -> tuple[int, dict[str, Any], rates.Headers]:
        address = scope["client"][0] if scope.get("client") else ""
        await _charge(rates.rates.of_address(address), 1)
        grant = await self._grant(headers, address)
        grant.require(Scope.PUBLISH)
        submissions = _submissions(headers, await _body(receive))
        allowances = rates.rates.of_key(grant.key_id, grant.workspace_id)
        await _charge(allowances, len(submissions))
        checked = [_checked(submission, grant.workspace_id, trace) for submission in submissions]
        tracing.note(workspace_id=grant.workspace_id, events=len(submissions))
        events = [event for event in checked if isinstance(event, NewEvent)]
        recorded = iter(await self._judge_and_record(grant, events) if events else ())
        answers = [next(recorded) if isinstance(event, NewEvent) else event for event in checked]
        _count(answers)
        return _status(answers), {"events": [_shown(answer) for answer in answers]}, rates.headers(allowances)

    async def _grant(self, headers: Headers, address: str) -> Grant:
        key = presented_key(_text(headers, b"authorization"), _text(headers, b"token"))
        digest = key_digest(key)
        kept = self._grants.get(digest)
        if kept and kept[1] > time.monotonic():
            return kept[0]
        try:
            grant = await _asking_the_database(authenticate, key)
        except Unauthenticated:
            await database_sync_to_async(rates.rates.charge_wrong_key)(address)
            raise
        if len(self._grants) >= _MAX_GRANTS:
            self._grants.clear()
        self._grants[digest] = grant, time.monotonic() + _GRANT_SECONDS
        return grant

    async def _judge_and_record(self, grant: Grant, events: Sequence[NewEvent]) -> Sequence[Answer]:
        known = rules.kept(grant.workspace_id)
        if known is None:
            known = await _asking_the_database(rules.load, grant.workspace_id)
        judgement = await _judged(known, events)
        if self._commits is None:
            self._commits = GroupCommit()
        try:
            return await self._commits.record(grant, events, judgement)
        except (Unauthenticated, Forbidden):
            self._grants.clear()
            raise


async def _asking_the_database(question: Callable[[Q], T], about: Q) -> T:
    try:
        answer: T = await database_sync_to_async(question)(about)
    except OUTAGE:
        raise Unavailable("The database does not answer; try again in a second.") from None
    return answer


async def _judged(known: Rules, events: Sequence[NewEvent]) -> Judgement:
    """Return what Rules.judge does, and let others have their turn on the way: a schema may take its time."""
    problems = {}
    turn = time.monotonic()
    for event in events:
        if problem := known.problem(event):
            problems[event.id] = problem
        if time.monotonic() - turn > _TURN_S:
            await asyncio.sleep(0)
            turn = time.monotonic()
    return Judgement(known.version, problems)


async def _charge(allowances: Sequence[rates.Allowance], units: int) -> None:
    """Raises TooMany. Most of the time what this process has will do, and no thread is asked."""
    if not rates.rates.charge_at_once(allowances, units):
        await database_sync_to_async(rates.rates.charge)(allowances, units)


async def _body(receive: Callable[[], Awaitable[dict[str, Any]]]) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("The request ended before its body.")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise _Refused(413, f"The body is over {MAX_BODY_BYTES} bytes; send fewer events at once.")
        more = message.get("more_body", False)
    return b"".join(chunks)


def _submissions(headers: Headers, body: bytes) -> list[Submission | BadInput]:
    """Return the events that the request holds, or what is wrong with each.

    Raises a refusal where the request as a whole can't be read.
    """
    if b"content-encoding" in headers:
        encoding = _text(headers, b"content-encoding")
        raise _Refused(415, f"Content-Encoding {encoding!r} is not read; send the JSON as it is.")
    key = _text(headers, b"idempotency-key") or ""
    if len(key) > TEXT_LENGTH:  # of CloudEvents, too, whose own ids count
        raise BadInput(f"Idempotency-Key has {len(key)} characters; give at most {TEXT_LENGTH}.", "Idempotency-Key")
    media_type = (_text(headers, b"content-type") or "").partition(";")[0].strip().lower()
    if b"ce-specversion" in headers and media_type != cloudevents.STRUCTURED:
        return _decoded_each([body], partial(cloudevents.from_binary, headers, media_type))
    if media_type in (cloudevents.STRUCTURED, cloudevents.BATCH):
        return _decoded(body, cloudevents.from_structured)
    if media_type != "application/json":
        raise _Refused(415, f"Content-Type {media_type!r} is not read; send application/json.")
    submissions = _decoded(body, _DECODER.decode)
    if key:
        _give_id(submissions, key)
    return submissions


def _decoded(body: bytes, decode: Callable[[Any], Submission]) -> list[Submission | BadInput]:
    many = body.lstrip()[:1] == b"["
    try:
        items = _ITEMS.decode(body) if many else [body]
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The body is not JSON: {json_problem(error)}.") from None
    if not 1 <= len(items) <= MAX_EVENTS:
        raise BadInput(f"The body holds {len(items)} events; send 1 to {MAX_EVENTS} at once.")
    return _decoded_each(items, decode)


def _decoded_each(items: Sequence[Any], decode: Callable[[Any], Submission]) -> list[Submission | BadInput]:
    submissions: list[Submission | BadInput] = []
    for item in items:
        try:
            submissions.append(decode(item))
        except msgspec.ValidationError as error:
            submissions.append(BadInput(f"This is not an event: {error}."))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"The body is not JSON: {json_problem(error)}.") from None
    return submissions


_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_DECODER = msgspec.json.Decoder(Submission)


def _give_id(submissions: list[Submission | BadInput], key: str) -> None:
    if len(submissions) > 1:
        raise BadInput("Idempotency-Key names one event; give each event of a list its own id.", "Idempotency-Key")
    submission = submissions[0]
    if isinstance(submission, Submission):
        if submission.id not in (None, key):
            raise BadInput(f"Idempotency-Key is {key!r:.100}, but id is {submission.id!r:.100}.", "id")
        submission.id = key


def _checked(submission: Submission | BadInput, workspace_id: UUID, trace: str) -> NewEvent | BadInput:
    if isinstance(submission, BadInput):
        return submission
    try:
        return check(submission, workspace_id, trace)
    except BadInput as refusal:
        return refusal


def _status(answers: Sequence[Recorded | ServiceError]) -> int:
    """202 where an event was accepted; else 409 where all were conflicts, or 400."""
    refused = [answer for answer in answers if isinstance(answer, ServiceError)]
    if len(refused) < len(answers):
        return 202
    return 409 if all(isinstance(answer, Conflict) for answer in refused) else 400


def _count(answers: Sequence[Recorded | ServiceError]) -> None:
    outcomes = Counter(
        "refused" if isinstance(answer, ServiceError) else "duplicate" if answer.duplicate else "accepted"
        for answer in answers
    )
    for outcome, count in outcomes.items():
        metrics.ingest_events.labels(outcome).inc(count)


def _shown(answer: Recorded | ServiceError) -> dict[str, Any]:
    if isinstance(answer, ServiceError):
        return {"error": answer.as_dict()}
    return {"id": answer.id, "duplicate": answer.duplicate}


def _text(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
