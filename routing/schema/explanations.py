"""Why: of a filter and an event, condition by condition; of an event and an endpoint."""

from typing import Any

import graphene

from endpoints.errors import BadInput
from endpoints.models import Endpoint, EventFilter, Scope
from endpoints.patterns import FIELDS, Explanation, explain
from endpoints.schema.access import Caller, one
from endpoints.schema.pages import turn_page
from endpoints.schema.scalars import JSON
from endpoints.schema.types import EventFiltersOutput
from routing.models import Event
from routing.schema.lanes import LaneOutput, with_breaker
from routing.schema.types import DeliveryOutput
from routing.whys import Why, why


class ConditionOutput(graphene.ObjectType):
    """One list of a pattern, of which any member will do; or one $or, of which any branch will."""

    at = graphene.String(required=True, description="Where it stands in the pattern: pattern.data.$or[0].total.")
    path = graphene.String(required=True, description="Where it looks in the event: data.total.")
    wanted = graphene.Field(JSON, required=True, description="The first members of the list; [] for $or.")
    held = graphene.Boolean(required=True)
    found = graphene.List(
        graphene.NonNull(graphene.String), required=True, description="The first values that the event has, as JSON."
    )
    why = graphene.String(required=True)
    required = graphene.Boolean(required=True, description="False within $or, where another branch may do.")


class ExplanationOutput(graphene.ObjectType):
    """Why a filter matches an event, or does not."""

    matched = graphene.Boolean(required=True)
    reason = graphene.String(required=True)
    conditions = graphene.List(graphene.NonNull(ConditionOutput), required=True, source="checks")


class FilterWhyOutput(graphene.ObjectType):
    """A filter of the endpoint as it is now, and what it says of the event."""

    event_filter = graphene.Field(EventFiltersOutput, required=True)
    explanation = graphene.Field(ExplanationOutput, required=True)
    changed_since = graphene.Boolean(required=True, description="Whether it was changed after the event was recorded.")


class DeliveryWhyOutput(graphene.ObjectType):
    """Why an event went to an endpoint, or did not."""

    wanted = graphene.Boolean(required=True, description="Whether there is a delivery.")
    reason = graphene.String(required=True)
    deliveries = graphene.List(graphene.NonNull(DeliveryOutput), required=True)
    filters = graphene.List(graphene.NonNull(FilterWhyOutput), required=True)
    lane = graphene.Field(LaneOutput, description="What holds back what waits: breaker, readyAt. null for a websocket.")

    @staticmethod
    def resolve_deliveries(found: Why, _info: Any) -> Any:
        return turn_page(found.deliveries)

    @staticmethod
    def resolve_lane(found: Why, info: Any) -> Any:
        lane = found.lane
        return lane and info.context.beneath(with_breaker()).filter(pk=lane.pk).first()


def given_definition(caller: Caller, pattern: Any, id: str | None) -> Any:
    """Return the definition that is asked about. Raises BadInput unless it is a pattern or the id of a filter."""
    filters = caller.own(EventFilter.objects.all(), Scope.READ)
    if (pattern is None) == (id is None):
        raise BadInput("Give a pattern or the id of a filter; one of the two.", "pattern")
    return {"pattern": pattern} if id is None else one(filters, id, "id").definition


def _given_event(caller: Caller, event: Any, event_id: str | None) -> dict[str, Any]:
    events = caller.own(Event.objects.all(), Scope.READ)
    if (event is None) == (event_id is None):
        raise BadInput("Give an event or the id of one; one of the two.", "event")
    if event_id is not None:
        return one(events, event_id, "eventId").fields()
    if not isinstance(event, dict) or not event.keys() <= set(FIELDS):
        raise BadInput(f"event is no object of {', '.join(FIELDS)}, as an event is delivered.", "event")
    return event


def _explain_event_filter(
    _root: None,
    info: Any,
    pattern: Any = None,
    id: str | None = None,
    event: Any = None,
    event_id: str | None = None,
) -> Explanation:
    definition = given_definition(info.context, pattern, id)
    return explain(definition, _given_event(info.context, event, event_id))


def _explain_delivery(_root: None, info: Any, event_id: str, endpoint_id: str) -> Why:
    caller: Caller = info.context
    event = one(caller.own(Event.objects.all(), Scope.READ), event_id, "eventId")
    return why(event, one(caller.own(Endpoint.objects.live(), Scope.READ), endpoint_id, "endpointId"))


explain_event_filter = graphene.Field(
    ExplanationOutput,
    pattern=JSON(description="As in createEventFilters; or id."),
    id=graphene.ID(description="A filter; or pattern."),
    event=JSON(description="An event as it is delivered: an object of type, source, subject, data...; or eventId."),
    event_id=graphene.ID(description="An event that is stored; or event."),
    resolver=_explain_event_filter,
    description="Whether each condition of a filter holds on an event, on which value, and why the whole does or not.",
)
explain_delivery = graphene.Field(
    DeliveryWhyOutput,
    event_id=graphene.ID(required=True),
    endpoint_id=graphene.ID(required=True),
    resolver=_explain_delivery,
    description="Why an event went to an endpoint, or did not.",
)
