"""Changes of event types: find what is named, then one domain call."""

from typing import Any

import graphene
from django.db import transaction
from django.db.models import QuerySet

from endpoints.errors import BadInput
from endpoints.models import EventType, Scope
from endpoints.schema.access import Caller, chosen, for_change, one
from endpoints.schema.mutations.endpoints import OK, Ids
from endpoints.schema.scalars import JSON, Enforcement
from endpoints.schema.types import EventTypeOutput, Ok


def _types_to_change(info: Any) -> QuerySet[EventType]:
    caller: Caller = info.context
    return for_change(caller.own(EventType.objects.all(), Scope.MANAGE))


class UpdateEventType(graphene.Mutation):
    """Change what is given of a type of events; null is no schema, OFF and no description."""

    class Arguments:
        id = graphene.ID(description="Which one.")
        type = graphene.String(description="Or its name: order.paid. One that has not arrived yet is made.")
        schema = JSON(description="What data must be like: JSON Schema, draft 2020-12.")
        enforcement = graphene.Argument(Enforcement)
        description = graphene.String()

    Output = EventTypeOutput

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, id: str | None = None, type: str | None = None, **changes: Any) -> EventType:
        types = _types_to_change(info)
        if (id is None) == (type is None):
            given = "both id and type" if id is not None else "neither id nor type"
            raise BadInput(f"updateEventType has {given}; give one of the two.", "id")
        if id is None:
            id = str(EventType.named(workspace_id=info.context.workspace_id(Scope.MANAGE), name=type or "").pk)
        event_type = one(types, id, "id")
        event_type.change(**changes)
        return event_type


class DeleteEventTypes(graphene.Mutation):
    """Forget a list of types with their counts and schemas. One that arrives again is there again."""

    class Arguments:
        ids = graphene.List(graphene.ID, required=True)

    Output = Ok

    @staticmethod
    @transaction.atomic
    def mutate(_root: None, info: Any, ids: Ids) -> dict[str, bool]:
        EventType.remove(chosen(_types_to_change(info), ids, "ids"))
        return OK
