"""Trying an endpoint out."""

from typing import Any

import graphene

from endpoints.models import Endpoint, Scope
from endpoints.schema.access import one
from routing.models import Attempt
from routing.samples import send_sample
from routing.schema.types import AttemptOutput

TYPE = "test.ping"


class TestEndpoint(graphene.Mutation):
    """Send a sample event to a webhook now, whatever its state and filters, and wait for what comes of it."""

    class Arguments:
        id = graphene.ID(required=True)
        type = graphene.String(default_value=TYPE, description="The event's type.")

    Output = AttemptOutput

    @staticmethod
    def mutate(_root: None, info: Any, id: str, type: str | None) -> Attempt:
        endpoint = one(info.context.own(Endpoint.objects.live(), Scope.MANAGE), id, "id")
        return send_sample(endpoint, type=TYPE if type is None else type)
