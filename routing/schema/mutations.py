"""Events in, and out once more, over GraphQL."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import graphene
import msgspec

from endpoints.errors import BadInput, ServiceError
from endpoints.models import Scope
from endpoints.schema.access import Caller
from endpoints.schema.scalars import JSON
from routing import plans, tracing
from routing.ingest import MAX_EVENTS
from routing.models import DayIsFull, Event, Recorded, recording
from routing.schema.deliveries import CancelDeliveries, ExpediteDeliveries, RetryDeliveries
from routing.schema.replays import CancelReplay, CreateReplay
from routing.schema.samples import TestEndpoint
from routing.schema.sockets import CreateSocketTicket
from routing.submissions import NewEvent, Submission, check


class EventInput(graphene.InputObjectType):
    """One event to publish."""

    type = graphene.String(required=True, description="A dotted name, such as order.paid.")
    data = graphene.InputField(JSON)
    data_text = graphene.String(description="Instead of data: its JSON text, kept and sent byte for byte.")
    id = graphene.String(description="Your own id of the event: the same id is recorded once.")
    date = graphene.String(description="When it happened: RFC 3339 with an offset. Now, when left out.")
    extensions = JSON(description="Further attributes by name, of CloudEvents: strings, booleans and integers.")
    source = graphene.String()
    subject = graphene.String()
    ordering_key = graphene.String()
    traceparent = graphene.String(description="W3C's, of the trace it belongs to. The request's header, when left out.")


class PublishError(graphene.ObjectType):
    """Why an event was not accepted."""

    code = graphene.String(required=True)
    message = graphene.String(required=True)
    field = graphene.String()


class PublishedEvent(graphene.ObjectType):
    """What became of one event: an id, or an error."""

    id = graphene.ID()
    duplicate = graphene.Boolean(description="Whether it had been accepted before.")
    error = graphene.Field(PublishError)


class PublishEvents(graphene.Mutation):
    """Record events, each of them accepted or refused by itself; the answers are in the order of the events."""

    class Arguments:
        events = graphene.List(graphene.NonNull(EventInput), required=True)

    events = graphene.List(graphene.NonNull(PublishedEvent), required=True)

    @staticmethod
    def mutate(_root: None, info: Any, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        caller: Caller = info.context
        workspace_id = caller.workspace_id(Scope.PUBLISH)
        if not 1 <= len(events) <= MAX_EVENTS:
            raise BadInput(f"events holds {len(events)} events; send 1 to {MAX_EVENTS} at once.", "events")
        caller.charge(len(events) - 1)  # the operation has been charged for one
        with tracing.span("publish", parent=caller.traceparent, workspace_id=workspace_id, events=len(events)) as own:
            answers = PublishEvents._answers(caller, workspace_id, events, own or caller.traceparent)
        return {"events": [_shown(answer) for answer in answers]}

    @staticmethod
    def _answers(
        caller: Caller, workspace_id: UUID, events: Sequence[Mapping[str, Any]], trace: str
    ) -> list[Recorded | ServiceError]:
        checked = [_checked(given, workspace_id, trace) for given in events]
        new = [event for event in checked if isinstance(event, NewEvent)]
        with caller.transaction("publishEvents"):
            (found,) = plans.run(recording([(caller.grant, new)], partial(Event.publishing, workspace_id)))
        if isinstance(found, DayIsFull):
            raise found
        recorded = iter(found)
        return [next(recorded) if isinstance(event, NewEvent) else event for event in checked]


def _checked(given: Mapping[str, Any], workspace_id: UUID, trace: str) -> NewEvent | BadInput:
    fields = {name: value for name, value in given.items() if name not in ("data", "data_text")}
    try:
        return check(Submission(**fields, data=msgspec.Raw(_data(given))), workspace_id, trace)
    except BadInput as refusal:
        return refusal


def _data(given: Mapping[str, Any]) -> bytes:
    """Return the JSON text of the event's data, empty where it has none."""
    text = given.get("data_text")
    if text is None:
        return msgspec.json.encode(given["data"]) if "data" in given else b""
    if "data" in given:
        raise BadInput("The event has both data and dataText; give one of the two.", "dataText")
    return str(text).encode()


def _shown(answer: Recorded | ServiceError) -> dict[str, Any]:
    if isinstance(answer, ServiceError):
        return {"error": answer.as_dict()}
    return {"id": answer.id, "duplicate": answer.duplicate}


class Mutation(graphene.ObjectType):
    publish_events = PublishEvents.Field()
    test_endpoint = TestEndpoint.Field()
    create_socket_ticket = CreateSocketTicket.Field()
    retry_deliveries = RetryDeliveries.Field()
    expedite_deliveries = ExpediteDeliveries.Field()
    cancel_deliveries = CancelDeliveries.Field()
    create_replay = CreateReplay.Field()
    cancel_replay = CancelReplay.Field()
