"""Lists: `name(filters, order, pagination) { totalCount collectionItems { ... } }`, generated from FilterSets.

A FilterSet says which lookups a list has. Their values come typed from GraphQL and go to the ORM as they are:
django-filter's own forms take "" and [] for "no condition", which would answer with everything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import graphene
from django.db import models
from django_filters import FilterSet
from graphene.utils.str_converters import to_camel_case, to_snake_case

from endpoints.errors import BadInput
from endpoints.schema.access import MAX_IDS, Caller, as_id
from endpoints.schema.pages import turn_page
from endpoints.schema.scalars import DateTime

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_NESTED = 40  # rows of a list of traffic beneath a row; and what the cost rule takes any nested list to hold

_SCALARS = {
    models.UUIDField: graphene.ID,
    models.ForeignKey: graphene.ID,
    models.OneToOneField: graphene.ID,
    models.CharField: graphene.String,
    models.DateTimeField: DateTime,
    models.BigIntegerField: graphene.BigInt,
    models.PositiveSmallIntegerField: graphene.Int,
}

Rows = models.QuerySet[Any]
Given = Mapping[str, Any]  # an input object's members


class OrderDirection(graphene.Enum):
    class Meta:
        description = "ASC: earliest to latest; DESC: latest to earliest."

    ASC = "ASC"
    DESC = "DESC"


class Pagination(graphene.InputObjectType):
    offset = graphene.Int(description="How many to skip; 0 when left out.")
    limit = graphene.Int(description=f"How many to take; {DEFAULT_LIMIT} when left out, at most {MAX_LIMIT}.")


@dataclass(frozen=True)
class Page:
    """What a list resolves to. Each half asks the database only when the query selects it."""

    found: Rows
    order: Sequence[str]
    offset: int
    limit: int

    @property
    def total_count(self) -> int:
        return self.found.count()

    @property
    def collection_items(self) -> list[models.Model]:
        return turn_page(self.found.order_by(*self.order)[self.offset : self.offset + self.limit])


def collection(
    name: str,
    output: Any,
    filterset: type[FilterSet],
    rows: Callable[[Caller], Rows],
    *,
    order: Sequence[str],
    newest: Sequence[str] = ("-creation_date", "-pk"),
    enums: Mapping[str, Any] | None = None,
    description: str = "",
) -> graphene.Field:
    """Return the list field over `rows`: its types are called after `name`, `order` are its orderings."""

    def resolve(
        _root: None,
        info: Any,
        filters: Given | None = None,
        order: Sequence[Given | None] | None = None,
        pagination: Given | None = None,
    ) -> Page:
        found = narrowed(rows(info.context), filterset, filters or {})
        offset, limit = _bounds(pagination or {})
        return Page(found, _ordering(order or []) or newest, offset, limit)

    return graphene.Field(
        _page_type(name, output),
        description=description,
        filters=graphene.Argument(_filters_type(name, filterset, enums or {})),
        order=graphene.List(_order_type(name, order)),  # a single object is coerced to a list of one
        pagination=graphene.Argument(Pagination),
        resolver=resolve,
    )


def narrowed(rows: Rows, filterset: type[FilterSet], filters: Given) -> Rows:
    """Return those of `rows` that meet all conditions; null and {} are none. Raises BadInput."""
    for field, conditions in filters.items():
        for lookup, value in (conditions or {}).items():
            if value is not None:
                path = f"filters.{to_camel_case(field)}.{lookup}"
                rows = rows.filter(**{f"{field}__{lookup}": _operand(filterset, field, value, path)})
    return rows


def _operand(filterset: type[FilterSet], field: str, value: Any, path: str) -> Any:
    if isinstance(value, list):
        if len(value) > MAX_IDS:
            raise BadInput(f"{path} has {len(value)} values; at most {MAX_IDS} are compared.", path)
        return [_operand(filterset, field, each, path) for each in value]
    if isinstance(value, str) and _scalar(filterset, field) is graphene.ID:
        return as_id(value, path)
    if isinstance(value, str) and "\0" in value:
        raise BadInput(f"{path} holds a NUL character, which nothing stored has.", path)
    return value


def _ordering(order: Sequence[Given | None]) -> list[str]:
    keys = []
    for one in order:
        given = {field: direction for field, direction in (one or {}).items() if direction is not None}
        if len(given) > 1:  # graphql-core does not keep the order in which the client wrote them
            raise BadInput(
                f"order has {', '.join(given)} in one object; write a list of objects with one field each.", "order"
            )
        for field, direction in given.items():
            keys.append(f"{'-' if direction.value == 'DESC' else ''}{to_snake_case(field)}")
    # Rows that are alike in all of these stand in one order too, or a page could repeat what the last one had.
    return keys and [*keys, "-pk" if keys[-1].startswith("-") else "pk"]


def _bounds(pagination: Given) -> tuple[int, int]:
    offset, limit = pagination.get("offset"), pagination.get("limit")
    if offset is not None and offset < 0:
        raise BadInput(f"offset is {offset}; it is 0 or more.", "pagination.offset")
    if limit is not None and not 0 <= limit <= MAX_LIMIT:
        raise BadInput(f"limit is {limit}; it is between 0 and {MAX_LIMIT}.", "pagination.limit")
    return offset or 0, DEFAULT_LIMIT if limit is None else limit


def _page_type(name: str, output: Any) -> Any:
    members = {
        "total_count": graphene.Int(required=True, description="How many were found, before pagination."),
        "collection_items": graphene.List(graphene.NonNull(output), required=True),
    }
    return type(f"{name}Collection", (graphene.ObjectType,), members)


def _order_type(name: str, order: Sequence[str]) -> Any:
    """Return the input type of `order`; each field goes by its published name and in camel case."""
    spellings = dict.fromkeys(spelling for field in order for spelling in (field, to_camel_case(field)))
    members = {spelling: graphene.InputField(OrderDirection, name=spelling) for spelling in spellings}
    return type(f"{name}Order", (graphene.InputObjectType,), members)


def _filters_type(name: str, filterset: type[FilterSet], enums: Mapping[str, Any]) -> Any:
    lookups: dict[str, dict[str, Any]] = {}
    for condition in filterset.base_filters.values():
        scalar = enums.get(condition.field_name) or _scalar(filterset, condition.field_name)
        lookups.setdefault(condition.field_name, {})[condition.lookup_expr] = _of(scalar, condition.lookup_expr)
    members = {
        field: graphene.InputField(
            type(f"{name}{to_camel_case(f'_{field}')}Lookups", (graphene.InputObjectType,), conditions)
        )
        for field, conditions in lookups.items()
    }
    return type(f"{name}Filters", (graphene.InputObjectType,), members)


def _of(scalar: Any, lookup: str) -> Any:
    """Return what `lookup` on a field of type `scalar` takes."""
    if lookup == "in":
        return graphene.InputField(graphene.List(graphene.NonNull(scalar)))
    return graphene.InputField(graphene.Boolean if lookup == "isnull" else scalar)


def _scalar(filterset: type[FilterSet], field: str) -> Any:
    """Return the GraphQL type of a model's field; a field whose type is not listed is a mistake of ours."""
    kind = type(filterset._meta.model._meta.get_field(field))
    return _SCALARS[kind]
