"""What the API shows of the configuration."""

from typing import Any

import graphene
from django.conf import settings
from graphene.utils.str_converters import to_camel_case

from endpoints.models import AuditEntry, Endpoint, EventFilter, Workspace
from endpoints.models.event_types import MAX_TYPES
from endpoints.models.quotas import Quota, Standing, standing
from endpoints.schema.pages import related
from endpoints.schema.scalars import JSON, DateTime, EndpointState, EndpointType, Enforcement, KeyScope, LinkRight
from endpoints.schema.settings import SettingsShown

ActorKind = graphene.Enum.from_enum(
    AuditEntry.Actor,
    name="ActorKind",
    description="A key of this API, a user of the admin, a command of manage.py, a portal link, the service, or SQL.",
)


class Configured:
    """The fields that all configuration has."""

    id = graphene.ID(required=True)
    name = graphene.String(required=True)
    creation_date = graphene.Field(DateTime, required=True)
    last_modified = graphene.Field(DateTime, required=True)


class QuotaOutput(graphene.ObjectType):
    """How much of something a workspace has, and may have."""

    limit = graphene.Int(description="null: there is no limit.")
    used = graphene.Int(required=True)


class QuotasOutput(graphene.ObjectType):
    """What a workspace may have, as the operator has set it."""

    events_per_day = graphene.Field(
        QuotaOutput, required=True, description="Since 00:00 UTC; they are counted only where there is a limit."
    )
    endpoints = graphene.Field(QuotaOutput, required=True)
    event_filters = graphene.Field(QuotaOutput, required=True)
    sockets = graphene.Field(QuotaOutput, required=True, description="Websockets that are open at once.")

    @staticmethod
    def resolve_events_per_day(workspace: Workspace, _info: Any) -> Standing:
        return standing(workspace, Quota.EVENTS)

    @staticmethod
    def resolve_endpoints(workspace: Workspace, _info: Any) -> Standing:
        return standing(workspace, Quota.ENDPOINTS)

    @staticmethod
    def resolve_event_filters(workspace: Workspace, _info: Any) -> Standing:
        return standing(workspace, Quota.EVENT_FILTERS)

    @staticmethod
    def resolve_sockets(workspace: Workspace, _info: Any) -> Standing:
        return standing(workspace, Quota.SOCKETS)


class RetentionOutput(graphene.ObjectType):
    """For how many days what comes is kept, as the operator has set it; null: for ever."""

    events = graphene.Int(
        description="Events, with all that became of them, counted from the end of the last delivery."
    )
    payloads = graphene.Int(description="What events say: data and extensions.")
    attempts = graphene.Int(description="Attempts, with what receivers answered.")

    @staticmethod
    def resolve_events(workspace: Workspace, _info: Any) -> int | None:
        return _least(workspace.keep_days, settings.KEEP_DAYS)

    @staticmethod
    def resolve_payloads(workspace: Workspace, info: Any) -> int | None:
        events = RetentionOutput.resolve_events(workspace, info)
        return _least(events, workspace.keep_payloads_days, settings.KEEP_PAYLOADS_DAYS)

    @staticmethod
    def resolve_attempts(workspace: Workspace, info: Any) -> int | None:
        events = RetentionOutput.resolve_events(workspace, info)
        return _least(events, workspace.keep_attempts_days, settings.KEEP_ATTEMPTS_DAYS)


def _least(*days: int | None) -> int | None:
    return min(filter(None, days), default=None)


class WorkspaceOutput(Configured, graphene.ObjectType):
    """Whose endpoints, filters, keys and events these are."""

    unlisted_events = graphene.BigInt(
        required=True, description=f"How many came of types that are not listed: the first {MAX_TYPES} types are."
    )
    quotas = graphene.Field(QuotasOutput, required=True)
    retention = graphene.Field(RetentionOutput, required=True)

    @staticmethod
    def resolve_retention(workspace: Workspace, _info: Any) -> Workspace:
        return workspace

    @staticmethod
    def resolve_quotas(workspace: Workspace, _info: Any) -> Workspace:
        return workspace


class EndpointOutput(Configured, SettingsShown, graphene.ObjectType):
    """Where events go."""

    type = graphene.Field(EndpointType, required=True)
    meta = graphene.Field(JSON, required=True, description="{} of a websocket, {url, method} of a webhook.")
    header_names = graphene.List(
        graphene.NonNull(graphene.String),
        required=True,
        description="The headers that it adds to its requests. Their values, which may be credentials, are not shown.",
    )
    workspace_id = graphene.ID(required=True)
    state = graphene.Field(EndpointState, required=True)
    state_reason = graphene.String(required=True, description="Why it is in this state; often empty.")
    open_access = graphene.Boolean(
        required=True, description="Whether anybody who knows the id may listen, without a key."
    )
    event_filters = graphene.List(
        graphene.NonNull(lambda: EventFiltersOutput),
        required=True,
        description="What it wants. Without a filter it gets every event of its workspace.",
    )

    @staticmethod
    def resolve_header_names(endpoint: Endpoint, _info: Any) -> list[str]:
        return sorted(endpoint.headers)

    @staticmethod
    def resolve_event_filters(endpoint: Endpoint, info: Any) -> Any:
        filters = info.context.beyond(EventFilter.objects.order_by("creation_date", "pk"))
        return related(endpoint, "event_filters", filters)


class EventFiltersOutput(Configured, graphene.ObjectType):
    """Which events the linked endpoints get."""

    meta = graphene.Field(JSON, required=True, source="definition", description="The filter as it was given.")
    workspace_id = graphene.ID(required=True)
    endpoints = graphene.List(graphene.NonNull(EndpointOutput), required=True)

    @staticmethod
    def resolve_endpoints(event_filter: EventFilter, info: Any) -> Any:
        endpoints = info.context.beyond(Endpoint.objects.live().order_by("creation_date", "pk"))
        return related(event_filter, "endpoints", endpoints)


class EventTypeOutput(Configured, graphene.ObjectType):
    """A type of events: what has arrived of it, and what it must be like. Counts are a second or so behind."""

    description = graphene.String(required=True)
    schema = graphene.Field(JSON, description="What data must be like: JSON Schema, draft 2020-12.")
    enforcement = graphene.Field(Enforcement, required=True)
    first_seen_at = graphene.Field(DateTime, description="null where none has arrived yet.")
    last_seen_at = graphene.Field(DateTime)
    count = graphene.BigInt(required=True, description="How many were accepted.")
    warned = graphene.BigInt(required=True, description="How many of these did not fit the schema.")
    rejected = graphene.BigInt(required=True, description="How many were refused, as they did not fit the schema.")
    last_problem = graphene.String(required=True, description="What did not fit in the last one that did not.")
    last_problem_at = graphene.Field(DateTime)
    inferred_shape = graphene.Field(JSON, description="What data looks like, by samples; null where nothing is known.")
    workspace_id = graphene.ID(required=True)


class ApiKeyOutput(Configured, graphene.ObjectType):
    """A key without its text, which nobody can read again."""

    prefix = graphene.String(required=True, description="The first characters of the key, to know it by.")
    scopes = graphene.List(graphene.NonNull(KeyScope), required=True)
    expires_at = graphene.Field(DateTime)
    revoked_at = graphene.Field(DateTime)
    last_used_at = graphene.Field(DateTime, description="Exact to a minute.")
    workspace_id = graphene.ID(required=True)


class PortalLinkOutput(Configured, graphene.ObjectType):
    """A link to the portal without its token, which nobody can read again."""

    endpoint_id = graphene.ID(description="All that it shows; null: the whole workspace.")
    rights = graphene.List(graphene.NonNull(LinkRight), required=True)
    once = graphene.Boolean(required=True, description="Whether it opens once, for whoever comes first.")
    expires_at = graphene.Field(DateTime, required=True, description="When the link and what it opened end.")
    revoked_at = graphene.Field(DateTime)
    opened_at = graphene.Field(DateTime, description="When it was opened last; null: it was not.")
    workspace_id = graphene.ID(required=True)


class PortalThemeOutput(graphene.ObjectType):
    """How the portal looks."""

    name = graphene.String(required=True, description="That its pages are headed with.")
    color = graphene.String(required=True, description="#rrggbb; lighter or darker where it could not be read.")
    logo_type = graphene.String(required=True, description="The media type of the logo; empty: there is none.")


class AuditChange(graphene.ObjectType):
    """A field that was changed."""

    field = graphene.String(required=True)
    before = graphene.Field(JSON)
    after = graphene.Field(JSON)
    secret = graphene.Boolean(required=True, description="Whether it was changed, but what to is shown to nobody.")


class AuditEntryOutput(graphene.ObjectType):
    """What somebody did to one object."""

    id = graphene.ID(required=True)
    at = graphene.Field(DateTime, required=True)
    actor_kind = graphene.Field(ActorKind, required=True)
    actor_id = graphene.String(required=True, description="Of the key; or who it was, by name or number.")
    actor_name = graphene.String(required=True)
    address = graphene.String(required=True, description="From where.")
    operation = graphene.String(required=True, description="Of this API, the admin or manage.py.")
    object_type = graphene.String(required=True)
    object_id = graphene.String(required=True)
    changes = graphene.List(graphene.NonNull(AuditChange), required=True)
    workspace_id = graphene.ID(required=True)

    @staticmethod
    def resolve_changes(entry: AuditEntry, _info: Any) -> list[dict[str, Any]]:
        return [
            {"field": to_camel_case(name), "secret": False, "before": None, "after": None, **change}
            for name, change in sorted(entry.changes.items())
        ]


class EndpointSecretOutput(graphene.ObjectType):
    """What verifies the signatures of a webhook."""

    secret = graphene.String(required=True, description="The shared secret of v1 signatures: whsec_...")
    public_key = graphene.String(description="What verifies v1a signatures: whpk_...; null where there are none.")


class Ok(graphene.ObjectType):
    """The answer of a mutation that changes a list, all of it or nothing."""

    ok = graphene.Boolean(required=True)
