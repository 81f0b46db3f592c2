"""The event door: JSON and CloudEvents, one and many, with every part of a request wrong at some time."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from fuzz import values, wire
from fuzz.doors import Door
from fuzz.judge import Judge
from fuzz.wire import Answer
from fuzz.world import World

PATH = "/event-service/events"
ORDINARY = b'{"type": "order.paid", "data": {"total": 1.00}}'
READ_AT_ONCE = 100
_MEMBERS = ("id", "date", "source", "subject", "orderingKey", "nope")
_TYPES = (
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/json; charset=latin-1",
    "APPLICATION/JSON ;",
    "text/plain",
    "",
    "application/cloudevents+json; charset=\xff",
)
_READ = "query ($ids: [ID!]) { events(filters: {id: {in: $ids}}, pagination: {limit: 200}) "
_READ += "{ collectionItems { id dataText } } }"


@dataclass(frozen=True)
class Case:
    request: bytes
    data: tuple[str, ...] = ()  # the JSON texts that are to be kept, where the case knows them


def door(port: int, world: World, judge: Judge) -> Door:
    drawer = Drawer(world.key)
    reader = Reader(port, world.key, judge)
    return Door(
        name="events",
        ordinary=Case(drawer.request(ORDINARY, ("Content-Type", "application/json"))),
        draw=drawer.draw,
        send=lambda case: wire.exchange(port, case.request),
        check=reader.check,
        finish=reader.read_back,
    )


class Drawer:
    def __init__(self, key: str) -> None:
        self._key = key

    def request(self, body: bytes, *headers: tuple[str, str | bytes], method: str = "POST", path: str = PATH) -> bytes:
        return wire.request(method, path, [("Authorization", f"Bearer {self._key}"), *headers], body)

    def draw(self, random: Random) -> Case:
        kind = random.choice((self._plain, self._plain, self._structured, self._binary, self._odd))
        return kind(random)

    def _plain(self, random: Random) -> Case:
        data = [
            values.json_text(random)
            for _ in range(random.choice((1, 1, 1, 2, 3, 1_001 if random.random() < 0.05 else 4)))
        ]
        events = [_object({"type": _type(random), **_some(random, _MEMBERS)}, text) for text in data]
        body = events[0] if len(data) == 1 else f"[{','.join(events)}]"
        return self._case(random, body, data, "application/json")

    def _structured(self, random: Random) -> Case:
        data = [values.json_text(random) for _ in range(random.choice((1, 1, 3)))]
        events = [_object(self._attributes(random), text) for text in data]
        many = len(data) > 1 or random.random() < 0.1
        return self._case(random, f"[{','.join(events)}]" if many else events[0], data, _TYPES[1 + many])

    @staticmethod
    def _attributes(random: Random) -> dict[str, Any]:
        own = {"specversion": "1.0", "id": str(random.random()), "source": "/fuzz", "type": "order.paid"}
        names = ("specversion", "subject", "time", "partitionkey", "datacontenttype", "data_base64", "x", "source")
        return own | (_some(random, names) if random.random() < 0.5 else {})

    def _binary(self, random: Random) -> Case:
        data = values.json_text(random)
        attributes = {name: str(value) for name, value in self._attributes(random).items()}
        headers = [(f"ce-{name}", _header(random, value)) for name, value in attributes.items()]
        body = data.encode(errors="replace")
        return Case(self.request(body, ("Content-Type", "application/json"), *headers), (data,))

    def _case(self, random: Random, body: str, data: Iterable[str], content_type: str) -> Case:
        whole = body.encode(errors="replace")
        sent = values.perhaps_mangled(random, whole)
        headers: list[tuple[str, str | bytes]] = [("Content-Type", content_type)]
        if random.random() < 0.1:
            headers.append(("Idempotency-Key", values.text(random)[:300]))
        return Case(self.request(sent, *headers), tuple(data) if sent == whole else ())

    def _odd(self, random: Random) -> Case:
        """Return what is wrong around the body."""
        headers: list[tuple[str, str | bytes]] = [("Content-Type", random.choice(_TYPES))]
        names = ("Content-Encoding", "Authorization", "Token", "ce-specversion", "Expect", "X-Forwarded-For", "Cookie")
        headers += [(name, values.text(random)[:5_000]) for name in random.sample(names, random.randrange(3))]
        method = random.choice(("POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "TRACE", "x" * 100))
        path = PATH + random.choice(("", "", "/", "?a=" + values.text(random)[:500], "//"))
        bodies = (b"", b"\xef\xbb\xbf{}", b"[" * 100_000, b"[]", b"null", b"\xff", values.json_text(random).encode())
        return Case(self.request(random.choice(bodies), *headers, method=method, path=path))


def _type(random: Random) -> Any:
    return "order.paid" if random.random() < 0.7 else values.value(random, 1)


def _some(random: Random, names: Iterable[str]) -> dict[str, Any]:
    return {name: values.value(random, 1) for name in names if random.random() < 0.15}


def _object(members: dict[str, Any], data: str) -> str:
    """Return a JSON object of which `data` is a member as it stands."""
    return f'{json.dumps(members)[:-1]}, "data":{data}}}'


def _header(random: Random, value: str) -> bytes:
    return values.perhaps_mangled(random, value.encode(errors="replace")[:2_000])


class Reader:
    """Asks for what was accepted, and holds it against what was sent."""

    def __init__(self, port: int, key: str, judge: Judge) -> None:
        self._port, self._judge = port, judge
        self._headers = [("Authorization", f"Bearer {key}"), ("Content-Type", "application/json")]
        self._accepted: dict[str, tuple[str, str]] = {}  # case and data by id

    def check(self, name: str, case: Case, answer: Answer) -> None:
        if answer.status != "202" or not case.data:
            return
        told = json.loads(answer.text.partition(b"\r\n\r\n")[2])["events"]
        for data, event in zip(case.data, told, strict=True):
            if "id" in event and not event["duplicate"]:
                self._accepted[event["id"]] = name, data

    def read_back(self) -> None:
        ids = list(self._accepted)
        for start in range(0, len(ids), READ_AT_ONCE):
            self._compare(ids[start : start + READ_AT_ONCE])
        self._judge.counts["events", "read back"] += len(ids)

    def _compare(self, ids: list[str]) -> None:
        found = self._texts(ids)
        for id_ in ids:
            name, data = self._accepted[id_]
            if found.get(id_) != data:
                self._judge.fault(name, f"kept {found.get(id_)!r:.300} of {data!r:.300}")

    def _texts(self, ids: list[str]) -> dict[str, str]:
        body = json.dumps({"query": _READ, "variables": {"ids": ids}}).encode()
        answer = wire.exchange(self._port, wire.request("POST", "/event-service/graphql", self._headers, body))
        events = json.loads(answer.text.partition(b"\r\n\r\n")[2])["data"]["events"]["collectionItems"]
        return {event["id"]: event["dataText"] for event in events}
