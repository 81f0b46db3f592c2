"""Deliveries, the newest first, at the same cost among millions: a page looks at so many of them, no further."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet

from endpoints.models import Endpoint
from routing.console.searches import is_type, of_event
from routing.console.walks import Walk
from routing.models import Delivery

SHOWN = 40
LOOKED_AT = 2_000  # of which those that are wanted are shown


@dataclass(frozen=True)
class Wanted:
    endpoint: Endpoint | None = None
    states: Sequence[str] = ()
    type: str = ""  # of the event; order.* is any that begins with order.
    id: UUID | None = None  # of the delivery or of the event
    before: str = ""  # where the page before has ended

    def conditions(self) -> Q:
        """Return those for which there is no index."""
        wanted = Q(state__in=self.states) if self.states else Q()
        return wanted & is_type(of_event("type"), self.type) if self.type else wanted


@dataclass(frozen=True)
class Found:
    deliveries: Sequence[Delivery]
    before: str = ""  # where the next page begins; empty: there is none
    looked_on: bool = False  # there may be more, but so far these were all that are wanted


def search(rows: QuerySet[Delivery], wanted: Wanted) -> Found:
    """Return a page of `rows`. Those of one endpoint are in the order of their numbers, others of their ids, which are
    of when they were made: each has an index in which the page is one stretch."""
    if wanted.endpoint is not None:
        rows = rows.filter(endpoint=wanted.endpoint)
    if wanted.id is not None:
        rows = rows.filter(Q(pk=wanted.id) | Q(event=wanted.id))
    rows = rows.select_related("endpoint", "event").defer("event__data")
    key = "pk" if wanted.endpoint is None else "seq"
    look = Walk(rows, LOOKED_AT, wanted.conditions(), key).look(wanted.before, SHOWN)
    return Found(look.rows, look.place or "", looked_on=look.reached is not None)
