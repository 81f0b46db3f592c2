"""What the API shows of the traffic."""

from collections.abc import Sequence
from typing import Any

import graphene
import msgspec
from django.db.models import Count, Model
from django.utils import timezone

from endpoints.models import Endpoint
from endpoints.schema.collections import MAX_NESTED
from endpoints.schema.pages import computed, related
from endpoints.schema.scalars import JSON, DateTime
from endpoints.schema.types import EndpointOutput
from routing.models import Attempt, Delivery, Event, Replay
from routing.whys import Ways, held_back

DeliveryState = graphene.Enum.from_enum(
    Delivery.State,
    name="DeliveryState",
    description="PENDING and SENDING are open; the others are final, and but for DELIVERED have a reason.",
)

ReplayState = graphene.Enum.from_enum(
    Replay.State,
    name="ReplayState",
    description="RUNNING writes deliveries; the others are final. What was written stays, however it ended.",
)


class EventOutput(graphene.ObjectType):
    """Something that happened. Events never change, but that their payload may be forgotten before them."""

    id = graphene.ID(required=True)
    date = graphene.Field(DateTime, required=True, description="When it happened, as its producer says.")
    creation_date = graphene.Field(DateTime, required=True, description="When it was recorded.")
    last_modified = graphene.Field(DateTime, required=True, source="creation_date")
    type = graphene.String(required=True)
    source = graphene.String()
    subject = graphene.String()
    ordering_key = graphene.String()
    data = graphene.Field(JSON, description="What dataText says.")
    data_text = graphene.String(description="The producer's JSON text, byte for byte; null where there was none.")
    extensions = graphene.Field(JSON, description="Its attributes beyond these, by name; null where there are none.")
    payload_forgotten_at = graphene.Field(
        DateTime,
        description="Since when data and extensions are null, as they are kept no longer; null: they are kept.",
    )
    agent_id = graphene.ID(description="data.agentId, where that is a string.")
    camera_id = graphene.ID(description="data.cameraId, where that is a string.")
    workspace_id = graphene.ID(required=True)
    matched = graphene.Int(required=True, description="How many deliveries it has; 0: no filter matched.")
    deliveries = graphene.List(
        graphene.NonNull(lambda: DeliveryOutput),
        required=True,
        description=f"The first {MAX_NESTED} of them; the query deliveries has them all.",
    )

    @staticmethod
    def resolve_source(event: Event, _info: Any) -> str | None:
        return event.source or None

    @staticmethod
    def resolve_subject(event: Event, _info: Any) -> str | None:
        return event.subject or None

    @staticmethod
    def resolve_ordering_key(event: Event, _info: Any) -> str | None:
        return event.ordering_key or None

    @staticmethod
    def resolve_extensions(event: Event, _info: Any) -> Any:
        return msgspec.json.decode(event.extensions) if event.extensions else None

    @staticmethod
    def resolve_data_text(event: Event, _info: Any) -> str | None:
        return _text(event) or None

    @staticmethod
    def resolve_data(event: Event, _info: Any) -> Any:
        return _value(event)

    @staticmethod
    def resolve_agent_id(event: Event, _info: Any) -> str | None:
        return _member(event, "agentId")

    @staticmethod
    def resolve_camera_id(event: Event, _info: Any) -> str | None:
        return _member(event, "cameraId")

    @staticmethod
    def resolve_matched(event: Event, _info: Any) -> Any:
        return computed(event, "matched", _matched, 0)

    @staticmethod
    def resolve_deliveries(event: Event, info: Any) -> Any:
        return related(event, "deliveries", info.context.beyond(Delivery.objects.order_by("pk"))[:MAX_NESTED])


def _text(event: Event) -> str:
    """Return the stored text, which lists leave out until it is asked for: it can be long."""
    text: str = computed(event, "data", _texts, "")
    return text


def _texts(page: Sequence[Model]) -> dict[Any, str]:
    return dict(Event.objects.filter(pk__in=[event.pk for event in page]).values_list("pk", "data"))


def _value(event: Event) -> Any:
    if "value" not in event.__dict__:
        text = _text(event)
        event.__dict__["value"] = msgspec.json.decode(text) if text else None
    return event.__dict__["value"]


def _member(event: Event, name: str) -> str | None:
    value = _value(event)
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, str) else None


def _matched(page: Sequence[Model]) -> dict[Any, int]:
    deliveries = Delivery.objects.filter(event__in=[event.pk for event in page])
    return dict(deliveries.values_list("event").annotate(Count("pk")).order_by())


class DeliveryOutput(graphene.ObjectType):
    """One event owed to one endpoint, and what became of it."""

    id = graphene.ID(required=True)
    event_id = graphene.ID(required=True)
    endpoint_id = graphene.ID(required=True)
    retry_of_id = graphene.ID(description="The delivery that this one repeats.")
    seq = graphene.BigInt(required=True, description="1, 2, 3 ... within the endpoint, without gaps.")
    state = graphene.Field(DeliveryState, required=True)
    reason = graphene.String(required=True, description="Why it ended as it did; empty while it is open.")
    held_back = graphene.String(
        required=True,
        description="While it is PENDING, what it waits for besides its dueAt, in a sentence: that the endpoint is "
        "resumed, that its breaker closes, that a websocket is opened. Empty where nothing holds it back.",
    )
    attempts_made = graphene.Int(required=True)
    due_at = graphene.Field(
        DateTime,
        description="When it is tried next, at the earliest at its lane's readyAt; or until when a worker has it.",
    )
    settled_at = graphene.Field(DateTime)
    creation_date = graphene.Field(DateTime, required=True)
    workspace_id = graphene.ID(required=True)
    event = graphene.Field(EventOutput, required=True)
    endpoint = graphene.Field(EndpointOutput, description="null where the endpoint was deleted since.")
    attempts = graphene.List(
        graphene.NonNull(lambda: AttemptOutput),
        required=True,
        description=f"The first {MAX_NESTED} of them; the query attempts has them all.",
    )

    @staticmethod
    def resolve_held_back(delivery: Delivery, _info: Any) -> Any:
        return computed(delivery, "held_back", _held_back, "")

    @staticmethod
    def resolve_event(delivery: Delivery, info: Any) -> Any:
        return related(delivery, "event", info.context.beneath(Event.objects.defer("data")))

    @staticmethod
    def resolve_endpoint(delivery: Delivery, info: Any) -> Any:
        return related(delivery, "endpoint", info.context.beneath(Endpoint.objects.live()))

    @staticmethod
    def resolve_attempts(delivery: Delivery, info: Any) -> Any:
        return related(delivery, "attempts", info.context.beneath(Attempt.objects.order_by("number"))[:MAX_NESTED])


def _held_back(page: Sequence[Any]) -> dict[Any, str]:
    waiting = [delivery for delivery in page if delivery.state == Delivery.State.PENDING]
    endpoints = Endpoint.objects.in_bulk({delivery.endpoint_id for delivery in waiting})
    ways = Ways.to(endpoints.values(), timezone.now())
    return {delivery.pk: held_back(delivery, endpoints[delivery.endpoint_id], ways) for delivery in waiting}


class Attempted:
    """The fields of an attempt."""

    id = graphene.ID(required=True)
    delivery_id = graphene.ID(required=True)
    number = graphene.Int(required=True, description="1, 2, 3 ... within the delivery.")
    started_at = graphene.Field(DateTime, required=True)
    duration_ms = graphene.Float()
    status_code = graphene.Int(description="null where no answer came.")
    error = graphene.String(required=True, description="The class of failure; empty where it succeeded.")
    error_detail = graphene.String(required=True)
    response_body = graphene.String(required=True, description="Its first 16 KiB.")
    peer = graphene.String(required=True, description="Of a websocket: which one, by which key and from where.")
    workspace_id = graphene.ID(required=True)


class AttemptOutput(Attempted, graphene.ObjectType):
    """One try of a delivery, and what came of it."""


class ReplayOutput(graphene.ObjectType):
    """Deliveries that are repeated, by the thousand, and how far that is."""

    id = graphene.ID(required=True)
    endpoint_id = graphene.ID(required=True)
    states = graphene.List(graphene.NonNull(DeliveryState), required=True)
    never_attempted = graphene.Boolean(required=True)
    since = graphene.Field(DateTime)
    until = graphene.Field(DateTime, required=True)
    event_filters_id = graphene.ID(source="event_filter_id", description="The filter, which may have changed since.")
    to_endpoint_id = graphene.ID(required=True)
    per_second = graphene.Int(required=True)
    state = graphene.Field(ReplayState, required=True)
    reason = graphene.String(required=True, description="Why it was cancelled or failed.")
    total = graphene.Int(description="How many were found at first; null: too many to count.")
    done = graphene.Int(required=True, description="How many new deliveries it has written.")
    passed_over = graphene.Int(
        required=True, description="How many it found that can't be delivered again: their payload was forgotten."
    )
    creation_date = graphene.Field(DateTime, required=True)
    ended_at = graphene.Field(DateTime)
    workspace_id = graphene.ID(required=True)
