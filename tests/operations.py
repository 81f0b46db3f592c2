"""Documents of every operation, made from the schema: with each place for an id in turn filled as a test wants it."""

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

from event_service.schema import schema

Path = tuple[str, ...]  # of an id within the arguments
ROOTS = {
    "query": schema.graphql_schema.query_type,
    "mutation": schema.graphql_schema.mutation_type,
    "subscription": schema.graphql_schema.subscription_type,
}
FIELDS = {name: (kind, field) for kind, root in ROOTS.items() if root for name, field in root.fields.items()}
# What the type alone does not tell.
GIVEN = {
    "url": '"https://example.com/"',
    "eventFiltersInput": "{pattern: {}}",
    "events": '[{type: "a"}]',
    "after": '"0"',
    "scopes": "[read]",
    "pattern": "{}",
    "event": '{type: "a"}',
}
# One of several, of which none is required: the first unless another one is asked for.
EITHER = {
    "deleteEndpoints": [("ids", "endpointIds")],
    "deleteEndpoint": [("ids", "endpointIds")],
    "cancelDeliveries": [("ids", "endpointId")],
    "expediteDeliveries": [("ids", "endpointId")],
    "explainEventFilter": [("pattern", "id"), ("event", "eventId")],
    "backtestEventFilter": [("pattern", "id")],
    "updateEventType": [("id", "type")],
}


def id_places(name: str) -> list[Path]:
    """Return where the operation takes ids of ours; those in filters' definitions are the producers'."""
    places = _ids(FIELDS[name][1].args.items(), ())
    return [place for place in places if place[0] != "eventFiltersInput"]


def _ids(members: Any, path: Path) -> Iterator[Path]:
    for name, member in members:
        named = get_named_type(member.type)
        if named.name == "ID":
            yield (*path, name)
        elif isinstance(named, GraphQLInputObjectType):
            yield from _ids(named.fields.items(), (*path, name))


def document(name: str, ids: Mapping[Path, str], own: Mapping[str, Any] = {}) -> str:
    """Return the operation with these ids in these places, and of `own`, by name, where another one is required."""
    kind, field = FIELDS[name]
    given = _members(field.args, is_required_argument, ids, own, (), name)
    arguments = f"({', '.join(given)})" if given else ""
    return f"{kind} {{ {name}{arguments} {selected(field)} }}"


def _members(
    fields: Any, required: Any, ids: Mapping[Path, str], own: Mapping[str, Any], path: Path, name: str = ""
) -> list[str]:
    wanted = {place[len(path)] for place in ids if place[: len(path)] == path}
    wanted |= {either[0] for either in EITHER.get(name, ()) if not wanted & set(either)}
    return [
        f"{member}: {_value(field.type, ids, own, (*path, member))}"
        for member, field in fields.items()
        if member in wanted or required(field)
    ]


def _value(type: Any, ids: Mapping[Path, str], own: Mapping[str, Any], path: Path) -> str:
    if isinstance(type, GraphQLNonNull):
        return _value(type.of_type, ids, own, path)
    if isinstance(type, GraphQLInputObjectType) and any(place[: len(path)] == path for place in ids):
        return f"{{{', '.join(_members(type.fields, is_required_input_field, ids, own, path))}}}"
    if path[-1] in GIVEN:
        return GIVEN[path[-1]]
    if isinstance(type, GraphQLList):
        return f"[{_value(type.of_type, ids, own, path)}]"
    if isinstance(type, GraphQLInputObjectType):
        return f"{{{', '.join(_members(type.fields, is_required_input_field, ids, own, path))}}}"
    if isinstance(type, GraphQLEnumType):
        return next(iter(type.values))
    if type.name == "ID":
        return f'"{ids.get(path) or own[path[-1]]}"'
    return {"Int": "1", "Boolean": "true"}.get(type.name, '"n"')


def selected(field: GraphQLField) -> str:
    """Return all that can be selected without arguments, down to the rows of a list."""
    return _selected(field.type, 2)


def _selected(type: Any, depth: int) -> str:
    named = get_named_type(type)
    if is_leaf_type(named):
        return ""
    leaves = [name for name, field in named.fields.items() if is_leaf_type(get_named_type(field.type))]
    beneath = ("collectionItems", "event", "events", "apiKey", "deliveries") if depth else ()
    nested = [f"{name} {_selected(named.fields[name].type, depth - 1)}" for name in beneath if name in named.fields]
    return f"{{ {' '.join([*leaves, *nested])} }}"
