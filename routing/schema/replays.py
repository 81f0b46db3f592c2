"""Deliveries once more, by the thousand: what is selected, the replay, and its end."""

from collections.abc import Mapping
from typing import Any

import graphene

from endpoints.models import Endpoint, EventFilter, Scope
from endpoints.schema.access import Caller, one
from endpoints.schema.scalars import DateTime
from routing import replays
from routing.models import Replay
from routing.schema.types import DeliveryState, ReplayOutput


class ReplaySelection(graphene.InputObjectType):
    """Which of an endpoint's deliveries, or which events that it was never tried with. All conditions must hold."""

    endpoint_id = graphene.ID(required=True)
    states = graphene.List(
        graphene.NonNull(DeliveryState), description="How they ended; EXHAUSTED when left out. Not with neverAttempted."
    )
    never_attempted = graphene.Boolean(
        description="Instead: events that the endpoint wants and that were never sent to it, nor are about to be."
    )
    since = DateTime(description="Recorded from then on.")
    until = DateTime(description="Recorded before then; before now when left out.")
    event_filters_id = graphene.ID(description="Only events that match this filter.")


class ReplayPreview(graphene.ObjectType):
    """What a replay would find."""

    total = graphene.Int(description="null: too many to count.")


def preview_replay(
    _root: None, info: Any, selection: Mapping[str, Any], to_endpoint_id: str | None = None
) -> dict[str, int | None]:
    chosen = _selection(info.context, Scope.READ, selection)
    found = replays.preview(chosen, to_endpoint=_target(info.context, Scope.READ, to_endpoint_id))
    return {"total": found.number if found.exact else None}


class CreateReplay(graphene.Mutation):
    """Deliver what is selected once more, to the same endpoint or another one, a few at a time."""

    class Arguments:
        selection = ReplaySelection(required=True)
        to_endpoint_id = graphene.ID(description="Where it goes; the same endpoint when left out.")
        per_second = graphene.Int(description=f"{replays.PER_SECOND} when left out.")

    Output = ReplayOutput

    @staticmethod
    def mutate(
        _root: None,
        info: Any,
        selection: Mapping[str, Any],
        to_endpoint_id: str | None = None,
        per_second: int | None = None,
    ) -> Replay:
        return replays.create(
            _selection(info.context, Scope.MANAGE, selection),
            to_endpoint=_target(info.context, Scope.MANAGE, to_endpoint_id),
            per_second=per_second,
        )


class CancelReplay(graphene.Mutation):
    """Stop a replay. What it has written stays; one that has ended stays as it is."""

    class Arguments:
        id = graphene.ID(required=True)

    Output = ReplayOutput

    @staticmethod
    def mutate(_root: None, info: Any, id: str) -> Replay:
        caller: Caller = info.context
        replay = one(caller.own(Replay.objects.all(), Scope.MANAGE), id, "id")
        replay.cancel()
        return replay


def _selection(caller: Caller, scope: str, given: Mapping[str, Any]) -> replays.Selection:
    endpoint = one(caller.own(Endpoint.objects.live(), scope), given["endpoint_id"], "endpointId")
    states, event_filter = given.get("states"), None
    if (event_filters_id := given.get("event_filters_id")) is not None:
        event_filter = one(caller.own(EventFilter.objects.all(), scope), event_filters_id, "eventFiltersId")
    return replays.Selection(
        endpoint,
        states=None if states is None else [state.value for state in states],
        never_attempted=bool(given.get("never_attempted")),
        since=given.get("since"),
        until=given.get("until"),
        event_filter=event_filter,
    )


def _target(caller: Caller, scope: str, given: str | None) -> Endpoint | None:
    if given is None:
        return None
    return one(caller.own(Endpoint.objects.live(), scope), given, "toEndpointId")
