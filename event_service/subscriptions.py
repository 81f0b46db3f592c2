"""GraphQL over a websocket, by graphql-transport-ws: what Apollo, urql and gql speak.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Annotated, Any
from uuid import UUID

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from graphql import ExecutionResult, GraphQLError

from endpoints.auth import Grant
from endpoints.errors import Limited, ServiceError, Unauthenticated, Unavailable
from endpoints.outage import OUTAGE
from endpoints.rates import HANDSHAKE
from endpoints.schema.access import Caller
from event_service.execution import Call, Invalid, Operation, checked, described, formatted
from event_service.graphql import SUBPROTOCOL
from routing.sockets.admission import KEY_PROTOCOL, address_of
from routing.sockets.budget import budgets
from routing.sockets.origins import check_origin, origin_of
from routing.sockets.refusals import NO_DATABASE, NOT_ALLOWED, TRY_AGAIN, Refusal
from routing.sockets.threads import in_query_thread

PATH = "/event-service/graphql"
INIT_S = 10.0  # from the handshake to connection_init
MOST_OPERATIONS = 20  # at once on one socket

# How the protocol closes a socket.
BAD_MESSAGE, ID_TAKEN = 4400, 4409
UNAUTHORIZED = Refusal(4401, "Unauthorized")
NO_SUBPROTOCOL = Refusal(4406, "Subprotocol not acceptable")
LATE = Refusal(4408, "Connection initialisation timeout")
TOO_MANY_INITS = Refusal(4429, "Too many initialisation requests")


class Init(msgspec.Struct, tag="connection_init"):
    payload: dict[str, Any] | None = None


class Ping(msgspec.Struct, tag="ping"):
    payload: dict[str, Any] | None = None


class Pong(msgspec.Struct, tag="pong"):
    payload: dict[str, Any] | None = None


class Subscribe(msgspec.Struct, tag="subscribe"):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    payload: Call


class Complete(msgspec.Struct, tag="complete"):
    id: str


Message = Init | Ping | Pong | Subscribe | Complete

_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_open: Counter[UUID | None] = Counter()  # sockets of this process, by key; None: all of them


class GraphQLConsumer(AsyncWebsocketConsumer):
    """Each operation is a task. Its id is free again before its last message is sent."""

    def __init__(self) -> None:
        super().__init__()
        self._grant: Grant | None = None
        self._credentials: tuple[str | None, str | None] = (None, None)
        self._counted: list[UUID | None] = []
        self._inits = 0
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # these, and what is still being cleared up
        self._closed = False

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Give back what it took, however it ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stop()
            for whose in self._counted:
                _open[whose] -= 1
                if not _open[whose]:
                    del _open[whose]

    async def connect(self) -> None:
        # A refusal is told after accepting: a browser does not show why a handshake failed.
        if SUBPROTOCOL not in self.scope["subprotocols"]:
            await self.accept()
            await self._close(NO_SUBPROTOCOL)
            return
        await self.accept(SUBPROTOCOL)
        try:
            check_origin(self.scope)
            self._count(None, settings.SOCKETS_PER_PROCESS, Refusal(TRY_AGAIN, "This process is full; connect again."))
        except Refusal as refusal:
            await self._close(refusal)
        else:
            asyncio.get_running_loop().call_later(INIT_S, self._expect_init)

    def _count(self, whose: UUID | None, most: int, full: Refusal) -> None:
        if _open[whose] >= most:
            raise full
        _open[whose] += 1
        self._counted.append(whose)

    def _expect_init(self) -> None:
        if not self._inits and not self._closed:
            self._tasks.add(asyncio.create_task(self._close(LATE)))

    async def disconnect(self, code: int) -> None:
        self._stop()
        if self._tasks:
            await asyncio.wait(self._tasks)  # they settle what was sent

    def _stop(self) -> None:
        self._closed = True
        for task in self._running.values():
            task.cancel()

    async def _close(self, refusal: Refusal) -> None:
        self._stop()
        with suppress(ConnectionError):
            await self.close(refusal.code, refusal.reason)

    # --- what the client says

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._closed:
            return
        if self._grant:
            size = len(text_data or bytes_data or "")
            await budgets.spend(self._grant.workspace_id, self._grant.key_id, size, self.scope)
        with suppress(ConnectionError):  # it is gone, which the next message says
            try:
                await self._obey(_parsed(text_data))
            except Refusal as refusal:
                await self._close(refusal)

    async def _obey(self, message: Message) -> None:
        match message:
            case Init():
                await self._begin(message)
            case Ping():
                await self._say("pong")
            case Subscribe():
                await self._subscribe(message)
            case Complete() if task := self._running.pop(message.id, None):
                task.cancel()

    async def _begin(self, init: Init) -> None:
        self._inits += 1
        if self._inits > 1:
            raise TOO_MANY_INITS.with_traceback(None)
        self._credentials = _credentials(self.scope, init.payload or {})
        try:
            self._grant = await in_query_thread(self._admitted)
        except ServiceError as error:
            code = UNAUTHORIZED.code if isinstance(error, Unauthenticated) else TRY_AGAIN
            raise Refusal(code, error.message) from None
        except OUTAGE:
            raise NO_DATABASE.with_traceback(None) from None
        full = Refusal(NOT_ALLOWED, f"This key has {settings.SOCKETS_PER_KEY} websockets open on this process.")
        self._count(self._grant.key_id, settings.SOCKETS_PER_KEY, full)
        await self._say("connection_ack")

    def _admitted(self) -> Grant:
        caller = self._caller()
        caller.charge(HANDSHAKE)
        return caller.grant

    def _caller(self) -> Caller:
        """Return who asks, of whom nothing is known yet: each operation looks the key up anew."""
        return Caller(*self._credentials, address=address_of(self.scope), origin=origin_of(self.scope))

    async def _subscribe(self, message: Subscribe) -> None:
        if self._grant is None:
            raise UNAUTHORIZED.with_traceback(None)
        if message.id in self._running:
            raise Refusal(ID_TAKEN, f"Subscriber for {message.id} already exists")
        if len(self._tasks) >= MOST_OPERATIONS:
            limited = Limited(f"This websocket has {len(self._tasks)} operations running; at most {MOST_OPERATIONS}.")
            await self._say("error", message.id, [described(limited)])
            return
        task = asyncio.create_task(self._operate(message.id, message.payload))
        self._running[message.id] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- operations

    async def _operate(self, id: str, call: Call) -> None:
        """Run one operation to its end, and tell of it."""
        caller = self._caller()
        with suppress(asyncio.CancelledError, ConnectionError):  # nobody wants to know any more
            try:
                await self._run(id, await in_query_thread(checked, call, caller), caller)
            except ConnectionError:
                raise
            except Invalid as invalid:
                await self._end(id, "error", await in_query_thread(_all_formatted, invalid.errors, caller))
            except OUTAGE:
                await self._end(id, "error", [described(Unavailable(NO_DATABASE.reason))])
            except Exception as error:  # the client waits for this id, and whatever happened is logged by `described`
                await self._end(id, "error", [described(error)])
            else:
                await self._end(id, "complete")

    async def _run(self, id: str, operation: Operation, caller: Caller) -> None:
        if not operation.subscribes:
            await self._say("next", id, _answer(await in_query_thread(operation.run, caller), caller))
            return
        await in_query_thread(caller.charge, operation.roots)
        async with aclosing(await operation.follow(caller)) as payloads:
            async for payload in payloads:
                result = await in_query_thread(operation.run, caller, payload)
                if fault := _fault(result):
                    raise fault
                await self._say("next", id, _answer(result, caller))

    async def _end(self, id: str, type: str, payload: Any = None) -> None:
        self._running.pop(id, None)
        await self._say(type, id, payload)

    async def _say(self, type: str, id: str | None = None, payload: Any = None) -> None:
        message = {"type": type, "id": id, "payload": payload}
        await self.send(json.dumps({name: value for name, value in message.items() if value is not None}))


def _parsed(text: str | None) -> Message:
    try:
        return _decoder.decode(text or "")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refusal(BAD_MESSAGE, f"Invalid message: {error}") from None


def _credentials(scope: Mapping[str, Any], payload: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the authorization and the token: of connection_init, of the handshake's headers, or of its protocols."""
    said = {name.lower(): value for name, value in payload.items() if isinstance(value, str)}
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    for given in (said, headers):
        if given.get("authorization") or given.get("token"):
            return given.get("authorization"), given.get("token")
    offered = [name.removeprefix(KEY_PROTOCOL) for name in scope["subprotocols"] if name.startswith(KEY_PROTOCOL)]
    return None, offered[0] if offered else None


def _answer(result: ExecutionResult, caller: Caller) -> dict[str, Any]:
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = _all_formatted(result.errors, caller)
    return answer


def _all_formatted(errors: Sequence[GraphQLError], caller: Caller) -> list[dict[str, Any]]:
    return [formatted(error, caller) for error in errors]


def _fault(result: ExecutionResult) -> Exception | None:
    """Return what went wrong here: then the payload was not delivered, and comes again with the next subscription."""
    causes = [error.original_error for error in result.errors or []]
    return next((cause for cause in causes if cause and not isinstance(cause, ServiceError | GraphQLError)), None)
