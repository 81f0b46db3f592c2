"""Changes of endpoints: find what is named, then one domain call."""

from collections.abc import Sequence
from typing import Any

import graphene
from django.db import transaction
from django.db.models import QuerySet

from endpoints.errors import BadInput
from endpoints.models import Endpoint, Scope, SigningKey
from endpoints.models.signing import OVERLAP_S
from endpoints.schema.access import Caller, chosen, for_change, one
from endpoints.schema.scalars import JSON
from endpoints.schema.settings import SettingsArguments, ShapeArguments
from endpoints.schema.types import EndpointOutput, EndpointSecretOutput, Ok

Ids = Sequence[str | None]  # the published lists are [ID]: null is no id, and is refused when looked up
OK = {"ok": True}
HEADERS = JSON(
    description="Headers of its own, {name: value}; they replace those that it had, and values are never shown again."
)
ASYMMETRIC = graphene.Boolean(description="Whether each request is also signed with v1a: ed25519, by a private key.")


def endpoints_to_change(info: Any) -> QuerySet[Endpoint]:
    caller: Caller = info.context
    return for_change(caller.own(Endpoint.objects.live(), Scope.MANAGE))


class CreateWebSocketEndpoint(graphene.Mutation):
    """Create an endpoint that is read over a websocket."""

    class Arguments(ShapeArguments):
        name = graphene.String(required=True)

    Output = EndpointOutput

    @staticmethod
    def mutate(_root: None, info: Any, name: str, payload_shape: Any = None) -> Endpoint:
        workspace_id = info.context.workspace_id(Scope.MANAGE)
        return Endpoint.create_web_socket(workspace_id=workspace_id, name=name, payload_shape=payload_shape)


class CreateWebhookEndpoint(graphene.Mutation):
    """Create an endpoint that events are sent to over HTTP."""

    class Arguments(SettingsArguments):
        name = graphene.String(required=True)
        url = graphene.String(required=True)
        method = graphene.String(description="POST when left out; or PUT, PATCH, GET, DELETE.")
        headers = HEADERS
        asymmetric_signatures = ASYMMETRIC

    Output = EndpointOutput

    @staticmethod
    def mutate(_root: None, info: Any, name: str, url: str, method: str | None = None, **given: Any) -> Endpoint:
        workspace_id = info.context.workspace_id(Scope.MANAGE)
        method = Endpoint.Method.POST if method is None else method
        return Endpoint.create_webhook(workspace_id=workspace_id, name=name, url=url, method=method, **given)


class UpdateEndpoint(graphene.Mutation):
    """Change what is given of an endpoint; the rest stays."""

    class Arguments(SettingsArguments):
        id = graphene.ID(required=True)
        name = graphene.String()
        url = graphene.String()
        method = graphene.String()
        headers = HEADERS
        asymmetric_signatures = ASYMMETRIC

    Output = EndpointOutput

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, id: str, **changes: Any) -> Endpoint:
        endpoint = one(endpoints_to_change(info), id, "id")
        endpoint.change(**changes)
        return endpoint


class RotateEndpointSecret(graphene.Mutation):
    """Sign with a new secret, and for a while with the old ones too. A v1a key is renewed as well."""

    class Arguments:
        id = graphene.ID(required=True)
        secret = graphene.String(description="One of your own: whsec_ and base64 of 24 to 64 bytes.")
        overlap_seconds = graphene.Int(
            default_value=OVERLAP_S,
            description="How long what was current stays valid; at 0 all old secrets end at once.",
        )

    Output = EndpointSecretOutput

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, id: str, overlap_seconds: int | None, secret: str | None = None) -> Endpoint:
        endpoint = one(endpoints_to_change(info), id, "id")
        overlap_s = OVERLAP_S if overlap_seconds is None else overlap_seconds
        SigningKey.rotate(endpoint, secret=secret, overlap_s=overlap_s)
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
        endpoints = endpoints_to_change(info)
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
        Endpoint.change_state(chosen(endpoints_to_change(info), ids, "ids"), Endpoint.State.PAUSED)
        return OK


class ResumeEndpoints(graphene.Mutation):
    """Make these endpoints active, whether they were paused or disabled, and close their breakers."""

    class Arguments:
        ids = graphene.List(graphene.ID, required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, ids: Ids) -> dict[str, bool]:
        Endpoint.change_state(chosen(endpoints_to_change(info), ids, "ids"), Endpoint.State.ACTIVE)
        return OK
