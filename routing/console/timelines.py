"""What became of deliveries, try by try, and what arrived as a person reads it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db.models import F
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from routing.models import Attempt, Delivery, Event
from routing.whys import Ways, held_back, next_try

MOST = 100  # deliveries of an event
MOST_ATTEMPTS = 30  # of one delivery: the last ones
MOST_VALUES = 5_000  # of a tree; what has more is shown as text
OPEN_LEVELS = 2


class Timeline(NamedTuple):
    delivery: Delivery
    attempts: Sequence[Attempt] | None  # None: not shown
    next_try: datetime | None
    held: str  # what holds it back, besides its time


def deliveries_of(event: Event) -> list[Delivery]:
    """Return where the event went, the first deliveries first."""
    return list(event.deliveries.select_related("endpoint").order_by("pk")[:MOST])


def with_attempts(deliveries: Sequence[Delivery]) -> list[Timeline]:
    last = Attempt.objects.filter(number__gt=F("delivery__attempts_made") - MOST_ATTEMPTS, delivery__in=deliveries)
    attempts: dict[UUID, list[Attempt]] = defaultdict(list)
    for attempt in last.order_by("delivery", "number"):
        attempts[attempt.delivery_id].append(attempt)
    return _timelines(deliveries, attempts)


def without_attempts(deliveries: Sequence[Delivery]) -> list[Timeline]:
    """Return them for who may see deliveries, but not what receivers answered."""
    return _timelines(deliveries, None)


def _timelines(deliveries: Sequence[Delivery], attempts: Mapping[UUID, Sequence[Attempt]] | None) -> list[Timeline]:
    ways = Ways.to({each.endpoint for each in deliveries if each.state == Delivery.State.PENDING}, timezone.now())
    return [
        Timeline(
            each,
            None if attempts is None else attempts[each.pk],
            next_try(each, each.endpoint, ways),
            held_back(each, each.endpoint, ways),
        )
        for each in deliveries
    ]


def tree(text: str) -> SafeString:
    """Return JSON as lists that unfold, or as it is where it is no JSON or too much of it."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return _plain(text)
    return _plain(text) if _values(value) > MOST_VALUES else _node(value, 0)


def _values(value: Any) -> int:
    """Return how many values there are; no further than it matters."""
    left, count = [value], 0
    while left and count <= MOST_VALUES:
        each = left.pop()
        count += 1
        left += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
    return count


def _node(value: Any, level: int) -> SafeString:
    if not (isinstance(value, dict | list) and value):
        return format_html('<code class="value" dir="auto">{}</code>', msgspec.json.encode(value).decode())
    named = value.items() if isinstance(value, dict) else enumerate(value)
    rows = [(name, _node(each, level + 1)) for name, each in named]
    opened = SafeString(" open" if level < OPEN_LEVELS and len(rows) <= MOST else "")
    said = f"{{{len(rows)}}}" if isinstance(value, dict) else f"[{len(rows)}]"
    inner = format_html_join("", '<li><span class="name">{}</span> {}</li>', rows)
    return format_html("<details{}><summary>{}</summary><ul>{}</ul></details>", opened, said, inner)


def _plain(text: str) -> SafeString:
    return format_html('<pre dir="auto">{}</pre>', text)
