"""Documents that the service keeps and runs: filters on events, JSON Schemas on data, payload shapes on data."""

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from fuzz import values, wire
from fuzz.doors import Door, Drawn
from fuzz.graphql import call, told
from fuzz.world import World

DEPTH = 4  # of a pattern
EXPLAIN = """query ($pattern: JSON, $event: JSON) {
  explainEventFilter(pattern: $pattern, event: $event) { matched reason conditions { at path wanted held found why } }
  backtestEventFilter(pattern: $pattern, limit: 200) { __typename }
}"""
SCHEMA = """mutation ($schema: JSON, $text: String) {
  updateEventType(type: "fuzz.schema", schema: $schema, enforcement: REJECT) { id }
  publishEvents(events: [{type: "fuzz.schema", dataText: $text}]) { events { id error { code message } } }
}"""
SHAPE = """mutation ($id: ID!, $shape: JSON, $data: JSON) {
  updateEndpoint(id: $id, payloadShape: $shape) { id }
  testEndpoint(id: $id, data: $data) { requestBody }
}"""
_CONDITIONS = (
    "prefix",
    "suffix",
    "anything-but",
    "numeric",
    "exists",
    "wildcard",
    "cidr",
    "equals-ignore-case",
    "nope",
)
_GOOD: tuple[Any, ...] = (
    "a",
    1,
    None,
    True,
    {"prefix": "a"},
    {"suffix": {"equals-ignore-case": "Ä"}},
    {"anything-but": ["a", 1]},
    {"anything-but": {"wildcard": "*a*b*"}},
    {"numeric": [">", 0, "<=", 1e300]},
    {"exists": False},
    {"wildcard": "*".join("a" * 20)},
    {"cidr": "10.0.0.0/8"},
    {"cidr": "::/0"},
    {"equals-ignore-case": "ß"},
)
_COMPARED: tuple[Any, ...] = ("=", "<", ">=", 1, 2.5, -(10**30), "1", None)
_PATTERNS = ("^(a+)+$", "(?=a)", "(.*){1,99}", "\\p{L}{900}", "[", "a{1,65535}", "(a|a)*b", "\\1", "\\d+")
_KEYWORDS: Mapping[str, tuple[str, ...]] = {
    "number": (
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxContains",
        "minProperties",
    ),
    "pattern": ("pattern",),
    "schema": ("items", "not", "if", "then", "else", "contains", "additionalProperties", "unevaluatedProperties"),
    "schemas": ("allOf", "anyOf", "oneOf", "prefixItems"),
    "named": ("properties", "patternProperties", "$defs", "dependentSchemas"),
    "names": ("required",),
    "kind": ("type",),
    "value": ("const", "default", "nope"),
    "values": ("enum", "examples"),
    "wrong": (
        "$ref",
        "$dynamicRef",
        "$id",
        "$schema",
        "$anchor",
        "format",
        "uniqueItems",
        "type",
        "enum",
        "properties",
    ),
}
_KINDS = ("object", "array", "string", "number", "integer", "null", "boolean", ["object", "null"])
_REFERENCES = (
    "#",
    "#/$defs/a",
    "#/properties/a",
    "#/allOf/0",
    "#nope",
    "http://127.0.0.1:9/",
    "file:///etc/passwd",
    "#/~2",
)


def filters(port: int, world: World) -> Door:
    def draw(random: Random) -> dict[str, Any]:
        return {"pattern": pattern(random), "event": event(random)}

    return _door(port, world, "filters", EXPLAIN, draw, {"pattern": {"type": ["a"]}, "event": {"type": "a"}})


def schemas(port: int, world: World) -> Door:
    def draw(random: Random) -> dict[str, Any]:
        return {"schema": schema(random, 4), "text": values.json_text(random)}

    ordinary = {"schema": {"type": "object", "required": ["a"]}, "text": '{"a": 1}'}
    return _door(port, world, "schemas", SCHEMA, draw, ordinary)


def shapes(port: int, world: World) -> Door:
    def draw(random: Random) -> dict[str, Any]:
        return {"id": world.ids["endpoint"], "shape": shape(random), "data": values.value(random)}

    ordinary = {"id": world.ids["endpoint"], "shape": {"paths": ["a"]}, "data": {"a": 1}}
    return _door(port, world, "shapes", SHAPE, draw, ordinary)


def _door(port: int, world: World, name: str, query: str, draw: Drawn, ordinary: dict[str, Any]) -> Door:
    def send(variables: dict[str, Any]) -> wire.Answer:
        return _coded(wire.exchange(port, call(world.key, query, variables)))

    return Door(name=name, ordinary=ordinary, draw=draw, send=send)


def _coded(answer: wire.Answer) -> wire.Answer:
    """Return the answer with the codes of its errors beside its status: INTERNAL is what a 500 is elsewhere."""
    codes = {error["extensions"]["code"] for error in told(answer).get("errors", ())}
    return wire.Answer("500" if "INTERNAL" in codes else " ".join([answer.status, *sorted(codes)]), answer.text)


def pattern(random: Random, levels: int = DEPTH) -> Any:
    if random.random() < 0.02:
        return values.value(random)
    if not levels or levels < DEPTH and random.random() < 0.5:
        return [condition(random, 2) for _ in range(random.choice((0, 1, 1, 2, 5)))]
    if levels < DEPTH and random.random() < 0.1:
        return {"$or": [pattern(random, levels - 1) for _ in range(random.choice((1, 2, 3, 30)))]}
    names = ("data", "data", "type", "id", "source") if levels == DEPTH else (*values.JSON_NAMES, values.text(random))
    return {random.choice(names): pattern(random, levels - 1) for _ in range(random.randrange(1, 4))}


def condition(random: Random, levels: int) -> Any:
    if random.random() < 0.85:
        return random.choice(_GOOD)
    if not levels or random.random() < 0.4:
        return values.value(random, 1)
    name = random.choice(_CONDITIONS)
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: condition(random, levels - 1),
        lambda: [random.choice(_COMPARED) for _ in range(random.randrange(6))],
        lambda: "*a" * random.choice((1, 20, 2_000)),
        lambda: random.choice(
            (True, "10.0.0.0/8", "::/0", "1.2.3.4/33", "fe80::%1/64", {"prefix": values.text(random)})
        ),
    )
    return {name: random.choice(kinds)()}


def event(random: Random) -> Any:
    if random.random() < 0.1:
        return values.value(random)
    data = random.choice((values.value(random), {"a": "a" * 5_000}, ["a" * 5_000] * 9, [[1] * 99] * 99))
    return {"type": random.choice(("a", values.text(random))), "data": data}


def schema(random: Random, levels: int) -> Any:
    if not levels or random.random() < 0.1:
        return random.choice((True, False, {}, {"type": "object"}, {"$ref": "#"}))
    kinds = random.choices([*_KEYWORDS], [9] * (len(_KEYWORDS) - 1) + [1], k=random.randrange(1, 4))
    return {random.choice(_KEYWORDS[kind]): _keyword(random, kind, levels - 1) for kind in kinds}


def _keyword(random: Random, kind: str, levels: int) -> Any:
    def schemas(most: int = 5) -> list[Any]:
        return [schema(random, levels) for _ in range(random.randint(1, most))]

    names = ("a", "type", "^a|b$", "", random.choice(_PATTERNS) if random.random() < 0.05 else "data")
    drawn: Mapping[str, Callable[[], Any]] = {
        "number": lambda: values.written(values.number(random)) if random.random() < 0.1 else random.randrange(1, 5),
        "pattern": lambda: random.choice(_PATTERNS) if random.random() < 0.3 else "^a*b*(aa|a)*$",
        "schema": lambda: schema(random, levels),
        "schemas": lambda: schemas(20 if random.random() < 0.1 else 3),
        "named": lambda: dict(zip(random.sample(names, len(names)), schemas(), strict=False)),
        "names": lambda: random.sample(names, 2),
        "kind": lambda: random.choice(_KINDS),
        "value": lambda: values.value(random, 2),
        "values": lambda: [values.value(random, 2) for _ in range(random.randrange(1, 50))],
        "wrong": lambda: random.choice((*_REFERENCES, values.value(random, 2))),
    }
    return drawn[kind]()


def shape(random: Random) -> Any:
    kind = random.randrange(5)
    if kind == 0:
        return values.value(random)
    if kind < 3:
        return {"paths": [_path(random) for _ in range(random.choice((0, 1, 3, 201)))]}
    return {"template": _template(random, 4)}


def _path(random: Random) -> Any:
    names = [random.choice(values.JSON_NAMES) for _ in range(random.choice((1, 1, 2, 21)))]
    return random.choice((names, ".".join(names), values.value(random, 1)))


def _template(random: Random, levels: int) -> Any:
    if not levels or random.random() < 0.4:
        return random.choice(({"$path": _path(random)}, values.value(random, 1)))
    inner = [_template(random, levels - 1) for _ in range(random.randrange(4))]
    return inner if random.random() < 0.3 else dict(zip(("a", "$b", json.dumps("é")), inner, strict=False))
