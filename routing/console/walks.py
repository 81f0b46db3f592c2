"""Long lists, read from new to old: a look costs the same wherever it is and however much there is.

It examines so many rows along an index, and says how far it came where that is not the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from routing.ids import first_id, made_at
from routing.models import Delivery

LATEST = 2**63 - 1


@dataclass(frozen=True)
class Look:
    rows: Sequence[Any]
    place: str | None  # where to look on; None: this was the end
    reached: datetime | None  # up to when everything was examined, where it was more that ended the look
    complete: bool


@dataclass(frozen=True)
class Walk:
    """Rows in the order of an index, and what is wanted of them besides."""

    rows: QuerySet[Any]  # restricted by nothing but that index
    examines: int  # rows in one look
    wanted: Q = field(default_factory=Q)
    key: str = "pk"

    def look(self, before: str, limit: int) -> Look:
        """Return up to `limit` of the rows that are wanted, behind the place `before`, which may be empty."""
        behind = self.rows.order_by(f"-{self.key}")
        if before:
            behind = behind.filter(**{f"{self.key}__lt": self._place(before)})
        edge = self._edge(behind)
        near = behind if edge is None else behind.filter(**{f"{self.key}__gte": edge})
        found = list(near.filter(self.wanted)[: limit + 1])
        if len(found) > limit:
            return Look(found[:limit], str(getattr(found[limit - 1], self.key)), None, complete=False)
        if edge is not None:
            return Look(found, str(edge), self._date(edge), complete=False)
        return Look(found, None, None, complete=True)

    def _edge(self, behind: QuerySet[Any]) -> Any:
        """Return the last row that a look may examine, where there are so many."""
        if not self.wanted:
            return None
        return behind.values_list(self.key, flat=True)[self.examines - 1 : self.examines].first()

    def _place(self, text: str) -> UUID | int:
        """Read a place. What is none is the beginning."""
        try:
            return UUID(text) if self.key == "pk" else min(int(text), LATEST)
        except ValueError:
            return UUID(int=2**128 - 1) if self.key == "pk" else LATEST

    def _date(self, place: Any) -> datetime:
        return made_at(place if self.key == "pk" else self.rows.values_list("pk", flat=True).get(seq=place))


def between(rows: QuerySet[Any], since: datetime | None, until: datetime | None) -> QuerySet[Any]:
    """Return the rows that were made in that time, by their ids."""
    if since is not None:
        rows = rows.filter(pk__gte=first_id(since))
    return rows if until is None else rows.filter(pk__lt=first_id(until))


def along_endpoint(endpoint_id: UUID, since: datetime | None, until: datetime | None) -> QuerySet[Delivery]:
    """Return an endpoint's deliveries that were made in that time, by their numbers."""
    rows = Delivery.objects.filter(endpoint=endpoint_id)
    if since is not None or until is not None:
        first, behind = _numbers(endpoint_id, since, until)
        rows = rows.filter(seq__gte=first, seq__lt=behind)
    return rows


def _numbers(endpoint_id: UUID, since: datetime | None, until: datetime | None) -> tuple[int, int]:
    dates = {"since": first_id(since) if since else UUID(int=0), "until": first_id(until) if until else _AFTER_ALL}
    with connection.cursor() as cursor:
        cursor.execute(_NUMBERS, {"endpoint_id": endpoint_id, **dates})
        first, behind = cursor.fetchone()
    return first, behind


_AFTER_ALL = UUID(int=2**128 - 1)
# Numbers follow ids but for clocks that disagree: where a time is among them is found by halving, each step one look
# into the index. Rows that are gone are passed over.
_NUMBERS = """
WITH RECURSIVE sought(place, id) AS (VALUES (1, %(since)s::uuid), (2, %(until)s::uuid)),
halves(place, id, low, high) AS (
    SELECT place, sought.id, 1::bigint, last_seq + 1 FROM sought, routing_cursor WHERE endpoint_id = %(endpoint_id)s
    UNION ALL
    SELECT place, id, CASE WHEN before THEN middle + 1 ELSE low END, CASE WHEN before THEN high ELSE middle END
    FROM (
        SELECT halves.*, (low + high) / 2 AS middle, coalesce((
            SELECT delivery.id FROM routing_delivery AS delivery
            WHERE delivery.endpoint_id = %(endpoint_id)s AND delivery.seq >= (low + high) / 2
            ORDER BY delivery.seq LIMIT 1) < halves.id, false) AS before
        FROM halves WHERE low < high
    ) AS step
)
SELECT coalesce(max(low) FILTER (WHERE place = 1), 1), coalesce(max(low) FILTER (WHERE place = 2), 1)
FROM halves WHERE low = high
"""
