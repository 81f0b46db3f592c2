"""Changes of the configuration. Lists are changed as a whole or not at all."""

import graphene

from endpoints.schema.mutations.endpoints import (
    CreateWebhookEndpoint,
    CreateWebSocketEndpoint,
    DeleteEndpoints,
    PauseEndpoints,
    ResumeEndpoints,
    RotateEndpointSecret,
    UpdateEndpoint,
)
from endpoints.schema.mutations.event_types import DeleteEventTypes, UpdateEventType
from endpoints.schema.mutations.filters import (
    CreateEventFilters,
    DeleteEventFilters,
    LinkEndpointsToEventFilters,
    UnlinkEndpointsToEventFilters,
    UpdateEventFilters,
)
from endpoints.schema.mutations.keys import CreateApiKey, RevokeApiKey, RotateApiKey
from endpoints.schema.mutations.portal import CreatePortalLink, RevokePortalLink, UpdatePortalTheme


class Mutation(graphene.ObjectType):
    create_web_socket_endpoint = CreateWebSocketEndpoint.Field()
    create_webhook_endpoint = CreateWebhookEndpoint.Field()
    update_endpoint = UpdateEndpoint.Field()
    rotate_endpoint_secret = RotateEndpointSecret.Field()
    delete_endpoints = DeleteEndpoints.Field()
    delete_endpoint = DeleteEndpoints.Field(description="Another name for deleteEndpoints.")
    pause_endpoints = PauseEndpoints.Field()
    resume_endpoints = ResumeEndpoints.Field()
    create_event_filters = CreateEventFilters.Field()
    update_event_filters = UpdateEventFilters.Field()
    delete_event_filters = DeleteEventFilters.Field()
    link_endpoints_to_event_filters = LinkEndpointsToEventFilters.Field()
    unlink_endpoints_to_event_filters = UnlinkEndpointsToEventFilters.Field()
    update_event_type = UpdateEventType.Field()
    delete_event_types = DeleteEventTypes.Field()
    create_api_key = CreateApiKey.Field()
    rotate_api_key = RotateApiKey.Field()
    revoke_api_key = RevokeApiKey.Field()
    create_portal_link = CreatePortalLink.Field()
    revoke_portal_link = RevokePortalLink.Field()
    update_portal_theme = UpdatePortalTheme.Field()
