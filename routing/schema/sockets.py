"""Websockets over GraphQL: tickets for browsers, and which are open."""

from datetime import datetime
from ipaddress import ip_address
from typing import Any

import graphene
from django_filters import FilterSet

from endpoints.errors import BadInput
from endpoints.models import Endpoint, Scope
from endpoints.schema.access import one
from endpoints.schema.collections import collection
from endpoints.schema.queries import ID, RANGE
from endpoints.schema.scalars import DateTime
from routing.models import Socket
from routing.sockets import tickets


class CreateSocketTicket(graphene.Mutation):
    """Make a ticket that opens one websocket, once, within 30 seconds: &access=TICKET in its URL."""

    class Arguments:
        endpoint_id = graphene.ID(required=True)
        address = graphene.String(description="The IP address that alone may use it; any when left out.")

    ticket = graphene.String(required=True)
    expires_at = graphene.Field(DateTime, required=True)

    @staticmethod
    def mutate(_root: None, info: Any, endpoint_id: str, address: str | None = None) -> dict[str, str | datetime]:
        endpoint = one(info.context.own(Endpoint.objects.live(), Scope.SUBSCRIBE), endpoint_id, "endpointId")
        if endpoint.type != Endpoint.Type.WEB_SOCKET:
            raise BadInput(f"Endpoint {endpoint.pk} is a webhook; tickets are for websockets.", "endpointId")
        only = _address(address) if address else ""
        text, expires_at = tickets.issue(endpoint=endpoint, key_id=info.context.grant.key_id, address=only)
        return {"ticket": text, "expires_at": expires_at}


def _address(text: str) -> str:
    """Return the address as that of a websocket's client is written."""
    try:
        address = ip_address(text)
    except ValueError:
        raise BadInput(f"address is {text!r:.60}; give an IP address such as 203.0.113.7.", "address") from None
    return str(getattr(address, "ipv4_mapped", None) or address)


class SocketOutput(graphene.ObjectType):
    """A websocket that is open, or whose process died within the last seconds."""

    id = graphene.ID(required=True)
    endpoint_id = graphene.ID(required=True)
    workspace_id = graphene.ID(required=True)
    key_id = graphene.ID(
        description="The key that opened it; null where the endpoint is open to anybody, and for an operator."
    )
    address = graphene.String(required=True)
    share = graphene.String(description="The group that it is a member of.")
    watches = graphene.Boolean(required=True, description="Whether it is a subscription to deliveryUpdated.")
    opened_at = graphene.Field(DateTime, required=True)

    @staticmethod
    def resolve_share(socket: Socket, _info: Any) -> str | None:
        return socket.share or None


class SocketFilterSet(FilterSet):
    class Meta:
        model = Socket
        fields = {"id": ID, "endpoint_id": ID, "key_id": ID, "share": ["exact"], "opened_at": RANGE}


sockets = collection(
    "Socket",
    SocketOutput,
    SocketFilterSet,
    lambda caller: caller.own(Socket.objects.all(), Scope.READ),
    order=["opened_at"],
    newest=["-pk"],
    description="The websockets that are open, on all processes.",
)
