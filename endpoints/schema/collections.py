"""Lists: `name(filters, order, pagination) { totalCount collectionItems { ... } }`, generated from FilterSets.

A FilterSet says which lookups a list has. Their values come typed from GraphQL and go to the ORM as they are:
django-filter's own forms take "" and [] for "no condition", which would answer with everything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

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

MOST_COUNTED = 10_000  # rows of a list that may be long, where nothing but counting tells how many there are

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


class Count(NamedTuple):
    """How many rows there are; where it is not exact, more than that."""

    number: int
    is_exact: bool = True


@dataclass(frozen=True)
class Page:
    """What a list resolves to. Each half asks the database only when the query selects it."""

    found: Rows
    order: Sequence[str]
    offset: int
    limit: int
    count: Callable[[], Count]

    @cached_property
    def _counted(self) -> Count:
        return self.count()

    @property
    def total_count(self) -> int:
        return self._counted.number

    @property
    def total_count_is_exact(self) -> bool:
        return self._counted.is_exact

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
    known: Callable[[Caller, Given], int | None] | None = None,
) -> graphene.Field:
    """Return the list field over `rows`: its types are called after `name`, `order` are its orderings.

    Of a list that may be long `known` tells how many there are with these filters, without counting them, or None;
    then no more than MOST_COUNTED are counted.
    """

    def resolve(
        _root: None,
        info: Any,
        filters: Given | None = None,
        order: Sequence[Given | None] | None = None,
        pagination: Given | None = None,
    ) -> Page:
        found = narrowed(rows(info.context), filterset, filters or {})
        offset, limit = _bounds(pagination or {})
        counting = partial(_counted, found, known and partial(known, info.context, filters or {}))
        return Page(found, _ordering(order or []) or newest, offset, limit, counting)

    return graphene.Field(
        _page_type(name, output, bounded=known is not None),
        description=description,
        filters=graphene.Argument(_filters_type(name, filterset, enums or {})),
        order=graphene.List(_order_type(name, order)),  # a single object is coerced to a list of one
        pagination=graphene.Argument(Pagination),
        resolver=resolve,
    )


def _counted(found: Rows, known: Callable[[], int | None] | None) -> Count:
    if known is None:
        return Count(found.count())
    number = known()
    if number is not None:
        return Count(number)
    number = found.order_by()[: MOST_COUNTED + 1].count()
    return Count(min(number, MOST_COUNTED), number <= MOST_COUNTED)


def narrowed(rows: Rows, filterset: type[FilterSet], filters: Given) -> Rows:
    """Return those of `rows` that meet all conditions; null and {} are none. Raises BadInput."""
    for field, lookup, value in conditions(filters):
        path = f"filters.{to_camel_case(field)}.{lookup}"
        rows = rows.filter(**{f"{field}__{lookup}": _operand(filterset, field, value, path)})
    return rows


def conditions(filters: Given) -> list[tuple[str, str, Any]]:
    """Return what is asked of rows: fields, lookups and values."""
    return [
        (field, lookup, value)
        for field, asked in filters.items()
        for lookup, value in (asked or {}).items()
        if value is not None
    ]


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


def _page_type(name: str, output: Any, *, bounded: bool) -> Any:
    members = {"total_count": graphene.Int(required=True, description="How many were found, before pagination.")}
    if bounded:
        members["total_count_is_exact"] = graphene.Boolean(
            required=True, description=f"False where there are more than {MOST_COUNTED}, and no more were counted."
        )
    members |= {
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
