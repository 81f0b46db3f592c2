"""GraphQL documents by the schema that the service itself tells, and values that fit and do not."""

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)

from fuzz import values

LEVELS = 4  # of fields, mostly
_DIRECTIVES = ("@skip(if: false)", "@include(if: true)", "@nope", "@skip", "@deprecated")


class Writer:
    """Writes one document; `variables` are those that it uses."""

    def __init__(self, schema: GraphQLSchema, random: Random, ids: Mapping[str, str]) -> None:
        self._schema = schema
        self._random = random
        self._ids = [*ids.values(), "00000000-0000-7000-8000-000000000000", "1", "", "x"]
        self._declared: list[str] = []
        self._fragments: list[str] = []
        self.variables: dict[str, Any] = {}

    def document(self, kinds: tuple[str, ...] = ("query", "query", "mutation")) -> str:
        kind = self._random.choice(kinds)
        root: Any = getattr(self._schema, f"{kind}_type")
        selected = self._selection(root, LEVELS, most=2)
        declared = f"({', '.join(self._declared)})" if self._declared else ""
        return " ".join((f"{kind} A{declared} {selected}", *self._fragments))

    def _has(self, chance: float) -> bool:
        return self._random.random() < chance

    def _selection(self, parent: GraphQLObjectType, levels: int, most: int = 6) -> str:
        names = self._random.sample([*parent.fields], min(len(parent.fields), self._random.randint(1, most)))
        fields = [self._field(name, parent.fields[name], levels) for name in names]
        if self._has(0.03):
            fields.append(
                self._random.choice(("__typename", "nope", "... {__typename}", "...Nope", "__schema {types {name}}"))
            )
        if self._has(0.01):
            fields = self._hurtful(fields)
        inner = f"{{{' '.join(filter(None, fields)) or '__typename'}}}"
        return self._as_fragment(parent, inner) if self._has(0.1) else inner

    def _hurtful(self, fields: list[str]) -> list[str]:
        kind = self._random.randrange(3)
        if kind == 0:
            return [f"a{number}: {fields[0]}" for number in range(self._random.choice((10, 300)))]
        return fields * 300 if kind == 1 else [f"... {{{' '.join(fields)}}}" * 50]

    def _as_fragment(self, parent: GraphQLObjectType, inner: str) -> str:
        name = f"F{len(self._fragments)}"
        itself = f" ...{name} " if self._has(0.2) else ""
        self._fragments.append(f"fragment {name} on {parent.name} {inner[:-1]}{itself}}}")
        return f"{{...{name} ...{name}}}"

    def _field(self, name: str, field: GraphQLField, levels: int) -> str:
        """Return the field as it may be selected; nothing where that would go too deep."""
        type_: Any = get_named_type(field.type)
        beneath = ""
        if isinstance(type_, GraphQLObjectType):
            if not levels and not self._has(0.1):
                return ""
            beneath = self._selection(type_, levels - 1)
        alias = f"{self._random.choice('abc')}: " if self._has(0.1) else ""
        directive = self._random.choice(_DIRECTIVES) if self._has(0.01) else ""
        return f"{alias}{name}{self._arguments(field.args)} {directive} {beneath}"

    def _arguments(self, args: Mapping[str, GraphQLArgument]) -> str:
        given = [name for name, arg in args.items() if self._has(0.99 if isinstance(arg.type, GraphQLNonNull) else 0.4)]
        written = [f"{name}: {self._argument(args[name])}" for name in given]
        if self._has(0.005):
            written.append("nope: 1")
        return f"({', '.join(written)})" if written else ""

    def _argument(self, arg: GraphQLArgument) -> str:
        value = self.value(arg.type)
        if not self._has(0.6):
            return literal(value)
        name = f"v{len(self._declared)}"
        self._declared.append(f"${name}: {arg.type if self._has(0.98) else 'Int'}")
        self.variables[name] = value
        return f"${name}"

    def value(self, type_: Any) -> Any:
        """Return what fits the type, mostly."""
        if self._has(0.02):
            return values.value(self._random)
        if isinstance(type_, GraphQLNonNull):
            return self.value(type_.of_type)
        if isinstance(type_, GraphQLList):
            return [self.value(type_.of_type) for _ in range(self._random.choice((0, 1, 1, 2, 30)))]
        if isinstance(type_, GraphQLEnumType):
            return Name(self._random.choice([*type_.values]))
        if isinstance(type_, GraphQLInputObjectType):
            return {name: self.value(field.type) for name, field in type_.fields.items() if self._wants(field.type)}
        return self._scalar(type_.name)

    def _wants(self, type_: Any) -> bool:
        return self._has(0.99 if isinstance(type_, GraphQLNonNull) else 0.4)

    def _scalar(self, name: str) -> Any:
        random = self._random
        if name == "ID":
            return random.choice(self._ids)
        if name in ("Int", "Float", "BigInt"):
            return values.written(values.number(random)) if self._has(0.3) else random.randrange(1, 200)
        if name == "Boolean":
            return self._has(0.5)
        if name == "DateTime":
            return values.text(random) if self._has(0.3) else "2026-11-22T10:00:00Z"
        return values.value(random) if name == "JSON" else values.text(random)


class Name(str):
    """What stands without quotation marks in a document: the value of an enum."""


def literal(value: Any) -> str:
    """Return a value as a document has it."""
    if isinstance(value, Name):
        return value
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_name(name)}: {literal(member)}' for name, member in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return json.dumps(value)


def _name(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else "x"
