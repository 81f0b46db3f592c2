"""Questions about the configuration."""

from typing import Any

import graphene
from django_filters import FilterSet

from endpoints.audit import note
from endpoints.errors import BadInput
from endpoints.models import (
    ApiKey,
    AuditEntry,
    Endpoint,
    EventFilter,
    EventType,
    PortalLink,
    PortalTheme,
    Scope,
    Workspace,
)
from endpoints.schema.access import one
from endpoints.schema.collections import collection
from endpoints.schema.scalars import EndpointState, EndpointType, Enforcement
from endpoints.schema.types import (
    ActorKind,
    ApiKeyOutput,
    AuditEntryOutput,
    EndpointOutput,
    EndpointSecretOutput,
    EventFiltersOutput,
    EventTypeOutput,
    PortalLinkOutput,
    PortalThemeOutput,
    WorkspaceOutput,
)

ID = ["exact", "in"]
NAME = ["exact", "contains", "in"]
RANGE = ["exact", "gt", "gte", "lt", "lte"]
CHOICE = ["exact", "in"]


class EndpointFilterSet(FilterSet):
    class Meta:
        model = Endpoint
        fields = {
            "id": ID,
            "type": CHOICE,
            "name": NAME,
            "state": CHOICE,
            "creation_date": RANGE,
            "last_modified": RANGE,
        }


class EventFiltersFilterSet(FilterSet):
    class Meta:
        model = EventFilter
        fields = {"id": ID, "name": NAME, "creation_date": RANGE, "last_modified": RANGE}


class EventTypeFilterSet(FilterSet):
    class Meta:
        model = EventType
        fields = {
            "id": ID,
            "name": NAME,
            "enforcement": CHOICE,
            "first_seen_at": [*RANGE, "isnull"],
            "last_seen_at": [*RANGE, "isnull"],
            "last_problem_at": [*RANGE, "isnull"],
            "count": RANGE,
            "warned": RANGE,
            "rejected": RANGE,
            "creation_date": RANGE,
            "last_modified": RANGE,
        }


class ApiKeyFilterSet(FilterSet):
    class Meta:
        model = ApiKey
        fields = {
            "id": ID,
            "name": NAME,
            "creation_date": RANGE,
            "expires_at": [*RANGE, "isnull"],
            "revoked_at": [*RANGE, "isnull"],
        }


class PortalLinkFilterSet(FilterSet):
    class Meta:
        model = PortalLink
        fields = {
            "id": ID,
            "name": NAME,
            "endpoint_id": ID,
            "creation_date": RANGE,
            "expires_at": RANGE,
            "opened_at": [*RANGE, "isnull"],
            "revoked_at": [*RANGE, "isnull"],
        }


class AuditFilterSet(FilterSet):
    class Meta:
        model = AuditEntry
        fields = {
            "id": ID,
            "at": RANGE,
            "actor_kind": CHOICE,
            "actor_id": CHOICE,
            "operation": CHOICE,
            "object_type": CHOICE,
            "object_id": CHOICE,
        }


class Query(graphene.ObjectType):
    endpoints = collection(
        "Endpoint",
        EndpointOutput,
        EndpointFilterSet,
        lambda caller: caller.own(Endpoint.objects.live(), Scope.READ),
        order=["creation_date", "last_modified", "name"],
        enums={"type": EndpointType, "state": EndpointState},
        description="The endpoints that events are routed to.",
    )
    events_filters = collection(
        "EventFilters",
        EventFiltersOutput,
        EventFiltersFilterSet,
        lambda caller: caller.own(EventFilter.objects.all(), Scope.READ),
        order=["creation_date", "last_modified", "name"],
        description="The filters that say which events an endpoint gets.",
    )
    event_types = collection(
        "EventType",
        EventTypeOutput,
        EventTypeFilterSet,
        lambda caller: caller.own(EventType.objects.all(), Scope.READ),
        order=["creation_date", "last_modified", "name", "first_seen_at", "last_seen_at", "count"],
        enums={"enforcement": Enforcement},
        description="The types of events that arrived, and what they must be like.",
    )
    api_keys = collection(
        "ApiKey",
        ApiKeyOutput,
        ApiKeyFilterSet,
        lambda caller: caller.own(ApiKey.objects.all(), Scope.MANAGE),
        order=["creation_date", "last_modified", "name"],
        description="The keys of the workspace, without their texts.",
    )
    portal_links = collection(
        "PortalLink",
        PortalLinkOutput,
        PortalLinkFilterSet,
        lambda caller: caller.own(PortalLink.objects.all(), Scope.MANAGE),
        order=["creation_date", "expires_at", "name"],
        description="The portal links of the workspace, without their tokens.",
    )
    portal_theme = graphene.Field(
        PortalThemeOutput, description="How the portal of the workspace looks; null: with its name and no logo."
    )
    audit_log = collection(
        "AuditEntry",
        AuditEntryOutput,
        AuditFilterSet,
        lambda caller: caller.own(AuditEntry.objects.all(), Scope.MANAGE),
        order=["at"],
        newest=["-at", "-pk"],
        known=lambda _caller, _filters: None,
        enums={"actor_kind": ActorKind},
        description="Who changed what in the workspace, and looked at secrets.",
    )
    endpoint_secret = graphene.Field(
        EndpointSecretOutput,
        id=graphene.ID(required=True),
        description="What a webhook's receiver verifies signatures with. Needs the scope manage.",
    )
    workspace = graphene.Field(WorkspaceOutput, description="The workspace of the key.")

    @staticmethod
    def resolve_endpoint_secret(_root: None, info: Any, id: str) -> Endpoint:
        endpoint: Endpoint = one(info.context.own(Endpoint.objects.live(), Scope.MANAGE), id, "id")
        if endpoint.type != Endpoint.Type.WEB_HOOK:
            raise BadInput(f"Endpoint {id} is a websocket; only webhooks have a secret.", "id")
        note("Endpoint", [endpoint.pk], endpoint.workspace_id)
        return endpoint

    @staticmethod
    def resolve_workspace(_root: None, info: Any) -> Workspace:
        return Workspace.objects.get(pk=info.context.workspace_id(Scope.READ))

    @staticmethod
    def resolve_portal_theme(_root: None, info: Any) -> PortalTheme | None:
        return PortalTheme.objects.filter(workspace=info.context.workspace_id(Scope.MANAGE)).first()
