"""Some deliveries, by hand: once more, or not at all."""

from typing import Any

import graphene
from django.db.models import QuerySet

from endpoints.errors import BadInput
from endpoints.models import Endpoint, Scope
from endpoints.schema.access import Caller, chosen, one
from endpoints.schema.mutations.endpoints import Ids
from endpoints.schema.pages import turn_page
from routing.cancelling import Cancelled, cancel, cancel_all
from routing.models import Delivery
from routing.repeats import retry
from routing.schema.types import DeliveryOutput


def _deliveries(caller: Caller) -> QuerySet[Delivery]:
    return caller.own(Delivery.objects.all(), Scope.MANAGE)


class RetryDeliveries(graphene.Mutation):
    """Deliver once more what has ended: by new deliveries, which name the old ones and have the same webhook-id.

    Asking twice gives the same new deliveries.
    """

    class Arguments:
        ids = graphene.List(graphene.ID, required=True)

    deliveries = graphene.List(graphene.NonNull(DeliveryOutput), required=True)

    @staticmethod
    def mutate(_root: None, info: Any, ids: Ids) -> dict[str, list[Delivery]]:
        return {"deliveries": turn_page(retry(chosen(_deliveries(info.context), ids, "ids")))}


class CancelDeliveries(graphene.Mutation):
    """Give up deliveries that wait: those with these ids, or an endpoint's. What has ended stays as it is."""

    class Arguments:
        ids = graphene.List(graphene.ID)
        endpoint_id = graphene.ID(description="Instead of ids: all that waits for this endpoint.")

    cancelled = graphene.Int(required=True, description="How many were cancelled.")
    sending = graphene.Int(required=True, description="How many are on their way: they can't be called back.")
    more = graphene.Boolean(required=True, description="Whether to ask again: so many are not cancelled at once.")

    @staticmethod
    def mutate(_root: None, info: Any, ids: Ids | None = None, endpoint_id: str | None = None) -> Cancelled:
        deliveries = _deliveries(info.context)
        if (ids is None) == (endpoint_id is None):
            given = "both ids and endpointId" if ids is not None else "neither ids nor endpointId"
            raise BadInput(f"cancelDeliveries has {given}; give one of the two.", "ids")
        if endpoint_id is not None:
            endpoints = info.context.own(Endpoint.objects.live(), Scope.MANAGE)
            return cancel_all(one(endpoints, endpoint_id, "endpointId"))
        return cancel(chosen(deliveries, ids or [], "ids"))
