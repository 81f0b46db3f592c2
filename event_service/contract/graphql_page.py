"""The page about GraphQL: each operation with its scope, and each type."""

from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    is_specified_scalar_type,
)

from event_service.contract.table import table
from event_service.operations import SCOPES
from event_service.schema import schema


def graphql() -> str:
    graph = schema.graphql_schema
    roots = {"Queries": graph.query_type, "Mutations": graph.mutation_type, "Subscriptions": graph.subscription_type}
    types = [type for name, type in sorted(graph.type_map.items()) if _is_told(name, type, list(roots.values()))]
    return "\n\n".join(
        [
            "# GraphQL",
            "The schema as text is [`schema.graphql`](schema.graphql); a running service tells it at "
            "`/event-service/schema.graphql`. How it is used is in [the API](../api.md#graphql).",
            *(
                f"## {title}\n\n" + "\n\n".join(map(_operation, *zip(*root.fields.items(), strict=True)))
                for title, root in roots.items()
            ),
            "## Types",
            *map(_type, types),
        ]
    )


def _is_told(name: str, type: GraphQLNamedType, roots: list[Any]) -> bool:
    return not (name.startswith("__") or type in roots or is_specified_scalar_type(type))


def _operation(name: str, field: Any) -> str:
    arguments = [
        [f"`{each}`", f"`{argument.type}`", argument.description or ""] for each, argument in field.args.items()
    ]
    return "\n\n".join(
        [
            f"### {name}",
            field.description or "",
            f"Gives `{field.type}`; scope `{SCOPES[name].value}`.",
            table(["argument", "type", "is"], arguments),
        ]
    )


def _type(type: GraphQLNamedType) -> str:
    return "\n\n".join([f"### {type.name}", type.description or "", _members(type)])


def _members(type: GraphQLNamedType) -> str:
    if isinstance(type, GraphQLEnumType):
        return "One of " + ", ".join(f"`{name}`" for name in type.values) + "."
    if isinstance(type, GraphQLObjectType | GraphQLInputObjectType):
        rows = [[f"`{name}`", f"`{field.type}`", field.description or ""] for name, field in type.fields.items()]
        return table(["field", "type", "is"], rows)
    assert isinstance(type, GraphQLScalarType)
    return "A scalar."
