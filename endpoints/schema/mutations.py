"""Changes of the configuration: find what is named, then one domain call."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import graphene
from django.db import transaction
from django.db.models import QuerySet

from endpoints.errors import BadInput
from endpoints.models import ApiKey, Endpoint, EventFilter, FilterLink, Scope, Workspace
from endpoints.schema.access import Caller, chosen, for_change, one
from endpoints.schema.scalars import JSON, DateTime, KeyScope
from endpoints.schema.types import ApiKeyOutput, EndpointOutput, EventFiltersOutput, Ok

Ids = Sequence[str | None]  # the published lists are [ID]: null is no id, and is refused when looked up
OK = {"ok": True}


def _endpoints(info: Any) -> QuerySet[Endpoint]:
    caller: Caller = info.context
    return for_change(caller.own(Endpoint.objects.live(), Scope.MANAGE))


def _event_filters(info: Any) -> QuerySet[EventFilter]:
    caller: Caller = info.context
    return for_change(caller.own(EventFilter.objects.all(), Scope.MANAGE))


class CreateWebSocketEndpoint(graphene.Mutation):
    """Create an endpoint that is read over a websocket."""

    class Arguments:
        name = graphene.String(required=True)

    Output = EndpointOutput

    @staticmethod
    def mutate(_root: None, info: Any, name: str) -> Endpoint:
        workspace_id = info.context.workspace_id(Scope.MANAGE)
        return Endpoint.create_web_socket(workspace_id=workspace_id, name=name)


class CreateWebhookEndpoint(graphene.Mutation):
    """Create an endpoint that events are sent to over HTTP."""

    class Arguments:
        name = graphene.String(required=True)
        url = graphene.String(required=True)
        method = graphene.String(description="POST when left out; or PUT, PATCH, GET, DELETE.")

    Output = EndpointOutput

    @staticmethod
    def mutate(_root: None, info: Any, name: str, url: str, method: str | None = None) -> Endpoint:
        workspace_id = info.context.workspace_id(Scope.MANAGE)
        method = Endpoint.Method.POST if method is None else method
        return Endpoint.create_webhook(workspace_id=workspace_id, name=name, url=url, method=method)


class UpdateEndpoint(graphene.Mutation):
    """Change what is given of an endpoint; the rest stays."""

    class Arguments:
        id = graphene.ID(required=True)
        name = graphene.String()
        url = graphene.String()
        method = graphene.String()

    Output = EndpointOutput

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, id: str, **changes: str | None) -> Endpoint:
        endpoint = one(_endpoints(info), id, "id")
        endpoint.change(**changes)
        return endpoint


class DeleteEndpoints(graphene.Mutation):
    """Delete a list of endpoints. What they are still owed is cancelled."""

    class Arguments:
        ids = graphene.List(graphene.ID)
        endpoint_ids = graphene.List(graphene.ID, description="Another name for ids; give one of the two.")

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, ids: Ids | None = None, endpoint_ids: Ids | None = None) -> dict[str, bool]:
        endpoints = _endpoints(info)
        if (ids is None) == (endpoint_ids is None):
            given = "both ids and endpointIds" if ids is not None else "neither ids nor endpointIds"
            raise BadInput(f"deleteEndpoints has {given}; give one of the two.", "ids")
        field = "ids" if ids is not None else "endpointIds"
        Endpoint.remove(chosen(endpoints, ids if ids is not None else endpoint_ids or [], field))
        return OK


class PauseEndpoints(graphene.Mutation):
    """Let the events of these endpoints wait until they are resumed."""

    class Arguments:
        ids = graphene.List(graphene.ID, required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, ids: Ids) -> dict[str, bool]:
        Endpoint.change_state(chosen(_endpoints(info), ids, "ids"), Endpoint.State.PAUSED)
        return OK


class ResumeEndpoints(graphene.Mutation):
    """Make these endpoints active, whether they were paused or disabled."""

    class Arguments:
        ids = graphene.List(graphene.ID, required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, ids: Ids) -> dict[str, bool]:
        Endpoint.change_state(chosen(_endpoints(info), ids, "ids"), Endpoint.State.ACTIVE)
        return OK


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
    """Return the input in the form that filters are kept in; null is as good as left out."""
    definition = {
        name: given[key] for key, name in (("in_", "in"), ("pattern", "pattern")) if given.get(key) is not None
    }
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
        endpoints = _endpoints(info)
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
        event_filter = one(_event_filters(info), id, "id")
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
        EventFilter.remove(chosen(_event_filters(info), ids, "ids"))
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
        endpoints = chosen(_endpoints(info), endpoint_ids, "endpointIds")
        FilterLink.link(endpoints, one(_event_filters(info), event_filters_id, "eventFiltersId"))
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
        endpoints = chosen(_endpoints(info), endpoint_ids, "endpointIds")
        FilterLink.unlink(endpoints, one(_event_filters(info), event_filters_id, "eventFiltersId"))
        return OK


class CreateApiKey(graphene.Mutation):
    """Create a key. Its text is in this answer and nowhere else."""

    class Arguments:
        name = graphene.String(required=True)
        scopes = graphene.List(graphene.NonNull(KeyScope), required=True)
        expires_at = DateTime()

    key = graphene.String(required=True, description="The text to send as 'Authorization: Bearer KEY'.")
    api_key = graphene.Field(ApiKeyOutput, required=True)

    @staticmethod
    def mutate(
        _root: None, info: Any, name: str, scopes: Sequence[Any], expires_at: datetime | None = None
    ) -> dict[str, Any]:
        key, text = ApiKey.issue(
            workspace=Workspace.objects.get(pk=info.context.workspace_id(Scope.MANAGE)),
            name=name,
            scopes=[scope.value for scope in scopes],
            expires_at=expires_at,
        )
        return {"key": text, "api_key": key}


class RevokeApiKey(graphene.Mutation):
    """Refuse a key from now on."""

    class Arguments:
        id = graphene.ID(required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, id: str) -> dict[str, bool]:
        one(info.context.own(ApiKey.objects.all(), Scope.MANAGE), id, "id").revoke()
        return OK


class Mutation(graphene.ObjectType):
    create_web_socket_endpoint = CreateWebSocketEndpoint.Field()
    create_webhook_endpoint = CreateWebhookEndpoint.Field()
    update_endpoint = UpdateEndpoint.Field()
    delete_endpoints = DeleteEndpoints.Field()
    delete_endpoint = DeleteEndpoints.Field(description="Another name for deleteEndpoints.")
    pause_endpoints = PauseEndpoints.Field()
    resume_endpoints = ResumeEndpoints.Field()
    create_event_filters = CreateEventFilters.Field()
    update_event_filters = UpdateEventFilters.Field()
    delete_event_filters = DeleteEventFilters.Field()
    link_endpoints_to_event_filters = LinkEndpointsToEventFilters.Field()
    unlink_endpoints_to_event_filters = UnlinkEndpointsToEventFilters.Field()
    create_api_key = CreateApiKey.Field()
    revoke_api_key = RevokeApiKey.Field()
