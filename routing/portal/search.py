"""Deliveries, the newest first, at the same cost among millions: a page looks at so many of them, no further."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from endpoints.models import Endpoint
from routing.models import Delivery

SHOWN = 40
LOOKED_AT = 2_000  # of which those that are wanted are shown


@dataclass(frozen=True)
class Wanted:
    endpoint: Endpoint | None = None
    states: Sequence[str] = ()
    type: str = ""  # of the event
    id: UUID | None = None  # of the delivery or of the event
    before: str = ""  # where the page before has ended

    def conditions(self) -> dict[str, Any]:
        """Return those for which there is no index."""
        return ({"state__in": self.states} if self.states else {}) | ({"event__type": self.type} if self.type else {})


@dataclass(frozen=True)
class Found:
    deliveries: Sequence[Delivery]
    before: str = ""  # where the next page begins; empty: there is none
    looked_on: bool = False  # there may be more, but so far these were all that are wanted


def search(rows: QuerySet[Delivery], wanted: Wanted) -> Found:
    """Return a page of `rows`. Those of one endpoint are in the order of their numbers, others of their ids, which are
    of when they were made: each has an index in which the page is one stretch."""
    column = "pk" if wanted.endpoint is None else "seq"
    stretch = rows.order_by(f"-{column}")
    if wanted.endpoint is not None:
        stretch = stretch.filter(endpoint=wanted.endpoint)
    if wanted.id is not None:
        stretch = stretch.filter(Q(pk=wanted.id) | Q(event=wanted.id))
    if wanted.before:
        stretch = _before(stretch, column, wanted.before)
    conditions = wanted.conditions()
    chosen = stretch
    if conditions:
        chosen = rows.filter(pk__in=stretch.values("pk")[:LOOKED_AT], **conditions).order_by(f"-{column}")
    found = list(chosen.select_related("endpoint", "event").defer("event__data")[: SHOWN + 1])
    if len(found) > SHOWN:
        return Found(found[:SHOWN], str(getattr(found[SHOWN - 1], column)))
    end = stretch.values_list(column, flat=True)[LOOKED_AT - 1 : LOOKED_AT].first() if conditions else None
    return Found(found, "" if end is None else str(end), looked_on=end is not None)


def _before(rows: QuerySet[Delivery], column: str, before: str) -> QuerySet[Delivery]:
    """Return those after that place; none, where the place makes no sense."""
    try:
        place = UUID(before) if column == "pk" else int(before[:18])
    except ValueError:
        return rows.none()
    return rows.filter(**{f"{column}__lt": place})
