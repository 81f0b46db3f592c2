"""GraphQL over HTTP: documents by the schema, with variables, in requests that are not always right."""

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from graphql import GraphQLSchema, build_client_schema, get_introspection_query

from fuzz import values, wire
from fuzz.doors import Door
from fuzz.world import World
from fuzz.writing import Writer

PATH = "/event-service/graphql"
ORDINARY = "{ endpoints { totalCount collectionItems { id name state eventFilters { id name } } } }"
_TYPES = (
    "application/json",
    "application/json; charset=latin-1",
    "text/plain",
    "application/graphql",
    "multipart/form-data",
)
_BODIES = (b"", b"[" * 100_000, b"null", b"[]", b"\xff", b'{"query": 1}', b'{"query": "' + b"{a" * 50_000 + b'"}')
_WHOLE = (
    "{" * 5_000,
    "{" + "__typename " * 1_900 + "}",
    "{" + " ".join(f"a{n}: __typename" for n in range(900)) + "}",
    f"{{ events(pagination: {{limit: {'9' * 350}}}) {{ totalCount }} }}",
    "query(" + " ".join(f"$a{n}: Int" for n in range(480)) + ") {__typename}",
    "{" + "events {collectionItems {deliveries {" * 60 + "id" + "}}}" * 60 + "}",
    "# " + "x" * 290_000 + "\n{__typename}",
    "{__type(name: " + json.dumps('"' * 50_000) + ") {name}}",
)


def call(key: str, query: str, variables: Mapping[str, Any] | None = None) -> bytes:
    """Return a request that is as it should be."""
    headers = [("Authorization", f"Bearer {key}"), ("Content-Type", "application/json")]
    return wire.request("POST", PATH, headers, json.dumps({"query": query, "variables": variables or {}}).encode())


def told(answer: wire.Answer) -> Any:
    """Return the JSON of an answer."""
    return json.loads(answer.text.partition(b"\r\n\r\n")[2])


def schema_of(port: int, key: str) -> GraphQLSchema:
    return build_client_schema(told(wire.exchange(port, call(key, get_introspection_query())))["data"])


def door(port: int, world: World) -> Door:
    drawer = Drawer(schema_of(port, world.key), world)
    return Door(
        name="graphql",
        ordinary=call(world.key, ORDINARY),
        draw=drawer.draw,
        send=lambda case: wire.exchange(port, case),
    )


class Drawer:
    def __init__(self, schema: GraphQLSchema, world: World) -> None:
        self._schema = schema
        self._world = world

    def draw(self, random: Random) -> bytes:
        if random.random() < 0.1:
            return self._odd(random)
        body = json.dumps(self.call(random)).encode(errors="replace")
        headers = [("Authorization", f"Bearer {self._world.key}"), ("Content-Type", "application/json")]
        return wire.request("POST", PATH, headers, values.perhaps_mangled(random, body, 0.05))

    def call(self, random: Random, kinds: tuple[str, ...] = ("query", "query", "mutation")) -> dict[str, Any]:
        """Return the members of a call."""
        if random.random() < 0.05:
            return {"query": random.choice(_WHOLE)}
        writer = Writer(self._schema, random, self._world.ids)
        document = writer.document(kinds)
        if random.random() < 0.15:
            document = values.mangled(random, document.encode(errors="replace")).decode(errors="replace")
        found: dict[str, Any] = {"query": document, "variables": writer.variables}
        if random.random() < 0.1:
            found[random.choice(("variables", "operationName", "extensions", "nope"))] = values.value(random)
        return found

    def _odd(self, random: Random) -> bytes:
        """Return what is wrong around the document."""
        method = random.choice(("POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "TRACE"))
        path = PATH + random.choice(("", "?query={__typename}", "?query=mutation{revokeApiKey(id:1){ok}}", "/", "%00"))
        names = ("Authorization", "Token", "Accept", "Cookie", "Origin", "Content-Encoding", "X-Forwarded-For")
        headers = [(name, values.text(random)[:5_000]) for name in random.sample(names, random.randrange(4))]
        headers.append(("Content-Type", random.choice(_TYPES)))
        bodies = (*_BODIES, json.dumps([self.call(random)] * 3).encode(), json.dumps(self.call(random)).encode())
        return wire.request(method, path, headers, random.choice(bodies))
