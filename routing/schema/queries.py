"""Questions about the traffic. Without an order the newest come first: ids of traffic are in the order of time."""

import graphene
from django_filters import FilterSet

from endpoints.models import Scope
from endpoints.schema.collections import collection
from endpoints.schema.queries import CHOICE, ID, RANGE
from routing.models import Attempt, Delivery, Event, Replay
from routing.schema.counts import known_deliveries, known_events
from routing.schema.explanations import explain_delivery, explain_event_filter
from routing.schema.filters import backtest_event_filter
from routing.schema.lanes import lanes
from routing.schema.replays import ReplayPreview, ReplaySelection, preview_replay
from routing.schema.sockets import sockets
from routing.schema.types import (
    AttemptOutput,
    DeliveryOutput,
    DeliveryState,
    EventOutput,
    ReplayOutput,
    ReplayState,
)

TEXT = ["exact", "in"]
NEWEST = ["-pk"]


class EventFilterSet(FilterSet):
    class Meta:
        model = Event
        fields = {
            "id": ID,
            "type": TEXT,
            "source": TEXT,
            "subject": TEXT,
            "ordering_key": TEXT,
            "date": RANGE,
            "creation_date": RANGE,
        }


class DeliveryFilterSet(FilterSet):
    class Meta:
        model = Delivery
        fields = {
            "id": ID,
            "event_id": ID,
            "endpoint_id": ID,
            "seq": RANGE,
            "state": CHOICE,
            "reason": TEXT,
            "attempts_made": RANGE,
            "due_at": [*RANGE, "isnull"],
            "settled_at": [*RANGE, "isnull"],
            "creation_date": RANGE,
        }


class AttemptFilterSet(FilterSet):
    class Meta:
        model = Attempt
        fields = {
            "id": ID,
            "delivery_id": ID,
            "number": RANGE,
            "started_at": RANGE,
            "status_code": [*RANGE, "in", "isnull"],
            "error": TEXT,
        }


class ReplayFilterSet(FilterSet):
    class Meta:
        model = Replay
        fields = {
            "id": ID,
            "endpoint_id": ID,
            "to_endpoint_id": ID,
            "state": CHOICE,
            "creation_date": RANGE,
        }


class Query(graphene.ObjectType):
    backtest_event_filter = backtest_event_filter
    explain_event_filter = explain_event_filter
    explain_delivery = explain_delivery
    lanes = lanes
    sockets = sockets
    events = collection(
        "Event",
        EventOutput,
        EventFilterSet,
        lambda caller: caller.own(Event.objects.defer("data"), Scope.READ),
        order=["date", "creation_date"],
        newest=NEWEST,
        description="What happened.",
        known=known_events,
    )
    deliveries = collection(
        "Delivery",
        DeliveryOutput,
        DeliveryFilterSet,
        lambda caller: caller.own(Delivery.objects.all(), Scope.READ),
        order=["creation_date", "seq"],
        newest=NEWEST,
        enums={"state": DeliveryState},
        description="Where it went.",
        known=known_deliveries,
    )
    attempts = collection(
        "Attempt",
        AttemptOutput,
        AttemptFilterSet,
        lambda caller: caller.own(Attempt.objects.all(), Scope.READ),
        order=["started_at", "number"],
        newest=NEWEST,
        description="What was tried to get it there.",
        known=lambda _caller, _filters: None,
    )
    replays = collection(
        "Replay",
        ReplayOutput,
        ReplayFilterSet,
        lambda caller: caller.own(Replay.objects.all(), Scope.READ),
        order=["creation_date"],
        newest=NEWEST,
        enums={"state": ReplayState},
        description="What is, or was, delivered once more.",
    )
    preview_replay = graphene.Field(
        ReplayPreview,
        selection=ReplaySelection(required=True),
        to_endpoint_id=graphene.ID(),
        resolver=preview_replay,
        description="What createReplay would find. Nothing is written.",
    )
