"""With which filters it is known how many there are, without counting."""

from typing import Any

from endpoints.models import Scope
from endpoints.schema.access import Caller, as_id
from endpoints.schema.collections import Given, conditions
from routing.counting import deliveries_of, events_of, states_of


def known_events(caller: Caller, filters: Given) -> int | None:
    return None if conditions(filters) else events_of(caller.workspace_id(Scope.READ))


def known_deliveries(caller: Caller, filters: Given) -> int | None:
    """Return how many there are of all, of some endpoints, and in some states."""
    named: dict[str, set[Any]] = {}
    for field, lookup, value in conditions(filters):
        if field not in ("endpoint_id", "state") or lookup not in ("exact", "in"):
            return None
        given = {_plain(field, each) for each in ([value] if lookup == "exact" else value)}
        named[field] = named.get(field, given) & given
    workspace_id, endpoint_ids = caller.workspace_id(Scope.READ), named.get("endpoint_id")
    if "state" not in named:
        return deliveries_of(workspace_id, endpoint_ids)
    found = states_of(workspace_id, endpoint_ids)
    return None if found is None else sum(found[state] for state in named["state"])


def _plain(field: str, value: Any) -> Any:
    return as_id(value, "endpointId") if field == "endpoint_id" else str(getattr(value, "value", value))
