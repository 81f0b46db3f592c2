"""How webhooks take what they are sent."""

import graphene
from django.db.models import Case, F, Q, QuerySet, TextChoices, Value, When
from django.db.models.functions import Now
from django_filters import FilterSet

from endpoints.models import Scope
from endpoints.schema.collections import collection
from endpoints.schema.scalars import DateTime
from routing.models import Lane


class BreakerState(TextChoices):
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


Breaker = graphene.Enum.from_enum(
    BreakerState,
    name="Breaker",
    description="OPEN sends nothing until readyAt; HALF_OPEN one delivery at a time, and a success closes it.",
)


class LaneOutput(graphene.ObjectType):
    """The way to one webhook."""

    endpoint_id = graphene.ID(required=True)
    workspace_id = graphene.ID(required=True)
    breaker = graphene.Field(Breaker, required=True)
    opened_at = graphene.Field(DateTime, description="Since when the breaker is not closed.")
    ready_at = graphene.Field(DateTime, required=True, description="Nothing is sent before.")
    in_flight = graphene.Int(required=True, description="Requests that are being made.")
    failing_since = graphene.Field(DateTime, description="Nothing but failures since then.")
    last_failed_at = graphene.Field(DateTime)
    warned_percent = graphene.Int(required=True, description="How far the time until it is disabled has been told.")


class LaneFilterSet(FilterSet):
    class Meta:
        model = Lane
        fields = {
            "endpoint_id": ["exact", "in"],
            "opened_at": ["gt", "lt", "isnull"],
            "failing_since": ["gt", "lt", "isnull"],
        }


def with_breaker() -> QuerySet[Lane]:
    half_open = Q(in_flight__gt=0) | Q(ready_at__lte=Now())
    return Lane.objects.annotate(
        workspace_id=F("endpoint__workspace_id"),
        breaker=Case(
            When(opened_at=None, then=Value(BreakerState.CLOSED)),
            When(half_open, then=Value(BreakerState.HALF_OPEN)),
            default=Value(BreakerState.OPEN),
        ),
    ).filter(endpoint__deleted_at=None)


lanes = collection(
    "Lane",
    LaneOutput,
    LaneFilterSet,
    lambda caller: caller.own(with_breaker(), Scope.READ),
    order=["failing_since", "opened_at", "ready_at"],
    newest=["-endpoint__creation_date", "-pk"],
    description="How the webhooks take what they are sent: breakers, and who fails for how long.",
)
