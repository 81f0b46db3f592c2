"""A plan carried out, by the same calls that the API makes, in the transaction of the caller."""

from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from endpoints.as_code.documents import ENDPOINTS, FILTERS, TYPES
from endpoints.as_code.planning import Change, Plan
from endpoints.as_code.reading import File, Mistake, Mistakes
from endpoints.errors import ServiceError
from endpoints.models import Endpoint, EventFilter, EventType, FilterLink, SigningKey

SETTINGS = {
    **{"retryPolicy": "retry_policy", "maxInFlight": "max_in_flight", "rateLimit": "rate_limit"},
    **{"ordering": "ordering", "payloadFormat": "payload_format", "payloadShape": "payload_shape"},
}
STAYS_WITHOUT: dict[str, Any] = {"method": "POST", "headers": {}, "asymmetricSignatures": False}


def apply(plan: Plan, file: File, workspace_id: UUID) -> None:
    """Make the workspace as the file says. Raises Mistakes where the service refuses; the caller then rolls back."""
    made = {ENDPOINTS: _change_endpoint, FILTERS: _change_filter, TYPES: _change_type}
    deletions = [change for change in plan.changes if change.action == "delete"]
    for change in [change for change in plan.changes if change.action != "delete"]:
        try:
            made[change.kind](change, workspace_id)
        except ServiceError as error:
            raise Mistakes([Mistake(file.line_of[change.kind, change.name], error.message)]) from error
    for change in reversed(deletions):
        _delete(change, workspace_id)


def _after(change: Change) -> dict[str, Any]:
    return {name: difference.after for name, difference in change.fields.items()}


def _change_type(change: Change, workspace_id: UUID) -> None:
    event_type = EventType.named(workspace_id=workspace_id, name=change.name)
    EventType.objects.select_for_update(no_key=True).get(pk=event_type.pk).change(**_after(change))


def _change_filter(change: Change, workspace_id: UUID) -> None:
    definition = _after(change).get("definition")
    if change.action == "create":
        EventFilter.create(workspace_id=workspace_id, name=change.name, definition=definition or {})
        return
    event_filter = EventFilter.objects.get(workspace_id=workspace_id, name=change.renamed_from or change.name)
    event_filter.change(name=change.name, definition=definition)


def _change_endpoint(change: Change, workspace_id: UUID) -> None:
    after = _after(change)
    endpoint = (_created if change.action == "create" else _changed)(change, after, workspace_id)
    if after.get("secret") is not None:
        # What a new endpoint was given has signed nothing; an old one's secret goes on for a day.
        overlap = {"overlap_s": 0} if change.action == "create" else {}
        SigningKey.rotate(endpoint, secret=after["secret"].reveal(), **overlap)
    if "openAccess" in after:
        Endpoint.objects.filter(pk=endpoint.pk).update(open_access=bool(after["openAccess"]), last_modified=Now())
    if after.get("state") not in (None, endpoint.state):
        Endpoint.change_state([endpoint], Endpoint.State(after["state"]))
    if "filters" in after:
        _link(endpoint, set(after["filters"] or ()), workspace_id)


def _created(change: Change, after: dict[str, Any], workspace_id: UUID) -> Endpoint:
    if after["type"] == Endpoint.Type.WEB_SOCKET:
        shape = after.get("payloadShape")
        return Endpoint.create_web_socket(workspace_id=workspace_id, name=change.name, payload_shape=shape)
    return Endpoint.create_webhook(workspace_id=workspace_id, name=change.name, **_arguments(after))


def _changed(change: Change, after: dict[str, Any], workspace_id: UUID) -> Endpoint:
    names = {"workspace_id": workspace_id, "name": change.renamed_from or change.name}
    endpoint = Endpoint.objects.live().select_for_update(no_key=True).get(**names)
    endpoint.change(name=change.name, **_arguments(after))
    return endpoint


def _arguments(after: dict[str, Any]) -> dict[str, Any]:
    """Return what the endpoint's own methods take of the fields; None of a setting is its default."""
    given: dict[str, Any] = {name: STAYS_WITHOUT.get(name) if value is None else value for name, value in after.items()}
    found: dict[str, Any] = {name: given[name] for name in ("url", "method") if name in given}
    if "headers" in given:
        found["headers"] = {name: value.reveal() for name, value in given["headers"].items()}
    if "asymmetricSignatures" in given:
        found["asymmetric_signatures"] = given["asymmetricSignatures"]
    found |= {column: given[name] for name, column in SETTINGS.items() if name in given}
    if found.get("rate_limit"):
        rate = found["rate_limit"]
        found["rate_limit"] = {"count": rate["count"], "period_seconds": rate["periodSeconds"]}
    return found


def _link(endpoint: Endpoint, names: set[str], workspace_id: UUID) -> None:
    for event_filter in endpoint.event_filters.all():
        if event_filter.name not in names:
            FilterLink.unlink([endpoint], event_filter)
    for event_filter in EventFilter.objects.filter(workspace_id=workspace_id, name__in=names):
        FilterLink.link([endpoint], event_filter)


def _delete(change: Change, workspace_id: UUID) -> None:
    named = {"workspace_id": workspace_id, "name": change.name}
    if change.kind == ENDPOINTS:
        Endpoint.remove(Endpoint.objects.live().filter(**named))
    elif change.kind == FILTERS:
        EventFilter.remove(EventFilter.objects.filter(**named))
    else:
        EventType.objects.select_for_update(no_key=True).get(**named).change(
            description=None, schema=None, enforcement=None
        )
