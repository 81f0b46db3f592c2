"""Rows that were read together fetch what hangs on them together: one query a page, whatever its length."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from django.db.models import Model, Prefetch, QuerySet, prefetch_related_objects

Row = TypeVar("Row", bound=Model)


def turn_page(rows: Iterable[Row]) -> list[Row]:
    """Return `rows` as a list in which each knows the others."""
    page = list(rows)
    for row in page:
        row.__dict__["page"] = page
    return page


def related(row: Model, lookup: str, rows: QuerySet[Any]) -> Any:
    """Return what `lookup` leads to from `row`, out of `rows`; the first call fetches it for the whole page."""
    attribute = f"{lookup}_of_page"
    if attribute not in row.__dict__:
        page = page_of(row)
        prefetch_related_objects(page, Prefetch(lookup, rows, to_attr=attribute))
        turn_page(_once(other.__dict__[attribute] for other in page))
    return row.__dict__[attribute]


def computed(row: Model, name: str, compute: Callable[[Sequence[Model]], dict[Any, Any]], default: Any) -> Any:
    """Return `compute(page)[row.pk]`, computed once for the whole page; `default` where it has no such key."""
    attribute = f"{name}_of_page"
    if attribute not in row.__dict__:
        page = page_of(row)
        values = compute(page)
        for other in page:
            other.__dict__[attribute] = values.get(other.pk, default)
    return row.__dict__[attribute]


def preset(row: Model, name: str, value: Any) -> None:
    """Have `computed` return `value`."""
    row.__dict__[f"{name}_of_page"] = value


def page_of(row: Row) -> list[Row]:
    page: list[Row] = row.__dict__.get("page", [row])
    return page


def _once(found: Iterable[Any]) -> list[Model]:
    """Return each row of `found` (of rows, lists of rows and None) once."""
    rows: dict[int, Model] = {}
    for each in found:
        for row in each if isinstance(each, list) else [each] if each else []:
            rows[id(row)] = row
    return list(rows.values())
