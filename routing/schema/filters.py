"""Filters before they are trusted: tried out on the events that are stored."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import graphene

from endpoints.models import Endpoint, Scope
from endpoints.patterns import parse_definition
from endpoints.schema.access import Caller, one
from endpoints.schema.pages import turn_page
from endpoints.schema.scalars import JSON, DateTime
from endpoints.shaping import shaped
from routing.backtests import EVENTS, MOST_EVENTS, SAMPLES, Backtest, backtest
from routing.models import Event
from routing.schema.explanations import given_definition
from routing.schema.types import EventOutput


class BacktestSample(graphene.ObjectType):
    """An event that would have matched."""

    event = graphene.Field(EventOutput, required=True)
    payload = graphene.String(description="The JSON text that the endpoint would be sent as data; null for none.")


class BacktestOutput(graphene.ObjectType):
    """What a filter would have wanted of the events that are stored."""

    examined = graphene.Int(required=True, description="How many events were looked at, the newest first.")
    passed_over = graphene.Int(required=True, description="How many beside these, as their payload was forgotten.")
    matched = graphene.Int(required=True, description="How many of those examined it would have wanted.")
    complete = graphene.Boolean(required=True, description="Whether there were no more since the time asked for.")
    oldest = graphene.Field(DateTime, description="When the last event that was looked at was recorded.")
    samples = graphene.List(
        graphene.NonNull(BacktestSample), required=True, description=f"The newest {SAMPLES} that matched."
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    event: Event
    payload: str | None


def _backtest_event_filter(
    _root: None,
    info: Any,
    pattern: Any = None,
    id: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
    endpoint_id: str | None = None,
) -> dict[str, Any]:
    caller: Caller = info.context
    workspace_id = caller.workspace_id(Scope.READ)
    wanted = parse_definition(given_definition(caller, pattern, id))
    shape = _shape(caller, endpoint_id)
    found = backtest(wanted, workspace_id=workspace_id, since=since, limit=EVENTS if limit is None else limit)
    return _shown(found, shape)


def _shape(caller: Caller, endpoint_id: str | None) -> str | None:
    if endpoint_id is None:
        return None
    shape = one(caller.own(Endpoint.objects.live(), Scope.READ), endpoint_id, "endpointId").payload_shape
    return None if shape is None else json.dumps(shape)


def _shown(found: Backtest, shape: str | None) -> dict[str, Any]:
    samples: Sequence[Event] = turn_page(found.samples)
    return {
        "examined": found.examined,
        "passed_over": found.passed_over,
        "matched": found.matched,
        "complete": found.complete,
        "oldest": found.oldest,
        "samples": [_Sample(event, shaped(shape, event.data) or None) for event in samples],
    }


backtest_event_filter = graphene.Field(
    BacktestOutput,
    pattern=JSON(description="As in createEventFilters; or id."),
    id=graphene.ID(description="A filter; or pattern."),
    since=DateTime(description="Only events recorded since then."),
    limit=graphene.Int(description=f"How many events to look at: {EVENTS} when left out, at most {MOST_EVENTS}."),
    endpoint_id=graphene.ID(description="An endpoint, of which samples show the payload."),
    resolver=_backtest_event_filter,
    description="How many of the newest events a filter would have wanted, before anything is linked to it.",
)
