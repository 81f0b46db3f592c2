"""Why an event went to an endpoint, or did not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Self
from uuid import UUID

from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from endpoints.models import Endpoint, EventFilter
from endpoints.patterns import Explanation, explain
from routing.health import SOURCE
from routing.models import Cursor, Delivery, Event, Lane
from routing.stats import WINDOWS, failures_of, of_each

MOST_DELIVERIES = 40  # of one event to one endpoint: what was retried again and again
MOST_FILTERS = 100
MOST_FAILURES = 3  # classes of error, the most frequent ones


@dataclass(frozen=True, slots=True)
class FilterWhy:
    event_filter: EventFilter
    explanation: Explanation
    changed_since: bool  # so that it says what would be now, not what was


@dataclass(frozen=True, slots=True)
class Why:
    wanted: bool  # whether there is a delivery
    reason: str
    deliveries: Sequence[Delivery]
    filters: Sequence[FilterWhy]  # of the endpoint, as they are now; none where the payload was forgotten
    lane: Lane | None  # of a webhook


class Listening(NamedTuple):
    sockets: int  # that are open, and take what is delivered
    left_at: datetime | None  # when the last one did, where none is open


@dataclass(frozen=True, slots=True)
class Ways:
    """How endpoints take what they are owed just now: asked for all of them at once."""

    now: datetime
    lanes: Mapping[UUID, Lane]  # of webhooks
    failures: Mapping[UUID, Sequence[tuple[str, int]]]  # in the last hour, where a breaker is open
    listening: Mapping[UUID, Listening]  # to websockets

    @classmethod
    def to(cls, endpoints: Collection[Endpoint], now: datetime) -> Self:
        lanes = Lane.objects.in_bulk([each.pk for each in endpoints if each.type == Endpoint.Type.WEB_HOOK])
        broken = [each for each in endpoints if each.pk in lanes and lanes[each.pk].opened_at]
        counts = of_each(broken, WINDOWS["1h"], now) if broken else {}
        taking = Q(endpoint__sockets__watches=False, endpoint__sockets__looks_on=False)
        listening = Cursor.objects.filter(
            pk__in=[each.pk for each in endpoints if each.type == Endpoint.Type.WEB_SOCKET]
        ).annotate(sockets=Count("endpoint__sockets", filter=taking))
        return cls(
            now,
            lanes,
            {id_: failures_of(counted)[:MOST_FAILURES] for id_, counted in counts.items()},
            {each.pk: Listening(each.sockets, each.last_socket_left_at) for each in listening},
        )


def why(event: Event, endpoint: Endpoint) -> Why:
    """Say what became of `event` at `endpoint`, which are of one workspace."""
    latest = event.deliveries.filter(endpoint=endpoint).order_by("-seq")[:MOST_DELIVERIES]
    deliveries = list(reversed(latest))
    filters = [] if event.payload_forgotten_at else _asked(event, endpoint)
    ways = Ways.to([endpoint], timezone.now())
    reason = _of_delivery(deliveries[-1], endpoint, ways) if deliveries else _of_none(event, endpoint, filters)
    return Why(bool(deliveries), reason, deliveries, filters, ways.lanes.get(endpoint.pk))


def _asked(event: Event, endpoint: Endpoint) -> list[FilterWhy]:
    fields = event.fields()
    linked = EventFilter.objects.filter(links__endpoint=endpoint).order_by("creation_date", "pk")[:MOST_FILTERS]
    return [
        FilterWhy(each, explain(each.definition, fields), each.last_modified > event.creation_date) for each in linked
    ]


def held_back(delivery: Delivery, endpoint: Endpoint, ways: Ways) -> str:
    """Say what holds back a delivery that waits, beside its own schedule: a pause, the breaker, that no websocket is
    open; "" where nothing does. `endpoint` is the delivery's.
    """
    if delivery.state != Delivery.State.PENDING or endpoint.deleted_at:
        return ""
    if endpoint.state == Endpoint.State.PAUSED:
        return _("The endpoint is paused: what it is owed waits until it is resumed.")
    if endpoint.type == Endpoint.Type.WEB_SOCKET:
        return _for_whom(ways.listening[endpoint.pk])
    lane = ways.lanes[endpoint.pk]
    if lane.opened_at is not None:
        opened = _why_open(lane.opened_at, ways.failures.get(endpoint.pk, ()))
        return f"{opened} {_next_probe(lane, ways.now)}"
    if delivery.due_at is None:
        return _("It waits for its turn: what came before it with its ordering key has not ended.")
    if lane.ready_at > ways.now:
        said = _("The endpoint gets nothing before %(at)s: its rate limit, or a Retry-After that it sent.")
        return said % {"at": _said(lane.ready_at)}
    return ""


def next_try(delivery: Delivery, endpoint: Endpoint, ways: Ways) -> datetime | None:
    """Return when a delivery that waits is tried next at the earliest; None where that is not known."""
    if delivery.state != Delivery.State.PENDING or delivery.due_at is None or endpoint.state != Endpoint.State.ACTIVE:
        return None
    return max(delivery.due_at, ways.lanes[endpoint.pk].ready_at)


def _for_whom(listening: Listening) -> str:
    count, left_at = listening
    if not count and left_at:
        return _("It waits for a websocket: none is connected to the endpoint since %(at)s.") % {"at": _said(left_at)}
    if not count:
        return _("It waits for a websocket: none is connected to the endpoint.")
    said = ngettext(
        "It waits: %(count)s websocket is connected to the endpoint, and has not acknowledged it.",
        "It waits: %(count)s websockets are connected to the endpoint, and none has acknowledged it.",
        count,
    )
    return said % {"count": count}


def _why_open(opened_at: datetime, failures: Sequence[tuple[str, int]]) -> str:
    said = _(
        "The endpoint's breaker is open since %(at)s, as half or more of its attempts within a minute failed%(of)s."
    )
    of = ", ".join(f"{count} {error}" for error, count in failures)
    return said % {"at": _said(opened_at), "of": of and _(" (in the last hour: %(of)s)") % {"of": of}}


def _next_probe(lane: Lane, now: datetime) -> str:
    if lane.ready_at <= now:
        return _("One delivery at a time is tried now, and the others follow once that succeeds.")
    said = _("One delivery is tried next at %(at)s, and the others follow once that succeeds.")
    return said % {"at": _said(lane.ready_at)}


def _said(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _of_delivery(delivery: Delivery, endpoint: Endpoint, ways: Ways) -> str:
    made = delivery.attempts_made
    said = (
        ngettext(
            "The last delivery of it, %(id)s, is %(state)s after %(made)s attempt.",
            "The last delivery of it, %(id)s, is %(state)s after %(made)s attempts.",
            made,
        )
        if delivery.retry_of_id
        else ngettext(
            "It was wanted: delivery %(id)s is %(state)s after %(made)s attempt.",
            "It was wanted: delivery %(id)s is %(state)s after %(made)s attempts.",
            made,
        )
    )
    state = f"{delivery.state} ({delivery.reason})" if delivery.reason else delivery.state
    stands = said % {"id": delivery.pk, "state": state, "made": made}
    held = held_back(delivery, endpoint, ways) or _when(next_try(delivery, endpoint, ways), ways.now)
    return " ".join(each for each in (stands, _last_failure(delivery), held) if each)


def _last_failure(delivery: Delivery) -> str:
    """Name the class of it only: what the receiver answered is the attempt's, which not everybody may read."""
    last = delivery.attempts.filter(number=delivery.attempts_made).exclude(error="").first()
    if last is None or delivery.state == Delivery.State.DELIVERED:
        return ""
    error = f"{last.error} {last.status_code}" if last.status_code else last.error
    return _("The last attempt, at %(at)s, failed: %(error)s.") % {"at": _said(last.started_at), "error": error}


def _when(at: datetime | None, now: datetime) -> str:
    return _("It is tried next at %(at)s.") % {"at": _said(at)} if at and at > now else ""


def _of_none(event: Event, endpoint: Endpoint, filters: Sequence[FilterWhy]) -> str:
    if event.creation_date < endpoint.creation_date:
        said = _("The endpoint was made at %(at)s, after the event was recorded.")
        return said % {"at": _said(endpoint.creation_date)}
    if endpoint.deleted_at and endpoint.deleted_at < event.creation_date:
        said = _("The endpoint was deleted at %(at)s, before the event was recorded.")
        return said % {"at": _said(endpoint.deleted_at)}
    if event.source == SOURCE and event.subject == str(endpoint.pk):
        return _("The event is about the endpoint itself, which is not told of it.")
    if event.payload_forgotten_at:
        said = _("The payload was forgotten at %(at)s, so the filters can't be asked any more.")
        return said % {"at": _said(event.payload_forgotten_at)}
    if not filters:
        return _("No filter is linked to the endpoint now, so it gets every event; when this one came, others were.")
    matching = [each for each in filters if each.explanation.matched]
    if matching:
        said = _("Filter %(name)s matches it as it is now; it was changed or linked after the event was recorded.")
        return said % {"name": repr(matching[0].event_filter.name)}
    if len(filters) == 1:
        name, reason = filters[0].event_filter.name, filters[0].explanation.reason
        return _("Its filter %(name)s does not match: %(reason)s") % {"name": repr(name), "reason": reason}
    return _("None of its %(count)s filters matches.") % {"count": len(filters)}
