"""The scalars and enums of the API, and how strict each is."""

from datetime import UTC, datetime
from functools import partial
from math import isfinite
from typing import Any

import graphene
from graphene.types.definitions import GrapheneEnumType
from graphql import (
    EnumValueNode,
    GraphQLError,
    GraphQLSchema,
    StringValueNode,
    Undefined,
    ValueNode,
    value_from_ast_untyped,
)

from endpoints.models import Endpoint, EventType, PortalRight, Scope

MAX_DEPTH = 100  # levels of nesting of a JSON value

EndpointType = graphene.Enum.from_enum(
    Endpoint.Type, name="EndpointType", description="How an endpoint gets its events."
)
EndpointState = graphene.Enum.from_enum(
    Endpoint.State,
    name="EndpointState",
    description="ACTIVE gets events; PAUSED lets them wait; DISABLED skips them.",
)
Enforcement = graphene.Enum.from_enum(
    EventType.Enforcement,
    name="Enforcement",
    description="What becomes of an event that does not fit its type's schema: accepted, counted too, or refused.",
)
# Its values are the words themselves, in lower case, as keys and messages have them.
KeyScope = graphene.Enum("Scope", [(scope.value, scope.value) for scope in Scope], description="What a key may do.")
LinkRight = graphene.Enum(
    "PortalRight", [(right.value, right.value) for right in PortalRight], description="What a portal link lets one do."
)


class DateTime(graphene.Scalar):
    """A date and time in ISO 8601 with its offset, such as 2024-05-22T08:55:23.460103+00:00."""

    @staticmethod
    def serialize(value: datetime) -> str:
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    @staticmethod
    def parse_value(value: Any) -> datetime:
        try:
            date = datetime.fromisoformat(value)
            if date.tzinfo is not None:
                return date.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            pass
        raise GraphQLError(f"{value!r:.60} is no date and time with an offset; write 2024-05-22T08:55:23.460103+00:00.")

    @staticmethod
    def parse_literal(node: ValueNode, _variables: dict[str, Any] | None = None) -> datetime:
        return DateTime.parse_value(value_from_ast_untyped(node))


class JSON(graphene.Scalar):
    """Any JSON value, as itself and not as a string."""

    @staticmethod
    def serialize(value: Any) -> Any:
        return value

    @staticmethod
    def parse_value(value: Any) -> Any:
        return _storable(value, MAX_DEPTH)

    @staticmethod
    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        return _storable(value_from_ast_untyped(node, variables), MAX_DEPTH)


def _storable(value: Any, depth: int) -> Any:
    """Return `value`, with null for variables that were not given. Raises GraphQLError for what JSON lacks."""
    if depth == 0 and isinstance(value, dict | list):
        raise GraphQLError(f"A JSON value is nested over {MAX_DEPTH} deep.")
    if isinstance(value, dict):
        return {name: _storable(member, depth - 1) for name, member in value.items()}
    if isinstance(value, list):
        return [_storable(element, depth - 1) for element in value]
    if isinstance(value, float) and not isfinite(value):
        raise GraphQLError("A number in a JSON value is too large for a double.")
    return None if value is Undefined else value


def accept_quoted_enums(schema: GraphQLSchema) -> None:
    """Let the values of our enums stand in quotes too: published clients write both WEB_HOOK and "WEB_HOOK"."""
    for named in schema.type_map.values():
        if isinstance(named, GrapheneEnumType):
            # A method of this one object: graphene offers no place to pass another class of enums.
            named.__dict__["parse_literal"] = partial(_parse_literal, named)


def _parse_literal(enum: GrapheneEnumType, node: ValueNode, *options: Any) -> Any:
    if isinstance(node, StringValueNode):
        node = EnumValueNode(value=node.value, loc=node.loc)
    return type(enum).parse_literal(enum, node, *options)
