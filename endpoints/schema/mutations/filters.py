"""Changes of filters and of their links to endpoints: find what is named, then one domain call."""

from collections.abc import Mapping
from typing import Any

import graphene
from django.db import transaction
from django.db.models import QuerySet

from endpoints.errors import BadInput
from endpoints.models import EventFilter, FilterLink, Scope
from endpoints.schema.access import Caller, chosen, for_change, one
from endpoints.schema.mutations.endpoints import OK, Ids, endpoints_to_change
from endpoints.schema.scalars import JSON
from endpoints.schema.types import EventFiltersOutput, Ok


def _filters_to_change(info: Any) -> QuerySet[EventFilter]:
    caller: Caller = info.context
    return for_change(caller.own(EventFilter.objects.all(), Scope.MANAGE))


class EventFiltersIn(graphene.InputObjectType):
    """Inside a list any value will do; across lists all must match; a list left out is no condition."""

    # Named as they are published, so that what is kept is what was given.
    cameraIds = graphene.List(graphene.ID)
    agentIds = graphene.List(graphene.ID)
    profileGroupIds = graphene.List(graphene.ID)
    eventTypes = graphene.List(graphene.String)


class EventFiltersInput(graphene.InputObjectType):
    """Which events: one of the two."""

    in_ = graphene.InputField(EventFiltersIn, name="in")
    pattern = graphene.InputField(
        JSON, description='Such as {type: ["order.paid"], data: {customer: {country: ["DE"]}}}.'
    )


def _definition(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input in the form that filters are kept in; null is as good as left out.

    Raises BadInput, by the name that the input has here, unless it is one of the two.
    """
    definition = {
        name: given[key] for key, name in (("in_", "in"), ("pattern", "pattern")) if given.get(key) is not None
    }
    if len(definition) != 1:
        given_names = " and ".join(definition) or "neither in nor pattern"
        raise BadInput(f"eventFiltersInput has {given_names}; give one of the two.", "eventFiltersInput")
    if "in" in definition:
        definition["in"] = {name: values for name, values in definition["in"].items() if values is not None}
    return definition


class CreateEventFilters(graphene.Mutation):
    """Create a filter and link it to endpoints."""

    class Arguments:
        event_filters_input = EventFiltersInput(required=True)
        name = graphene.String(required=True)
        endpoint_ids = graphene.List(graphene.ID)

    Output = EventFiltersOutput

    @staticmethod
    @transaction.atomic
    def mutate(
        _root: None, info: Any, event_filters_input: Mapping[str, Any], name: str, endpoint_ids: Ids | None = None
    ) -> EventFilter:
        endpoints = endpoints_to_change(info)
        return EventFilter.create(
            workspace_id=info.context.workspace_id(Scope.MANAGE),
            name=name,
            definition=_definition(event_filters_input),
            endpoints=chosen(endpoints, endpoint_ids, "endpointIds") if endpoint_ids else [],
        )


class UpdateEventFilters(graphene.Mutation):
    """Change what is given of a filter; the rest stays."""

    class Arguments:
        id = graphene.ID(required=True)
        event_filters_input = EventFiltersInput()
        name = graphene.String()

    Output = EventFiltersOutput

    @staticmethod
    @transaction.atomic
    def mutate(
        _root: None,
        info: Any,
        id: str,
        event_filters_input: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> EventFilter:
        event_filter = one(_filters_to_change(info), id, "id")
        definition = None if event_filters_input is None else _definition(event_filters_input)
        event_filter.change(name=name, definition=definition)
        return event_filter


class DeleteEventFilters(graphene.Mutation):
    """Delete a list of filters. An endpoint whose last filter goes gets every event."""

    class Arguments:
        ids = graphene.List(graphene.ID, required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, ids: Ids) -> dict[str, bool]:
        EventFilter.remove(chosen(_filters_to_change(info), ids, "ids"))
        return OK


class LinkEndpointsToEventFilters(graphene.Mutation):
    """Link a list of endpoints to a filter. What is linked stays so."""

    class Arguments:
        endpoint_ids = graphene.List(graphene.ID, required=True)
        event_filters_id = graphene.ID(required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, endpoint_ids: Ids, event_filters_id: str) -> dict[str, bool]:
        endpoints = chosen(endpoints_to_change(info), endpoint_ids, "endpointIds")
        FilterLink.link(endpoints, one(_filters_to_change(info), event_filters_id, "eventFiltersId"))
        return OK


class UnlinkEndpointsToEventFilters(graphene.Mutation):
    """Unlink a list of endpoints from a filter. An endpoint whose last filter goes gets every event."""

    class Arguments:
        endpoint_ids = graphene.List(graphene.ID, required=True)
        event_filters_id = graphene.ID(required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, endpoint_ids: Ids, event_filters_id: str) -> dict[str, bool]:
        endpoints = chosen(endpoints_to_change(info), endpoint_ids, "endpointIds")
        FilterLink.unlink(endpoints, one(_filters_to_change(info), event_filters_id, "eventFiltersId"))
        return OK
