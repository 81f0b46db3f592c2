"""Websockets: handshakes that ask for anything, frames of event-service.v1 that mean nothing, frames that are none."""

import json
import re
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

from fuzz import values, wire
from fuzz.doors import Door
from fuzz.wire import CLOSE, PING, Answer, WebSocket, frame
from fuzz.world import World

PATH = "/event-service/ws"
V1 = "event-service.v1"
_PARAMETERS = ("after", "from", "share", "window_events", "window_bytes", "watch", "access", "endpoint_id", "nope")
_PROTOCOLS = (V1, "event-service", f"{V1}, event-service", "nope", "event-service.key.x", ",", "event-service.v2")
_READY, _EVENT = b'{"kind":"ready"', b'{"kind":"event"'
_EPOCH = re.compile(rb'"cursor":"([0-9a-f]{8})-')
_QUESTION = frame(b'{"kind": "the-last"}')  # answered by an error that repeats it


@dataclass(frozen=True)
class Case:
    handshake: bytes
    said: bytes
    begins: bytes = b""  # what comes before anything is said
    ends: bytes = b"\x8a\x00"  # what the answer to the last thing said holds
    refusal: bytes = b""  # of an event, said first; EPOCH stands for that of its cursor


def door(port: int, world: World) -> Door:
    drawer = Drawer(world)
    return Door(
        name="sockets",
        ordinary=Case(drawer.handshake("", V1), _QUESTION, _READY, b"the-last"),
        draw=drawer.draw,
        send=lambda case: _send(port, case),
    )


def _send(port: int, case: Case) -> Answer:
    with WebSocket(port, case.handshake) as socket:
        if socket.status != "101":
            return Answer(socket.status, socket.heard)
        begun = socket.answer(case.begins) if case.begins else Answer("open")
        if begun.status != "open":
            return begun
        if case.refusal:
            socket.send(frame(case.refusal.replace(b"EPOCH", _EPOCH.findall(begun.text)[-1])))
        socket.send(case.said)
        return socket.answer(case.ends)


class Drawer:
    def __init__(self, world: World) -> None:
        self._world = world

    def handshake(self, query: str, protocol: str, *headers: tuple[str, str]) -> bytes:
        own = [("Sec-WebSocket-Protocol", protocol)] if protocol else []
        path = f"{PATH}?endpoint_id={self._world.socket}{query}"
        return wire.upgrade(path, [("Authorization", f"Bearer {self._world.key}"), *own, *headers])

    def draw(self, random: Random) -> Case:
        if random.random() < 0.4:
            return Case(self._odd(random), frame(b"", PING))
        if random.random() < 0.2:
            return self._refusing(random)
        said = b"".join(self._frame(random) for _ in range(random.randrange(1, 12)))
        if random.random() < 0.5:
            return Case(self.handshake("", V1), said + _QUESTION, _READY, b"the-last")
        return Case(self.handshake(random.choice(("", "&watch=1", "&after=")), ""), said + frame(b"", PING))

    def _refusing(self, random: Random) -> Case:
        """Return a refusal of the first event that there is, for any reason."""
        refusal: dict[str, Any] = {"kind": "nack", "cursor": "EPOCH-1", "reason": values.text(random)}
        if random.random() < 0.3:
            refusal["delaySeconds"] = values.written(values.number(random))
        return Case(self.handshake("&after=0", V1), _QUESTION, _EVENT, b"the-last", json.dumps(refusal).encode())

    def _odd(self, random: Random) -> bytes:
        """Return a handshake that asks for anything."""
        names = random.sample(_PARAMETERS, random.randrange(4))
        query = "".join(f"&{name}={quote(values.text(random)[:3_000], errors='replace')}" for name in names)
        headers = ("Origin", "Authorization", "Token", "Cookie", "Sec-WebSocket-Extensions", "Sec-WebSocket-Version")
        chosen = [(name, values.text(random)[:3_000]) for name in random.sample(headers, random.randrange(3))]
        protocol = random.choice(_PROTOCOLS) if random.random() < 0.8 else values.text(random)[:300]
        return values.perhaps_mangled(random, self.handshake(query, protocol, *chosen), 0.1) + b"\r\n\r\n"

    def _frame(self, random: Random) -> bytes:
        cursors = ("1-1", "0-0", "", "x-1", "1-" + "9" * 30, "١-١", "-1--1", values.text(random), 1, None)
        kind = random.choice(("ack", "nack", "ready", "event", "", values.text(random)))
        members = {"kind": kind, "cursor": random.choice(cursors)}
        for name in random.sample(("reason", "delaySeconds", "cursor", "nope"), random.randrange(3)):
            members[name] = values.value(random, 1)
        text = json.dumps(members).encode(errors="replace")
        bodies = (
            text,
            text,
            values.mangled(random, text),
            b"[" * 100_000,
            b"",
            b"null",
            values.json_text(random).encode(),
        )
        return frame(random.choice(bodies), opcode=random.choice((1, 1, 1, 2)))


def frames(port: int, world: World) -> Door:
    """RFC 6455 as nobody should speak it."""
    handshake = Drawer(world).handshake("", V1)

    def send(said: bytes) -> Answer:
        with WebSocket(port, handshake) as socket:
            socket.send(said + frame((1000).to_bytes(2), CLOSE))
            return socket.answer(b"", patience_s=wire.PATIENCE_S, silence="silent")

    return Door(name="frames", ordinary=b"", draw=_raw_frames, send=send)


def _raw_frames(random: Random) -> bytes:
    sent = b"".join(_raw_frame(random) for _ in range(random.randrange(1, 6)))
    return values.perhaps_mangled(random, sent, 0.3)


def _raw_frame(random: Random) -> bytes:
    payloads = (
        b"",
        b"a",
        b"\x03\xe8",
        b"\x03\xedno",
        b"\xff\xfe",
        b"a" * 126,
        b"a" * 70_000,
        b"a" * (1 << 20),
        b"a" * 1_100_000,
    )
    opcode = random.choice((0, 0, 1, 1, 2, CLOSE, PING, 10, random.randrange(16)))
    first = random.choice((0x80, 0x80, 0, 0xC0, 0xF0))
    whole = frame(random.choice(payloads), opcode, first=first, masked=random.random() < 0.9)
    return whole * random.choice((1, 1, 1, 30)) if len(whole) < 200 else whole
