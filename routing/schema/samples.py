"""Trying an endpoint out."""

from typing import Any

import graphene
import msgspec

from endpoints.audit import note
from endpoints.models import Endpoint, Scope
from endpoints.schema.access import Caller, one
from endpoints.schema.scalars import JSON
from routing.models import Attempt
from routing.samples import DATA, TYPE, send_sample
from routing.schema.types import Attempted


class SampleOutput(Attempted, graphene.ObjectType):
    """One try of a sample event, what was sent and what came of it."""

    request_body = graphene.String(required=True, description="The body as it was sent; empty of GET and DELETE.")


class TestEndpoint(graphene.Mutation):
    """Send a sample event to a webhook now, whatever its state and filters, and wait for what comes of it."""

    class Arguments:
        id = graphene.ID(required=True)
        type = graphene.String(default_value=TYPE, description="The event's type.")
        data = JSON(description="The event's data; {test: true} when left out.")

    Output = SampleOutput

    @staticmethod
    def mutate(_root: None, info: Any, id: str, type: str | None, **given: Any) -> Attempt:
        caller: Caller = info.context
        with caller.transaction("testEndpoint"):
            endpoint = one(caller.own(Endpoint.objects.live(), Scope.MANAGE), id, "id")
            note("Endpoint", [endpoint.pk], endpoint.workspace_id)
        data = msgspec.json.encode(given["data"]) if "data" in given else DATA
        attempt, body = send_sample(endpoint, type=TYPE if type is None else type, data=data)
        vars(attempt)["request_body"] = body.decode()
        return attempt
