"""GraphQL over a websocket: the messages of graphql-transport-ws in any order, and what are none."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from fuzz import graphql, values, wire
from fuzz.doors import Door
from fuzz.wire import Answer, WebSocket, frame
from fuzz.world import World

PROTOCOL = ("Sec-WebSocket-Protocol", "graphql-transport-ws")
LAST = "the-last"  # the id of an operation that any answer follows
_KINDS = ("query", "subscription", "mutation", "subscription")


@dataclass(frozen=True)
class Case:
    handshake: bytes
    messages: tuple[bytes, ...]


def door(port: int, world: World) -> Door:
    drawer = Drawer(graphql.Drawer(graphql.schema_of(port, world.key), world), world)
    ordinary = (drawer.init(), _frame(drawer.operation("1", {"query": graphql.ORDINARY})))
    return Door(
        name="graphql_sockets",
        ordinary=Case(wire.upgrade(graphql.PATH, [PROTOCOL]), ordinary),
        draw=drawer.draw,
        send=lambda case: send(port, case),
    )


def send(port: int, case: Case) -> Answer:
    with WebSocket(port, case.handshake) as socket:
        if socket.status != "101":
            return Answer(socket.status, socket.heard)
        last = _frame({"id": LAST, "type": "subscribe", "payload": {"query": "{__typename}"}})
        socket.send(b"".join((*case.messages, last)))
        return socket.answer(LAST.encode())


class Drawer:
    def __init__(self, calls: graphql.Drawer, world: World) -> None:
        self._calls, self._key = calls, world.key

    def init(self) -> bytes:
        return _frame({"type": "connection_init", "payload": {"Authorization": f"Bearer {self._key}"}})

    @staticmethod
    def operation(id_: Any, call: Any) -> dict[str, Any]:
        return {"id": id_, "type": "subscribe", "payload": call}

    def draw(self, random: Random) -> Case:
        protocols = ("graphql-transport-ws", "graphql-ws", "graphql-transport-ws, event-service.key.x", "")
        protocol = protocols[0] if random.random() < 0.95 else random.choice(protocols)
        messages = [self._message(random) for _ in range(random.randrange(8))]
        if random.random() < 0.85:
            messages.insert(0, self.init())
        path = graphql.PATH + random.choice(("", "", "", "?a=b", "/", "?" + values.text(random)[:500]))
        return Case(wire.upgrade(path, [("Sec-WebSocket-Protocol", protocol)]), tuple(messages))

    def _message(self, random: Random) -> bytes:
        kind = random.randrange(10)
        id_ = random.choice(("1", "2", "3")) if random.random() < 0.9 else values.value(random, 1)
        if kind < 5:
            return _frame(self.operation(id_, self._calls.call(random, _KINDS)))
        if kind < 7:
            return _frame({"type": "complete", "id": id_})
        if kind < 8:
            return _frame({"type": random.choice(("ping", "pong")), "payload": {"a": values.text(random)}})
        return self._odd(random, id_)

    def _odd(self, random: Random, id_: Any) -> bytes:
        types = (
            "connection_init",
            "connection_ack",
            "next",
            "error",
            "websocket.disconnect",
            "_x",
            None,
            values.text(random),
        )
        said = {"type": random.choice(types), "id": id_, "payload": values.value(random)}
        text = json.dumps(said).encode(errors="replace")
        bodies = (text, values.mangled(random, text), b"[" * 100_000, b"", b"null", b'{"type":"ping"}' + b" " * 10_000)
        return frame(random.choice(bodies), opcode=random.choice((1, 1, 1, 2)))


def _frame(message: Any) -> bytes:
    return frame(json.dumps(message).encode(errors="replace"))
