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
from routing.expediting import Expedited, expedite, expedite_all
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
        named = _named("cancelDeliveries", info.context, ids, endpoint_id)
        return cancel_all(named) if isinstance(named, Endpoint) else cancel(named)


class ExpediteDeliveries(graphene.Mutation):
    """Try now what waits for another try: those with these ids, or an endpoint's; and close the breaker before it.

    What has ended, is due or is on its way stays as it is. The try is the next one of the schedule.
    """

    class Arguments:
        ids = graphene.List(graphene.ID)
        endpoint_id = graphene.ID(description="Instead of ids: all that waits for this endpoint.")

    expedited = graphene.Int(required=True, description="How many are due now, and were not.")
    released = graphene.Int(
        required=True,
        description="How many more were due, but held back by the breaker that is closed now; up to 5,000 are counted.",
    )
    more = graphene.Boolean(required=True, description="Whether to ask again: so many are not made due at once.")

    @staticmethod
    def mutate(_root: None, info: Any, ids: Ids | None = None, endpoint_id: str | None = None) -> Expedited:
        named = _named("expediteDeliveries", info.context, ids, endpoint_id)
        return expedite_all(named) if isinstance(named, Endpoint) else expedite(named)


def _named(operation: str, caller: Caller, ids: Ids | None, endpoint_id: str | None) -> Endpoint | list[Delivery]:
    """Return the endpoint or the deliveries that are named. Raises BadInput unless it is one of the two."""
    deliveries = _deliveries(caller)
    if (ids is None) == (endpoint_id is None):
        given = "both ids and endpointId" if ids is not None else "neither ids nor endpointId"
        raise BadInput(f"{operation} has {given}; give one of the two.", "ids")
    if endpoint_id is None:
        return chosen(deliveries, ids or [], "ids")
    return one(caller.own(Endpoint.objects.live(), Scope.MANAGE), endpoint_id, "endpointId")
